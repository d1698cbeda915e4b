"""Background tasks: plain tasks on asyncio, a task group on trio.

asyncio needs no task group here: a notebook runs each cell as a task of its own, and a group
entered in one task cannot be left in another. trio has no tasks without a group, so there a
service must be opened with ``async with``.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from anyio.abc import TaskGroup

_T = TypeVar("_T")


@asynccontextmanager
async def background_task_group() -> AsyncGenerator[TaskGroup]:
    """Open a task group that ends with its body: its tasks are cancelled then.

    An error of the body is raised as it is, not inside an exception group.
    """
    failure: Exception | KeyboardInterrupt | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # raised again below
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # a reference cycle: it holds this frame


class TaskRunner:
    """Starts a service's tasks, and waits for them."""

    def __init__(self) -> None:
        self.loop: object = None
        self._task_group: TaskGroup | None = None
        self._last_start: anyio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: set[int] = set()
        self._starting = 0
        self._running = 0
        self._inside = 0
        self._quiet: anyio.Event | None = None

    def bind(self) -> None:
        """Bind to the running event loop; it must be the same one in every later call.

        Raises:
            WrongEventLoop: No loop runs, it is another one than before, or it is trio's and
                `open` was not called.
        """
        loop = current_loop()
        self._check_loop(loop)
        if self.loop is None:
            if not is_asyncio(loop) and self._task_group is None:
                raise WrongEventLoop(
                    "on trio a service must be opened: async with CallService(…) as service"
                )
            self.loop = loop

    def _check_loop(self, loop: object) -> None:
        if self.loop is not None and self.loop is not loop:
            raise WrongEventLoop(
                "the service belongs to the event loop it was first used in; make one for "
                "every event loop, and close it there"
            )

    async def open(self) -> None:
        """Bind to the running event loop; on trio, enter a task group."""
        loop = current_loop()
        self._check_loop(loop)
        if not is_asyncio(loop):
            if self._task_group is not None:
                raise WrongEventLoop("the service is open already")
            self._task_group = anyio.create_task_group()
            await self._task_group.__aenter__()
        self.bind()

    async def close(self, error: BaseException | None) -> None:
        """Leave the task group, if there is one; its tasks must have ended.

        Args:
            error: The error that the service's body raised, if any. The cancellation of the
                group's tasks must not replace it.
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
            ended: Called with the subject when the task has ended in any way. (A task that is
                cancelled before its first step never reaches a ``finally`` of its own.)

        Raises:
            WrongEventLoop: The loop's task factory failed.
        """
        self._running += 1
        if self._task_group is not None:
            before, self._last_start = self._last_start, anyio.Event()
            self._task_group.start_soon(
                self._in_order, before, self._last_start, work, subject, ended
            )
        else:
            coroutine = work(subject)
            self._starting += 1  # an eager task runs its first step inside create_task
            try:
                task = cast("asyncio.AbstractEventLoop", self.loop).create_task(coroutine)
            except Exception as error:  # noqa: BLE001  # a factory may raise anything
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
        """Run work after the task before it has begun: trio starts new tasks in random order.

        A task has begun when it reaches its first await: its place in the gate's queue.
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
        """Cancel all tasks. On trio none can be started afterwards."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._task_group is not None:
            self._task_group.cancel_scope.cancel()

    def is_inside(self) -> bool:
        """Return whether the running task was started here."""
        return self._starting > 0 or anyio.get_current_task().id in self._ids

    async def drain(self) -> None:
        """Wait until all tasks have ended; a cancellation is raised after that.

        A task started here does not wait for itself, nor for others that drain.
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
