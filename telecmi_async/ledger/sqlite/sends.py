"""Sends: the intent, what it came to, and what was heard of it, each in one job in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.messages import listed, shown
from telecmi_async._internal.telecmi import LAST_RECORD
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.base import Intent, RuleDecision
from telecmi_async.ledger.sanitize import INT_64, clean, id_of
from telecmi_async.ledger.sqlite.claims import campaign_id, guarded, put_back, record
from telecmi_async.ledger.states import ContactState, Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from telecmi_async.ledger.base import CallEvidence, Claim, SendLimits, SendResult

__all__ = ["hear", "intend", "redial", "resolve_unknown", "settle"]

_DAY: Final = 86400.0
#: How soon it is tried again what the end of a day or a sum forbade: the sum may be raised.
_SOON: Final = 60.0
_QUARTER: Final = 900

_INTEND: Final = guarded(
    Move.INTEND,
    "id = ? AND owner = ? AND epoch = ?",
    also=", reason = '', sends = sends + 1, sent_at = ?",
)
_ACCEPT: Final = guarded(
    Move.ACCEPT, "id = ?", also=", reason = ?, request_id = coalesce(?, request_id)"
)
_FINISH: Final = guarded(Move.FINISH, "id = ?", also=", finished_at = ?")

#: What a send is after an outcome, and the contact's move.
_OUTCOMES: Final = {
    ContactState.PLACED: ("placed", Move.ACCEPT),
    ContactState.PENDING: ("absent", Move.RETRY),
    ContactState.REJECTED: ("absent", Move.REJECT),
    ContactState.FAILED: ("absent", Move.FAIL),
    ContactState.UNKNOWN: ("unknown", Move.MARK_UNKNOWN),
}
_SETTLED: Final = {
    move: guarded(
        move,
        "id = ? AND epoch = ?",
        also=", reason = ?, not_before = max(not_before, ?)",
    )
    for _, move in _OUTCOMES.values()
    if move is not Move.ACCEPT
}

#: What becomes of unknown sends that are proven absent: the contact's move.
_POLICIES: Final = {"retry_after_proof": Move.RESOLVE_UNKNOWN, "give_up": Move.GIVE_UP}
# Something was heard of another send while this one's record would have been sent again, had it
# been missed, and no call of about that time is without its record. See `Ledger.absolve`.
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
    AND o.heard_at > s.send_by AND o.heard_at <= s.send_by + :resent
    ORDER BY o.at DESC LIMIT 1
) IS NOT NULL
"""
_ABSOLVED: Final = {
    move: guarded(move, "id = ? AND epoch = ?", also=", reason = ?")
    for move in _POLICIES.values()
}
_REDIAL_ALL: Final = guarded(Move.REDIAL, "campaign = ?", also=", reason = ''")
_REDIAL_ONE: Final = f"{_REDIAL_ALL} AND number = ?"


# -- the intent


def intend(
    db: sqlite3.Connection,
    now: float,
    claim: Claim,
    worker: str,
    token: str,
    limits: SendLimits,
    fence: float,
    lease: float,
) -> Intent | RuleDecision | None:
    """Put the intent on record, if the contact is held and no limit forbids it."""
    row = db.execute(
        "SELECT c.campaign, c.number, c.not_after, g.status, g.why, g.cost "
        "FROM contact AS c JOIN campaign AS g ON g.id = c.campaign "
        "WHERE c.id = ? AND c.owner = ? AND c.epoch = ? AND c.state = 'claimed'",
        (claim.contact, worker, claim.epoch),
    ).fetchone()
    if row is None:
        return None
    campaign, number, not_after, status, why, cost = row
    refusal = (
        _not_now(now, status, why, not_after)
        or _forbidden(db, number, limits)
        or _too_often(db, now, number, limits.per_number)
        or _too_many(db, now, campaign, limits)
        or _too_dear(now, cost, limits)
    )
    if refusal is not None:
        put_back(db, now, claim, worker, refusal)
        return refusal
    db.execute(_INTEND, (now, claim.contact, worker, claim.epoch))
    db.execute(
        "INSERT INTO send (token, contact, campaign, number, worker, epoch, at, send_by, "
        "lease_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            token, claim.contact, campaign, number, worker, claim.epoch,
            now, now + fence, now + lease,
        ),
    )  # fmt: skip
    record(db, [claim.contact], now, Move.INTEND, worker, token)
    return Intent(token=token, send_by=now + fence)


def _not_now(now: float, status: str, why: str, not_after: float | None) -> RuleDecision | None:
    if status != "running":
        reason = f"the campaign is {status}" + (f": {why}" if why else "")
        return RuleDecision(rule="campaign", reason=reason, until=now)
    if not_after is not None and now > not_after:
        return RuleDecision(rule="not_fresh", reason="it is too late for this contact")
    return None


