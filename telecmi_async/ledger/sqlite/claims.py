"""Campaigns, and who holds which of their contacts: what is done in SQLite, each in one job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.messages import listed, shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.base import Claim, Reaped
from telecmi_async.ledger.contact import Loaded
from telecmi_async.ledger.sanitize import clean
from telecmi_async.ledger.states import MOVES, ContactState, Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from telecmi_async.ledger.base import RuleDecision

__all__ = [
    "add_do_not_call",
    "campaign_id",
    "claim",
    "create",
    "guarded",
    "load",
    "put_back",
    "reap",
    "record",
    "release",
    "renew",
    "set_status",
]

_STATUSES: Final = ("running", "paused", "stopped")


def guarded(move: Move, where: str, *, also: str = "") -> str:
    """Return the update that makes a move, from the states it may be made from and no other.

    Args:
        move: The move; whoever held the contact does so no more, unless it is a claim.
        where: Which contact, and on what other conditions.
        also: What else it sets, behind a comma.
    """
    sources, target = MOVES[move]
    states = " OR ".join(f"state = '{source}'" for source in sorted(sources))
    held = "" if move is Move.CLAIM else ", owner = NULL, lease_until = NULL"
    return f"UPDATE contact SET state = '{target}'{held}{also} WHERE {where} AND ({states})"  # noqa: S608  # it is put together from the tables of this package


# A planner that does not know how many contacts there are must not be left to choose.
_DUE: Final = (
    "id IN (SELECT id FROM contact INDEXED BY contact_due WHERE campaign = ? AND "
    "state = 'pending' AND not_before <= ? ORDER BY not_before, id LIMIT ?)"
)
_TAKEN: Final = " RETURNING not_before, id, number, columns, epoch, sends, not_after"
_CLAIM: Final = (
    guarded(Move.CLAIM, _DUE, also=", owner = ?, lease_until = ?, epoch = epoch + 1") + _TAKEN
)
_HELD: Final = "id = ? AND owner = ? AND epoch = ?"
_LATER: Final = ", not_before = max(not_before, ?)"
_RELEASE: Final = guarded(Move.RELEASE, _HELD, also=_LATER)
_RELEASE_OVERDUE: Final = (
    guarded(Move.RELEASE, "campaign = ? AND lease_until <= ?") + " RETURNING id"
)
_POSTPONE: Final = guarded(Move.POSTPONE, _HELD, also=f", reason = ?{_LATER}")
_BLOCK: Final = guarded(Move.BLOCK, _HELD, also=", reason = ?")
_LOSE: Final = guarded(Move.MARK_UNKNOWN, "id = ? AND epoch = ?", also=", reason = ?")
_LOST: Final = "the worker that sent it is gone"


def record(
    db: sqlite3.Connection,
    contacts: Iterable[int],
    now: float,
    what: str,
    detail: str = "",
    token: str | None = None,
) -> None:
    """Put into the history of contacts what happened to them."""
    db.executemany(
        "INSERT INTO passage (contact, at, what, detail, token) VALUES (?, ?, ?, ?, ?)",
        [(contact, now, what, detail, token) for contact in contacts],
    )


# -- campaigns


def create(db: sqlite3.Connection, now: float, name: str, settings: str) -> bool:
    """Begin a campaign, unless there is one of that name."""
    row = db.execute(
        "INSERT INTO campaign (name, began, settings) VALUES (?, ?, ?) "
        "ON CONFLICT DO NOTHING RETURNING id",
        (name, now, settings),
    ).fetchone()
    if row is None:
        return False
    db.executemany(
        "INSERT INTO tally (campaign, state) VALUES (?, ?)",
        [(row[0], state) for state in ContactState],
    )
    return True


def campaign_id(db: sqlite3.Connection, name: str) -> int:
    """Return a campaign's row.

    Raises:
        ConfigurationError: There is none of that name.
    """
    row = db.execute("SELECT id FROM campaign WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise ConfigurationError(f"there is no campaign named {shown(name)} in this ledger")
    return int(row[0])


def set_status(db: sqlite3.Connection, name: str, status: str, why: str) -> None:
    """Ask all workers of a campaign for something."""
    if status not in _STATUSES:
        raise ConfigurationError(f"status must be {listed(_STATUSES)}, not {shown(status)}")
    db.execute(
        "UPDATE campaign SET status = ?, why = ? WHERE id = ?",
        (status, why, campaign_id(db, name)),
    )


# -- contacts


def load(
    db: sqlite3.Connection,
    _now: float,
    name: str,
    rows: Sequence[tuple[int, str, float, float | None]],
) -> Loaded:
    """Add contacts that are new."""
    campaign = campaign_id(db, name)
    added = db.executemany(
        "INSERT INTO contact (campaign, number, columns, not_before, not_after) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(campaign, *row) for row in rows],
    ).rowcount
    return Loaded(added=added, known=len(rows) - added)


def add_do_not_call(
    db: sqlite3.Connection, now: float, numbers: Sequence[int], source: str
) -> int:
    """Add numbers to the do-not-call list."""
    return db.executemany(
        "INSERT INTO do_not_call (number, source, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(number, source, now) for number in numbers],
    ).rowcount


def claim(
    db: sqlite3.Connection, now: float, name: str, worker: str, most: int, lease: float
) -> list[Claim]:
    """Take contacts that are due, those first that are due the longest."""
    campaign = campaign_id(db, name)
    (status,) = db.execute("SELECT status FROM campaign WHERE id = ?", (campaign,)).fetchone()
    if status != "running":
        return []
    # In order of the statement's text: what is set comes before what is looked for.
    rows = db.execute(_CLAIM, (worker, now + lease, campaign, now, max(most, 0))).fetchall()
    rows.sort()  # by when they were due, then in order of loading
    claims = [
        Claim(
            contact=contact,
            number=number,
            columns=json.loads(columns),
            epoch=epoch,
            sends=sends,
            not_after=not_after,
        )
        for _, contact, number, columns, epoch, sends, not_after in rows
    ]
    record(db, [claim.contact for claim in claims], now, Move.CLAIM, worker)
    return claims


def renew(db: sqlite3.Connection, now: float, worker: str, lease: float) -> int:
    """Lengthen a worker's claims."""
    return db.execute(
        "UPDATE contact INDEXED BY contact_claimed SET lease_until = max(lease_until, ?) "
        "WHERE state = 'claimed' AND owner = ?",
        (now + lease, worker),
    ).rowcount


