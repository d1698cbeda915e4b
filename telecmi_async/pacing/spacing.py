"""When the next call may start: arithmetic on clock readings, nothing else.

Three rules at once, and the latest of them counts:

*Even spacing* (GCRA with a burst of one, that is a leaky bucket used as a meter): starts
are one interval apart, which is ``1 / rate`` and a little more. A start that was waited for
and came late is charged at the time it was scheduled for, so that timers that fire late do
not slow the rate down.

*The window*. Late starts could crowd: a call scheduled at 0.00 s that starts at 0.02 s and
one that starts on time at 1.00 s are less than a second apart. So the n-th start after
another also keeps n intervals from it, with n the rate rounded up. For a whole rate that
means: never more than that many starts in any second.

*The pause*. After "slow down", nobody starts before a moment that only moves forward.
Another request's success does not end it.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Spacing"]

# How late a wake-up may be to be charged at its scheduled time.
_LONGEST_CREDIT = 0.02
# What counts is when calls arrive, and no two take the same time to get there. With this much
# to spare a few milliseconds of difference still fit a second; 99.2 % of the rate are left.
_MARGIN = 1.008
# Clock readings are floats; their rounding must not put one start too many in a window.
_ROUNDING = 1e-6


class Spacing:
    """The starts of one service, spaced.

    Args:
        rate: Starts per second, or None if only pauses matter.
    """

    __slots__ = ("_credit", "_interval", "_not_before", "_scheduled", "_starts", "_window")

    def __init__(self, rate: float | None) -> None:
        count = 1 if rate is None else math.ceil(rate)
        self._interval = 0.0 if rate is None else _MARGIN / rate
        self._window = count * self._interval + _ROUNDING
        self._credit = min(self._interval, _LONGEST_CREDIT)
        self._starts: deque[float] = deque(maxlen=count)
        self._scheduled = -math.inf
        self._not_before = -math.inf

    @property
    def paced(self) -> bool:
        """Whether there is a rate to keep to."""
        return self._interval > 0

    @property
    def not_before(self) -> float:
        """The end of the pause, as a clock reading; minus infinity if there was none."""
        return self._not_before

    def wait(self, now: float) -> float:
        """Return how many seconds the next start has to wait; 0 or less: start now."""
        due = max(self._scheduled, self._not_before)
        if self.paced and len(self._starts) == self._starts.maxlen:
            due = max(due, self._starts[0] + self._window)
        return due - now

    def start(self, now: float, *, waited: bool) -> None:
        """Record a start.

        Args:
            now: The clock's reading.
            waited: Whether the caller had to wait for it. Then it is charged at the time it
                was scheduled for, unless it woke up far too late.
        """
        if self.paced:
            late = now - self._scheduled
            on_schedule = waited and late <= self._credit
            self._scheduled = (self._scheduled if on_schedule else now) + self._interval
            self._starts.append(now)

    def pause_until(self, moment: float) -> None:
        """Let nobody start before ``moment``; an earlier moment changes nothing."""
        self._not_before = max(self._not_before, moment)
