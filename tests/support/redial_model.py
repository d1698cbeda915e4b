"""Random programs of calls, records and redials on a ledger, and what must hold in all of them.

Unlike `ledger_model` it has no model of the ledger: it knows what became of each call, and
checks what a person at the phone would notice. The fixture `open_ledger` is SQLite's, and
PostgreSQL's below tests/servers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import FENCE, LEASE, NO_LIMITS, Clock, new_contacts, new_token

from telecmi_async.ledger import CallEvidence, Claim, ContactState, Intent, Ledger, SendResult

if TYPE_CHECKING:
    from ledgers import OpenLedger

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

S = ContactState
NAME = "redials"
WAITS = (5.0, 20.0)
RESULTS = (S.PLACED, S.PLACED, S.PLACED, S.UNKNOWN, S.PENDING)


@define(eq=False)
class Rung:
    """One send: what is on record of it."""

    token: str
    number: int
    #: What its worker put on record first.
    result: ContactState | None = None
    #: Whether an event of it is on record, its record, and that somebody answered.
    proven: bool = False
    over: bool = False
    answered: bool = False

    @property
    def live(self) -> bool:
        """Whether, by what is on record, a phone may ring or a person may talk."""
        return not self.over and (self.result is not S.PENDING or self.proven)


@define(eq=False)
class RedialProgram:
    """Workers that call, and events in any order."""

    ledger: Ledger
    clock: Clock
    claims: list[tuple[Claim, str]] = field(factory=list[tuple[Claim, str]])
    calls: list[Rung] = field(factory=list[Rung])
    #: When each number's last redial may be at the earliest, and how many it had.
    due: dict[int, float] = field(factory=dict[int, float])
    redials: dict[int, int] = field(factory=dict[int, int])
    #: When a contact was last over, as its records say.
    ended: dict[int, float] = field(factory=dict[int, float])
    refused: set[int] = field(factory=set[int])
    #: Numbers of which an answer came while another call was unknown, which may be dialled again.
    crossed: set[int] = field(factory=set[int])

    def of(self, number: int) -> list[Rung]:
        """Return the calls to a number."""
        return [call for call in self.calls if call.number == number]

    async def claim(self, pick: int) -> None:
        """Claim contacts, none before its wait is over."""
        worker = "ab"[pick % 2]
        for claim in await self.ledger.claim(NAME, worker, most=2, lease=LEASE):
            assert self.clock.time >= self.due.get(claim.number, 0.0)
            self.claims.append((claim, worker))

    async def send(self, pick: int) -> None:
        """Record an intent: never while a call to the contact may live, nor after an answer."""
        if not self.claims:
            return
        claim, worker = self.claims[pick % len(self.claims)]
        token = new_token()
        intent = await self.ledger.intend(
            claim, worker, token, limits=NO_LIMITS, fence=FENCE, lease=LEASE
        )
        if isinstance(intent, Intent):
            before = self.of(claim.number)
            assert not any(call.live for call in before)
            assert not any(call.answered for call in before) or claim.number in self.crossed
            assert claim.number not in self.refused
            missed = sum(call.over for call in before)
            assert missed <= len(WAITS)
            assert claim.redials == self.redials.get(claim.number, 0) == missed
            self.calls.append(Rung(token, claim.number))

    async def settle(self, pick: int) -> None:
        """Put the result of a send on record, perhaps after its events."""
        if self.calls:
            call = self.calls[pick // 5 % len(self.calls)]
            result = RESULTS[pick % 5]
            await self.ledger.settle(call.token, SendResult(state=result, counts=False))
            if call.result is None or (result is S.PLACED):
                call.result = result

    async def event(self, pick: int) -> None:
        """Record an event of a call: ringing, missed or answered, new or repeated."""
        if self.calls:
            call = self.calls[pick // 4 % len(self.calls)]
            over, answered = bool(pick % 4), pick % 4 == 3
            found = await self.ledger.find(NAME, call.number)
            if answered and found is not None and found.state is S.UNKNOWN:
                self.crossed.add(call.number)
            assert await self.ledger.record_event(
                CallEvidence(
                    token=call.token,
                    request_id=None,
                    at=self.clock.time,
                    over=over,
                    answered=answered if over else None,
                )
            )
            if over and not call.over:
                self.ended[call.number] = self.clock.time
            call.proven, call.over = True, call.over or over
            call.answered |= answered

    async def miss(self, pick: int) -> None:
        """Call a contact that does not answer, as most calls of a list go."""
        known = len(self.claims)
        await self.claim(pick)
        if len(self.claims) > known:
            await self.send(known)
            await self.settle(5 * (len(self.calls) - 1))
            await self.event(4 * (len(self.calls) - 1) + 1 + pick % 2)
            await self.event(4 * (len(self.calls) - 1))

    async def redial(self, _pick: int) -> None:
        """Let two workers redial at once: by records only, and each contact as often as planned."""
        states = {
            number: found.state
            for number in {call.number for call in self.calls}
            if (found := await self.ledger.find(NAME, number)) is not None
        }
        counts: list[int] = []

        async def one() -> None:
            counts.append(await self.ledger.redial_missed(NAME, WAITS))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        moved = 0
        for number, state in states.items():
            found = await self.ledger.find(NAME, number)
            assert found is not None
            calls = self.of(number)
            may = (
                state is S.FINISHED
                and any(call.over for call in calls)
                and not any(call.live or call.answered for call in calls)
                and self.redials.get(number, 0) < len(WAITS)
            )
            assert (found.state is S.PENDING and state is S.FINISHED) is may
            if may:
                done = self.redials.get(number, 0)
                self.due[number] = self.ended[number] + WAITS[done]
                self.redials[number] = done + 1
                moved += 1
        assert sum(counts) == moved

    async def refuse(self, pick: int) -> None:
        """Put the number of a call on the do-not-call list."""
        if self.calls and pick > 50:
            number = self.calls[pick % len(self.calls)].number
            await self.ledger.add_do_not_call([number], "asked")
            self.refused.add(number)

    async def reap(self, _pick: int) -> None:
        """Take back what dead workers left."""
        await self.ledger.reap(NAME)

    async def wait(self, pick: int) -> None:
        """Let time pass."""
        self.clock.time += float(pick % 30)

    async def check(self) -> None:
        """Check that no contact is lost: what has records of all its calls is over or dialled."""
        for number in {call.number for call in self.calls}:
            found = await self.ledger.find(NAME, number)
            assert found is not None
            calls = self.of(number)
            if found.state is S.PLACED:
                assert any(call.live for call in calls)
            if any(call.answered for call in calls) and number not in self.crossed:
                assert found.state not in {S.PENDING, S.CLAIMED}


async def test_a_late_event_of_a_missed_call_disturbs_no_redial(
    open_ledger: OpenLedger, tmp_path: Path
) -> None:
    """An event without a record, of a call that is over, leaves a contact pending for redial."""
    clock = Clock()
    async with open_ledger(tmp_path, clock) as ledger:
        await ledger.create(NAME, {})
        await ledger.load(NAME, new_contacts(1))
        program = RedialProgram(ledger, clock)
        await program.miss(0)
        await program.redial(0)
        await program.event(0)
        found = await ledger.find(NAME, program.calls[0].number)

    assert found is not None
    assert found.state is S.PENDING


STEPS = [
    "claim", "claim", "send", "send", "settle", "settle", "event", "event", "event", "miss", "miss",
    "redial", "redial", "redial", "wait", "wait", "wait", "reap", "refuse",
]  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 59)), min_size=8, max_size=60
    ),
    size=st.integers(1, 2),
)
async def test_redials_keep_their_promises(
    open_ledger: OpenLedger, steps: list[tuple[str, int]], size: int
) -> None:
    """In any order of calls, events and redials a missed call alone is repeated, as planned."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger(Path(folder), clock) as ledger:
            await ledger.create(NAME, {})
            await ledger.load(NAME, new_contacts(size))
            program = RedialProgram(ledger, clock)
            for step, pick in steps:
                await getattr(program, step)(pick)

            await program.check()
