"""Event loops: which one is running, its clock, calls into it from outside, and cancellation."""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import anyio

from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")
# The resolution of a clock that is precise, in seconds.
_PRECISE = 0.001


def current_loop() -> object:
    """Return the running asyncio loop or, on trio, its token; without one `WrongEventLoop`.

    Neither library is imported here: one that was not imported has no running loop.
    """
    # trio comes first: in its guest mode it runs inside another loop.
    trio = getattr(sys.modules.get("trio"), "lowlevel", None)  # it may be half imported
    if trio is not None and trio.in_trio_run():
        token: object = trio.current_trio_token()
        return token
    asyncio = sys.modules.get("asyncio")
    loop: object = None if asyncio is None else asyncio._get_running_loop()  # noqa: SLF001  # its documented form raises where this returns None
    if loop is None:
        raise WrongEventLoop(
            "there is no running event loop here: call this from an async function"
        )
    return loop


class InterruptNotice:
    """Has IPython end an interrupted cell with one line in place of a traceback.

    A kernel's interrupt cancels the task of the cell. IPython asks an error for a special form
    by the method that is set here; nothing else looks at it.
    """

    __slots__ = ("_words",)

    def __init__(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if type(error).__name__ == "CancelledError" and "IPython" in sys.modules:
            error._render_traceback_ = lambda: [self._words]  # type: ignore[union-attr]  # IPython's protocol


def current_task() -> object | None:
    """Return the running task, if there is one."""
    trio = getattr(sys.modules.get("trio"), "lowlevel", None)
    if trio is not None and trio.in_trio_run():
        return cast("object", trio.current_task())
    asyncio = sys.modules.get("asyncio")
    running = asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001  # as above
    return asyncio.current_task() if asyncio is not None and running else None


def clock_of(loop: object) -> Callable[[], float]:
    """Return the clock of a result of `current_loop`: a faster `anyio.current_time`."""
    return loop.time if is_asyncio(loop) else sys.modules["trio"].current_time


def loop_time() -> float:
    """Return what the running event loop's clock says.

    `anyio.current_time` itself, named in a class that is made outside an event loop, would have
    anyio import what it needs in one.
    """
    return anyio.current_time()


def exact_clock_of(loop: object) -> Callable[[], float]:
    """Return a clock of at least a millisecond's precision for a result of `current_loop`.

    It is the loop's own clock, and must not be mixed with that where it is not: uvloop's clock
    stands still until the loop's next turn, and asyncio's on Windows moved in steps of 16 ms
    before Python 3.13.
    """
    if is_asyncio(loop):
        asyncio_loop: type[asyncio.BaseEventLoop] = sys.modules["asyncio"].BaseEventLoop
        if not isinstance(loop, asyncio_loop):
            return time.perf_counter
        own_clock = type(loop).time is not asyncio_loop.time  # a virtual one
        if not own_clock and time.get_clock_info("monotonic").resolution > _PRECISE:
            return time.perf_counter
    return clock_of(loop)


def make_signal() -> tuple[Awaitable[object], Callable[[], None]]:
    """Return what one task may await, once, and what wakes it, at any time and repeatedly.

    It does what `anyio.Event` does for one waiter, which on asyncio costs three times as much.
    """
    loop = current_loop()
    if is_asyncio(loop):
        future = loop.create_future()
        return future, functools.partial(_resolve, future)
    event = anyio.Event()
    return event.wait(), event.set


def _resolve(future: asyncio.Future[None]) -> None:
    """Wake the task that awaits a future, unless it was woken, cancelled, or left by its loop."""
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(None)


def call_in_loop(loop: object, function: Callable[[_T], object], argument: _T) -> None:
    """Call a function soon in another loop, from any thread; drop it if that has ended."""
    start = loop.call_soon_threadsafe if is_asyncio(loop) else cast("Any", loop).run_sync_soon
    try:
        start(function, argument)
    except RuntimeError:  # asyncio: the loop is closed; trio.RunFinishedError is one, too
        return


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is a failure, not a cancellation or the program's end.

    A cancellation that was not meant for the running task is one: a task that it awaited was
    cancelled.
    """
    cancelled = any(base.__name__ == "CancelledError" for base in type(error).__mro__)
    return isinstance(error, Exception) or (cancelled and is_foreign_cancellation())


def is_foreign_cancellation() -> bool:
    """Return whether a cancellation was of a task that the running one awaited, on asyncio."""
    if not is_asyncio(current_loop()):
        return False
    task = sys.modules["asyncio"].current_task()
    return task is not None and not task.cancelling()


def is_closed(loop: object) -> bool:
    """Return whether an asyncio loop was closed; trio ends all tasks before its own end."""
    return is_asyncio(loop) and loop.is_closed()


def has_ended(loop: object) -> bool:
    """Return whether a loop, a result of `current_loop`, runs nothing any more."""
    if is_asyncio(loop):
        return loop.is_closed()
    try:
        cast("Any", loop).run_sync_soon(bool)
    except RuntimeError:  # trio.RunFinishedError is one
        return True
    return False


def is_asyncio(loop: object) -> TypeGuard[asyncio.AbstractEventLoop]:
    """Return whether a result of `current_loop` is an asyncio loop."""
    return hasattr(loop, "create_task")
