"""Background tasks: plain tasks on asyncio, a task group on trio.

asyncio needs no task group here: a notebook runs each cell as a separate task, and a group
entered in one task cannot be left in another. trio has no tasks without a group, so there a
service must be opened with ``async with``.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from telecmi_async._internal.event_loop import current_loop, is_asyncio, is_closed
from telecmi_async._internal.secrets import log_failure
from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

    from anyio.abc import TaskGroup

    from telecmi_async._internal.secrets import Redactor

_T = TypeVar("_T")

# So many tasks take their first step in one pass of asyncio's event loop, so that a hundred thousand
# that are started at once do not hold it up.
_BATCH = 200

_FAILED = "a background task failed; others go on"


@asynccontextmanager
async def background_task_group() -> AsyncGenerator[TaskGroup]:
    """Open a task group that ends with its body, whose error is raised without a group."""
    failure: Exception | KeyboardInterrupt | SystemExit | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  # raised again below
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # a reference cycle: it holds this frame


def first_failure(failure: BaseException) -> BaseException:
    """Return the first exception of a group; an interrupt comes before failures."""
    while isinstance(failure, BaseExceptionGroup):
        inside = cast("tuple[BaseException, ...]", failure.exceptions)
        failure = next((each for each in inside if not isinstance(each, Exception)), inside[0])
    return failure


def _load_backend() -> None:
    """Have anyio import what it needs in this event loop, now rather than during a call."""
    try:
        anyio.current_time()
    except Exception as error:  # noqa: BLE001  # as importing may raise anything
        raise WrongEventLoop(
            f"anyio cannot be used in this event loop ({type(error).__name__}): {error}"
        ) from None


class TaskRunner:
    """Starts a service's tasks, and waits for them.

    A task that fails is logged, and ends no other. ``redact`` removes secrets from that.
    """

    def __init__(self, redact: Redactor | None = None) -> None:
        self._redact = redact
        self.loop: object = None
        self._task_group: TaskGroup | None = None
        self._last_start: anyio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: set[int] = set()
        self._starting = 0
        # Of tasks that have not begun, oldest first: the batches that wait for the ones before.
        self._turns: deque[anyio.Event] = deque()
        self._batched = 0
        self._running = 0
        self._waiting: set[int] = set()  # the ids of tasks that wait for the others
        self._quiet: anyio.Event | None = None

    def bind(self) -> None:
        """Bind to the running event loop, always the same one; on trio `open` comes before."""
        loop = current_loop()
        self._check_loop(loop)
        if self.loop is None:
            if not is_asyncio(loop) and self._task_group is None:
                raise WrongEventLoop(
                    "on trio a service must be opened: async with CallService(…) as service"
                )
            _load_backend()
            self.loop = loop

    def _check_loop(self, loop: object) -> None:
        if self.loop is not None and self.loop is not loop:
            if is_closed(self.loop):
                raise WrongEventLoop(
                    "the event loop in which the service was used was closed before the "
                    "service: close a service first, and make one for every event loop"
                )
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

        The cancellation of the group's tasks must not replace an error of the service's body.
        """
        if self._task_group is not None:
            try:
                await self._task_group.__aexit__(None, None, None)
            except anyio.get_cancelled_exc_class():
                if error is None:
                    raise
            except BaseExceptionGroup as group:  # Ctrl-C, which may end any task
                raise first_failure(group) from None

    def start(
        self,
        work: Callable[[_T], Coroutine[object, object, None]],
        subject: _T,
        ended: Callable[[_T], None] | None = None,
    ) -> None:
        """Run ``work(subject)`` concurrently, and ``ended(subject)`` once it ended in any way.

        A task that is cancelled before its first step never reaches its ``finally``.
        """
        if self._task_group is not None:
            before, mine = self._last_start, anyio.Event()
            self._task_group.start_soon(self._in_order, before, mine, work, subject, ended)
            self._last_start = mine
            self._running += 1
        else:
            self._running += 1
            turn = self._turn()
            coroutine = (
                work(subject) if turn is None else self._begin_later(turn, work, subject)
            )
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
                if not task.cancelled() and isinstance(error := task.exception(), Exception):
                    log_failure(error, _FAILED, self._redact)
                self._end(subject, ended)

            task.add_done_callback(done)

    def _turn(self) -> anyio.Event | None:
        """Return the event that a new task has to wait for, if many tasks are running."""
        if self._running <= _BATCH and not self._turns:
            return None
        if not self._turns:
            cast("asyncio.AbstractEventLoop", self.loop).call_soon(self._next_turn)
        if not self._turns or self._batched == _BATCH:
            self._turns.append(anyio.Event())
            self._batched = 0
        self._batched += 1
        return self._turns[-1]

    def _next_turn(self) -> None:
        """Let one more batch of tasks begin."""
        self._turns.popleft().set()
        if self._turns:
            cast("asyncio.AbstractEventLoop", self.loop).call_soon(self._next_turn)

    async def _begin_later(
        self,
        turn: anyio.Event,
        work: Callable[[_T], Coroutine[object, object, None]],
        subject: _T,
    ) -> None:
        """Run work once it is its batch's turn. Tasks begin in the order of their starts."""
        await turn.wait()
        await work(subject)

    async def _in_order(
        self,
        before: anyio.Event | None,
        mine: anyio.Event,
        work: Callable[[_T], Coroutine[object, object, None]],
        subject: _T,
        ended: Callable[[_T], None] | None,
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
        except Exception as error:  # noqa: BLE001  # it would end the task group
            log_failure(error, _FAILED, self._redact)
        finally:
            self._ids.discard(here)
            self._end(subject, ended)

    def _end(self, subject: _T, ended: Callable[[_T], None] | None) -> None:
        try:
            if ended is not None:
                ended(subject)
        except Exception as error:  # noqa: BLE001  # on trio it would end the task group
            log_failure(error, _FAILED, self._redact)
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

    def _is_inside(self, task: int) -> bool:
        """Return whether the running task, by its id, was started here."""
        return self._starting > 0 or task in self._ids

    def unfinished(self) -> int:
        """Return for how many tasks the running one waits: not itself, nor waiting ones."""
        here = anyio.get_current_task().id
        return self._running - (len(self._waiting | {here}) if self._is_inside(here) else 0)

    async def idle(self) -> None:
        """Wait until all tasks have ended; it may be cancelled."""
        here = anyio.get_current_task().id
        if self._is_inside(here):
            self._waiting.add(here)
            if self._quiet is not None:
                self._quiet.set()
        try:
            while self.unfinished():
                if self._quiet is None or self._quiet.is_set():
                    self._quiet = anyio.Event()
                await self._quiet.wait()
        finally:
            self._waiting.discard(here)

    @asynccontextmanager
    async def running(self, stop: Callable[[], object]) -> AsyncGenerator[None]:
        """Open for as long as the context is; at its end call ``stop`` and wait for all tasks.

        The wait is not cancelled. On asyncio the context may be left in another task than it was
        entered in, as pytest-asyncio does with fixtures, and notebooks with their cells.
        """
        await self.open()
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            stop()
            try:
                with anyio.CancelScope(shield=True):
                    await self.drain()
            finally:
                await self.close(failure)
                del failure  # a reference cycle: it holds this frame

    async def drain(self, work: Iterable[None] = ()) -> None:
        """Do some work, then wait until all tasks have ended.

        Others may use the event loop where the work pauses. A cancellation is raised afterwards.
        """
        pieces = iter(work)
        cancelled: BaseException | None = None
        while True:
            try:
                for _ in pieces:
                    await anyio.lowlevel.checkpoint()
                await self.idle()
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error
            else:
                break
        if cancelled is not None:
            raise cancelled
