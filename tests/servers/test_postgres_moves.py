"""PostgreSQL's functions make exactly the moves of the table of states."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
from ledgers import FENCE, LEASE, Clock, begin, intend, new_token
from pg_ledgers import ClockedLedger

from telecmi_async.ledger import (
    CallEvidence,
    Claim,
    ContactState,
    Move,
    RuleDecision,
    SendResult,
)
from telecmi_async.ledger.states import MOVES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

S = ContactState
OLDER = 60.0
NIGHT = RuleDecision(rule="window", reason="night", until=0.0)
NEVER = RuleDecision(rule="country", reason="no")

Way: TypeAlias = "Callable[[ClockedLedger, str, Claim, str], Awaitable[object]]"


def settled(state: ContactState) -> Way:
    """Return a way that settles the send with a result."""
    return lambda ledger, _, __, token: ledger.settle(token, SendResult(state=state))


def event_of(*, over: bool) -> Way:
    """Return a way that records an event of the send."""
    return lambda ledger, _, __, token: ledger.record_event(
        CallEvidence(token=token, request_id=None, at=1.0, over=over)
    )


def resolved(policy: str) -> Way:
    """Return a way that resolves sends that are proven absent."""
    return lambda ledger, name, _, __: ledger.resolve_unknown(
        name, older_than=OLDER, policy=policy
    )


async def reopened(ledger: ClockedLedger, name: str, _: Claim, __: str) -> None:
    """Have rejected and failed contacts tried again."""
    await ledger.reopen(name, S.REJECTED)
    await ledger.reopen(name, S.FAILED)
    await ledger.reopen(name, S.BLOCKED)


async def withdrawn(ledger: ClockedLedger, name: str, _: Claim, __: str) -> None:
    """Withdraw all contacts."""
    numbers = [contact.number async for contact in ledger.contacts(name)]
    await ledger.withdraw(name, numbers)


#: What is called, and the moves that it may make, in order.
WAYS: dict[str, tuple[list[Move], Way]] = {
    "claim": (
        [Move.CLAIM],
        lambda ledger, name, _, __: ledger.claim(name, "x", most=9, lease=LEASE),
    ),
    "release": ([Move.RELEASE], lambda ledger, _, claim, __: ledger.release(claim, "w")),
    "intend": ([Move.INTEND], lambda ledger, _, claim, __: intend(ledger, claim, new_token())),
    "postpone": ([Move.POSTPONE], lambda ledger, _, claim, __: ledger.block(claim, "w", NIGHT)),
    "block": ([Move.BLOCK], lambda ledger, _, claim, __: ledger.block(claim, "w", NEVER)),
    "placed": ([Move.ACCEPT], settled(S.PLACED)),
    "rejected": ([Move.REJECT], settled(S.REJECTED)),
    "not placed": ([Move.RETRY], settled(S.PENDING)),
    "failed": ([Move.FAIL], settled(S.FAILED)),
    "unknown": ([Move.MARK_UNKNOWN], settled(S.UNKNOWN)),
    "event": ([Move.ACCEPT], event_of(over=False)),
    "record": ([Move.ACCEPT, Move.FINISH], event_of(over=True)),
    "reap": ([Move.RELEASE, Move.MARK_UNKNOWN], lambda ledger, name, _, __: ledger.reap(name)),
    "retry after proof": ([Move.RESOLVE_UNKNOWN], resolved("retry_after_proof")),
    "give up": ([Move.GIVE_UP], resolved("give_up")),
    "redial": ([Move.REDIAL], lambda ledger, name, _, __: ledger.redial_unknown(name)),
    "reopen": ([Move.REOPEN], reopened),
    "withdraw": ([Move.WITHDRAW], withdrawn),
    "redial missed": (
        [Move.REDIAL_MISSED],
        lambda ledger, name, _, __: ledger.redial_missed(name, [1.0]),
    ),
}


async def put_into(
    ledger: ClockedLedger, clock: Clock, name: str, state: ContactState, way: str
) -> tuple[int, Claim, str]:
    """Send to a contact and put it into a state, so that only the state can prevent a move.

    The claim and the token are its latest ones, its lease is over, and an event of another send
    arrived when this one's record would have been sent again.
    """
    numbers = await begin(ledger, 2, name=name)
    claims = await ledger.claim(name, "w", most=2, lease=LEASE)
    tokens = [new_token(), new_token()]
    for claim, token in zip(claims, tokens, strict=True):
        await intend(ledger, claim, token)
    clock.time += FENCE + 1
    await event_of(over=True)(ledger, name, claims[1], tokens[1])
    clock.time += OLDER
    await ledger._moves.fetch(
        "UPDATE contact SET state = %s::contact_state, worker = 'w', lease_until = 0"
        " WHERE id = %s RETURNING id",
        state.value,
        claims[0].contact,
    )
    outcomes = {
        "retry after proof": "unknown",
        "give up": "unknown",
        "reopen": "absent",
        "redial missed": "placed",
    }
    outcome = outcomes.get(way)
    await ledger._moves.fetch(
        "UPDATE contact SET answered = false, finished_at = 1 WHERE id = %s RETURNING 1",
        claims[0].contact,
    )
    await ledger._moves.fetch(
        "UPDATE send SET outcome = %s, over = %s WHERE token = %s RETURNING 1",
        outcome,
        way == "redial missed",
        tokens[0],
    )
    return numbers[0], claims[0], tokens[0]


def after(state: ContactState, moves: list[Move]) -> tuple[ContactState, list[str]]:
    """Return the state after some moves by the table, and the moves that it allowed."""
    made: list[str] = []
    for move in moves:
        sources, target = MOVES[move]
        if state in sources:
            state = target
            made.append(move.value)
    return state, made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One schema for all tests: each contact has a campaign of its own."""
    return tmp_path_factory.mktemp("moves")


def test_every_move_is_tried() -> None:
    """Every move of the table is covered by a way."""
    assert {move for moves, _ in WAYS.values() for move in moves} == set(Move)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_function_moves_a_contact_as_the_table_says(folder: Path, way: str) -> None:
    """From every state a function makes the table's moves and records them, and no others."""
    moves, make = WAYS[way]
    wanted = {state: after(state, moves) for state in S}
    found: dict[ContactState, tuple[ContactState, list[str]]] = {}
    clock = Clock()
    async with ClockedLedger(folder, clock) as ledger:
        for state in S:
            name = f"{way} from {state}"
            number, claim, token = await put_into(ledger, clock, name, state, way)
            await make(ledger, name, claim, token)

            contact = await ledger.find(name, number)
            assert contact is not None
            # A second call is recorded in the history, but it is not a move.
            noted = {"event", Move.ACCEPT} if state in {S.PLACED, S.FINISHED} else {"event"}
            made = [each.what for each in contact.history[2:] if each.what not in noted]
            found[state] = contact.state, made

    assert found == wanted
