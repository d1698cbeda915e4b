"""The simulator's own time: the event loop's, faster if asked to."""

from __future__ import annotations

from typing import Final

__all__ = ["Clock"]

# A wait must move the event loop's clock. Of what rounding leaves, 1e-16 s, there is no end on
# a virtual one: added to 5 s it is 5 s again.
_SHORTEST: Final = 1e-6


class Clock:
    """Reads an event loop's clock as seconds since the simulator's beginning.

    On a virtual event loop it is virtual, too. It goes on where it was if the simulator is used
    in another event loop, whose clock begins anew.

    Args:
        speed: How many of its seconds pass in one of the event loop's.
    """

    __slots__ = ("_anchor", "_now", "_speed")

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._now = 0.0
        self._anchor: float | None = None

    @property
    def now(self) -> float:
        """The time at which it was last read."""
        return self._now

    def read(self, at: float) -> float:
        """Return the time at a moment of the event loop's clock. It never goes back."""
        if self._anchor is not None and at > self._anchor:
            self._now += (at - self._anchor) * self._speed
        self._anchor = at
        return self._now

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += seconds

    def until(self, when: float) -> float:
        """Return how many of the event loop's seconds to wait for a time, never none at all."""
        return max(_SHORTEST, (when - self._now) / self._speed)
