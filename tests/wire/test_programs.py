"""Random programs against a server that counts complete requests, and the check itself.

This is the short form of ``nox -s programs``: the same programs in every run, over the clients
that are installed. It stays in the everyday suite, because it needs no process and no server
beside itself, and because nothing else joins faults, cancellation, closing and time-outs.
"""

from __future__ import annotations

import gc
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import anyio
import attrs
import pytest
from program_clients import VARIANTS, Variant
from program_run import (
    ERROR,
    HANG,
    SAFE,
    SECOND,
    WRONG_ID,
    Fault,
    Tally,
    play_all,
    run,
    shrunk,
    table,
)
from program_server import FIRST, ProgramServer
from wire_programs import WORDS, CallPlan, ConnectionFate, Fate, Program, Session, Stray

from telecmi_async import CallService
from telecmi_async.wire.reply import Failure, Reply

if TYPE_CHECKING:
    from telecmi_async.wire.transport import Transport

pytestmark = [
    pytest.mark.real_clock,
]
# Some clients leave sockets and generators to the collector when a request is cancelled.
CARELESS = (
    pytest.mark.filterwarnings("ignore:Async gen:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
)

SEED = 20
#: For each client; ``nox -s full`` asks for more, and the long form runs thousands.
PROGRAMS = int(os.environ.get("PROGRAMS", "4"))
PLAIN = Variant("own", "asyncio", "plain")


def program_of(*fates: Fate, **more: Any) -> Program:
    """Return a program of one service and a call for each fate."""
    calls = tuple(CallPlan((fate,)) for fate in fates)
    return Program(0, 0, (Session(calls, way="in turn"),), **more)


def told(tally: Tally) -> str:
    """Return the faults of a tally, for a failure."""
    faults = [fault for fault in tally.faults if not fault.raced]
    listings = {f.number: Program.of(SEED, f.number).listing() for f in faults}
    return "\n".join([*map(str, faults), *listings.values()])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if variant.client == "own" else CARELESS)
        for name, variant in VARIANTS.items()
    ],
)
def test_no_program_breaks_the_promises(name: str) -> None:
    """No call is said to be safe, accepted or finished against what the server knows."""
    variant = VARIANTS[name]
    if variant.missing:
        pytest.skip(f"{variant.missing} is not installed")
    first = PROGRAMS * list(VARIANTS).index(name)

    tally = run(variant, [Program.of(SEED, first + n) for n in range(PROGRAMS)])
    if variant.client != "own":
        gc.collect()  # what such a client leaves to the collector belongs to this test

    assert tally.sound, told(tally)
    assert tally.complete > tally.calls // 8  # else nothing was tried


# -- the check can fail


class Wrapped:
    """A transport that changes what another one says."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def post(self, *args: Any, **more: Any) -> Reply | Failure:
        return self.changed(await self._inner.post(*args, **more))

    def changed(self, answer: Reply | Failure) -> Reply | Failure:
        """Return what it says instead."""
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class Lying(Wrapped):
    """It says of every failure that nothing was sent."""

    def changed(self, answer: Reply | Failure) -> Reply | Failure:
        if isinstance(answer, Failure):
            return attrs.evolve(answer, may_have_left=False)
        return answer


class Twice(Wrapped):
    """It sends everything twice, silently."""

    async def post(self, *args: Any, **more: Any) -> Reply | Failure:
        await self._inner.post(*args, **more)
        return await self._inner.post(*args, **more)


class Mixing(Wrapped):
    """It gives every call the reply of the one before."""

    before: Reply | Failure = Reply(200, b'{"request_id": "none", "code": 200}')

    def changed(self, answer: Reply | Failure) -> Reply | Failure:
        answer, self.before = self.before, answer
        return answer


class Silent(Wrapped):
    """It never answers."""

    async def post(self, *args: Any, **more: Any) -> Reply | Failure:
        await self._inner.post(*args, **more)
        await anyio.sleep_forever()
        raise AssertionError


class Failing(Wrapped):
    """It ends with a foreign exception when it is closed."""

    async def aclose(self) -> None:
        await self._inner.aclose()
        raise ZeroDivisionError


def over(transport: type[Wrapped], program: Program) -> Tally:
    """Run a program over a faulty transport."""

    def service(*args: Any, **more: Any) -> CallService:
        made = CallService(*args, **more)
        wrapped = transport(made._parts.transport)
        made._parts = attrs.evolve(made._parts, transport=cast("Any", wrapped))
        made._parts.placer._transport = wrapped
        return made

    async def main() -> Tally:
        with ProgramServer() as server:
            return await play_all(PLAIN, [program], server, service=service)

    return anyio.run(main)


CUT = Fate(cut=0.0, ending="close")
FINDINGS: dict[str, tuple[type[Wrapped], Program, set[str]]] = {
    "honest": (Wrapped, program_of(Fate(), CUT, Fate()), set()),
    "not sent, though placed": (Lying, program_of(CUT), {SAFE}),
    "repeated, though placed": (Lying, program_of(CUT, attempts=2), {SAFE, SECOND}),
    "sent twice": (Twice, program_of(Fate()), {SECOND}),
    "an id of another call": (Mixing, program_of(Fate(), Fate()), {WRONG_ID}),
    "refused for another call": (Mixing, program_of(Fate("420"), Fate()), {SAFE, WRONG_ID}),
    "not sent, though refused": (
        Lying,
        program_of(Fate("420", cut=0.5, ending="close")),
        {ERROR},
    ),
    "a foreign exception": (Failing, program_of(Fate()), {ERROR}),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_the_check_finds_a_transport_that_lies(name: str) -> None:
    """Each kind of fault is found in a service whose transport has it, and none in a sound one."""
    transport, program, kinds = FINDINGS[name]

    tally = over(transport, program)

    assert {fault.kind for fault in tally.faults} == kinds
    assert tally.sound == (not kinds)


def test_a_program_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does not end in time is a fault, and is not waited for."""
    monkeypatch.setattr(Program, "longest", 0.2)

    tally = over(Silent, program_of(Fate()))

    assert [fault.kind for fault in tally.faults] == [HANG]