def release(
    db: sqlite3.Connection, now: float, claim: Claim, worker: str, not_before: float
) -> bool:
    """Give a contact back that was not sent."""
    held = (claim.contact, worker, claim.epoch)
    if not db.execute(_RELEASE, (not_before, *held)).rowcount:
        return False
    record(db, [claim.contact], now, Move.RELEASE, worker)
    return True


def put_back(
    db: sqlite3.Connection, now: float, claim: Claim, worker: str, refusal: RuleDecision
) -> bool:
    """Postpone or block a contact because a rule says so."""
    held = (claim.contact, worker, claim.epoch)
    why = clean(f"{refusal.rule}: {refusal.reason}")
    if refusal.until is None:
        move, cursor = Move.BLOCK, db.execute(_BLOCK, (why, *held))
    else:
        move, cursor = Move.POSTPONE, db.execute(_POSTPONE, (why, refusal.until, *held))
    if not cursor.rowcount:
        return False
    record(db, [claim.contact], now, move, why)
    return True


def reap(db: sqlite3.Connection, now: float, name: str) -> Reaped:
    """Release claims whose lease is over, and lose such sends."""
    campaign = campaign_id(db, name)
    released = [row[0] for row in db.execute(_RELEASE_OVERDUE, (campaign, now)).fetchall()]
    record(db, released, now, Move.RELEASE, "the lease was over")
    lost = db.execute(
        "UPDATE send SET state = 'unknown', detail = ? "
        "WHERE campaign = ? AND state = 'sending' AND lease_until <= ? "
        "RETURNING token, contact, epoch",
        (_LOST, campaign, now),
    ).fetchall()
    for token, contact, epoch in lost:
        # It may be placed already, by what was heard of an earlier send.
        moved = db.execute(_LOSE, (_LOST, contact, epoch)).rowcount
        record(db, [contact], now, Move.MARK_UNKNOWN if moved else "event", _LOST, token)
    return Reaped(released=len(released), unknown=len(lost))