def _forbidden(db: sqlite3.Connection, number: int, limits: SendLimits) -> RuleDecision | None:
    if not limits.check_do_not_call:
        return None
    row = db.execute("SELECT source FROM do_not_call WHERE number = ?", (number,)).fetchone()
    if row is None:
        return None
    return RuleDecision(rule="do_not_call", reason=f"the number is on the list of {row[0]}")


def _too_often(
    db: sqlite3.Connection, now: float, number: int, caps: Sequence[tuple[int, float]]
) -> RuleDecision | None:
    """Refuse what some cap on sends to this number forbids, until all of them allow it."""
    worst: RuleDecision | None = None
    for count, seconds in caps:
        reason = f"at most {count} calls to one number in {seconds:g} seconds"
        if count < 1:
            return RuleDecision(rule="per_number", reason=reason)
        # The same sum decides and says until when, so that the two cannot disagree.
        row = db.execute(
            "SELECT at + ? FROM send WHERE number = ? AND at + ? > ? AND state <> 'absent' "
            "ORDER BY at DESC LIMIT 1 OFFSET ?",
            (seconds, number, seconds, now, min(count - 1, INT_64)),
        ).fetchone()
        if row is not None and (worst is None or row[0] > (worst.until or 0.0)):
            worst = RuleDecision(rule="per_number", reason=reason, until=row[0])
    return worst


