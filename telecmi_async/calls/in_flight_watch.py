"""In-flight watch: says when slow replies keep calls below their rate.

With ``n`` requests at a time that take ``t`` seconds each, no more than ``n / t`` calls start in a
second at any rate. No error shows it: calls merely wait for a slot.
"""

from __future__ import annotations

import logging
import math
from typing import Final

logger = logging.getLogger("telecmi_async")

# It says so below this share of the rate.
_ENOUGH: Final = 0.9
# That much is added to the smallest number that would do.
_ROOM: Final = 1.25
_SERVICE: Final = "RateLimit(max_in_flight={most})"
_CAMPAIGN: Final = (
    "Pace(max_in_flight={most}) and the service's RateLimit(max_in_flight={most})"
)


class InFlightWatch:
    """Watches the requests of one service, and warns once for each rate.

    Args:
        rate: How many calls may start in a second; None for no limit.
        most: How many requests may be under way at a time.
    """

    __slots__ = ("_most", "_needed", "_rate", "_said", "_seconds", "_slow", "in_flight")

    def __init__(self, rate: float | None, most: int) -> None:
        self._rate, self._most, self._needed = rate or 0.0, most, _SERVICE
        #: How many requests are under way.
        self.in_flight = 0
        self._slow = 0
        self._seconds = 0.0
        self._said = 0.0

    def expect(self, rate: float, most: int) -> None:
        """Watch the rate of a campaign, whose worker has at most so many requests under way."""
        self._rate, self._needed = max(self._rate, rate), _CAMPAIGN
        self._most = min(self._most, most)

    def begin(self) -> None:
        """Note that a request starts."""
        self.in_flight += 1

    def end(self, seconds: float) -> None:
        """Note that a request is over."""
        full = self.in_flight >= self._most
        self.in_flight -= 1
        if not full or self._rate <= self._said:
            self._slow, self._seconds = 0, 0.0
            return
        self._slow += 1
        self._seconds += seconds
        # As long as twice as many in a row leave no slot free.
        if self._slow >= 2 * self._most:
            self._judge(self._seconds / self._slow)

    def _judge(self, seconds: float) -> None:
        """Warn if replies that take so long do not allow the rate."""
        self._slow, self._seconds = 0, 0.0
        possible = self._most / seconds if seconds > 0 else math.inf
        if possible >= _ENOUGH * self._rate:
            return
        self._said = self._rate
        needed = self._needed.format(most=math.ceil(_ROOM * self._rate * seconds))
        logger.warning(
            "replies take %.2f s, so %d requests at a time are %.1f calls a second and not %g: "
            "set %s",
            seconds,
            self._most,
            possible,
            self._rate,
            needed,
        )
