"""Rows: how rows of either database become contacts and claims."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from attrs import fields

from telecmi_async.ledger.records import Claim, Contact, Passage

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What is selected for `claim_from` and `contact_from`, in the order of the classes' fields.
CLAIM_COLUMNS: Final = "id, number, columns, epoch, sends, not_after, excused"
CONTACT_COLUMNS: Final = (
    "number, state, reason, sends, columns, request_id, answered, talk_seconds, cost, "
    "sent_at, finished_at, CASE state WHEN 'pending' THEN nullif(not_before, 0) END"
)
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


def _values(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    values = dict(zip(names, row, strict=True))
    if isinstance(values["columns"], str):  # SQLite has no type for JSON
        values["columns"] = json.loads(values["columns"])
    return values
