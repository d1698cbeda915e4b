"""Start scheduler: waits for a channel and a start before each call, shared by all workers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import define, field

from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.settings_in_use import SettingsInUse
from telecmi_async.errors import StoreError
from telecmi_async.pacing.shared import SharedLimits
from telecmi_async.pacing.shared_starts import SharedStarts, passing

logger = logging.getLogger("telecmi_async")

# Seconds between two looks for a free channel; and for limits that work again.
_CHANNEL_POLL: Final = 0.25
_POLL: Final = 1.0


@define(eq=False, slots=False)
class StartScheduler:
    """Starts one call after another, as the shared limits allow.

    Args:
        limits: What grants starts.
        leases: The channels of live calls.
        campaign: The campaign's name.
        settings: Its settings at each moment.
        rate: Returns how many calls of all campaigns that share may start in a second now.
        pause: Waits so many seconds at most; returns whether dialling goes on.
        longest: The longest wait for a start, in seconds, unless an interval is longer.
        apart: Whether the limits are kept elsewhere than the contacts. If so and they fail, it
            waits until they work again; otherwise it raises, since the ledger fails as well.
    """

    _limits: SharedLimits
    _leases: ChannelLeases
    _campaign: str
    _settings: SettingsInUse
    _rate: Callable[[], float] = field(kw_only=True, alias="rate")
    _pause: Callable[[float], Awaitable[bool]] = field(kw_only=True, alias="pause")
    _longest: float = field(kw_only=True, alias="longest")
    _apart: bool = field(kw_only=True, alias="apart")
    _failed: bool = field(default=False, init=False)
    #: The starts of its calls.
    starts: SharedStarts = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.starts = SharedStarts(
            self._limits, rates=self._rates, pause=self._pause, longest=self._longest
        )

    async def take(self, number: int) -> float | None:
        """Wait for a call's channel and until its intent is to be put on record.

        Returns:
            When its start is, for `SharedStarts.reach`; ``None`` if dialling ends.

        Raises:
            StoreError: The limits fail, and are not kept apart; or they are a ledger that is
                lost.
        """
        while True:
            try:
                while not await self._leases.take(number):
                    if not await self._pause(_CHANNEL_POLL):
                        return None
                due = await self.starts.take()
            except StoreError as error:
                if not self._apart:
                    raise
                self._note(passing(error))
                if not await self._pause(_POLL):
                    return None
            else:
                self._note(None)
                return due

    def _rates(self) -> dict[str, float | None]:
        """Return the names of all limits that apply, and their rates."""
        settings = self._settings.value
        pace = settings.pace
        return {
            pace.shared: self._rate(),
            f"{pace.shared}/from/{settings.from_}": pace.caller_id_calls_per_second,
            f"{pace.shared}/campaign/{self._campaign}": pace.campaign_calls_per_second,
        }

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
