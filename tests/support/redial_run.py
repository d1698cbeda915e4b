"""A whole campaign with redials on the virtual clock: three workers, kills, windows, a clock change.

    python tests/support/redial_run.py [--contacts 100000] [--workers 3] [--kills 30] [--seed 1]
        [--unknown hold|retry_after_proof]

It begins on the evening before clocks change in New York (2026-11-01). What must hold is checked
in the simulator's own record of requests and calls, and not in the ledger.

A worker "dies" in this process: from that moment nothing that it does reaches the ledger or the
server, no event and no reply reaches it, and its tasks are cancelled. The code that still runs in
it (``finally``) can therefore change nothing. Its ledger is SQLite's, in memory: whether commits
survive a real SIGKILL is what `crash` tests.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import random
import re
import sys
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo

import anyio
import httpx
from attrs import define, field, frozen
from memory_ledger import MemoryLedger

from telecmi_async import CallService, Hangup, RateLimit, Receiver
from telecmi_async.campaigns import (
    CallingWindow,
    Campaign,
    CampaignRules,
    CampaignSettings,
    Pace,
    Redial,
)
from telecmi_async.errors import LedgerLost
from telecmi_async.http_server import HttpResponse
from telecmi_async.ledger import ContactState, NewContact
from telecmi_async.simulator import (
    Fault,
    FaultKind,
    SimulatedCall,
    Simulator,
    Webhooks,
    chance,
)
from telecmi_async.simulator.fronts import SimulatorTransport
from telecmi_async.testing import run

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from telecmi_async.simulator import SimulatedRequest

S = ContactState
NAME: Final = "redials"
FROM: Final = 19170000000
FIRST: Final = 19170100000
TOKEN: Final = "t" * 43
#: 20:00 on Saturday in New York, and 05:30 on Sunday in Kolkata. New York's clocks are set back
#: six hours later, so that its next window opens 14 hours from now and not 13.
BEGIN: Final = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)
ZONES: Final = (ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata"))
#: The seconds from a record to the second call, and to the third.
WAITS: Final = (1_800.0, 7_200.0)
ANSWERED: Final = 0.6
#: Times in records are whole seconds.
ROUNDING: Final = 1.0
#: What goes wrong with which share of requests.
SHARES: Final = {
    FaultKind.VENDOR_502: 0.004,
    FaultKind.RATE_LIMITED: 0.003,
    FaultKind.GATEWAY_502: 0.003,
    FaultKind.GATEWAY_502_PLACED: 0.003,
    FaultKind.REPLY_LOST: 0.005,
    FaultKind.RESET: 0.002,
    FaultKind.RESET_PLACED: 0.002,
}
REFUSED: Final = {FaultKind.VENDOR_502, FaultKind.RATE_LIMITED}
ATTEMPTS: Final = 4
#: The steps at which a worker dies: a method of its ledger that is not done, or done without its
#: result; or a step of its request; or any await at all.
STEPS: Final = (
    *(
        f"{when} {method}"
        for method in (
            "claim", "reserve", "intend", "settle", "record_event", "redial_missed", "renew",
            "reap", "resolve_unknown",
        )
        for when in ("before", "after")
    ),
    "before the first byte", "request received", "reply received", "anywhere",
)  # fmt: skip
Unknown = Literal["hold", "retry_after_proof"]


@define(eq=False)
class Kills:
    """Which deaths are due: each after so many requests, at the first worker that passes its step."""

    due: list[tuple[int, str]]
    requests: int = 0
    done: Counter[str] = field(factory=Counter[str])

    @classmethod
    def plan(cls, count: int, expected: int, dice: random.Random) -> Kills:
        """Spread deaths over the run, and over all steps."""
        steps = [STEPS[n % len(STEPS)] for n in range(count)]
        dice.shuffle(steps)
        return cls(
            [
                (int(expected * (n + dice.random()) / count), step)
                for n, step in enumerate(steps)
            ]
        )

    def at(self, step: str) -> bool:
        """Return whether the worker that is at this step dies now."""
        for number, (after, which) in enumerate(self.due[:4]):
            if which == step and after <= self.requests:
                del self.due[number]
                self.done[step] += 1
                return True
        return False


@define(eq=False)
class Process:
    """One life of a worker."""

    ledger: MemoryLedger
    kills: Kills
    receiver: Receiver = field(factory=lambda: Receiver(TOKEN))
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    alive: bool = True
    #: The numbers of sends whose result is not on record yet, by token.
    sending: dict[str, int] = field(factory=dict[str, int])

    def step(self, name: str) -> None:
        """Die if it is time to."""
        if self.alive and self.kills.at(name):
            self.die()

    def die(self) -> None:
        """Do nothing more that another could notice."""
        self.alive = False
        self.scope.cancel()

    def check(self) -> None:
        """Require that it lives: a dead one reaches no ledger."""
        if not self.alive:
            raise LedgerLost("this worker was killed")


class ProcessLedger:
    """A process' connection to the ledger."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        process = self._process
        method = getattr(process.ledger, name)
        if name == "contacts":
            process.check()
            return method

        async def call(*args: Any, **more: Any) -> Any:
            process.step(f"before {name}")
            process.check()
            if name == "intend":
                process.sending[args[2]] = args[0].number
            found = await method(*args, **more)
            if name == "settle" and process.alive:
                process.sending.pop(args[0], None)
            process.step(f"after {name}")
            process.check()
            return found

        self.__dict__[name] = call
        return call


