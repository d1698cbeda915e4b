"""Spacing: when the next call of one service may start, computed from clock readings alone.

Three rules apply at once, and the latest time of the three counts:

*Even spacing* (see `telecmi_async.pacing.law`): starts are one interval apart, which is
``1 / rate`` and a little more. If the caller waited and its timer fired late, the start is
charged at the time it was scheduled for, so that late timers do not lower the rate.

*The window*. Late starts could bunch up: a call scheduled at 0.00 s that starts at 0.02 s and
one that starts on time at 1.00 s are less than a second apart. So the n-th start after
another also keeps n intervals from it, with n the rate rounded up. For a whole number this
means that no second ever holds more starts than the rate.

*The pause*. After a reply that asks to slow down (429), no call starts before a time that only
moves forward. The success of another request does not end the pause.
"""

from __future__ import annotations

import math
from collections import deque

from telecmi_async.pacing.law import LATE_START, LOCAL_MARGIN

# Clock readings are floats: rounding must not let one start too many into a window.
_ROUNDING = 1e-6


class Spacing:
    """Spaces the starts of one service.

    Args:
        rate: Starts per second, or None if only pauses apply.
    """

    __slots__ = ("_credit", "_interval", "_not_before", "_scheduled", "_starts", "_window")

    def __init__(self, rate: float | None) -> None:
        count = 1 if rate is None else math.ceil(rate)
        self._interval = 0.0 if rate is None else LOCAL_MARGIN / rate
        self._window = count * self._interval + _ROUNDING
        self._credit = min(self._interval, LATE_START)
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
