"""What a worker waits for before each call: a channel and a start, shared by all workers."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from anyio import current_time

from telecmi_async.errors import StoreError
from telecmi_async.pacing.law import CLOSE_STARTS, LATE_START, RESERVED_AHEAD, SHARED_MARGIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.campaigns.channel_leases import ChannelLeases
    from telecmi_async.campaigns.settings import CampaignSettings
    from telecmi_async.pacing.shared import SharedLimits

__all__ = ["StartScheduler"]

logger = logging.getLogger("telecmi_async")

# How often it is asked again whether a channel is free, a start is near enough, or the limits
# are back, in seconds.
_CHANNEL_POLL: Final = 0.25
_POLL: Final = 1.0


class StartScheduler:
    """Lets one call after another start, as the shared limits allow.

    One start is reserved at a time, a few if they are close together: a worker that dies or is
    paused wastes no more than those, and however late it wakes up, it brings so many calls too
    many to that second, not a crowd.

    Args:
        limits: What grants starts.
        live: The channels of live calls.
        campaign: The campaign's name.
        settings: What it was begun with.
        rate: Tells how many calls of all campaigns that share may start in a second now.
        pause: Waits so many seconds at most; tells whether dialling goes on.
        longest: The longest wait for a start, in seconds, unless an interval is longer.
        apart: Whether the limits are kept elsewhere than the contacts. Then it waits here until
            they are back, if they fail; else it raises, for the contacts are gone as well.
    """

    def __init__(
        self,
        limits: SharedLimits,
        live: ChannelLeases,
        campaign: str,
        settings: CampaignSettings,
        *,
        rate: Callable[[], float],
        pause: Callable[[float], Awaitable[bool]],
        longest: float,
        apart: bool,
    ) -> None:
        self._limits = limits
        self._live = live
        self._campaign = campaign
        self._settings = settings
        self._rate = rate
        self._pause = pause
        self._longest = longest
        self._apart = apart
        self._failed = False
        # When the starts are that were reserved ahead.
        self._ahead: deque[float] = deque()

    async def take(self, number: int) -> bool:
        """Wait for a call's turn; False if dialling does not go on.

        Raises:
            StoreError: The limits fail, and they are not kept apart.
        """
        while True:
            try:
                taken = await self._channel(number) and await self._start()
            except StoreError as error:
                if not self._apart:
                    raise
                self._say(error)
                if not await self._pause(_POLL):
                    return False
            else:
                self._say(None)
                return taken

    async def hold(self, seconds: float) -> None:
        """Let nobody start for so long who shares the limits, since TeleCMI asked for that.

        It is a start after which the next one is due so much later. If that is so already,
        none is reserved: many refusals at a time are one pause. Should the limits fail,
        nobody starts anyway.
        """
        with suppress(StoreError):
            await self._limits.reserve(
                [(self._settings.pace.shared, seconds)], longest=seconds / 2
            )

    async def another(self) -> bool:
        """Wait for a start in place of one that is over; False if there is none."""
        try:
            dues = await self._reserve(self._keys(), 1)
        except StoreError:
            return False
        return bool(dues) and await self._until(dues[0])

    async def _channel(self, number: int) -> bool:
        while not await self._live.take(number):
            if not await self._pause(_CHANNEL_POLL):
                return False
        return True

    async def _start(self) -> bool:
        """Wait for a start. If it woke up too late for it, it takes another, but only once."""
        again = True
        while True:
            keys = self._keys()
            late = max(LATE_START, min(interval for _, interval in keys) / 2)
            due = await self._next(keys, late)
            if due is None:
                if not await self._pause(_POLL):
                    return False
                continue
            if not await self._until(due):
                return False
            if current_time() - due <= late or not again:
                return True
            again = False

    async def _until(self, due: float) -> bool:
        """Wait for a start; tell whether dialling goes on."""
        while (rest := due - current_time()) > 0:
            if not await self._pause(rest):
                return False
        return True

    async def _next(self, keys: list[tuple[str, float]], late: float) -> float | None:
        """Return when the next start is that was reserved; ``None`` if that is too far away."""
        earliest = current_time() - late
        while self._ahead and self._ahead[0] < earliest:
            self._ahead.popleft()
        apart = max(interval for _, interval in keys)
        starts, seconds = RESERVED_AHEAD
        most = max(starts, int(seconds / apart)) if apart < CLOSE_STARTS else 0
        if not self._ahead:
            self._ahead.extend(await self._reserve(keys, 1 + most))
        due = self._ahead.popleft() if self._ahead else None
        if due is not None and len(self._ahead) <= most // 2 < most:
            self._ahead.extend(await self._reserve(keys, most - len(self._ahead)))
        return due

    async def _reserve(self, keys: list[tuple[str, float]], most: int) -> list[float]:
        """Reserve so many starts, as far as they are not too far away; return when they are."""
        longest = max(self._longest, *(interval for _, interval in keys))
        waits = await self._limits.reserve(keys, longest=longest, most=most)
        now = current_time()
        return [now + wait for wait in waits]

    def _keys(self) -> list[tuple[str, float]]:
        """Return the names of all limits that count, and their intervals."""
        pace = self._settings.pace
        rates = {
            pace.shared: self._rate(),
            f"{pace.shared}/from/{self._settings.from_}": pace.caller_id_calls_per_second,
            f"{pace.shared}/campaign/{self._campaign}": pace.campaign_calls_per_second,
        }
        return [(key, SHARED_MARGIN / rate) for key, rate in rates.items() if rate is not None]

    def _say(self, error: StoreError | None) -> None:
        """Say once that the limits fail, and once that they are back."""
        if error is not None and not self._failed:
            logger.error(
                "campaign %s: nothing is dialled, for the shared limits fail: %s",
                self._campaign,
                error,
            )
        elif error is None and self._failed:
            logger.warning(
                "campaign %s: the shared limits are back; dialling goes on", self._campaign
            )
        self._failed = error is not None
