"""Worker threads: blocking functions of the user's, run beside the event loop.

The clock of a test's event loop stands still meanwhile. A virtual clock would otherwise jump to
the next timer, so that every time limit would pass at once.
"""

from __future__ import annotations

import functools
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

import anyio.to_thread

from telecmi_async._internal.event_loop import current_loop, is_asyncio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_T = TypeVar("_T")
_A = TypeVar("_A")

# trio's mock clocks that stand still: for how many threads, and when they jumped before.
_held: Final[WeakKeyDictionary[Any, tuple[int, float]]] = WeakKeyDictionary()


async def run_in_thread(
    function: Callable[[_A], _T], argument: _A, *, limiter: anyio.CapacityLimiter
) -> _T:
    """Call a function in a thread and return its result.

    If this is cancelled, the thread goes on, its result is dropped, and its place in the
    ``limiter`` is free once it has ended.
    """
    with _clock_held():
        (result,) = await anyio.to_thread.run_sync(
            functools.partial(_call, function, argument),
            abandon_on_cancel=True,
            limiter=limiter,
        )
    return result


def _call(function: Callable[[_A], _T], argument: _A) -> tuple[_T]:
    """Return a result in a tuple: trio refuses functions that return a coroutine."""
    return (function(argument),)


@contextmanager
def _clock_held() -> Generator[None]:
    loop = current_loop()
    on_asyncio = is_asyncio(loop)
    clock: Any = loop if on_asyncio else sys.modules["trio"].lowlevel.current_clock()
    if hasattr(clock, "threads_at_work"):  # `telecmi_async.testing.VirtualClockLoop`
        clock.threads_at_work += 1
        try:
            yield
        finally:
            clock.threads_at_work -= 1
    elif hasattr(clock, "autojump_threshold"):  # `trio.testing.MockClock`
        threads, before = _held.get(clock, (0, clock.autojump_threshold))
        _held[clock] = threads + 1, before
        clock.autojump_threshold = math.inf
        try:
            yield
        finally:
            threads, before = _held.pop(clock)
            if threads > 1:
                _held[clock] = threads - 1, before
            else:
                clock.autojump_threshold = before
    else:
        yield