def test_a_stray_reply_that_no_client_can_see_is_no_fault() -> None:
    """A fault that comes from a reply sent at the very moment of the next request is set apart."""
    raced = Fault(SAFE, 1, "", raced=True)
    both = Tally(faults=[raced, Fault(SAFE, 1, "")])

    assert Tally(faults=[raced]).sound
    assert not both.sound
    assert (both.count(SAFE), both.raced) == (1, 1)


# -- programs


def test_a_program_is_the_same_for_a_seed_and_a_number() -> None:
    """A seed and a number give a program for good; each line of its listing can be read."""
    program = Program.of(3, 14)

    assert program == Program.of(3, 14)
    assert program not in (Program.of(3, 15), Program.of(4, 14))
    assert program.listing().startswith("program 14 of seed 3: attempts=")


def test_programs_reach_every_fate() -> None:
    """A thousand programs have every word, every ending and every fate of connections."""
    programs = [Program.of(1, number) for number in range(1000)]
    fates = [fate for each in programs for call in each.calls for fate in call.fates]

    assert {fate.word for fate in fates} == set(WORDS)
    assert {fate.ending for fate in fates} == {
        "keep",
        "close",
        "reset",
        "half-close",
        "silence",
    }
    assert {fate.stray.after is None for fate in fates if fate.stray} == {True, False}
    kinds = Counter(fate.kind for each in programs for fate in each.connections)
    assert min(kinds.values()) >= 10
    assert len(kinds) == 25
    assert any(plan.cancel_after is not None for each in programs for plan in each.calls)


def test_a_program_is_simplified_while_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing program becomes one that has nothing but the cause of its failure."""

    def failing(_: Variant, programs: list[Program]) -> Tally:
        bad = any(fate.word == "420" for call in programs[0].calls for fate in call.fates)
        return Tally(faults=[Fault(SAFE, 0, "")] if bad else [])

    monkeypatch.setattr("program_run.run", failing)
    rng = random.Random(1)
    numbers = (rng.randrange(10_000) for _ in range(1000))
    program = next(
        p for p in map(Program.of, [1] * 1000, numbers) if not failing(PLAIN, [p]).sound
    )

    simple = shrunk(PLAIN, program, seconds=20)

    assert simple.sessions[0].calls == (attrs.evolve(simple.calls[0], cancel_after=None),)
    assert all(fate == ConnectionFate() for fate in simple.connections)


def test_the_table_sums_up() -> None:
    """The table has a line for each variant, and their sum."""
    tally = Tally(programs=2, calls=5, complete=4)
    shown = table({PLAIN: tally, Variant("own", "trio", "tls"): tally}).splitlines()

    assert shown[1].startswith("own · asyncio · plain")
    assert shown[-1].split()[:4] == ["all", "4", "10", "8"]
    assert Tally.from_json('{"faults": [], "statuses": {}, "calls": 5}') == Tally(calls=5)


def test_a_stray_reply_is_not_taken_for_the_next_one() -> None:
    """A second reply in one write answers no other call: the sum of this file, as one program."""
    stray = Fate(stray=Stray("420"))

    tally = run(PLAIN, [program_of(stray, Fate(), Fate())])

    assert tally.sound, told(tally)
    assert tally.statuses == {"progress": 3}
    assert FIRST > 0
