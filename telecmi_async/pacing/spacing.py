"""Spacing: when the next call of one service may start, computed from clock readings alone.

Three rules apply at once, and the latest time of the three counts:

*Even spacing* (see `telecmi_async.pacing.law`): starts are one interval apart, which is
``1 / rate`` and a little more. If the caller was ready and its timer fired late, the start is
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

from telecmi_async.pacing.law import BUNCHED_STARTS, LATE_START, LOCAL_MARGIN

# Clock readings are floats: rounding must not let one start too many into a window.
_ROUNDING = 1e-6


class Spacing:
    """Spaces the starts of one service.

    Args:
        rate: Starts per second, or None if only pauses apply.
    """

    __slots__ = (
        "_credit",
        "_interval",
        "_kept",
        "_not_before",
        "_scheduled",
        "_starts",
        "_window",
        "due",
        "paced",
    )

    def __init__(self, rate: float | None) -> None:
        count = 1 if rate is None else math.ceil(rate)
        self._interval = 0.0 if rate is None else LOCAL_MARGIN / rate
        self._window = count * self._interval + _ROUNDING
        bunched = self._interval < BUNCHED_STARTS
        self._credit = LATE_START if bunched else min(self._interval, LATE_START)
        self._kept = LATE_START if bunched else 0.0
        self._starts: deque[float] = deque(maxlen=count)
        self._scheduled = -math.inf
        self._not_before = -math.inf
        #: Whether there is a rate to keep to.
        self.paced = rate is not None
        #: When the next start is due, as a clock reading; minus infinity if nothing delays it.
        self.due = -math.inf

    @property
    def unlimited(self) -> bool:
        """Whether there is no rate, and there never was a pause."""
        return self.due == -math.inf and not self.paced

    @property
    def not_before(self) -> float:
        """The end of the pause, as a clock reading; minus infinity if there was none."""
        return self._not_before

    def wait(self, now: float) -> float:
        """Return how many seconds the next start has to wait; 0 or less: start now."""
        return self.due - now

    def start(self, now: float, *, since: float) -> None:
        """Record a start.

        Args:
            now: The clock's reading.
            since: When the caller was ready to start, and waited for its time alone. The start
                is charged at its scheduled time, or at this one if that is later. A delay that
                is too long is not made good; at high rates its last part is.
        """
        if not self.paced:
            return
        planned = max(self._scheduled, self._not_before, since)
        if now - planned > self._credit:
            planned = now - self._kept
        self._scheduled = planned + self._interval
        self._starts.append(now)
        self.due = self._scheduled
        if len(self._starts) == self._starts.maxlen:
            self.due = max(self.due, self._starts[0] + self._window)

    def pause_until(self, moment: float) -> None:
        """Let no call start before ``moment``; an earlier moment changes nothing."""
        self._not_before = max(self._not_before, moment)
        self.due = max(self.due, moment)
