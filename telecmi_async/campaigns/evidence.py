"""Call evidence: writes each event into the ledger of the campaign that placed its call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.channel_leases import holder_of
from telecmi_async.campaigns.settings import Pace
from telecmi_async.campaigns.stored_values import parse_value
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

    Events may come in any order, and repeatedly. Channels of the campaign of ``own`` are freed
    there, others in ``limits``, or in the ledger if not given. Return the campaign that placed
    the call; ``None`` if the ledger does not know the call.
    """
    token = reference_in(event)
    if token is None and event.request_id is None:
        return None
    # The record of the first leg says that the call is over. Each leg's record has its own cost.
    of_a_leg = event if isinstance(event, CallRecord) else None
    record = of_a_leg if of_a_leg is not None and of_a_leg.leg in {None, "a"} else None
    rate = None if of_a_leg is None else of_a_leg.call_rate
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
            leg=None if record is of_a_leg else f"{event.leg}:{event.cmiuuid or ''}",
        )
    )
    if name is None or record is None:
        return name
    number = record.to or ""
    if own is not None and own.campaign == name and own.limited:
        await own.free(number)
        return name
    # Live calls may be limited by now: a campaign that only records follows no changes.
    settings = await ledger.settings(name) or {}
    pace = parse_value(Pace, settings.get("pace", {}), "settings.pace")
    if pace.max_live_calls is not None:
        await (limits or ledger).free_channel(pace.shared, holder_of(name, number))
    return name
