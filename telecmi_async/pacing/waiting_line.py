"""First come, first served: a line of waiting tasks in which only the first one acts.

anyio's locks look through all their waiters when one is cancelled, so cancelling many takes a
time that grows with the square of their number. Here joining and leaving take the same short
time at any length of the line.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from telecmi_async._internal.event_loop import make_signal

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiter:
    """One waiting task.

    Args:
        since: When it began to wait, as a clock reading.
    """

    __slots__ = ("_wake", "since")

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self._wake: Callable[[], None] | None = None

    def wake(self) -> None:
        """Let the task look again, if it waits for that."""
        if self._wake is not None:
            self._wake()

    async def wait(self) -> None:
        """Wait until `wake` is called."""
        signal, self._wake = make_signal()
        await signal


class WaitingLine:
    """Waiters in the order in which they joined."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiters)

    def is_first(self, waiter: Waiter) -> bool:
        """Return whether a waiter is the first in line."""
        return next(iter(self._waiters), None) is waiter

    def join(self, waiter: Waiter) -> None:
        """Stand at the end of the line."""
        self._waiters[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Leave the line from any place in it. If the first one leaves, wake the next."""
        was_first = self.is_first(waiter)
        del self._waiters[waiter]
        if was_first and self._waiters:
            next(iter(self._waiters)).wake()

    async def reach_front(self, waiter: Waiter) -> None:
        """Wait until a waiter is the first in this line; it may join while it waits."""
        while not self.is_first(waiter):
            await waiter.wait()
