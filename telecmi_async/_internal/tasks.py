"""Where the tasks of a service run: its event loop, and on trio its task group.

On asyncio they are plain tasks of the loop and not of a task group: one that is entered in a
notebook's cell cannot be left in another, as every cell is a task of its own. On trio there are
no tasks without a task group, so there a service must be opened by ``async with``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

__all__ = ["TaskRunner"]

_T = TypeVar("_T")


class TaskRunner:
    """Starts tasks, and knows when the last one has ended."""

    def __init__(self) -> None:
        self.loop: object = None
        self._task_group: anyio.abc.TaskGroup | None = None
        self._last_start: anyio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: set[int] = set()
        self._starting = 0
        self._running = 0
        self._inside = 0
        self._quiet: anyio.Event | None = None

    def bind(self) -> None:
        """Belong to the running loop; refuse another one afterwards.

        Raises:
            WrongEventLoop: None is running, it is not the one of before, or it is trio's and
                the host was not opened.
        """
        loop = current_loop()
        self._refuse_another(loop)
        if self.loop is None:
            if not is_asyncio(loop) and self._task_group is None:
                raise WrongEventLoop(
                    "on trio a service must be opened: async with CallService(…) as service"
                )
            self.loop = loop

    def _refuse_another(self, loop: object) -> None:
        if self.loop is not None and self.loop is not loop:
            raise WrongEventLoop(
                "the service belongs to the event loop it was first used in; make one for "
                "every event loop, and close it there"
            )

    async def open(self) -> None:
        """Get ready: on trio, enter a task group."""
        loop = current_loop()
        self._refuse_another(loop)
        if not is_asyncio(loop):
            if self._task_group is not None:
                raise WrongEventLoop("the service is open already")
            self._task_group = anyio.create_task_group()
            await self._task_group.__aenter__()
        self.bind()

    async def close(self, error: BaseException | None) -> None:
        """Leave the task group, where there is one. Nothing may be running in it any more.

        Args:
            error: What the service's body raised. It is not the task group's business, and a
                cancellation of the tasks in it must not take its place.
        """
        if self._task_group is not None:
            try:
                await self._task_group.__aexit__(None, None, None)
            except anyio.get_cancelled_exc_class():
                if error is None:
                    raise

    def start(
        self,
        work: Callable[[_T], Coroutine[object, object, None]],
        subject: _T,
        ended: Callable[[_T], None],
    ) -> None:
        """Run ``work(subject)`` concurrently.

        Args:
            work: What to run.
            subject: Its argument.
            ended: Called with the subject once the task is over, however it ended: a task that
                is cancelled before its first step does not even reach a ``finally``.

        Raises:
            WrongEventLoop: The loop refuses to start tasks.
        """
        self._running += 1
        if self._task_group is not None:
            before, self._last_start = self._last_start, anyio.Event()
            self._task_group.start_soon(
                self._in_order, before, self._last_start, work, subject, ended
            )
        else:
            coroutine = work(subject)
            self._starting += 1  # an eager task takes its first step within create_task
            try:
                task = cast("asyncio.AbstractEventLoop", self.loop).create_task(coroutine)
            except Exception as error:  # noqa: BLE001  # whatever a factory raises
                coroutine.close()
                self._running -= 1
                raise WrongEventLoop(
                    f"the event loop's task factory failed ({type(error).__name__}); nothing "
                    "was sent"
                ) from None
            finally:
                self._starting -= 1
            self._tasks.add(task)
            self._ids.add(id(task))

            def done(task: asyncio.Task[None]) -> None:
                self._tasks.discard(task)
                self._ids.discard(id(task))
                self._end(subject, ended)

            task.add_done_callback(done)

    async def _in_order(
        self,
        before: anyio.Event | None,
        mine: anyio.Event,
        work: Callable[[_T], Coroutine[object, object, None]],
        subject: _T,
        ended: Callable[[_T], None],
    ) -> None:
        """Begin after the task before this one: trio starts new tasks in random order.

        The next one may begin as soon as this one has run up to its first wait, which is its
        place in the gate's queue.
        """
        here = anyio.get_current_task().id
        self._ids.add(here)
        try:
            if before is not None:
                with anyio.CancelScope(shield=True):
                    await before.wait()
            mine.set()
            await work(subject)
        finally:
            self._ids.discard(here)
            self._end(subject, ended)

    def _end(self, subject: _T, ended: Callable[[_T], None]) -> None:
        try:
            ended(subject)
        finally:
            self._running -= 1
            if self._quiet is not None:
                self._quiet.set()

    def cancel(self) -> None:
        """Cancel the tasks. On trio none can be started afterwards."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._task_group is not None:
            self._task_group.cancel_scope.cancel()

    def is_inside(self) -> bool:
        """Tell whether the running task is one of those that were started here."""
        return self._starting > 0 or anyio.get_current_task().id in self._ids

    async def drain(self) -> None:
        """Wait until no task runs any more. Cancellation waits as well.

        A task that drains does not wait for itself, nor for others that do the same.
        """
        inside = self.is_inside()
        self._inside += inside
        if inside and self._quiet is not None:
            self._quiet.set()
        cancelled: BaseException | None = None
        try:
            while self._running > (self._inside if inside else 0):
                if self._quiet is None or self._quiet.is_set():
                    self._quiet = anyio.Event()
                try:
                    await self._quiet.wait()
                except anyio.get_cancelled_exc_class() as error:
                    cancelled = error
        finally:
            self._inside -= inside
        if cancelled is not None:
            raise cancelled
