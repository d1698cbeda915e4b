"""Channel leases: the live calls of a campaign, limited over all workers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from telecmi_async._internal.telecmi import LONGEST_CALL, RINGING
from telecmi_async.errors import LedgerLost, StoreError

if TYPE_CHECKING:
    from telecmi_async.campaigns.settings import Pace
    from telecmi_async.pacing.shared import SharedLimits

logger = logging.getLogger("telecmi_async")


def holder_of(campaign: str, number: int | str) -> str:
    """Return the name that holds the channel of a call."""
    return f"{campaign}/{number}"


class ChannelLeases:
    """Takes and frees the channels of a campaign's calls, if those are limited.

    A call holds its channel from before it is sent until its record arrives. The holder is named
    after the number, so that a worker that dials it after a crash takes the same channel.
    """

    __slots__ = ("_freeing", "_limit", "_limits", "_owed", "_shared", "campaign")

    def __init__(self, limits: SharedLimits, campaign: str, pace: Pace) -> None:
        self.campaign = campaign
        self._limits = limits
        self._limit = pace.max_live_calls
        self._shared = pace.shared
        # Holders whose channels could not be freed, in the order in which it was tried.
        self._owed: dict[str, None] = {}
        # Holders whose channels are being freed: calls end together, and each is freed once.
        self._freeing: set[str] = set()

    async def take(self, number: int) -> bool:
        """Take a channel for a call to a number; return False if all are taken."""
        if self._limit is None:
            return True
        holder = holder_of(self.campaign, number)
        self._owed.pop(holder, None)
        self._freeing.discard(holder)
        return await self._limits.lease_channel(
            self._shared, holder, limit=self._limit, seconds=LONGEST_CALL + RINGING
        )

    async def free(self, number: int | str) -> None:
        """Free the channel of a call to a number; if that fails, `free_owed` retries it."""
        if self._limit is not None and await self._free(holder_of(self.campaign, number)):
            await self.free_owed()

    async def free_owed(self) -> None:
        """Free the channels that could not be freed before, until the limits fail."""
        while self._owed:
            holder = next(iter(self._owed))
            del self._owed[holder]
            if not await self._free(holder):
                return

    async def _free(self, holder: str) -> bool:
        """Free one channel; return False if it is owed."""
        self._freeing.add(holder)
        try:
            await self._limits.free_channel(self._shared, holder)
        except BaseException as error:
            if holder in self._freeing:  # otherwise it was taken again meanwhile
                self._owed[holder] = None
            if isinstance(error, LedgerLost) or not isinstance(error, StoreError):
                raise
            logger.warning(
                "campaign %s: %d channels are freed later: %s",
                self.campaign,
                len(self._owed),
                error,
            )
            return False
        finally:
            self._freeing.discard(holder)
        return True
