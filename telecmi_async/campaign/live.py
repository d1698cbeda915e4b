"""The channels of live calls, which all workers of a ledger share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telecmi_async.campaign.settings import Pace
    from telecmi_async.ledger import Ledger

__all__ = ["LiveCalls"]

# How long a call may hold its channel whose end is not heard of: what TeleCMI's SDK assumes a
# call may last, and a minute of ringing.
_LONGEST_CALL: Final = 5_460.0


class LiveCalls:
    """Takes and frees the channels of a campaign's calls, if those are limited.

    A call holds its channel from before it is sent until its record comes. It is held in the
    name of the number, so that whoever dials it after a crash takes the same one.

    Args:
        ledger: Where channels are leased.
        campaign: The campaign's name.
        pace: Its limits.
    """

    __slots__ = ("_campaign", "_ledger", "_limit", "_shared")

    def __init__(self, ledger: Ledger, campaign: str, pace: Pace) -> None:
        self._ledger = ledger
        self._campaign = campaign
        self._limit = pace.live_calls
        self._shared = pace.shared

    async def take(self, number: int) -> bool:
        """Take a channel for a call to a number; False if all are taken."""
        return self._limit is None or await self._ledger.lease_channel(
            self._shared, self._holder(number), limit=self._limit, seconds=_LONGEST_CALL
        )

    async def free(self, number: int | str) -> None:
        """Give the channel of a call to a number back."""
        if self._limit is not None:
            await self._ledger.free_channel(self._shared, self._holder(number))

    def _holder(self, number: int | str) -> str:
        return f"{self._campaign}/{number}"