def _too_many(
    db: sqlite3.Connection, now: float, campaign: int, limits: SendLimits
) -> RuleDecision | None:
    if limits.per_day is None:
        return None
    began = limits.day_began
    whole = int(-(-began // _QUARTER))  # the first quarter that lies in this day as a whole
    (sends,) = db.execute(
        "SELECT (SELECT coalesce(sum(sends), 0) FROM quarter "
        "WHERE campaign = :campaign AND quarter >= :whole) + "
        "(SELECT count(*) FROM send INDEXED BY send_campaign WHERE campaign = :campaign "
        "AND at >= :began AND at < :edge AND state <> 'absent')",
        {"campaign": campaign, "whole": whole, "began": began, "edge": whole * _QUARTER},
    ).fetchone()
    if sends < limits.per_day:
        return None
    return RuleDecision(
        rule="per_day",
        reason=f"at most {limits.per_day} calls of this campaign a day",
        # A day of 25 hours must not make it try again at once, all the last hour long.
        until=max(began + _DAY, now + _SOON),
    )


def _too_dear(now: float, cost: float, limits: SendLimits) -> RuleDecision | None:
    if limits.cost is None or cost < limits.cost:
        return None
    reason = f"the calls of this campaign have cost {cost:g} of {limits.cost:g}"
    return RuleDecision(rule="cost", reason=reason, until=now + _SOON)


# -- what it came to


def settle(db: sqlite3.Connection, now: float, token: str, outcome: SendResult) -> bool:
    """Put on record what a send came to, if nothing is known of it that is better."""
    if outcome.state not in _OUTCOMES:
        raise ConfigurationError(
            f"a send comes to {listed(_OUTCOMES)}, not to {shown(outcome.state)}"
        )
    state, move = _OUTCOMES[outcome.state]
    detail, request_id = clean(outcome.detail), id_of(outcome.request_id)
    send = db.execute(
        "UPDATE send SET state = ?, detail = ?, request_id = coalesce(request_id, ?) "
        "WHERE token = ? AND (state = 'sending' OR ? AND state IN ('unknown', 'absent')) "
        "RETURNING contact, epoch",
        (state, detail, request_id, token, move is Move.ACCEPT),
    ).fetchone()
    if send is None:
        _note_id(db, token, request_id)
        return False
    contact, epoch = send
    if move is Move.ACCEPT:
        moved = db.execute(_ACCEPT, (detail, request_id, contact)).rowcount
        # Though it is placed already: two that were placed are to be seen.
        record(db, [contact], now, move, detail, token)
    else:
        moved = db.execute(
            _SETTLED[move], (detail, outcome.not_before, contact, epoch)
        ).rowcount
        what, said = (move.value, detail) if moved else ("event", f"{move}: {detail}")
        record(db, [contact], now, what, said, token)
    return bool(moved)


def _note_id(db: sqlite3.Connection, token: str, request_id: str | None) -> None:
    """Keep the id of a call that an event told of first: later events may bring it only."""
    if request_id is None:
        return
    row = db.execute(
        "UPDATE send SET request_id = ? WHERE token = ? AND request_id IS NULL "
        "RETURNING contact",
        (request_id, token),
    ).fetchone()
    if row is not None:
        db.execute(
            "UPDATE contact SET request_id = ? WHERE id = ? AND request_id IS NULL",
            (request_id, row[0]),
        )


# -- evidence


def hear(db: sqlite3.Connection, now: float, event: CallEvidence) -> str | None:
    """Note an event. In any order, and however often each comes, the same is known after."""
    send = _find(db, event.token, event.request_id)
    if send is None:
        return None
    token, contact, campaign, state, paid = send
    finished = event.over or state == "finished"
    more = max((event.cost or 0.0) - (paid or 0.0), 0.0)
    # The larger value is the later one: nobody talks less, nor is a call answered no more.
    db.execute(
        "UPDATE send SET state = ?, heard_at = max(coalesce(heard_at, 0), ?), "
        "request_id = coalesce(request_id, ?), "
        "answered = nullif(max(coalesce(answered, -1), coalesce(?, -1)), -1), "
        "talk_seconds = nullif(max(coalesce(talk_seconds, -1), coalesce(?, -1)), -1), "
        "cost = nullif(max(coalesce(cost, -1), coalesce(?, -1)), -1) WHERE token = ?",
        (
            "finished" if finished else "placed", now, event.request_id, event.answered,
            event.talk_seconds, event.cost, token,
        ),
    )  # fmt: skip
    if more:
        db.execute("UPDATE campaign SET cost = cost + ? WHERE id = ?", (more, campaign))
    _tell_contact(db, contact)
    _move(db, contact, token, state, event)
    row = db.execute("SELECT name FROM campaign WHERE id = ?", (campaign,)).fetchone()
    return str(row[0])


def _find(
    db: sqlite3.Connection, token: str | None, request_id: str | None
) -> tuple[str, int, int, str, float | None] | None:
    for column, value in (("token", token), ("request_id", request_id)):
        if value is not None:
            row: tuple[str, int, int, str, float | None] | None = db.execute(
                f"SELECT token, contact, campaign, state, cost FROM send WHERE {column} = ?",  # noqa: S608  # one of the two names above
                (value,),
            ).fetchone()
            if row is not None:
                return row
    return None


def _tell_contact(db: sqlite3.Connection, contact: int) -> None:
    """Let a contact know what all its sends came to, two that were placed included."""
    db.execute(
        "UPDATE contact SET (answered, talk_seconds, cost) = "
        "(SELECT max(answered), sum(talk_seconds), sum(cost) FROM send "
        "WHERE contact = :contact AND number = contact.number) WHERE id = :contact",
        {"contact": contact},
    )


def _move(
    db: sqlite3.Connection, contact: int, token: str, state: str, event: CallEvidence
) -> None:
    """Move a contact as an event of its call demands, and put that into its history."""
    seen = db.execute(
        "SELECT 1 FROM passage WHERE contact = ? AND token = ? AND at = ? AND detail = ? "
        "AND what IN ('accept', 'finish', 'event')",
        (contact, token, event.at, event.detail),
    ).fetchone()
    told: list[str] = []
    # What stood against it before is over; the event itself is in its history.
    accepted = db.execute(_ACCEPT, ("", event.request_id, contact)).rowcount
    if accepted or state not in {"placed", "finished"}:
        told.append(Move.ACCEPT)
    if event.over and db.execute(_FINISH, (event.at, contact)).rowcount:
        told.append(Move.FINISH)
    if not told and seen is None:
        told.append("event")
    for what in told:
        record(db, [contact], event.at, what, event.detail, token)


# -- unknown ones


def resolve_unknown(
    db: sqlite3.Connection, now: float, name: str, older_than: float, policy: str
) -> int:
    """Move unknown contacts whose calls are proven absent."""
    campaign = campaign_id(db, name)
    if policy == "hold":
        return 0
    if policy not in _POLICIES:
        raise ConfigurationError(
            f"policy must be {listed(['hold', *_POLICIES])}, not {shown(policy)}"
        )
    move = _POLICIES[policy]
    why = f"no event of it came within {older_than:g} seconds, while others' did"
    absolved = 0
    times = {"older": older_than, "resent": LAST_RECORD, "now": now}
    proven = db.execute(_PROVEN, {"campaign": campaign, **times})
    for token, contact, epoch in proven.fetchall():
        moved = db.execute(_ABSOLVED[move], (why, contact, epoch)).rowcount
        db.execute("UPDATE send SET state = 'absent' WHERE token = ?", (token,))
        record(db, [contact], now, move if moved else "event", why, token)
        absolved += moved
    return absolved


def redial(db: sqlite3.Connection, now: float, name: str, numbers: Sequence[int] | None) -> int:
    """Make unknown contacts pending; their sends go on counting as such that may have rung."""
    campaign = campaign_id(db, name)
    if numbers is None:
        rows = db.execute(f"{_REDIAL_ALL} RETURNING id", (campaign,)).fetchall()
    else:
        rows = [
            row
            for number in numbers
            for row in db.execute(f"{_REDIAL_ONE} RETURNING id", (campaign, number)).fetchall()
        ]
    record(db, [row[0] for row in rows], now, Move.REDIAL)
    return len(rows)
