"""Call evidence: puts events on record in the ledger that their calls were placed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.channel_leases import holder_of
from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.events import CallRecord
from telecmi_async.events.reference import reference_in
from telecmi_async.ledger import CallEvidence

if TYPE_CHECKING:
    from telecmi_async.campaigns.channel_leases import ChannelLeases
    from telecmi_async.events import Event
    from telecmi_async.ledger import Ledger
    from telecmi_async.pacing.shared import SharedLimits


async def record_call_event(
    ledger: Ledger,
    event: Event,
    *,
    limits: SharedLimits | None = None,
    own: ChannelLeases | None = None,
) -> str | None:
    """Put an event on record, and free the channel of a call that is over.

    Args:
        ledger: The ledger; open.
        event: The event; events may come in any order, and repeatedly.
        limits: Where channels are leased, if not in the ledger.
        own: The channels of the caller's campaign; those of others are freed in ``limits``.

    Returns:
        The campaign that placed the call; ``None`` if the ledger does not know the call.

    Raises:
        StoreError: The ledger or the limits fail; the event may be recorded again.
    """
    token = reference_in(event)
    if token is None and event.request_id is None:
        return None
    # The record of the first leg says that the call is over.
    record = event if isinstance(event, CallRecord) and event.leg in {None, "a"} else None
    rate = None if record is None else record.call_rate
    name = await ledger.record_event(
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
    if name is None or record is None:
        return name
    number = record.to or ""
    if own is not None and own.campaign == name:
        await own.free(number)
        return name
    pace = CampaignSettings.parse(await ledger.settings(name)).pace
    if pace.max_live_calls is not None:
        await (limits or ledger).free_channel(pace.shared, holder_of(name, number))
    return name
