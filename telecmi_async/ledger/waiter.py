"""Somebody in an event loop who waits for what a thread does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import anyio
from attrs import define, field

from telecmi_async._internal.event_loop import call_in_loop, current_loop
from telecmi_async.errors import TelecmiError  # attrs reads it

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Waiter", "wake_waiters"]

_T = TypeVar("_T")


@define(eq=False)
class Waiter(Generic[_T]):
    """Waits in the event loop it was made in, for a thread that fills it and calls `wake_waiters`."""

    loop: object = field(factory=current_loop, init=False)
    done: anyio.Event = field(factory=anyio.Event, init=False)
    answer: _T | None = field(default=None, init=False)
    failure: TelecmiError | None = field(default=None, init=False)

    async def wait(self) -> _T:
        """Wait until it is known what came of it; nothing can cancel that.

        Raises:
            TelecmiError: What the thread found instead of an answer.
        """
        put_off = False
        with anyio.CancelScope(shield=True):
            while not self.done.is_set():
                try:
                    await self.done.wait()
                except anyio.get_cancelled_exc_class():  # asyncio's task.cancel(): no shield
                    put_off = True
        if put_off:
            task = cast("Any", sys.modules["asyncio"]).current_task()
            task.uncancel()
            task.cancel()  # at its next await, since this one has a result to give
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        return cast("_T", self.answer)


def wake_waiters(waiters: Iterable[Waiter[Any]]) -> None:
    """Wake who waits, from a thread: each in its own event loop, and each loop once."""
    loops: dict[int, list[Waiter[Any]]] = {}
    for waiter in waiters:
        loops.setdefault(id(waiter.loop), []).append(waiter)
    for group in loops.values():
        call_in_loop(group[0].loop, _wake, group)


def _wake(waiters: list[Waiter[Any]]) -> None:
    for waiter in waiters:
        waiter.done.set()
