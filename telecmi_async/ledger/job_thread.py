"""Job thread: does blocking database work for event loops, in batches.

Database drivers that block must stay out of an event loop, and those that do not know asyncio
only. So a task puts a job into a queue and waits; the thread takes what is queued, serves it as
one batch, and wakes each task in its own event loop. A job that was queued is not cancelled:
its task always learns whether it was done.
"""

from __future__ import annotations

import contextlib
import math
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio
from anyio import lowlevel

from telecmi_async._internal.event_loop import call_in_loop, current_loop, make_signal
from telecmi_async.errors import LedgerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telecmi_async.errors import TelecmiError

_W = TypeVar("_W")


class Job(Generic[_W]):
    """Work for the thread, and the task that waits for its result in an event loop."""

    __slots__ = ("answer", "failure", "is_over", "loop", "signal", "wake", "was_woken", "work")

    def __init__(self, work: _W) -> None:
        self.work = work
        self.answer: Any = None
        self.failure: TelecmiError | None = None
        #: Whether there is an answer or a failure.
        self.is_over = False
        self.loop = current_loop()
        #: What the task awaits, and what wakes it.
        self.signal, self.wake = make_signal()
        self.was_woken = False

    def succeed(self, answer: Any) -> None:
        """Set the answer, in the thread."""
        self.answer, self.failure, self.is_over = answer, None, True

    def fail(self, failure: TelecmiError) -> None:
        """Set the failure, in the thread."""
        self.failure, self.is_over = failure, True

    async def wait(self) -> Any:
        """Return the answer or raise the failure; a cancellation is put off until then."""
        try:
            await self.signal
        except anyio.get_cancelled_exc_class():
            await self._wait_on()
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        return self.answer

    async def _wait_on(self) -> None:
        """Wait for the end in a task that is cancelled."""
        # A cancelled scope cancels the task's next await by itself; asyncio's task.cancel() not.
        put_off = anyio.current_effective_deadline() > -math.inf
        with anyio.CancelScope(shield=True):
            while not self.was_woken:
                self.signal, self.wake = make_signal()
                try:
                    await self.signal
                except anyio.get_cancelled_exc_class():  # task.cancel(): no shield
                    put_off = True
        if put_off:
            task = cast("Any", sys.modules["asyncio"]).current_task()
            task.uncancel()
            task.cancel()  # at its next await, since this one has a result to give


class JobThread(Generic[_W]):
    """A thread that serves jobs of any number of event loops; it starts with the first job.

    ``serve`` is called in it with batches of ``most`` jobs: it gives each an answer or a
    failure, and raises nothing. ``close`` is called in it when the last job is served.
    """

    def __init__(
        self,
        name: str,
        *,
        serve: Callable[[list[Job[_W]]], None],
        close: Callable[[], None],
        most: int,
    ) -> None:
        self._name = name
        self._serve = serve
        self._close = close
        self._most = most
        self._jobs: queue.SimpleQueue[Job[_W] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed: Job[None] | None = None
        self._ended: anyio.Event | None = None
        #: Set when the thread is to end: it should not wait for anything that may never come.
        self.closing = threading.Event()

    async def do(self, work: _W) -> Any:
        """Have a job done, and return its answer; once it is queued, a cancellation waits."""
        await lowlevel.checkpoint_if_cancelled()
        with self._lock:
            if self.closing.is_set():
                raise LedgerLost("the ledger is closed")
            job = Job(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._jobs.put(job)
        return await job.wait()

    async def close(self) -> None:
        """Serve the jobs that are queued, then end the thread. A second call does nothing."""
        with self._lock:
            is_first = not self.closing.is_set()
            self.closing.set()
            if is_first and self._thread is not None:
                self._closed, self._ended = Job(None), anyio.Event()
                self._jobs.put(None)
        if self._closed is None or self._ended is None:
            return
        if is_first:
            await self._closed.wait()
            self._ended.set()
        else:
            await self._ended.wait()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < self._most:
                    batch.append(self._jobs.get_nowait())
            jobs = [job for job in batch if job is not None]
            is_last = len(jobs) < len(batch)
            if jobs:
                self._serve(jobs)
                _wake(jobs)
        self._close()
        _wake([cast("Job[None]", self._closed)])


def _wake(jobs: Iterable[Job[Any]]) -> None:
    """Wake the waiting tasks: each in its own event loop, and each loop once."""
    loops: dict[int, list[Job[Any]]] = {}
    for job in jobs:
        loops.setdefault(id(job.loop), []).append(job)
    for group in loops.values():
        call_in_loop(group[0].loop, _set_done, group)


def _set_done(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.was_woken = True
        job.wake()
