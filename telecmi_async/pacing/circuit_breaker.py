"""Circuit breaker and adaptive rate: what slows a campaign down or stops it; pure arithmetic.

*Circuit breaker.* A send whose outcome is unknown is a person who cannot be dialled again
without proof. When many recent sends end so, or cannot be connected, something is broken between
here and TeleCMI, and no calls are better than a thousand unknown ones: all sends pause, and
single probes go out after 5, 10, 20 … 120 seconds. A probe that is answered in any way
ends the pause.

*Adaptive rate.* After a "too many" reply the rate is cut to 0.7 of its value, and grows again as
a cubic (the law of TCP CUBIC, RFC 9438): fast at first, slowly near the rate that was too much,
then faster beyond it, up to the rate that was asked for. So it finds out which rate the account
allows now, and which it allows later.
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
    NotSent,
    RateLimited,
)

if TYPE_CHECKING:
    from telecmi_async.errors import TelecmiError

# The breaker opens when this many of the last sends failed: five, and at least a fifth.
_WINDOW = 25
_MOST = 5
_FIRST_PROBE = 5.0
_LONGEST_PAUSE = 120.0

_BETA = 0.7
_SCALE = 0.4
_FLOOR = 0.5
# A send that waited long for its start says nothing about how long a reply takes.
_LONGEST_ROUND_TRIP = 10.0


class CircuitBreaker:
    """Pauses all sends when too many of the last ones ended unknown, or could not be connected."""

    __slots__ = ("_last", "_next_probe", "_opened", "_pause", "_probe")

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=_WINDOW)
        self._opened: float | None = None
        self._pause = _FIRST_PROBE
        self._next_probe = -math.inf
        self._probe: float | None = None

    @property
    def open(self) -> bool:
        """Whether sends are paused, except probes."""
        return self._opened is not None

    @property
    def probing(self) -> bool:
        """Whether a probe is under way."""
        return self._probe is not None

    def wait(self, now: float) -> float:
        """Return how many seconds from now a send may start; 0 if it may start now.

        While sends are paused, a 0 permits one probe. The next is permitted when that one has
        ended, or so long after it that it never will.
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

    def ended(self, now: float, *, began: float, failed: bool | None) -> None:
        """Record how a send ended.

        Args:
            now: The time.
            began: When it was permitted. Only the probe's end counts during a pause, and a coarse
                clock reads the same for the pause's beginning and sends from before it.
            failed: Whether its outcome is unknown, or it could not be connected; False if it
                was answered; ``None`` if nothing was tried.
        """
        if self._opened is None:
            if failed is not None:
                self._count(now, failed=failed)
            return
        if self._probe is None or began < self._probe:
            return
        self._probe = None
        if failed is False:
            self._opened = None
            self._pause = _FIRST_PROBE
            return
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._next_probe = now + self._pause

    def withdraw(self) -> None:
        """Give up the probe: another may go out in its place, at once."""
        self._probe = None

    def _count(self, now: float, *, failed: bool) -> None:
        self._last.append(failed)
        if sum(self._last) >= _MOST:
            self._opened = now
            self._next_probe = now + self._pause
            # After the pause, counting begins again.
            self._last.clear()


class AdaptiveRate:
    """The rate at which calls may start: the ceiling, until TeleCMI replies "too many".

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

    def change(self, ceiling: float, now: float) -> None:
        """Change the rate that is asked for; a cut that TeleCMI caused goes on."""
        if self._cut_at is not None and self.rate(now) >= self._ceiling:
            self._cut_at = None  # it had grown back
        self._ceiling = ceiling
        self._floor = min(_FLOOR, ceiling)

    def refused(self, now: float, *, round_trip: float) -> None:
        """Cut the rate, since TeleCMI replied "too many".

        Args:
            now: The time.
            round_trip: Seconds from the request to its reply. Requests that were on their way
                when the rate was cut do not cut it again.
        """
        if now < self._no_cut_before:
            return
        self._most = self.rate(now)
        self._cut_at = now
        self._no_cut_before = now + max(1.0, 2 * min(round_trip, _LONGEST_ROUND_TRIP))


class SendThrottle:
    """Circuit breaker and adaptive rate of one campaign.

    Args:
        rate: Calls per second that were asked for.

    Raises:
        ConfigurationError: ``rate`` is not a positive number.
    """

    __slots__ = ("_adaptive", "_breaker")

    def __init__(self, rate: float) -> None:
        if not 0 < rate < math.inf:
            raise ConfigurationError("the rate must be a positive number of calls per second")
        self._breaker = CircuitBreaker()
        self._adaptive = AdaptiveRate(rate)

    @property
    def open(self) -> bool:
        """Whether all sends are paused, because too many of the last ones failed."""
        return self._breaker.open

    def room(self) -> int:
        """Return how many contacts are worth claiming: any number, one for a probe, or none."""
        if not self._breaker.open:
            return sys.maxsize
        return 0 if self._breaker.probing else 1

    def wait(self, now: float) -> float:
        """Return how many seconds from now a send may start; see `CircuitBreaker.wait`."""
        return self._breaker.wait(now)

    def withdraw(self) -> None:
        """Give up the probe that `wait` permitted; see `CircuitBreaker.withdraw`."""
        self._breaker.withdraw()

    def rate(self, now: float) -> float:
        """Return how many calls may start in a second, now."""
        return self._adaptive.rate(now)

    def change_rate(self, rate: float, now: float) -> None:
        """Change how many calls are asked for in a second."""
        self._adaptive.change(rate, now)

    def record(self, error: TelecmiError | None, now: float, *, began: float) -> None:
        """Record how a send ended.

        Args:
            error: What its handle raised, if it did.
            now: The time.
            began: When `wait` permitted it.
        """
        failed: bool | None
        match error:
            case RateLimited():
                self._adaptive.refused(now, round_trip=now - began)
                failed = False
            case None | CallRejected():
                failed = False
            case CallOutcomeUnknown():
                failed = True
            case NotSent() if error.unreached:
                failed = True
            case _:
                failed = None
        self._breaker.ended(now, began=began, failed=failed)
