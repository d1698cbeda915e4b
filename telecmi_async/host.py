"""Where the tasks of a service run: its event loop, and on trio its task group.

On asyncio they are plain tasks of the loop and not of a task group: one that is entered in a
notebook's cell cannot be left in another, as every cell is a task of its own. On trio there are
no tasks without a task group, so there a service must be opened by ``async with``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from telecmi_async._eventloop import current_loop, is_asyncio
from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

__all__ = ["Host"]

_T = TypeVar("_T")


class Host:
    """Starts tasks, and knows when the last one has ended."""

    def __init__(self) -> None:
        self.loop: object = None
        self._task_group: anyio.abc.TaskGroup | None = None
        self._last_start: anyio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._quiet: anyio.Event | None = None

    def bind(self) -> None:
        """Belong to the running loop; refuse another one afterwards.

        Raises:
            WrongEventLoop: None is running, it is not the one of before, or it is trio's and
                the host was not opened.
        """
        loop = current_loop()
        if self.loop is None:
            if not is_asyncio(loop) and self._task_group is None:
                raise WrongEventLoop(
                    "on trio a service must be opened: async with CallService(…) as service"
                )
            self.loop = loop
        elif self.loop is not loop:
            raise WrongEventLoop(
                "the service belongs to the event loop it was first used in; make one for "
                "every event loop, and close it there"
            )

    async def open(self) -> None:
        """Get ready: on trio, enter a task group."""
        if not is_asyncio(current_loop()):
            if self._task_group is not None:
                raise WrongEventLoop("the service is open already")
            self._task_group = anyio.create_task_group()
            await self._task_group.__aenter__()
        self.bind()

    async def close(self) -> None:
        """Leave the task group, where there is one. Nothing may be running in it any more."""
        if self._task_group is not None:
            # An error of the service's body is not the task group's business.
            await self._task_group.__aexit__(None, None, None)

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
        if self._task_group is not None:
            before, self._last_start = self._last_start, anyio.Event()
            self._task_group.start_soon(
                self._in_order, before, self._last_start, work, subject, ended
            )
        else:
            coroutine = work(subject)
            try:
                task = cast("asyncio.AbstractEventLoop", self.loop).create_task(coroutine)
            except Exception as error:  # noqa: BLE001  # whatever a factory raises
                coroutine.close()
                raise WrongEventLoop(
                    f"the event loop's task factory failed ({type(error).__name__}); nothing "
                    "was sent"
                ) from None
            self._tasks.add(task)

            def done(task: asyncio.Task[None]) -> None:
                self._tasks.discard(task)
                self._end(subject, ended)

            task.add_done_callback(done)
        self._running += 1

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
        try:
            if before is not None:
                with anyio.CancelScope(shield=True):
                    await before.wait()
            mine.set()
            await work(subject)
        finally:
            self._end(subject, ended)

    def _end(self, subject: _T, ended: Callable[[_T], None]) -> None:
        try:
            ended(subject)
        finally:
            self._running -= 1
            if self._quiet is not None:
                self._quiet.set()

    async def drain(self, but: int) -> None:
        """Wait until no task runs any more, but for some. Cancellation waits as well.

        Args:
            but: How many need not end: those that the caller itself runs in.
        """
        cancelled: BaseException | None = None
        while self._running > but:
            self._quiet = anyio.Event()
            try:
                await self._quiet.wait()
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
