"""Queries: campaigns and contacts as they stand, each function one SQLite job that only reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, SupportsIndex

from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.records import CampaignState
from telecmi_async.ledger.rows import CONTACT_COLUMNS, contact_from
from telecmi_async.ledger.states import ContactState
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from telecmi_async.ledger.records import Contact

#: How many contacts are read at once.
_PAGE: Final = 500


def campaign_id(db: sqlite3.Connection, name: str) -> int:
    """Return a campaign's row.

    Raises:
        ConfigurationError: There is no campaign of that name.
    """
    row = db.execute("SELECT id FROM campaign WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise ConfigurationError(f"there is no campaign named {shown(name)} in this ledger")
    return int(row[0])


def settings(db: sqlite3.Connection, name: str) -> Mapping[str, object] | None:
    """Return the settings a campaign was created with."""
    row = db.execute("SELECT settings FROM campaign WHERE name = ?", (name,)).fetchone()
    found: dict[str, object] | None = None if row is None else json.loads(row[0])
    return found


def campaigns(db: sqlite3.Connection) -> list[str]:
    """Return the names of all campaigns, oldest first."""
    return [name for (name,) in db.execute("SELECT name FROM campaign ORDER BY id").fetchall()]


def state(db: sqlite3.Connection, name: str) -> CampaignState:
    """Return the state of a campaign from its tally."""
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
    """Return contacts whose rows follow a row, with their rows, in the order of loading."""
    places = ", ".join("?" * len(states))
    only = f" AND state IN ({places})" if states else ""
    rows = db.execute(
        f"SELECT id, {CONTACT_COLUMNS} FROM contact WHERE campaign = ? AND id > ?{only} "  # noqa: S608  # columns and question marks
        f"ORDER BY id LIMIT {_PAGE}",
        (campaign_id(db, name), after, *states),
    ).fetchall()
    return [(row[0], contact_from(row[1:])) for row in rows]


def find(db: sqlite3.Connection, name: str, number: SupportsIndex | str) -> Contact | None:
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
