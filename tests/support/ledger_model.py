"""Random programs of two workers on a ledger, against a model made of the transition table.

The fixture `open_ledger` is SQLite's, and PostgreSQL's below tests/servers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import (
    FENCE,
    NO_LIMITS,
    Clock,
    new_contacts,
    new_token,
)

from telecmi_async.ledger import (
    CallEvidence,
    Claim,
    ContactState,
    Intent,
    Ledger,
    Move,
    RuleDecision,
    SendResult,
)
from telecmi_async.ledger.states import MOVES

if TYPE_CHECKING:
    from ledgers import OpenLedger

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

S = ContactState
WORKERS = ("a", "b")
LEASE = 10.0
NAME = "model"
OUTCOMES = {
    S.PLACED: Move.ACCEPT,
    S.PENDING: Move.RETRY,
    S.REJECTED: Move.REJECT,
    S.FAILED: Move.FAIL,
    S.UNKNOWN: Move.MARK_UNKNOWN,
}
NIGHT = RuleDecision(rule="window", reason="night", until=0.0)
NEVER = RuleDecision(rule="country", reason="no")


@define(eq=False)
class Row:
    """What the model knows of a contact."""

    number: int
    state: ContactState = S.PENDING
    epoch: int = 0
    owner: str = ""
    lease_until: float = 0.0
    sends: int = 0
    excused: int = 0
    withdrawn: bool = False
    history: list[str] = field(factory=list[str])

    def move(self, move: Move) -> bool:
        """Make a transition if the table allows it."""
        sources, target = MOVES[move]
        if self.state not in sources:
            return False
        self.state = target
        self.history.append(move)
        return True

    def is_held(self, claim: Claim, worker: str) -> bool:
        """Return whether this claim is the latest one, and in force."""
        return (self.state, self.owner, self.epoch) == (S.CLAIMED, worker, claim.epoch)


@define(eq=False)
class Sent:
    """What the model knows of a send."""

    token: str
    row: Row
    epoch: int
    lease_until: float
    #: Its result; None while it is in flight.
    result: ContactState | None = None


@define(eq=False)
class Program:
    """Two workers and a source of events, on a ledger and its model at once."""

    ledger: Ledger
    clock: Clock
    rows: list[Row]
    claims: list[tuple[Row, Claim, str]] = field(factory=list[tuple["Row", Claim, str]])
    sent: list[Sent] = field(factory=list[Sent])

    async def claim(self, worker: str, pick: int) -> None:
        """Claim due contacts, each pending one by one worker."""
        most = pick % 3 + 1
        due = [row for row in self.rows if row.state is S.PENDING]

        got = await self.ledger.claim(NAME, worker, most=most, lease=LEASE)

        assert len(got) == min(most, len(due))
        by_number = {row.number: row for row in self.rows}
        for claim in got:
            row = by_number[claim.number]
            assert row.move(Move.CLAIM)
            row.epoch, row.owner = row.epoch + 1, worker
            row.lease_until = self.clock.time + LEASE
            assert (claim.epoch, claim.sends) == (row.epoch, row.sends)
            assert claim.attempts == row.sends - row.excused
            self.claims.append((row, claim, worker))

    async def release(self, worker: str, pick: int) -> None:
        """Release a claim; only its holder can."""
        if self.claims:
            row, claim, owner = self.claims[pick % len(self.claims)]
            held = row.is_held(claim, worker)
            assert await self.ledger.release(claim, worker) is held
            if held:
                assert row.move(Move.RELEASE)
                assert owner == worker

    async def block(self, worker: str, pick: int) -> None:
        """Block or postpone a claim; only its holder can."""
        if self.claims:
            row, claim, _ = self.claims[pick // 2 % len(self.claims)]
            held = row.is_held(claim, worker)
            assert await self.ledger.block(claim, worker, (NIGHT, NEVER)[pick % 2]) is held
            if held:
                row.move((Move.POSTPONE, Move.BLOCK)[pick % 2])

    async def intend(self, worker: str, pick: int) -> None:
        """Record an intent; only the latest claim of a contact can be sent."""
        if self.claims:
            row, claim, _ = self.claims[pick % len(self.claims)]
            token, held = new_token(), row.is_held(claim, worker)
            intent = await self.ledger.intend(
                claim, worker, token, limits=NO_LIMITS, fence=FENCE, lease=LEASE
            )
            assert isinstance(intent, Intent) is held
            if held:
                row.move(Move.INTEND)
                row.sends += 1
                until = self.clock.time + LEASE
                self.sent.append(Sent(token, row, row.epoch, until))

    async def settle(self, _worker: str, pick: int) -> None:
        """Settle a send once; a send marked unknown may still become placed."""
        if self.sent:
            send = self.sent[pick // 5 % len(self.sent)]
            state, move = list(OUTCOMES.items())[pick % 5]
            current = send.result is None and send.epoch == send.row.epoch
            moves = False
            if state is S.PLACED:
                moves = send.result is not S.PLACED and send.row.state in MOVES[move][0]
            elif send.result is None:
                moves = current and send.row.state is S.SENDING

            counts = pick < 30
            result = SendResult(state=state, counts=counts)
            assert await self.ledger.settle(send.token, result) is moves

            if moves:
                assert send.row.move(move)
                send.row.excused += state is S.PENDING and not counts
                if state is S.PENDING and send.row.withdrawn:
                    assert send.row.move(Move.WITHDRAW)
            if send.result is None or state is S.PLACED:
                send.result = state

    async def record_event(self, _worker: str, pick: int) -> None:
        """Record an event, which counts in any state."""
        if self.sent:
            send, over = self.sent[pick // 2 % len(self.sent)], bool(pick % 2)
            assert await self.ledger.record_event(
                CallEvidence(token=send.token, request_id=None, at=self.clock.time, over=over)
            )
            send.row.move(Move.ACCEPT)
            if over:
                send.row.move(Move.FINISH)
            send.result = S.PLACED

    async def reap(self, _worker: str, _pick: int) -> None:
        """Reap ended leases: claims become pending, and sends become unknown."""
        released = [
            row
            for row in self.rows
            if row.state is S.CLAIMED and row.lease_until <= self.clock.time
        ]
        lost = [
            send
            for send in self.sent
            if send.result is None and send.lease_until <= self.clock.time
        ]

        reaped = await self.ledger.reap(NAME)

        # A send whose contact has moved on may be counted or not.
        moving = [s for s in lost if s.row.state is S.SENDING and s.row.epoch == s.epoch]
        assert reaped.released == len(released)
        assert len(moving) <= reaped.unknown <= len(lost)
        for row in released:
            assert row.move(Move.RELEASE)
        for send in lost:
            send.result = S.UNKNOWN
        for send in moving:
            assert send.row.move(Move.MARK_UNKNOWN)

    async def renew(self, worker: str, _pick: int) -> None:
        """Renew all claims of a worker."""
        held = [row for row in self.rows if row.state is S.CLAIMED and row.owner == worker]
        assert await self.ledger.renew(worker, lease=LEASE) == len(held)
        for row in held:
            row.lease_until = self.clock.time + LEASE

    async def redial(self, _worker: str, pick: int) -> None:
        """Make an unknown contact pending, by decision."""
        row = self.rows[pick % len(self.rows)]
        moved = row.move(Move.REDIAL)
        row.withdrawn = row.withdrawn and not moved
        assert await self.ledger.redial_unknown(NAME, [row.number]) == moved

    async def reopen(self, _worker: str, pick: int) -> None:
        """Make a contact pending that was certainly not placed, by decision."""
        row = self.rows[pick // 2 % len(self.rows)]
        state = (S.REJECTED, S.FAILED, S.BLOCKED)[pick % 3]
        absent = {S.PENDING, S.REJECTED, S.FAILED}
        silent = all(send.result in absent for send in self.sent if send.row is row)
        moved = row.state is state and silent and row.move(Move.REOPEN)
        assert await self.ledger.reopen(NAME, state, [row.number]) == moved
        if moved:
            row.excused, row.withdrawn = row.sends, False

    async def withdraw(self, _worker: str, pick: int) -> None:
        """Withdraw a contact, in whichever state it is."""
        row = self.rows[pick % len(self.rows)]
        was_blocked = row.state is S.BLOCKED and row.withdrawn
        moved, row.withdrawn = row.move(Move.WITHDRAW), True
        found = await self.ledger.withdraw(NAME, [row.number])
        assert (found.total, found.blocked == 1) == (1, moved or was_blocked)

    async def wait(self, _worker: str, pick: int) -> None:
        """Let time pass."""
        self.clock.time += float(pick % 12)

    async def check(self) -> None:
        """Check that each contact is in the ledger, and in a state reached by the table."""
        state = await self.ledger.state(NAME)
        assert state.total == len(self.rows)
        assert {s: n for s, n in state.counts.items() if n} == {
            s: n for s in S if (n := sum(row.state is s for row in self.rows))
        }
        assert state.sends == len(self.sent)
        for row in self.rows:
            found = await self.ledger.find(NAME, row.number)
            assert found is not None
            assert (found.state, found.sends) == (row.state, row.sends)
            tokens = {send.token for send in self.sent if send.row is row}
            assert {p.token for p in found.history if p.what == Move.INTEND} == tokens
            assert moves_of([(p.what, p.token) for p in found.history]) == row.history


def moves_of(history: list[tuple[str, str | None]]) -> list[str]:
    """Return a history's transitions, without events of a second call to the same contact."""
    moves: list[str] = []
    accepted: set[str | None] = set()
    state = S.PENDING
    for what, token in history:
        if what == "event" or (what == Move.ACCEPT and state not in MOVES[Move.ACCEPT][0]):
            assert what == "event" or token not in accepted
        else:
            sources, target = MOVES[Move(what)]
            assert state in sources
            moves.append(what)
            state = target
        if what == Move.ACCEPT:
            accepted.add(token)
    return moves


STEPS = [
    "claim", "claim", "intend", "intend", "settle", "settle", "record_event", "reap", "wait", "wait",
    "release", "block", "renew", "redial", "reopen", "reopen", "withdraw",
]  # fmt: skip
programs = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(WORKERS), st.integers(0, 59)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=programs, size=st.integers(1, 4))
async def test_a_ledger_does_what_the_table_says(
    open_ledger: OpenLedger, steps: list[tuple[str, str, int]], size: int
) -> None:
    """Any program of two workers has the same results on the ledger and on the model."""
    clock = Clock()
    contacts = new_contacts(size)
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger(Path(folder), clock) as ledger:
            await ledger.create(NAME, {})
            await ledger.load(NAME, contacts)
            program = Program(ledger, clock, [Row(contact.number) for contact in contacts])
            for step, worker, pick in steps:
                await getattr(program, step)(worker, pick)

            await program.check()
