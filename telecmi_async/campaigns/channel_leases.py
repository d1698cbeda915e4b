"""Channel leases: the live calls of a campaign, limited over all workers."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.telecmi import LONGEST_CALL, RINGING
from telecmi_async.errors import LedgerLost, StoreError
from telecmi_async.ledger.states import ContactState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.campaigns.settings_in_use import SettingsInUse
    from telecmi_async.ledger import Ledger
    from telecmi_async.pacing.shared import SharedLimits

logger = logging.getLogger("telecmi_async")


# As many channels as there are.
_ANY: Final = 2**31 - 1
_LIVE: Final = (ContactState.SENDING, ContactState.PLACED, ContactState.UNKNOWN)


async def _live(ledger: Ledger, campaign: str) -> AsyncGenerator[int]:
    """Iterate over the numbers of calls that may be live."""
    oldest = await ledger.now() - LONGEST_CALL - RINGING
    async with aclosing(ledger.contacts(campaign, states=_LIVE)) as contacts:
        async for contact in contacts:
            if (contact.sent_at or 0.0) > oldest:
                yield contact.number


def holder_of(campaign: str, number: int | str) -> str:
    """Return the name that holds the channel of a call."""
    return f"{campaign}/{number}"


class ChannelLeases:
    """Takes and frees the channels of a campaign's calls, if those are limited.

    A call holds its channel from before it is sent until its record arrives. The holder is named
    after the number, so that a worker that dials it after a crash takes the same channel.
    """

    __slots__ = ("_complete", "_freeing", "_limits", "_owed", "_settings", "campaign")

    def __init__(self, limits: SharedLimits, campaign: str, settings: SettingsInUse) -> None:
        self.campaign = campaign
        self._limits = limits
        self._settings = settings
        # Whether every live call has its channel, since calls were limited.
        self._complete = False
        # Holders whose channels could not be freed, in the order in which it was tried.
        self._owed: dict[str, None] = {}
        # Holders whose channels are being freed: calls end together, and each is freed once.
        self._freeing: set[str] = set()

    @property
    def limited(self) -> bool:
        """Whether live calls are limited."""
        return self._settings.value.pace.max_live_calls is not None

    async def take(self, number: int) -> bool:
        """Take a channel for a call to a number; return False if all are taken."""
        limit = self._settings.value.pace.max_live_calls
        return limit is None or await self._take(number, limit)

    async def _take(self, number: int, limit: int) -> bool:
        holder = holder_of(self.campaign, number)
        self._owed.pop(holder, None)
        self._freeing.discard(holder)
        shared = self._settings.value.pace.shared
        return await self._limits.lease_channel(
            shared, holder, limit=limit, seconds=LONGEST_CALL + RINGING
        )

    async def take_for_live(self, ledger: Ledger) -> None:
        """Take channels for the calls that are live, if they began when none was limited.

        A call may end meanwhile, and its end frees no channel that it had not got yet. So those
        that are over by then are freed. If the ledger or the limits fail, the next try takes all.
        """
        self._complete = self._complete and self.limited
        if self._complete or not self.limited:
            return
        taken = {number async for number in _live(ledger, self.campaign)}
        for number in taken:
            await self._take(number, _ANY)
        for number in taken - {number async for number in _live(ledger, self.campaign)}:
            await self._free(holder_of(self.campaign, number))
        self._complete = True

    async def free(self, number: int | str) -> None:
        """Free the channel of a call to a number; if that fails, `free_owed` retries it."""
        if self.limited and await self._free(holder_of(self.campaign, number)):
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
            await self._limits.free_channel(self._settings.value.pace.shared, holder)
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
