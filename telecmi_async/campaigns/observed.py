"""What an observer sees of a campaign, and the trace contexts that its contacts carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from telecmi_async.ledger import NewContact
from telecmi_async.observer import ObservedCampaign
from telecmi_async.observer.notifier import TRACE_COLUMN, CallOrigin, trace_context_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telecmi_async.ledger import CampaignState, Claim
    from telecmi_async.observer.notifier import Notifier


def campaign_view(
    state: CampaignState, *, breaker_open: bool, slowdown: float, live_limit: int | None
) -> ObservedCampaign:
    """Return what an observer sees of a campaign, with facts about one of its workers."""
    waits = state.status == "dialling" and state.waits_for
    return ObservedCampaign(
        name=state.name,
        status="waiting for a retry" if waits else state.status,
        contacts={str(each): count for each, count in state.counts.items()},
        answer_rate=state.answer_rate,
        cost=state.cost,
        rate=state.rate,
        breaker_open=breaker_open,
        slowdown=slowdown,
        live_limit=live_limit,
    )


def origin_of(claim: Claim, campaign: str) -> CallOrigin:
    """Return where the call of a claimed contact comes from."""
    return CallOrigin(campaign, trace_context_of(claim.columns.get(TRACE_COLUMN)))


def traced(contacts: Iterable[Any], notify: Notifier | None) -> Iterable[Any]:
    """Give contacts the trace context of their load, if there is one."""
    trace = None if notify is None else notify.text("trace_context")
    return contacts if trace is None else _traced(contacts, trace)


def _traced(contacts: Iterable[Any], trace: str) -> Iterator[Any]:
    for contact in contacts:  # the ledger refuses what is none
        if isinstance(contact, NewContact) and TRACE_COLUMN not in contact.columns:
            yield attrs.evolve(contact, columns={**contact.columns, TRACE_COLUMN: trace})
        else:
            yield contact
