"""What anyio leaves open: which event loop is running, and errors that are no group's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import TracebackType

__all__ = [
    "OwnError",
    "clock_of",
    "current_loop",
    "current_time",
    "hand_over",
    "is_asyncio",
    "nobody_cancelled",
]

_T = TypeVar("_T")


def current_loop() -> object:
    """Return the running asyncio loop, or the token of the running trio.

    Neither library is imported here: one that nobody imported has no loop running.

    Raises:
        WrongEventLoop: None is running.
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


def clock_of(loop: object) -> Callable[[], float]:
    """Return the clock of a result of `current_loop`.

    It is `anyio.current_time`, without finding out at every reading which loop is running.
    """
    return loop.time if is_asyncio(loop) else sys.modules["trio"].current_time


def current_time() -> float:
    """Return the reading of the running event loop's clock, in seconds."""
    return clock_of(current_loop())()


def hand_over(loop: object, function: Callable[[_T], object], argument: _T) -> None:
    """Call a function soon, within the event loop that an earlier `current_loop` gave.

    A loop that is over takes nothing any more: the call is dropped.
    """
    start = loop.call_soon_threadsafe if is_asyncio(loop) else cast("Any", loop).run_sync_soon
    try:
        start(function, argument)
    except RuntimeError:  # asyncio: the loop is closed; trio.RunFinishedError is one, too
        return


def nobody_cancelled() -> bool:
    """Tell of a cancellation that was caught whether nobody asked the running task for it.

    On asyncio it may come from a task that was awaited, and that somebody else cancelled.
    """
    if not is_asyncio(current_loop()):
        return False
    task = sys.modules["asyncio"].current_task()
    return task is not None and not task.cancelling()


class OwnError:
    """Keeps the error of a body aside while a task group is left, which would have wrapped it.

    It is entered around the body, within the group::

        own = OwnError()
        async with anyio.create_task_group() as tasks:
            with own:
                yield
            tasks.cancel_scope.cancel()
        own.raise_it()
    """

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        # A cancellation is the group's business, and so is a generator's end.
        if not isinstance(error, Exception | KeyboardInterrupt):
            return False
        self._error = error
        return True

    def raise_it(self) -> None:
        """Raise the error, if there was one, as the body did."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # or it would hold this frame, which holds it


def is_asyncio(loop: object) -> TypeGuard[asyncio.AbstractEventLoop]:
    """Tell whether a result of `current_loop` is one of asyncio's."""
    return hasattr(loop, "create_task")
