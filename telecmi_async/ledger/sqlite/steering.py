"""Steering: what people change of a campaign and of the do-not-call list, each an SQLite job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from telecmi_async.ledger.changes import CampaignChange, DoNotCallEntry, SettingsRevision
from telecmi_async.ledger.rows import POSTPONED_BY_RULES
from telecmi_async.ledger.sanitize import STATUSES, check_choice, clean, to_json
from telecmi_async.ledger.sqlite.moves import add_history, guarded
from telecmi_async.ledger.sqlite.queries import campaign_id
from telecmi_async.ledger.states import ContactState, Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

# How many entries are read at once.
_PAGE: Final = 500
_WITHDRAW: Final = guarded(Move.WITHDRAW, "id = ?", also=", reason = withdrawn")


def note_change(
    db: sqlite3.Connection,
    now: float,
    campaign: int | None,
    by: str,
    what: str,
    *,
    detail: str = "",
    count: int | None = None,
    operation: str | None = None,
) -> None:
    """Add to the history of changes, unless the change is of no contact."""
    if count != 0:
        db.execute(
            "INSERT INTO change (campaign, operation, at, changed_by, what, detail, count) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (operation) DO UPDATE SET count = count + excluded.count",
            (campaign, operation, now, clean(by), what, clean(detail), count),
        )


def set_status(
    db: sqlite3.Connection, now: float, name: str, status: str, why: str = "", *, by: str = ""
) -> None:
    """Ask all workers of a campaign to run, pause or stop."""
    check_choice("status", status, STATUSES)
    campaign = campaign_id(db, name)
    db.execute(
        "UPDATE campaign SET status = ?, why = ? WHERE id = ?", (status, clean(why), campaign)
    )
    note_change(db, now, campaign, by, status, detail=why)


def settings_revision(
    db: sqlite3.Connection, _now: float, name: str
) -> SettingsRevision | None:
    """Return the settings of a campaign, with the count of their changes."""
    row = db.execute(
        "SELECT revision, settings, coalesce(original, settings) FROM campaign WHERE name = ?",
        (name,),
    ).fetchone()
    if row is None:
        return None
    number, settings, original = row
    return SettingsRevision(
        number=number, settings=json.loads(settings), original=json.loads(original)
    )


def replace_settings(
    db: sqlite3.Connection,
    now: float,
    name: str,
    settings: Mapping[str, object],
    *,
    revision: int,
    detail: str = "",
    by: str = "",
) -> bool:
    """Change a campaign's settings, unless they were changed since a revision."""
    campaign = campaign_id(db, name)
    changed = db.execute(
        "UPDATE campaign SET original = coalesce(original, settings), settings = ?, "
        "revision = revision + 1 WHERE id = ? AND revision = ?",
        (to_json(settings, "settings"), campaign, revision),
    ).rowcount
    if not changed:
        return False
    note_change(db, now, campaign, by, "settings", detail=detail)
    db.execute(
        "UPDATE contact SET not_before = ? WHERE campaign = ? AND state = 'pending' "  # noqa: S608  # question marks
        "AND not_before > ? AND substr(reason, 1, instr(reason, ':')) IN "
        f"({', '.join('?' * len(POSTPONED_BY_RULES))})",
        (now, campaign, now, *(f"{rule}:" for rule in POSTPONED_BY_RULES)),
    )
    return True


# -- contacts


def withdraw(
    db: sqlite3.Connection,
    now: float,
    name: str,
    numbers: Sequence[int],
    words: str,
    operation: str,
    by: str,
    why: str,
) -> dict[str, int]:
    """Withdraw contacts; return how many were in each state, those to be dialled as pending."""
    campaign = campaign_id(db, name)
    counts: dict[str, int] = {}
    new = 0
    for number in numbers:
        row = db.execute(
            "SELECT id, state, withdrawn FROM contact WHERE campaign = ? AND number = ?",
            (campaign, number),
        ).fetchone()
        if row is None:
            continue
        contact, state, withdrawn = row
        if withdrawn is None:
            new += 1
            db.execute("UPDATE contact SET withdrawn = ? WHERE id = ?", (words, contact))
            if not keep_withdrawn(db, now, contact):
                add_history(db, [contact], now, "event", words)
        blocked = state in {"pending", "claimed"} or (
            state == "blocked" and withdrawn is not None
        )
        state = ContactState.PENDING if blocked else state
        counts[state] = counts.get(state, 0) + 1
    note_change(db, now, campaign, by, "withdraw", detail=why, count=new, operation=operation)
    return counts


def keep_withdrawn(db: sqlite3.Connection, now: float, contact: int) -> bool:
    """Block a contact that was withdrawn, if it may be dialled; return whether it was moved."""
    moved = db.execute(
        f"{_WITHDRAW} AND withdrawn IS NOT NULL RETURNING reason", (contact,)
    ).fetchone()
    if moved is not None:
        add_history(db, [contact], now, Move.WITHDRAW, moved[0])
    return moved is not None


# -- do not call


def add_do_not_call(
    db: sqlite3.Connection,
    now: float,
    numbers: Sequence[int],
    source: str,
    operation: str,
    by: str,
) -> int:
    """Add numbers to the do-not-call list; return how many are new."""
    added = db.executemany(
        "INSERT INTO do_not_call (number, source, at, added_by) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        [(number, source, now, by) for number in numbers],
    ).rowcount
    what = "add_do_not_call"
    note_change(db, now, None, by, what, detail=source, count=added, operation=operation)
    return added


def remove_do_not_call(
    db: sqlite3.Connection, now: float, numbers: Sequence[int], operation: str, by: str
) -> int:
    """Remove numbers from the list; return how many were on it."""
    removed = 0
    for number in numbers:
        removed += db.execute(
            "INSERT INTO do_not_call_removed "
            "(number, source, at, added_by, removed_at, removed_by) "
            "SELECT number, source, at, added_by, ?, ? FROM do_not_call WHERE number = ?",
            (now, by, number),
        ).rowcount
        db.execute("DELETE FROM do_not_call WHERE number = ?", (number,))
    note_change(db, now, None, by, "remove_do_not_call", count=removed, operation=operation)
    return removed


def do_not_call_page(db: sqlite3.Connection, _now: float, after: int) -> list[DoNotCallEntry]:
    """Return entries of the list whose numbers follow a number."""
    rows = db.execute(
        "SELECT number, source, at, added_by FROM do_not_call WHERE number > ? "  # noqa: S608  # a number
        f"ORDER BY number LIMIT {_PAGE}",
        (after,),
    )
    return [
        DoNotCallEntry(number=number, source=source, at=at, by=by)
        for number, source, at, by in rows.fetchall()
    ]


# -- history


def changes_page(
    db: sqlite3.Connection, _now: float, name: str, after: int
) -> list[tuple[int, CampaignChange]]:
    """Return changes that follow a row, with their rows."""
    rows = db.execute(
        "SELECT id, at, changed_by, what, detail, count FROM change "  # noqa: S608  # a number
        "WHERE id > ? AND (campaign = ? OR campaign IS NULL) "
        f"ORDER BY id LIMIT {_PAGE}",
        (after, campaign_id(db, name)),
    )
    return [
        (row, CampaignChange(at=at, by=by, what=what, detail=detail, count=count))
        for row, at, by, what, detail, count in rows.fetchall()
    ]
