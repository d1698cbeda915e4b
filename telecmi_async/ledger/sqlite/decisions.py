"""Decisions: contacts made pending again, by proof, by a plan or by a person; each an SQLite job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.telecmi import LAST_RECORD
from telecmi_async.ledger.sanitize import REOPENED, UNKNOWN_POLICIES, check_choice, clean
from telecmi_async.ledger.sqlite.moves import add_history, guarded
from telecmi_async.ledger.sqlite.queries import campaign_id
from telecmi_async.ledger.sqlite.steering import keep_withdrawn, note_change
from telecmi_async.ledger.states import ContactState, Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

# Contacts that one look for missed calls makes pending: few enough that a send does not wait.
_MOST_REDIALS: Final = 1000

#: The move of contacts whose unknown sends are proven absent, by policy.
_POLICIES: Final = {"retry_after_proof": Move.RESOLVE_UNKNOWN, "give_up": Move.GIVE_UP}
# An event of another send arrived in the time in which TeleCMI would have sent this one's record
# again, and no call of about that time waits for its record. See `Ledger.resolve_unknown`.
_PROVEN: Final = """
SELECT s.token, s.contact, s.epoch FROM send AS s INDEXED BY send_unknown
WHERE s.campaign = :campaign AND s.state = 'unknown' AND s.send_by + :older < :now
AND NOT EXISTS (
    SELECT 1 FROM contact AS c INDEXED BY contact_placed
    WHERE c.campaign = s.campaign AND c.state = 'placed'
    AND c.sent_at BETWEEN s.at - :resent AND s.send_by + :resent
) AND (
    SELECT 1 FROM send AS o INDEXED BY send_campaign
    WHERE o.campaign = s.campaign AND o.at BETWEEN s.at - :older AND s.send_by + :resent
    AND o.last_event_at > s.send_by AND o.last_event_at <= s.send_by + :resent
    ORDER BY o.at DESC LIMIT 1
) IS NOT NULL
"""
_RESOLVED: Final = {
    move: guarded(move, "id = ? AND epoch = ?", also=", reason = ?")
    for move in _POLICIES.values()
}
_REVISION: Final = "SELECT revision FROM campaign WHERE id = ?"
_REDIAL: Final = guarded(
    Move.REDIAL, "campaign = :campaign AND {chosen}", also=", reason = '', withdrawn = NULL"
)
# None of its calls was answered or may still ring.
_REOPEN: Final = guarded(
    Move.REOPEN,
    "campaign = :campaign AND state = :state AND instr(reason, :reason) AND {chosen} "
    "AND NOT EXISTS (SELECT 1 FROM send AS s "
    "WHERE s.number = contact.number AND s.contact = contact.id "
    "AND s.state <> 'absent' AND NOT (s.state = 'finished' AND s.answered IS 0))",
    also=", reason = '', excused = sends, withdrawn = NULL",
)

# The record of each of its calls is there, and says that the call was not answered.
_MISSED: Final = (
    "campaign = :campaign AND answered = 0 AND {which} AND {chosen} "
    "AND (not_after IS NULL OR finished_at + :wait <= not_after) AND NOT EXISTS ("
    "SELECT 1 FROM send AS s WHERE s.number = contact.number AND s.contact = contact.id "
    "AND s.state NOT IN ('finished', 'absent'))"
)
_SOME_MISSED: Final = (
    "id IN (SELECT id FROM contact INDEXED BY contact_missed WHERE state = 'finished' AND "  # noqa: S608  # this module's own text
    f"{_MISSED} LIMIT {{most}})"
)
_MISSED_AGAIN: Final = (
    ", reason = '', excused = sends, redials = redials + 1, finished_at = NULL, "
    "request_id = NULL, withdrawn = NULL, not_before = max(not_before, finished_at + :wait)"
)


def resolve_unknown(
    db: sqlite3.Connection, now: float, name: str, *, older_than: float, policy: str
) -> int:
    """Move unknown contacts whose calls are proven absent; return how many."""
    campaign = campaign_id(db, name)
    check_choice("policy", policy, UNKNOWN_POLICIES)
    if policy == "hold":
        return 0
    move = _POLICIES[policy]
    why = f"no event of it came within {older_than:g} seconds, while others' did"
    resolved = 0
    times = {"older": older_than, "resent": LAST_RECORD, "now": now}
    proven = db.execute(_PROVEN, {"campaign": campaign, **times})
    for token, contact, epoch in proven.fetchall():
        moved = db.execute(_RESOLVED[move], (why, contact, epoch)).rowcount
        db.execute("UPDATE send SET state = 'absent' WHERE token = ?", (token,))
        add_history(db, [contact], now, move if moved else "event", why, token)
        resolved += moved
        keep_withdrawn(db, now, contact)
    return resolved


def redial(
    db: sqlite3.Connection, now: float, name: str, numbers: Sequence[int] | None, by: str
) -> int:
    """Make unknown contacts pending; their sends still count under all limits."""
    campaign = campaign_id(db, name)
    moved = _decide(db, now, Move.REDIAL, _REDIAL, {"campaign": campaign}, numbers)
    note_change(db, now, campaign, by, "redial_unknown", count=moved)
    return moved


def reopen(
    db: sqlite3.Connection,
    now: float,
    name: str,
    state: str,
    numbers: Sequence[int] | None,
    reason: str,
    by: str,
) -> int:
    """Make rejected, failed or blocked contacts pending; their attempts start again."""
    check_choice("state", state, REOPENED)
    campaign, text = campaign_id(db, name), clean(reason)
    given = {"campaign": campaign, "state": state, "reason": text}
    named = bool(text) and state == ContactState.BLOCKED
    moved = _decide(db, now, Move.REOPEN, _REOPEN, given, numbers, named=named)
    detail = f"{state}{f', {text}' if text else ''}"
    note_change(db, now, campaign, by, "reopen", detail=detail, count=moved)
    return moved


def redial_missed(
    db: sqlite3.Connection,
    now: float,
    name: str,
    waits: Sequence[float] | None,
    numbers: Sequence[int] | None,
    revision: int,
    by: str,
) -> int:
    """Make finished contacts pending whose calls were not answered, each after its wait."""
    campaign = campaign_id(db, name)
    move, where = Move.REDIAL_MISSED, _SOME_MISSED if numbers is None else _MISSED
    if waits is None:
        plan = [("redials >= 0", -1, 0.0, "by decision")]
    elif (revision,) != db.execute(_REVISION, (campaign,)).fetchone():
        return 0
    else:
        plan = [
            (f"redials = {done}", _MOST_REDIALS, float(wait), f"redial {done + 1} of {len(waits)}")
            for done, wait in enumerate(waits)
        ]  # fmt: skip
    moved = 0
    # The last redials first: what was moved now must not be moved again.
    for which, most, wait, why in reversed(plan):
        update = guarded(
            move, where.format(which=which, most=most, chosen="{chosen}"), also=_MISSED_AGAIN
        )
        given = {"campaign": campaign, "wait": wait}
        moved += _decide(db, now, move, update, given, numbers, f"not answered: {why}")
    if waits is None:
        note_change(db, now, campaign, by, "redial_missed", count=moved)
    return moved


def _decide(
    db: sqlite3.Connection,
    now: float,
    move: Move,
    update: str,
    given: Mapping[str, object],
    numbers: Sequence[int] | None,
    why: str = "",
    *,
    named: bool = False,
) -> int:
    """Make a move for all contacts that fit, or for those of some numbers.

    A contact that was withdrawn is moved only if it is ``named``, by its number for example.
    """
    chosen = "1" if named or numbers is not None else "withdrawn IS NULL"
    update = update.format(chosen=chosen)
    if numbers is None:
        rows = db.execute(f"{update} RETURNING id", given).fetchall()
    else:
        rows = [
            row
            for number in numbers
            for row in db.execute(
                f"{update} AND number = :number RETURNING id", {**given, "number": number}
            )
        ]
    add_history(db, [row[0] for row in rows], now, move, why)
    return len(rows)
