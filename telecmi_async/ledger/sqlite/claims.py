"""Claims: campaigns, their contacts, and which worker holds them, each function one SQLite job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.ledger.records import Loaded, Reaped
from telecmi_async.ledger.rows import CLAIM_COLUMNS, claim_from
from telecmi_async.ledger.sanitize import clean, to_json
from telecmi_async.ledger.sqlite.moves import add_history, guarded
from telecmi_async.ledger.sqlite.queries import campaign_id
from telecmi_async.ledger.sqlite.steering import note_change
from telecmi_async.ledger.states import ContactState, Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from telecmi_async.ledger.records import Claim
    from telecmi_async.ledger.send_records import RuleDecision

# The planner does not know how many contacts there are, so the index is named.
_DUE: Final = (
    "id IN (SELECT id FROM contact INDEXED BY contact_due WHERE campaign = ? AND "
    "state = 'pending' AND not_before <= ? ORDER BY not_before, id LIMIT ?)"
)
_CLAIM: Final = (
    guarded(Move.CLAIM, _DUE, also=", worker = ?, lease_until = ?, epoch = epoch + 1")
    + f" RETURNING not_before, {CLAIM_COLUMNS}"
)
_HELD: Final = "id = ? AND worker = ? AND epoch = ?"
_LATER: Final = ", not_before = max(not_before, ?)"
_RELEASE: Final = guarded(Move.RELEASE, _HELD, also=_LATER)
_RELEASE_EXPIRED: Final = (
    guarded(Move.RELEASE, "campaign = ? AND lease_until <= ?") + " RETURNING id"
)
_POSTPONE: Final = guarded(Move.POSTPONE, _HELD, also=f", reason = ?{_LATER}")
_BLOCK: Final = guarded(Move.BLOCK, _HELD, also=", reason = ?")
_MARK_UNKNOWN: Final = guarded(Move.MARK_UNKNOWN, "id = ? AND epoch = ?", also=", reason = ?")
_REVISION: Final = (
    "SELECT g.revision FROM contact AS c JOIN campaign AS g ON g.id = c.campaign WHERE c.id = ?"
)
_WORKER_GONE: Final = "the worker that sent it is gone"


# -- campaigns


def create(
    db: sqlite3.Connection, now: float, name: str, settings: Mapping[str, object]
) -> bool:
    """Create a campaign; return False if the name is taken."""
    row = db.execute(
        "INSERT INTO campaign (name, created, settings) VALUES (?, ?, ?) "
        "ON CONFLICT DO NOTHING RETURNING id",
        (name, now, to_json(settings, "settings")),
    ).fetchone()
    if row is None:
        return False
    db.executemany(
        "INSERT INTO tally (campaign, state) VALUES (?, ?)",
        [(row[0], state) for state in ContactState],
    )
    return True


# -- contacts


def load(
    db: sqlite3.Connection,
    now: float,
    name: str,
    rows: Sequence[tuple[int, str, float, float | None]],
    operation: str,
    by: str,
) -> Loaded:
    """Add the contacts that are new."""
    campaign = campaign_id(db, name)
    added = db.executemany(
        "INSERT INTO contact (campaign, number, columns, not_before, not_after) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(campaign, *row) for row in rows],
    ).rowcount
    note_change(db, now, campaign, by, "load", count=added, operation=operation)
    return Loaded(added=added, known=len(rows) - added)


# -- claims


def claim(
    db: sqlite3.Connection, now: float, name: str, worker: str, *, most: int, lease: float
) -> list[Claim]:
    """Claim contacts that are due, longest due first."""
    campaign = campaign_id(db, name)
    (status,) = db.execute("SELECT status FROM campaign WHERE id = ?", (campaign,)).fetchone()
    if status != "running":
        return []
    # In the order of the statement's text: SET comes before WHERE.
    rows = db.execute(_CLAIM, (worker, now + lease, campaign, now, max(most, 0))).fetchall()
    rows.sort()  # by when they were due, then in the order of loading
    claims = [claim_from(row[1:]) for row in rows]
    add_history(db, [claim.contact for claim in claims], now, Move.CLAIM, worker)
    return claims


def renew(db: sqlite3.Connection, now: float, worker: str, *, lease: float) -> int:
    """Lengthen the leases of all claims of a worker; return how many it holds."""
    return db.execute(
        "UPDATE contact INDEXED BY contact_claimed SET lease_until = max(lease_until, ?) "
        "WHERE state = 'claimed' AND worker = ?",
        (now + lease, worker),
    ).rowcount


def release(
    db: sqlite3.Connection, now: float, claim: Claim, worker: str, *, not_before: float = 0.0
) -> bool:
    """Release a contact that was not sent; return False if the claim was lost."""
    held = (claim.contact, worker, claim.epoch)
    if not db.execute(_RELEASE, (not_before, *held)).rowcount:
        return False
    add_history(db, [claim.contact], now, Move.RELEASE, worker)
    return True


def put_back(
    db: sqlite3.Connection,
    now: float,
    claim: Claim,
    worker: str,
    refusal: RuleDecision,
    *,
    revision: int | None = None,
) -> bool:
    """Postpone or block a claimed contact by a campaign's rule; return False if it was lost."""
    if (
        revision is not None
        and (revision,) != db.execute(_REVISION, (claim.contact,)).fetchone()
    ):
        return False
    held = (claim.contact, worker, claim.epoch)
    why = clean(f"{refusal.rule}: {refusal.reason}")
    if refusal.until is None:
        move, cursor = Move.BLOCK, db.execute(_BLOCK, (why, *held))
    else:
        move, cursor = Move.POSTPONE, db.execute(_POSTPONE, (why, refusal.until, *held))
    if not cursor.rowcount:
        return False
    add_history(db, [claim.contact], now, move, why)
    return True


def reap(db: sqlite3.Connection, now: float, name: str) -> Reaped:
    """Release claims whose lease expired, and mark such sends as unknown."""
    campaign = campaign_id(db, name)
    released = [row[0] for row in db.execute(_RELEASE_EXPIRED, (campaign, now)).fetchall()]
    add_history(db, released, now, Move.RELEASE, "the lease expired")
    sends = db.execute(
        "UPDATE send SET state = 'unknown', detail = ? "
        "WHERE campaign = ? AND state = 'sending' AND lease_until <= ? "
        "RETURNING token, contact, epoch",
        (_WORKER_GONE, campaign, now),
    ).fetchall()
    for token, contact, epoch in sends:
        # Evidence of an earlier send may have moved the contact to placed already.
        moved = db.execute(_MARK_UNKNOWN, (_WORKER_GONE, contact, epoch)).rowcount
        what = Move.MARK_UNKNOWN if moved else "event"
        add_history(db, [contact], now, what, _WORKER_GONE, token)
    return Reaped(released=len(released), unknown=len(sends))