class ProcessTransport(httpx.AsyncBaseTransport):
    """A process' connection to the simulator."""

    def __init__(self, process: Process, simulator: Simulator) -> None:
        self._process = process
        self._inner = SimulatorTransport(simulator, self._received)

    @contextmanager
    def _received(self) -> Generator[None]:
        yield
        self._process.kills.requests += 1
        self._process.step("request received")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, if the process lives, and return the reply, if it still does."""
        self._process.step("before the first byte")
        if not self._process.alive:
            raise httpx.ConnectError("this worker was killed", request=request)
        response = await self._inner.handle_async_request(request)
        self._process.step("reply received")
        if not self._process.alive:
            raise httpx.ReadError("this worker was killed", request=request)
        return response


class Balancer(Receiver):
    """The address for webhooks: gives each to one of the workers that live, in turn.

    Of calls to the numbers in ``silent`` nothing arrives.
    """

    def __init__(self, silent: frozenset[int]) -> None:
        super().__init__(TOKEN)
        self.processes: list[Process] = []
        self._silent = [str(number).encode() for number in silent]
        self._pattern = re.compile(b"|".join(self._silent)) if silent else None
        self._turn = 0

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse:
        """Hand a webhook on."""
        living = [process for process in self.processes if process.alive]
        if not living or (self._pattern is not None and self._pattern.search(body)):
            return HttpResponse(503)
        self._turn += 1
        receiver = living[self._turn % len(living)].receiver
        return await receiver.handle(method, path, headers, body)


@frozen
class Sent:
    """A request as the server saw it."""

    at: float
    to: int
    attempt: int
    fault: FaultKind | None
    call: SimulatedCall | None


@define(eq=False)
class Run:
    """A campaign, its server, and what happened from outside."""

    contacts: int
    workers: int
    kills: Kills
    seed: int
    rate: float
    unknown: Unknown
    dice: random.Random
    begin: datetime = BEGIN
    waits: tuple[float, ...] = WAITS
    ledger: MemoryLedger = field(init=False)
    simulator: Simulator = field(init=False)
    balancer: Balancer = field(init=False)
    settings: CampaignSettings = field(init=False)
    #: Contacts of whose calls no event arrives.
    silent: frozenset[int] = field(init=False)
    sent: list[Sent] = field(init=False, factory=list[Sent])
    refused_at: dict[int, float] = field(init=False, factory=dict[int, float])
    #: Contacts that a dying worker was sending to.
    touched: set[int] = field(init=False, factory=set[int])

    def __attrs_post_init__(self) -> None:
        self.ledger = MemoryLedger(lambda: self.epoch + anyio.current_time())
        silent = [n for n in self.numbers if self.unknown == "hold" and n % 400 == 7]
        self.balancer = Balancer(frozenset(silent))
        self.silent = frozenset(silent)
        self.simulator = Simulator(
            seed=self.seed, magic=False, answered_share=ANSWERED, latency=(0.05, 0.6),
            ring=(2.0, 20.0), starts_at=self.begin, keep=0, on_request=self._note,
            webhooks=Webhooks(self.balancer, delay=(0.0, 45.0), double_share=0.1),
        )  # fmt: skip
        for kind, share in SHARES.items():
            self.simulator.faults.add(Fault(kind, share=share))
        self.settings = CampaignSettings(
            flow=[{"action": "speak", "text": "Hello"}, Hangup()],
            rules=CampaignRules(window=CallingWindow("09:00", "21:00")),
            pace=Pace(calls_per_second=self.rate),
            unknown=self.unknown,
            redial=Redial(missed=len(self.waits), after=self.waits),
        )

    @property
    def epoch(self) -> float:
        """When it begins, in seconds since 1970."""
        return self.begin.timestamp()

    @property
    def numbers(self) -> range:
        """The numbers of all contacts."""
        return range(FIRST, FIRST + self.contacts)

    def expires(self, number: int) -> float | None:
        """Return when a contact expires, in seconds from the beginning: one in 50 does."""
        return 3_600.0 * (number // 50 % 20) + 600.0 if number % 50 == 3 else None

    def _note(self, request: SimulatedRequest) -> None:
        assert request.to is not None
        assert request.attempt is not None
        fault = self.simulator.faults.find(self.seed, request.to, request.attempt)
        found = request.request_id
        call = None if found is None else self.simulator.call(found)
        self.sent.append(Sent(anyio.current_time(), request.to, request.attempt, fault, call))
        if len(self.sent) % 10_000 == 0:
            hours = anyio.current_time() / 3_600
            sys.stderr.write(f"{len(self.sent):,} requests in {hours:.1f} virtual hours\n")

    # -- the run

    async def go(self) -> None:
        """Dial all contacts."""
        await self.ledger.create(NAME, self.settings.dump())
        await self.ledger.load(NAME, self._contacts())
        async with (
            self.simulator.running(),
            self.balancer,
            anyio.create_task_group() as others,
        ):
            others.start_soon(self._refuse)
            others.start_soon(self._kill_anywhere)
            async with anyio.create_task_group() as tasks:
                for _ in range(self.workers):
                    tasks.start_soon(self._worker)
            others.cancel_scope.cancel()

    def _contacts(self) -> Generator[NewContact]:
        for number in self.numbers:
            expires = self.expires(number)
            yield NewContact(
                number=number,
                columns={"timezone": ZONES[number % 2].key},
                not_after=None if expires is None else self.epoch + expires,
            )

    async def _worker(self) -> None:
        """Run a worker, and another one each time that it dies."""
        while not await self._live():  # noqa: ASYNC110  # the pause is before its restart
            await anyio.sleep(self.dice.uniform(1, 120))

    async def _live(self) -> bool:
        """Run a worker until it is done or dies; return whether it is done."""
        process = Process(self.ledger, self.kills)
        try:
            with process.scope:
                async with (
                    process.receiver,
                    httpx.AsyncClient(
                        transport=ProcessTransport(process, self.simulator)
                    ) as client,
                    CallService(
                        self.simulator.app_id, self.simulator.secret, from_=FROM,
                        http_client=client, events=process.receiver,
                        rate=RateLimit(calls_per_second=1_000.0),
                    ) as service,
                ):  # fmt: skip
                    self.balancer.processes.append(process)
                    ledger: Any = ProcessLedger(process)
                    await Campaign(ledger, service, NAME, self.settings).run()
        except Exception:
            if process.alive:
                raise
        self.balancer.processes.remove(process)
        self.touched.update(process.sending.values())
        return process.alive

    async def _kill_anywhere(self) -> None:
        """Kill workers at moments that no step of theirs chooses."""
        while True:
            await anyio.sleep(self.dice.uniform(0.01, 10.0))
            living = [each for each in self.balancer.processes if each.alive]
            if living:
                self.dice.choice(living).step("anywhere")

    async def _refuse(self) -> None:
        """Let the do-not-call list grow with the requests: by one contact in 100, at least 10."""
        wanting = self.dice.sample(self.numbers, max(10, self.contacts // 100))
        each = self.contacts / len(wanting)
        for count, number in enumerate(wanting, 1):
            while self.kills.requests < count * each:  # noqa: ASYNC110  # requests end no wait
                await anyio.sleep(1)
            await self.ledger.add_do_not_call([number], "asked")
            self.refused_at[number] = anyio.current_time()

    # -- what must hold

    async def check(self) -> dict[str, Any]:
        """Check what the server saw, and what the ledger says in the end; return figures."""
        by_number: defaultdict[int, list[Sent]] = defaultdict(list)
        for sent in self.sent:
            by_number[sent.to].append(sent)
        for number, several in by_number.items():
            self._check_times(number, several)
            self._check_order(several)
        assert self.simulator.busiest_second() <= self.rate + 1
        assert not self.kills.due, f"these kills did not happen: {self.kills.due}"
        states: Counter[str] = Counter()
        answered = as_computed = open_calls = 0
        async for contact in self.ledger.contacts(NAME):
            number, several = contact.number, by_number[contact.number]
            states[contact.state] += 1
            calls = [sent.call for sent in several if sent.call is not None]
            talked = any(call.legs[0].answered is not None for call in calls)
            answered += talked
            if number in self.silent and calls:
                assert contact.state in {S.PLACED, S.UNKNOWN, S.BLOCKED}, contact
                assert len(calls) == 1, "redialled without a record"
                open_calls += 1
                continue
            allowed = {S.FINISHED, S.BLOCKED, S.REJECTED, S.UNKNOWN}
            assert contact.state in allowed, (contact.state, number)
            if contact.state is S.FINISHED:
                assert contact.answered is talked, number
            assert contact.state is not S.BLOCKED or not talked, number
            if number in self.refused_at or self.expires(number) or number in self.touched:
                continue
            if self.unknown != "hold" and contact.state is S.UNKNOWN:
                continue  # no proof came in time
            assert (contact.state, talked, len(several)) == self.predict(number), number
            as_computed += 1
        assert sum(states.values()) == self.contacts
        placed = Counter(
            sum(sent.call is not None for sent in several) for several in by_number.values()
        )
        return {
            "states": dict(states), "requests": len(self.sent),
            "calls": sum(count * many for count, many in placed.items()),
            "calls per contact": {str(each): placed[each] for each in sorted(placed)},
            "faults": dict(Counter(str(sent.fault) for sent in self.sent if sent.fault)),
            "answered share": round(answered / self.contacts, 4), "as computed": as_computed,
            "touched by kills": len(self.touched), "do not call": len(self.refused_at),
            "without a record": open_calls, "kills": sum(self.kills.done.values()),
            "killed at": dict(sorted(self.kills.done.items())),
            "busiest second": self.simulator.busiest_second(),
            "virtual hours": round(anyio.current_time() / 3_600, 1),
        }  # fmt: skip

    def _check_times(self, number: int, several: list[Sent]) -> None:
        """Require that every request arrived when its contact might be called."""
        zone, expires = ZONES[number % 2], self.expires(number)
        refused = self.refused_at.get(number)
        for sent in several:
            local = datetime.fromtimestamp(self.epoch + sent.at, zone)
            assert 9 <= local.hour < 21, f"called at {local}"
            assert expires is None or sent.at <= expires + ROUNDING, "called after it expired"
            assert refused is None or sent.at <= refused + ROUNDING, "called after do-not-call"

    def _check_order(self, several: list[Sent]) -> None:
        """Require that each request but the first had a reason, and came late enough."""
        missed = 0
        for before, after in pairwise(several):
            if before.call is not None:  # a redial, after the call is over
                leg = before.call.legs[0]
                assert leg.ended is not None
                assert leg.answered is None, "called again although somebody had answered"
                assert missed < len(self.waits), "called more often than planned"
                assert after.at >= leg.ended + self.waits[missed] - ROUNDING, "called too early"
                missed += 1
            elif before.fault in REFUSED:  # a retry, after its reply
                assert after.at > before.at
            else:  # unknown
                assert self.unknown == "retry_after_proof", "called while unknown"
                assert after.at >= before.at + 7_200, "called before the proof"

    def predict(self, number: int) -> tuple[S, bool, int]:
        """Return a contact's state, whether it is answered, and its requests, by seed alone."""
        attempt = sends = missed = 0
        while True:
            attempt, sends = attempt + 1, sends + 1
            fault = self.simulator.faults.find(self.seed, number, attempt)
            if fault is None or fault.placed:
                if chance.draw(self.seed, "answers", number, attempt) < ANSWERED:
                    return S.FINISHED, True, attempt
                missed, sends = missed + 1, 0
                if missed > len(self.waits):
                    return S.FINISHED, False, attempt
            elif fault in REFUSED:
                if sends == ATTEMPTS:
                    return S.REJECTED, False, attempt
            elif self.unknown == "hold":
                return S.UNKNOWN, False, attempt


async def redial(
    contacts: int,
    *,
    workers: int = 3,
    kills: int = 30,
    seed: int = 1,
    rate: float = 5.0,
    unknown: Unknown = "hold",
    begin: datetime = BEGIN,
    waits: tuple[float, ...] = WAITS,
) -> dict[str, Any]:
    """Run a campaign, check it, and return figures."""
    dice = random.Random(seed)
    planned = Kills.plan(kills, int(contacts * 1.3), dice)
    campaign = Run(contacts, workers, planned, seed, rate, unknown, dice, begin, waits)
    await campaign.go()
    return await campaign.check()


def main() -> None:
    """Run it as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--unknown", choices=("hold", "retry_after_proof"), default="hold")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the workers that die would say so
    began, used = time.perf_counter(), time.process_time()
    found = run(functools.partial(redial, **vars(options)))
    found["real seconds"] = round(time.perf_counter() - began)
    found["CPU seconds"] = round(time.process_time() - used)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
