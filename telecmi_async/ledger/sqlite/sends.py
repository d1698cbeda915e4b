"""Sends: intent, result and evidence of each call, each function one SQLite job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from telecmi_async.ledger.sanitize import (
    INT_64,
    clean,
    clean_event,
    clean_id,
)
from telecmi_async.ledger.send_records import RESULTS, Intent, RuleDecision
from telecmi_async.ledger.sqlite.claims import put_back
from telecmi_async.ledger.sqlite.moves import add_history, guarded
from telecmi_async.ledger.sqlite.steering import keep_withdrawn
from telecmi_async.ledger.states import Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from telecmi_async.ledger.records import Claim
    from telecmi_async.ledger.send_records import CallEvidence, SendLimits, SendResult

_DAY: Final = 86400.0
#: Seconds until a contact is tried again that a limit of the day or of cost postponed.
_SOON: Final = 60.0
_QUARTER: Final = 900

_INTEND: Final = guarded(
    Move.INTEND,
    "id = ? AND worker = ? AND epoch = ?",
    also=", reason = '', sends = sends + 1, sent_at = ?",
)
_ACCEPT: Final = guarded(
    Move.ACCEPT, "id = ?", also=", reason = ?, request_id = coalesce(?, request_id)"
)
_ADD_LEG: Final = (
    "INSERT INTO leg (send, leg, cost) VALUES (?, ?, ?) ON CONFLICT (send, leg) "
    "DO UPDATE SET cost = excluded.cost WHERE excluded.cost > leg.cost"
)
_FINISH: Final = guarded(Move.FINISH, "id = ?", also=", finished_at = ?")

#: The state of a send after a move of its contact; after all others it is absent.
_SEND_STATES: Final = {Move.ACCEPT: "placed", Move.MARK_UNKNOWN: "unknown"}
_SETTLED: Final = {
    move: guarded(
        move,
        "id = ? AND epoch = ?",
        also=", reason = ?, not_before = max(not_before, ?), excused = excused + ?",
    )
    for move in RESULTS.values()
    if move is not Move.ACCEPT
}


# -- the intent


def intend(
    db: sqlite3.Connection,
    now: float,
    claim: Claim,
    worker: str,
    token: str,
    *,
    limits: SendLimits,
    fence: float,
    lease: float,
) -> Intent | RuleDecision | None:
    """Put the intent to send on record, if the contact is held and no limit denies it."""
    row = db.execute(
        "SELECT c.campaign, c.number, c.not_after, g.status, g.why, g.cost, g.revision, c.withdrawn, "
        "(SELECT source FROM do_not_call AS d WHERE d.number = c.number) "
        "FROM contact AS c JOIN campaign AS g ON g.id = c.campaign "
        "WHERE c.id = ? AND c.worker = ? AND c.epoch = ? AND c.state = 'claimed'",
        (claim.contact, worker, claim.epoch),
    ).fetchone()
    if row is None:
        return None
    refusal = next(_refusals(db, now, row, limits), None)
    if refusal is not None:
        put_back(db, now, claim, worker, refusal)
        return refusal
    db.execute(_INTEND, (now, claim.contact, worker, claim.epoch))
    db.execute(
        "INSERT INTO send (token, contact, campaign, number, worker, epoch, at, send_by, "
        "lease_until, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            token,
            claim.contact,
            *row[:2],
            worker,
            claim.epoch,
            now,
            now + fence,
            now + lease,
            limits.revision,
        ),
    )
    add_history(db, [claim.contact], now, Move.INTEND, worker, token)
    return Intent(token=token, send_by=now + fence)


def _refusals(
    db: sqlite3.Connection, now: float, row: Sequence[Any], limits: SendLimits
) -> Iterator[RuleDecision]:
    """Yield the decisions of the rules that deny a send now; the first one counts."""
    campaign, number, not_after, status, why, cost, revision, withdrawn, listed_by = row
    if status != "running":
        reason = f"the campaign is {status}" + (f": {why}" if why else "")
        yield RuleDecision(rule="campaign", reason=reason, until=now)
    if revision != limits.revision:
        yield RuleDecision(rule="settings", reason="the settings were changed", until=now)
    if withdrawn is not None:
        yield RuleDecision(rule="withdrawn", reason=withdrawn)
    if not_after is not None and now > not_after:
        yield RuleDecision(rule="not_fresh", reason="it is too late for this contact")
    if limits.check_do_not_call and listed_by is not None:
        reason = f"the number is on the list of {listed_by}"
        yield RuleDecision(rule="do_not_call", reason=reason)
    late = _over_per_number(db, now, number, limits.per_number)
    if late is not None:
        yield late
    if limits.per_day is not None and limits.per_day <= _sends_since(
        db, campaign, limits.day_began
    ):
        reason = f"at most {limits.per_day} calls of this campaign a day"
        # In the last hour of a day of 25 hours it must not be tried again at once.
        until = max(limits.day_began + _DAY, now + _SOON)
        yield RuleDecision(rule="per_day", reason=reason, until=until)
    if limits.cost is not None and cost >= limits.cost:
        reason = f"the calls of this campaign have cost {cost:g} of {limits.cost:g}"
        yield RuleDecision(rule="cost", reason=reason, until=now + _SOON)


def _over_per_number(
    db: sqlite3.Connection, now: float, number: int, caps: Sequence[tuple[int, float]]
) -> RuleDecision | None:
    """Return the decision that lasts longest, so that after it all caps allow the send."""
    worst: RuleDecision | None = None
    for count, seconds in caps:
        reason = f"at most {count} calls to one number in {seconds:g} seconds"
        if count < 1:
            return RuleDecision(rule="per_number", reason=reason)
        # One sum gives the decision and its end, so that rounding cannot make them disagree.
        row = db.execute(
            "SELECT at + ? FROM send WHERE number = ? AND at + ? > ? AND state <> 'absent' "
            "ORDER BY at DESC LIMIT 1 OFFSET ?",
            (seconds, number, seconds, now, min(count - 1, INT_64)),
        ).fetchone()
        if row is not None and (worst is None or row[0] > (worst.until or 0.0)):
            worst = RuleDecision(rule="per_number", reason=reason, until=row[0])
    return worst


def _sends_since(db: sqlite3.Connection, campaign: int, began: float) -> int:
    """Return how many sends a campaign made since a moment, by its sums of quarters."""
    whole = int(-(-began // _QUARTER))  # the first quarter that lies entirely after it
    (sends,) = db.execute(
        "SELECT (SELECT coalesce(sum(sends), 0) FROM quarter "
        "WHERE campaign = :campaign AND quarter >= :whole) + "
        "(SELECT count(*) FROM send INDEXED BY send_campaign WHERE campaign = :campaign "
        "AND at >= :began AND at < :edge AND state <> 'absent')",
        {"campaign": campaign, "whole": whole, "began": began, "edge": whole * _QUARTER},
    ).fetchone()
    return int(sends)


# -- the result


def settle(db: sqlite3.Connection, now: float, token: str, outcome: SendResult) -> bool:
    """Put the result of a send on record, unless better evidence is there."""
    move = RESULTS[outcome.state]
    state = _SEND_STATES.get(move, "absent")
    detail, request_id = clean(outcome.detail), clean_id(outcome.request_id)
    send = db.execute(
        "UPDATE send SET state = ?, detail = ?, request_id = coalesce(request_id, ?) "
        "WHERE token = ? AND (state = 'sending' OR ? AND state IN ('unknown', 'absent')) "
        "RETURNING contact, epoch",
        (state, detail, request_id, token, move is Move.ACCEPT),
    ).fetchone()
    if send is None:
        _keep_request_id(db, token, request_id)
        return False
    contact, epoch = send
    if move is Move.ACCEPT:
        moved = db.execute(_ACCEPT, (detail, request_id, contact)).rowcount
        # Also when the contact is placed already: the history shows that two calls were placed.
        add_history(db, [contact], now, move, detail, token)
    else:
        moved = db.execute(
            _SETTLED[move], (detail, outcome.not_before, not outcome.counts, contact, epoch)
        ).rowcount
        what, text = (move.value, detail) if moved else ("event", f"{move}: {detail}")
        add_history(db, [contact], now, what, text, token)
        if moved and state == "absent":
            _spare(db, now, contact)
            if move is Move.RETRY:
                keep_withdrawn(db, now, contact)
    return bool(moved)


def _spare(db: sqlite3.Connection, now: float, contact: int) -> None:
    """Finish a contact that was not placed this time, if another of its calls was answered."""
    row = db.execute("SELECT answered FROM contact WHERE id = ?", (contact,)).fetchone()
    if row[0]:
        db.execute(_ACCEPT, ("", None, contact))
        db.execute(_FINISH, (now, contact))
        for move in (Move.ACCEPT, Move.FINISH):
            add_history(db, [contact], now, move, "another of its calls was answered")


def _keep_request_id(db: sqlite3.Connection, token: str, request_id: str | None) -> None:
    """Keep the id of a call whose event came before the reply: later events may have no token."""
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


def record_evidence(db: sqlite3.Connection, now: float, event: CallEvidence) -> str | None:
    """Record an event of a call. Its order among others, and copies of it, do not matter."""
    event = clean_event(event)
    send = _find_send(db, event.token, event.request_id)
    if send is None:
        return None
    token, contact, campaign, state, known_cost, was_answered = send
    if event.leg_cost is not None:
        db.execute(_ADD_LEG, (token, *event.leg_cost))
    finished = event.over or state == "finished"
    more = max((event.call_cost or 0.0) - (known_cost or 0.0), 0.0)
    # The larger value is the later one: values of a call only grow.
    db.execute(
        "UPDATE send SET state = ?, last_event_at = max(coalesce(last_event_at, 0), ?), "
        "request_id = coalesce(request_id, ?), "
        "answered = nullif(max(coalesce(answered, -1), coalesce(?, -1)), -1), "
        "talk_seconds = nullif(max(coalesce(talk_seconds, -1), coalesce(?, -1)), -1), "
        "cost = nullif(max(coalesce(cost, -1), coalesce(?, -1)), -1) WHERE token = ?",
        (
            "finished" if finished else "placed", now, event.request_id, event.answered,
            event.talk_seconds, event.call_cost, token,
        ),
    )  # fmt: skip
    if more:
        db.execute("UPDATE campaign SET cost = cost + ? WHERE id = ?", (more, campaign))
    # The contact has the sums of all its sends: two calls may have been placed.
    db.execute(
        "UPDATE contact SET (answered, talk_seconds, cost) = "
        "(SELECT max(answered), sum(talk_seconds), sum(cost) FROM send "
        "WHERE contact = :contact AND number = contact.number) WHERE id = :contact",
        {"contact": contact},
    )
    _move_by_event(db, contact, token, state, event, was_answered=bool(was_answered))
    row = db.execute("SELECT name FROM campaign WHERE id = ?", (campaign,)).fetchone()
    return str(row[0])


def _find_send(
    db: sqlite3.Connection, token: str | None, request_id: str | None
) -> tuple[str, int, int, str, float | None, int | None] | None:
    for column, value in (("token", token), ("request_id", request_id)):
        row: tuple[str, int, int, str, float | None, int | None] | None = db.execute(
            f"SELECT token, contact, campaign, state, cost, answered FROM send WHERE {column} = ?",  # noqa: S608  # one of the two names above
            (value,),
        ).fetchone()
        if row is not None:
            return row
    return None


def _move_by_event(
    db: sqlite3.Connection,
    contact: int,
    token: str,
    state: str,
    event: CallEvidence,
    *,
    was_answered: bool,
) -> None:
    """Make the moves that follow from an event, and add them or the event to the history.

    A repeat of a call's record does not change a contact that is redialled because the call was
    not answered; proof of an answer finishes it.
    """
    seen = db.execute(
        "SELECT 1 FROM passage WHERE contact = ? AND token = ? AND at = ? AND detail = ? "
        "AND what IN ('accept', 'finish', 'event')",
        (contact, token, event.at, event.detail),
    ).fetchone()
    moves: list[str] = []
    if state == "finished" and not _stops_redial(db, contact, event, was_answered=was_answered):
        if seen is None:
            add_history(db, [contact], event.at, "event", event.detail, token)
        return
    # The earlier reason is void; the event itself is in the history.
    accepted = db.execute(_ACCEPT, ("", event.request_id, contact)).rowcount
    if accepted or state not in {"placed", "finished"}:
        moves.append(Move.ACCEPT)
    if event.over and db.execute(_FINISH, (event.at, contact)).rowcount:
        moves.append(Move.FINISH)
    if not moves and seen is None:
        moves.append("event")
    for what in moves:
        add_history(db, [contact], event.at, what, event.detail, token)


def _stops_redial(
    db: sqlite3.Connection, contact: int, event: CallEvidence, *, was_answered: bool
) -> bool:
    """Return whether a call that seemed missed was answered, and its contact waits to be dialled."""
    if was_answered or not event.answered:
        return False
    (state,) = db.execute("SELECT state FROM contact WHERE id = ?", (contact,)).fetchone()
    return state in {"pending", "claimed"}
