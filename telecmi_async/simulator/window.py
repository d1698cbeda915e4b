"""How many things happened within one second."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Window"]

_SECOND: Final = 1.0
# Schedules such as 0.02 s apart add up to 0.9999999999 s. That is a second.
_ROUNDING: Final = 1e-9


class Window:
    """A sliding window of one second over moments that are told in order.

    Two moments exactly a second apart are not in the same window. Memory is bounded by the
    number of different moments within a second.
    """

    __slots__ = ("_counts", "_held", "_highest", "_moments")

    def __init__(self) -> None:
        self._moments: deque[float] = deque()
        self._counts: deque[int] = deque()
        self._held = 0
        self._highest = 0

    @property
    def highest(self) -> int:
        """The most there ever was in any window of one second."""
        return self._highest

    def count(self, at: float) -> int:
        """Return how many moments lie in the second that ends at ``at``."""
        self._forget(at)
        return self._held

    def add(self, at: float) -> None:
        """Note that something happened at ``at`` (seconds)."""
        self._forget(at)
        if self._moments and self._moments[-1] == at:
            self._counts[-1] += 1
        else:
            self._moments.append(at)
            self._counts.append(1)
        self._held += 1
        self._highest = max(self._highest, self._held)

    def _forget(self, at: float) -> None:
        moments = self._moments
        if moments and at < moments[-1]:
            # Clocks do not go back: this one belongs to another event loop, a new run.
            moments.clear()
            self._counts.clear()
            self._held = 0
        while moments and at - moments[0] >= _SECOND - _ROUNDING:
            moments.popleft()
            self._held -= self._counts.popleft()
