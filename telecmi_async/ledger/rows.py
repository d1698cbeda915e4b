"""Rows: how rows of either database become contacts and claims."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from attrs import fields

from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.records import CampaignState, Claim, Contact, Passage
from telecmi_async.ledger.states import ContactState
from telecmi_async.ledger.status import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What is selected for `claim_from` and `contact_from`, in the order of the classes' fields.
CLAIM_COLUMNS: Final = "id, number, columns, epoch, sends, not_after, excused, redials"
CONTACT_COLUMNS: Final = (
    "number, state, reason, sends, columns, request_id, answered, talk_seconds, "
    "CASE WHEN cost IS NOT NULL OR legs_cost > 0 THEN coalesce(cost, 0) + legs_cost END, "
    "sent_at, finished_at, CASE state WHEN 'pending' THEN nullif(not_before, 0) END, redials"
)
#: The rate is that of so many seconds.
RATE_SPAN: Final = 60
#: Rules that postpone contacts until a time; changed settings judge them again.
POSTPONED_BY_RULES: Final = ("calling_window", "per_day", "per_number", "cost")
_CLAIM_FIELDS: Final = [each.name for each in fields(Claim)]
_CONTACT_FIELDS: Final = [each.name for each in fields(Contact) if each.name != "history"]


def claim_from(row: Sequence[Any]) -> Claim:
    """Return the claim of a row of `CLAIM_COLUMNS`."""
    return Claim(**_values(_CLAIM_FIELDS, row))


def contact_from(row: Sequence[Any], history: Sequence[Sequence[Any]] = ()) -> Contact:
    """Return the contact of `CONTACT_COLUMNS`; its passages are (at, what, detail, token)."""
    passages = tuple(
        Passage(at=at, what=what, detail=detail, token=token)
        for at, what, detail, token in history
    )
    return Contact(**_values(_CONTACT_FIELDS, row), history=passages)


def state_from(name: str, counts: Mapping[str, int], row: Sequence[Any]) -> CampaignState:
    """Return a campaign's state.

    Its row is (what was asked, why, sends, cost, sends of known cost, sends that may have rung,
    ended and answered calls, talk seconds, sends within `RATE_SPAN` and the first of them, when
    the last pending contact is due, workers, policy of unknown contacts, time of the last
    send, revision of the settings, now, when the first pending contact is due, its reason);
    sums of nothing are ``None``.
    """
    asked, why, sends, cost, priced, may_ring, *more = row
    ended, answered, talk, recent, first_recent, last_due, workers, *more = more
    unknown, last_send, revision, now, due, reason = more
    found = {state: counts.get(state.value, 0) for state in ContactState}
    unpriced = max(int(may_ring or 0) - int(priced or 0), 0)
    # A campaign that was resumed within the span has its rate since then.
    span = max(now - (first_recent or now), 1.0)
    return CampaignState(
        name=name,
        status=status_of(
            asked,
            found,
            now=now,
            due=due,
            reason=reason or "",
            last_send=last_send,
            unknown=unknown,
        ),
        at=now,
        rate=max(recent - 1, 0) / span,
        last_start=last_send,
        last_due=last_due,
        waits_for=(reason or "") if due is not None and due > now else "",
        workers=workers,
        ended=int(ended or 0),
        answered=int(answered or 0),
        talk_seconds=int(talk or 0),
        asked=asked,
        why=why,
        counts=found,
        sends=int(sends or 0),
        cost=None if unpriced and not (priced or cost) else float(cost or 0.0),
        unpriced=unpriced,
        revision=int(revision),
    )


def no_campaign(name: str) -> ConfigurationError:
    """Return the error of a name that no campaign of a ledger has."""
    return ConfigurationError(f"there is no campaign named {shown(name)} in this ledger")


def _values(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    values = dict(zip(names, row, strict=True))
    if isinstance(values["columns"], str):  # SQLite has no type for JSON
        values["columns"] = json.loads(values["columns"])
    return values
