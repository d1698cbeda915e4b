"""Looking at campaigns and contacts: what is read from SQLite, each in one job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from telecmi_async.ledger.base import CampaignState, Contact, Passage
from telecmi_async.ledger.sqlite.claims import campaign_id
from telecmi_async.ledger.states import ContactState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

__all__ = ["campaigns", "contacts_page", "find", "next_due", "settings", "state"]

#: Contacts that are read at once.
_PAGE: Final = 500
_FIELDS: Final = (
    "number, state, reason, sends, columns, request_id, answered, talk_seconds, cost, "
    "sent_at, finished_at, CASE state WHEN 'pending' THEN nullif(not_before, 0) END"
)


def settings(db: sqlite3.Connection, name: str) -> Mapping[str, object] | None:
    """Return what a campaign was begun with."""
    row = db.execute("SELECT settings FROM campaign WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    found: dict[str, object] = json.loads(row[0])
    return found


def campaigns(db: sqlite3.Connection) -> list[str]:
    """Return the names of all campaigns, oldest first."""
    return [name for (name,) in db.execute("SELECT name FROM campaign ORDER BY id").fetchall()]


def state(db: sqlite3.Connection, name: str) -> CampaignState:
    """Return how a campaign stands. Nothing is counted for that."""
    campaign = campaign_id(db, name)
    status, why, sends, cost = db.execute(
        "SELECT status, why, sends, cost FROM campaign WHERE id = ?", (campaign,)
    ).fetchone()
    rows = db.execute("SELECT state, contacts FROM tally WHERE campaign = ?", (campaign,))
    counts = dict(rows.fetchall())
    return CampaignState(
        name=name,
        status=status,
        why=why,
        counts={found: counts[found] for found in ContactState},
        sends=sends,
        cost=cost,
    )


def next_due(db: sqlite3.Connection, name: str) -> float | None:
    """Return when the next pending contact is due."""
    row = db.execute(
        "SELECT not_before FROM contact INDEXED BY contact_due "
        "WHERE campaign = ? AND state = 'pending' ORDER BY not_before LIMIT 1",
        (campaign_id(db, name),),
    ).fetchone()
    return None if row is None else float(row[0])


def contacts_page(
    db: sqlite3.Connection, name: str, states: Sequence[ContactState], after: int
) -> list[tuple[int, Contact]]:
    """Return some contacts with their rows, those after a row, in order of loading."""
    places = ", ".join("?" * len(states))
    only = f" AND state IN ({places})" if states else ""
    rows = db.execute(
        f"SELECT id, {_FIELDS} FROM contact WHERE campaign = ? AND id > ?{only} "  # noqa: S608  # fields and question marks
        f"ORDER BY id LIMIT {_PAGE}",
        (campaign_id(db, name), after, *states),
    ).fetchall()
    return [(row[0], _contact(row[1:], ())) for row in rows]


def find(db: sqlite3.Connection, name: str, number: int) -> Contact | None:
    """Return one contact with its history."""
    row = db.execute(
        f"SELECT id, {_FIELDS} FROM contact WHERE campaign = ? AND number = ?",  # noqa: S608  # fields
        (campaign_id(db, name), number),
    ).fetchone()
    if row is None:
        return None
    passages = db.execute(
        "SELECT at, what, detail, token FROM passage WHERE contact = ? ORDER BY id", (row[0],)
    ).fetchall()
    history = tuple(
        Passage(at=at, what=what, detail=detail, token=token)
        for at, what, detail, token in passages
    )
    return _contact(row[1:], history)


def _contact(row: Sequence[Any], history: Sequence[Passage]) -> Contact:
    number, found, reason, sends, columns, request_id, answered, *rest = row
    talk_seconds, cost, sent_at, finished_at, waits_until = rest
    return Contact(
        number=number,
        state=ContactState(found),
        reason=reason,
        sends=sends,
        columns=json.loads(columns),
        request_id=request_id,
        answered=None if answered is None else bool(answered),
        talk_seconds=talk_seconds,
        cost=cost,
        sent_at=sent_at,
        finished_at=finished_at,
        waits_until=waits_until,
        history=history,
    )
