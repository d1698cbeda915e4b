"""Start scheduler: waits for a channel and a start time before each call, shared by all workers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from attrs import define, field

from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.errors import LedgerLost, StoreError
from telecmi_async.pacing.law import CLOSE_STARTS, LATE_START, RESERVED_AHEAD, SHARED_MARGIN
from telecmi_async.pacing.shared import SharedLimits

logger = logging.getLogger("telecmi_async")

# Seconds between two looks for a free channel; and for a start that is near enough, or limits
# that work again.
_CHANNEL_POLL: Final = 0.25
_POLL: Final = 1.0


@define(eq=False, slots=False)
class StartScheduler:
    """Starts one call after another, as the shared limits allow.

    One start is reserved at a time, or a few if they are close together: a worker that dies or is
    paused wastes no more than those, and if it wakes up late, only those come too late.

    Args:
        limits: What grants starts.
        leases: The channels of live calls.
        campaign: The campaign's name.
        settings: Its settings.
        rate: Returns how many calls of all campaigns that share may start in a second now.
        pause: Waits so many seconds at most; returns whether dialling goes on.
        longest: The longest wait for a start, in seconds, unless an interval is longer.
        apart: Whether the limits are kept elsewhere than the contacts. If so and they fail, it
            waits until they work again; otherwise it raises, since the ledger fails as well.
    """

    _limits: SharedLimits
    _leases: ChannelLeases
    _campaign: str
    _settings: CampaignSettings
    _rate: Callable[[], float] = field(kw_only=True, alias="rate")
    _pause: Callable[[float], Awaitable[bool]] = field(kw_only=True, alias="pause")
    _longest: float = field(kw_only=True, alias="longest")
    _apart: bool = field(kw_only=True, alias="apart")
    _failed: bool = field(default=False, init=False)
    #: Returns the time; a worker replaces it by the clock of its event loop, which is faster.
    now: Callable[[], float] = field(default=anyio.current_time, init=False)
    # The times of starts that were reserved ahead.
    _ahead: deque[float] = field(factory=deque[float], init=False)

    async def take(self, number: int) -> bool:
        """Wait for a call's channel and start; return False if dialling ends.

        Raises:
            StoreError: The limits fail, and are not kept apart; or they are a ledger that is
                lost.
        """
        while True:
            try:
                while not await self._leases.take(number):
                    if not await self._pause(_CHANNEL_POLL):
                        return False
                started = await self._start()
            except StoreError as error:
                if not self._apart or isinstance(error, LedgerLost):
                    raise
                self._note(error)
                if not await self._pause(_POLL):
                    return False
            else:
                self._note(None)
                return started

    async def hold(self, seconds: float) -> None:
        """Pause all workers that share the limits, as TeleCMI asked for.

        This reserves a start after which the next one is due so much later. If that is so
        already, none is reserved: many refusals at a time are one pause. If the limits fail, no
        worker starts calls anyway.

        Raises:
            LedgerLost: A ledger is what grants starts, and it is lost.
        """
        try:
            await self._limits.reserve(
                [(self._settings.pace.shared, seconds)], longest=seconds / 2
            )
        except LedgerLost:
            raise
        except StoreError:
            pass

    async def another(self) -> bool:
        """Wait for a start in place of one that is over; return False if there is none.

        Raises:
            LedgerLost: As `hold` does.
        """
        try:
            dues = await self._reserve(self._keys(), 1)
        except LedgerLost:
            raise
        except StoreError:
            return False
        return bool(dues) and await self._until(dues[0])

    async def _start(self) -> bool:
        """Wait for a start. A worker that woke up too late for it takes another, but only once."""
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
            if self.now() - due <= late or not again:
                return True
            again = False

    async def _until(self, due: float) -> bool:
        """Wait for a start; return whether dialling goes on."""
        while (rest := due - self.now()) > 0:
            if not await self._pause(rest):
                return False
        return True

    async def _next(self, keys: list[tuple[str, float]], late: float) -> float | None:
        """Return the time of the next reserved start; ``None`` if it is too far away."""
        earliest = self.now() - late
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
        """Reserve so many starts, unless they are too far away; return their times."""
        longest = max(self._longest, *(interval for _, interval in keys))
        waits = await self._limits.reserve(keys, longest=longest, most=most)
        now = self.now()
        return [now + wait for wait in waits]

    def _keys(self) -> list[tuple[str, float]]:
        """Return the names of all limits that apply, and their intervals."""
        pace = self._settings.pace
        rates = {
            pace.shared: self._rate(),
            f"{pace.shared}/from/{self._settings.from_}": pace.caller_id_calls_per_second,
            f"{pace.shared}/campaign/{self._campaign}": pace.campaign_calls_per_second,
        }
        return [(key, SHARED_MARGIN / rate) for key, rate in rates.items() if rate is not None]

    def _note(self, error: StoreError | None) -> None:
        """Log once that the limits fail, and once that they work again."""
        if error is not None and not self._failed:
            logger.error(
                "campaign %s: the shared limits fail, nothing is dialled: %s",
                self._campaign,
                error,
            )
        elif error is None and self._failed:
            logger.warning(
                "campaign %s: the shared limits work again, dialling goes on", self._campaign
            )
        self._failed = error is not None
