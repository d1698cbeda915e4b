"""What slows a campaign down, or stops it for a while: arithmetic, told the time.

*The breaker.* A send whose fate is unknown is a person who cannot be dialled again without
proof. When many recent sends end so, something is broken between here and TeleCMI, and no
calls are better than a thousand unknown ones: all sends pause, and single probes go out after
5, 10, 20 … 120 seconds. One that is answered, whatever the answer, ends the pause.

*The slow-down.* "Too many" is answered by dialling less: the rate is cut to 0.7 of what it was,
and grows again as a cubic (the law of TCP CUBIC, RFC 9438): fast at first, slowly near the rate
that was too much, then faster beyond it, up to the rate that was asked for. So it finds out
what the account is good for now, and what it is good for later.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import TYPE_CHECKING

from telecmi_async.errors import (
    CallOutcomeUnknown,
    CallRejected,
    ConfigurationError,
    RateLimited,
)

if TYPE_CHECKING:
    from telecmi_async.errors import TelecmiError

__all__ = ["AdaptiveRate", "Breaker", "CircuitBreaker"]

# The breaker looks at so many sends, and trips at so many of them: five, and a fifth at least.
_WINDOW = 25
_MOST = 5
_FIRST_PROBE = 5.0
_LONGEST_PAUSE = 120.0

_BETA = 0.7
_SCALE = 0.4
_FLOOR = 0.5
# What waited long for its turn tells nothing of how long an answer takes.
_LONGEST_ROUND_TRIP = 10.0


class Breaker:
    """Pauses all sends when too many of the last ones ended unknown."""

    __slots__ = ("_last", "_next_probe", "_opened", "_pause", "_probe")

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=_WINDOW)
        self._opened: float | None = None
        self._pause = _FIRST_PROBE
        self._next_probe = -math.inf
        self._probe: float | None = None

    @property
    def open(self) -> bool:
        """Whether sends are paused, but for probes."""
        return self._opened is not None

    @property
    def probing(self) -> bool:
        """Whether a probe is under way."""
        return self._probe is not None

    def wait(self, now: float) -> float:
        """Return how many seconds from now a send may start; 0 if it may start now.

        While sends are paused, a 0 is the permission for one probe: the next is given when that
        one's end was told, or so long after it that it never will be.
        """
        if self._opened is None:
            return 0.0
        due = self._next_probe
        if self._probe is not None:
            due = max(due, self._probe + _LONGEST_PAUSE)
        if now < due:
            return due - now
        self._probe = now
        return 0.0

    def ended(self, now: float, *, began: float, unknown: bool | None) -> None:
        """Hear how a send ended.

        Args:
            now: The time.
            began: When it was permitted. One from before the pause says nothing about its end.
            unknown: Whether its fate is unknown; False if it was answered; ``None`` if nothing
                was sent.
        """
        if self._opened is None:
            if unknown is not None:
                self._look(now, unknown=unknown)
            return
        if began < self._opened or self._probe is None:
            return
        self._probe = None
        if unknown is False:
            self._opened = None
            self._pause = _FIRST_PROBE
            return
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._next_probe = now + self._pause

    def withdraw(self) -> None:
        """Hear that the probe was given up: another may go out in its place, at once."""
        self._probe = None

    def _look(self, now: float, *, unknown: bool) -> None:
        self._last.append(unknown)
        if sum(self._last) >= _MOST:
            self._opened = now
            self._next_probe = now + self._pause
            # What was seen is dealt with; after the pause it is looked at afresh.
            self._last.clear()


class AdaptiveRate:
    """The rate at which calls may start: the ceiling, until TeleCMI says "too many".

    Args:
        ceiling: Calls per second that were asked for.
    """

    __slots__ = ("_ceiling", "_cut_at", "_floor", "_most", "_no_cut_before")

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self._floor = min(_FLOOR, ceiling)
        # The rate that was too much, and when it was.
        self._most = ceiling
        self._cut_at: float | None = None
        self._no_cut_before = -math.inf

    def rate(self, now: float) -> float:
        """Return how many calls may start in a second, now."""
        if self._cut_at is None:
            return self._ceiling
        back_after = math.cbrt(self._most * (1 - _BETA) / _SCALE)
        grown = self._most + _SCALE * (now - self._cut_at - back_after) ** 3
        if grown >= self._ceiling:
            return self._ceiling
        return max(grown, self._floor)

    def refused(self, now: float, *, round_trip: float) -> None:
        """Hear that TeleCMI said "too many".

        Args:
            now: The time.
            round_trip: Seconds from the request to its answer. What was on its way when the
                rate was cut is no reason to cut it again.
        """
        if now < self._no_cut_before:
            return
        self._most = self.rate(now)
        self._cut_at = now
        self._no_cut_before = now + max(1.0, 2 * min(round_trip, _LONGEST_ROUND_TRIP))


class CircuitBreaker:
    """Breaker and slow-down of one campaign.

    Args:
        rate: Calls per second that were asked for.

    Raises:
        ConfigurationError: ``rate`` is not a positive number.
    """

    __slots__ = ("_breaker", "_slowdown")

    def __init__(self, rate: float) -> None:
        if not 0 < rate < math.inf:
            raise ConfigurationError("the rate must be a positive number of calls per second")
        self._breaker = Breaker()
        self._slowdown = AdaptiveRate(rate)

    @property
    def open(self) -> bool:
        """Whether all sends are paused, for too many ended unknown."""
        return self._breaker.open

    def room(self) -> int:
        """Return how many contacts are worth claiming: any number, one for a probe, or none."""
        if not self._breaker.open:
            return sys.maxsize
        return 0 if self._breaker.probing else 1

    def wait(self, now: float) -> float:
        """Return how many seconds from now a send may start; see `Breaker.wait`."""
        return self._breaker.wait(now)

    def withdraw(self) -> None:
        """Hear that nothing came of the probe that `wait` let start; see `Breaker.withdraw`."""
        self._breaker.withdraw()

    def rate(self, now: float) -> float:
        """Return how many calls may start in a second, now."""
        return self._slowdown.rate(now)

    def record(self, error: TelecmiError | None, now: float, *, began: float) -> None:
        """Hear how a send ended.

        Args:
            error: What its handle raised, if it did.
            now: The time.
            began: When `wait` let it start.
        """
        unknown: bool | None
        match error:
            case RateLimited():
                self._slowdown.refused(now, round_trip=now - began)
                unknown = False
            case None | CallRejected():
                unknown = False
            case CallOutcomeUnknown():
                unknown = True
            case _:
                unknown = None
        self._breaker.ended(now, began=began, unknown=unknown)
