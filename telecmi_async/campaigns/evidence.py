"""What an event proves about a call, on record in the ledger that the call was placed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.channel_leases import holder_of
from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.events import CallRecord
from telecmi_async.events.reference import reference_in
from telecmi_async.ledger import CallEvidence

if TYPE_CHECKING:
    from telecmi_async.events import Event
    from telecmi_async.ledger import Ledger
    from telecmi_async.pacing.shared import SharedLimits

__all__ = ["put_on_record", "record_of", "release_channel"]


def record_of(event: Event) -> CallRecord | None:
    """Return an event that is the record of a call's first leg: with it the call is over."""
    return event if isinstance(event, CallRecord) and event.leg in {None, "a"} else None


async def put_on_record(ledger: Ledger, event: Event) -> str | None:
    """Put an event on record; in any order, and however often, the same is known after.

    Args:
        ledger: The ledger; open.
        event: What TeleCMI tells.

    Returns:
        The campaign whose call it is; ``None`` if the ledger does not know the call.

    Raises:
        StoreError: The ledger fails; doing it again does no harm.
    """
    token = reference_in(event)
    if token is None and event.request_id is None:
        return None
    record = record_of(event)
    rate = None if record is None else record.call_rate
    return await ledger.record_event(
        CallEvidence(
            token=token,
            request_id=event.request_id,
            at=await ledger.now(),
            over=record is not None,
            answered=None if record is None else record.answered,
            talk_seconds=None if record is None else record.talk_seconds,
            cost=None if rate is None else float(rate),
            detail=str(getattr(event, "status", "") or ""),
        )
    )


async def release_channel(
    ledger: Ledger, name: str, record: CallRecord, limits: SharedLimits | None = None
) -> None:
    """Give back the channel of a call that is over.

    It is for whoever hears of a campaign's calls and does not dial them.

    Args:
        ledger: The ledger; open. It has the record already.
        name: The campaign.
        record: The call's record.
        limits: Where channels are leased, if not in the ledger.

    Raises:
        StoreError: The ledger or the limits fail; doing it again does no harm.
    """
    pace = CampaignSettings.parse(await ledger.settings(name)).pace
    if pace.max_live_calls is not None:
        holder = holder_of(name, record.to or "")
        await (limits or ledger).free_channel(pace.shared, holder)
