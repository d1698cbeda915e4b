"""The channels of live calls, which all workers of a campaign share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from telecmi_async._internal.telecmi import LONGEST_CALL, RINGING
from telecmi_async.errors import StoreError

if TYPE_CHECKING:
    from telecmi_async.campaigns.settings import Pace
    from telecmi_async.pacing.shared import SharedLimits

__all__ = ["ChannelLeases", "holder_of"]

logger = logging.getLogger("telecmi_async")


def holder_of(campaign: str, number: int | str) -> str:
    """Return in whose name a call's channel is held."""
    return f"{campaign}/{number}"


class ChannelLeases:
    """Takes and frees the channels of a campaign's calls, if those are limited.

    A call holds its channel from before it is sent until its record comes. It is held in the
    name of the number, so that whoever dials it after a crash takes the same one.

    Args:
        limits: Where channels are leased.
        campaign: The campaign's name.
        pace: Its limits.
    """

    __slots__ = ("_campaign", "_limit", "_limits", "_owed", "_paying", "_shared")

    def __init__(self, limits: SharedLimits, campaign: str, pace: Pace) -> None:
        self._limits = limits
        self._campaign = campaign
        self._limit = pace.max_live_calls
        self._shared = pace.shared
        # What could not be given back, in the order in which it was tried.
        self._owed: dict[str, None] = {}
        # What is being given back: calls end together, and each is given back once.
        self._paying: set[str] = set()

    async def take(self, number: int) -> bool:
        """Take a channel for a call to a number; False if all are taken.

        Raises:
            StoreError: The limits fail.
        """
        if self._limit is None:
            return True
        holder = self._holder(number)
        self._owed.pop(holder, None)
        self._paying.discard(holder)
        return await self._limits.lease_channel(
            self._shared, holder, limit=self._limit, seconds=LONGEST_CALL + RINGING
        )

    async def free(self, number: int | str) -> None:
        """Give the channel of a call to a number back; if that fails, `free_owed` does later."""
        if self._limit is not None and await self._pay(self._holder(number)):
            await self.free_owed()

    async def free_owed(self) -> None:
        """Give back what could not be given back before, as far as the limits work."""
        while self._owed:
            holder = next(iter(self._owed))
            del self._owed[holder]
            if not await self._pay(holder):
                return

    async def _pay(self, holder: str) -> bool:
        """Give one channel back; tell whether that worked, or it is owed."""
        self._paying.add(holder)
        try:
            await self._limits.free_channel(self._shared, holder)
        except BaseException as error:
            if holder in self._paying:  # else it was taken anew meanwhile
                self._owed[holder] = None
            if not isinstance(error, StoreError):
                raise
            logger.warning(
                "campaign %s: %d channels are given back later: %s",
                self._campaign,
                len(self._owed),
                error,
            )
            return False
        finally:
            self._paying.discard(holder)
        return True

    def _holder(self, number: int | str) -> str:
        return holder_of(self._campaign, number)
