"""Queries: campaigns and contacts as they stand, each function one SQLite job that only reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, SupportsIndex

from telecmi_async.ledger.rows import (
    CONTACT_COLUMNS,
    RATE_SPAN,
    contact_from,
    no_campaign,
    state_from,
)
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from telecmi_async.ledger.records import CampaignState, Contact
    from telecmi_async.ledger.states import ContactState

#: How many contacts are read at once.
_PAGE: Final = 500
_FIRST_DUE: Final = (
    "FROM contact INDEXED BY contact_due "
    "WHERE campaign = ? AND state = 'pending' ORDER BY not_before, id LIMIT 1"
)


def campaign_id(db: sqlite3.Connection, name: str) -> int:
    """Return a campaign's row."""
    row = db.execute("SELECT id FROM campaign WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise no_campaign(name)
    return int(row[0])


def settings(db: sqlite3.Connection, _now: float, name: str) -> Mapping[str, object] | None:
    """Return the settings of a campaign."""
    row = db.execute("SELECT settings FROM campaign WHERE name = ?", (name,)).fetchone()
    found: dict[str, object] | None = None if row is None else json.loads(row[0])
    return found


def campaigns(db: sqlite3.Connection, _now: float) -> list[str]:
    """Return the names of all campaigns, oldest first."""
    return [name for (name,) in db.execute("SELECT name FROM campaign ORDER BY id").fetchall()]


def state(db: sqlite3.Connection, now: float, name: str) -> CampaignState:
    """Return the state of a campaign from its tally."""
    campaign = campaign_id(db, name)
    *row, kept, last_send, revision = db.execute(
        "SELECT status, why, sends, cost, priced, "
        "(SELECT sum(q.sends) FROM quarter AS q WHERE q.campaign = c.id), ended, answered, "
        "talk_seconds, (SELECT count(*) FROM send AS s INDEXED BY send_campaign "
        "WHERE s.campaign = c.id AND s.at > :now - :span), "
        "(SELECT min(s.at) FROM send AS s INDEXED BY send_campaign "
        "WHERE s.campaign = c.id AND s.at > :now - :span), "
        "(SELECT max(p.not_before) FROM contact AS p INDEXED BY contact_due "
        "WHERE p.campaign = c.id AND p.state = 'pending'), "
        "(SELECT count(*) FROM (SELECT h.worker FROM contact AS h INDEXED BY contact_claimed "
        "WHERE h.campaign = c.id AND h.state = 'claimed' AND h.lease_until > :now "
        "UNION SELECT o.worker FROM send AS o INDEXED BY send_open "
        "WHERE o.campaign = c.id AND o.state = 'sending' AND o.lease_until > :now)), settings, "
        "(SELECT max(s.at) FROM send AS s WHERE s.campaign = c.id), revision "
        "FROM campaign AS c WHERE c.id = :campaign",
        {"campaign": campaign, "now": now, "span": RATE_SPAN},
    ).fetchone()
    rows = db.execute("SELECT state, contacts FROM tally WHERE campaign = ?", (campaign,))
    first = db.execute(f"SELECT not_before, reason {_FIRST_DUE}", (campaign,)).fetchone()
    unknown = json.loads(kept).get("unknown")
    counts = dict(rows.fetchall())
    return state_from(
        name, counts, [*row, unknown, last_send, revision, now, *(first or (None, None))]
    )


def next_due(db: sqlite3.Connection, _now: float, name: str) -> float | None:
    """Return when the next pending contact is due."""
    row = db.execute(f"SELECT not_before {_FIRST_DUE}", (campaign_id(db, name),)).fetchone()
    return None if row is None else float(row[0])


def contacts_page(
    db: sqlite3.Connection, _now: float, name: str, states: Sequence[ContactState], after: int
) -> list[tuple[int, Contact]]:
    """Return contacts whose rows follow a row, with their rows, in the order of loading."""
    places = ", ".join("?" * len(states))
    only = f" AND state IN ({places})" if states else ""
    rows = db.execute(
        f"SELECT id, {CONTACT_COLUMNS} FROM contact WHERE campaign = ? AND id > ?{only} "  # noqa: S608  # columns and question marks
        f"ORDER BY id LIMIT {_PAGE}",
        (campaign_id(db, name), after, *states),
    ).fetchall()
    return [(row[0], contact_from(row[1:])) for row in rows]


def find(
    db: sqlite3.Connection, _now: float, name: str, number: SupportsIndex | str
) -> Contact | None:
    """Return one contact with its whole history."""
    wanted = parse_number(number)
    row = db.execute(
        f"SELECT id, {CONTACT_COLUMNS} FROM contact WHERE campaign = ? AND number = ?",  # noqa: S608  # columns
        (campaign_id(db, name), wanted),
    ).fetchone()
    if row is None:
        return None
    history = db.execute(
        "SELECT at, what, detail, token FROM passage WHERE contact = ? ORDER BY id", (row[0],)
    ).fetchall()
    return contact_from(row[1:], history)
