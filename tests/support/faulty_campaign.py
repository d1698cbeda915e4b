"""Shared by tests of faults in campaigns: a scene, and the final comparison of its logs.

The server logs every request as it arrives; the ledger has the state of each contact.
`account` compares them, whatever happened in between.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from attrs import field, frozen
from memory_ledger import MemoryLedger

from telecmi_async import CallService, Hangup, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, CampaignTimeouts, Pace, Retries
from telecmi_async.ledger import ContactState, NewContact
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from telecmi_async import RateLimit
    from telecmi_async.ledger import Contact, Ledger
    from telecmi_async.simulator import Fault
    from telecmi_async.simulator.replies import Decision

S = ContactState
FROM = 19170000000
FIRST = 19170100000
NAME = "spring"
TOKEN = "t" * 43
GREETING: list[Any] = [{"action": "speak", "text": "Hello {name}"}, Hangup()]
#: Shorter waits for proof than the default of two hours.
SHORT = CampaignTimeouts(outcomes=2_200.0, proof=2_400.0)
#: The states of contacts that may have been dialled.
REACHED = {S.PLACED, S.FINISHED, S.UNKNOWN}


def settings(rate: float = 50.0, **more: Any) -> CampaignSettings:
    """Return settings for a quick campaign."""
    return CampaignSettings(
        flow=GREETING,
        pace=Pace(calls_per_second=rate, **more.pop("pace", {})),
        retries=more.pop("retries", Retries(first=1.0, attempts=3)),
        **more,
    )


def contacts(count: int, first: int = FIRST) -> list[NewContact]:
    """Return contacts with a name each."""
    return [
        NewContact(number=number, columns={"name": f"N{number}"})
        for number in range(first, first + count)
    ]


@frozen
class Request:
    """What a server logged of a request.

    Args:
        at: When it arrived.
        number: The number to dial.
        token: The id of the send.
        dialled: Whether the number was dialled.
    """

    at: float
    number: int
    token: str
    dialled: bool


def read(body: bytes, *, at: float = 0.0, dialled: bool = True) -> Request:
    """Parse a request's body as a server does."""
    fields = json.loads(body)
    token, _, _ = fields["extra_params"]["tcm_reference"].partition(".")
    return Request(at, int(fields["to"]), token, dialled)


class WritingSimulator(Simulator):
    """A simulator that logs every request before it answers."""

    log: list[Request]

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        **options: Any,
    ) -> Decision:
        """Take a request."""
        decision = super().receive(method, path, headers, body, at=at, **options)
        self.log.append(read(body, at=at, dialled=decision.call is not None))
        return decision

    async def received(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        while len(self.log) < count:  # noqa: ASYNC110  # its requests come from any thread
            await anyio.sleep(0.02)


async def all_contacts(ledger: Ledger, name: str = NAME) -> list[Contact]:
    """Return all contacts with their histories."""
    numbers = [contact.number async for contact in ledger.contacts(name)]
    found = [await ledger.find(name, number) for number in numbers]
    return [contact for contact in found if contact is not None]


async def account(
    ledger: Ledger, log: Iterable[Request], total: int, *, name: str = NAME, open_: int = 0
) -> dict[str, int]:
    """Compare the ledger with the server's log; return the number of contacts in each state.

    No number was dialled twice, or sent to without an intent. All contacts are there, each in
    one state and with a reason where one is due. No dialled contact is pending or refused in
    the ledger.

    Args:
        ledger: The ledger.
        log: The server's requests.
        total: How many contacts were loaded.
        name: The campaign.
        open_: How many are still pending.
    """
    log = list(log)
    people = await all_contacts(ledger, name)
    state = await ledger.state(name)
    dialled = Counter(request.number for request in log if request.dialled)
    states = Counter(contact.state for contact in people)
    sent = {p.token: c.number for c in people for p in c.history if p.what == "intend"}
    numbers = {contact.number for contact in people}

    assert {number: count for number, count in dialled.items() if count > 1} == {}
    assert [r for r in log if r.number in numbers and sent.get(r.token) != r.number] == []
    assert len(numbers) == state.total == sum(states.values()) == total
    assert {each: count for each, count in state.counts.items() if count} == states
    assert states[S.CLAIMED] == states[S.SENDING] == 0
    assert states[S.PENDING] == open_
    for contact in people:
        assert contact.state in REACHED or not dialled[contact.number], contact
        assert contact.state in {*REACHED, S.PENDING} or contact.reason, contact
        assert contact.state is not S.UNKNOWN or contact.reason, contact
        assert contact.sends >= sum(r.number == contact.number for r in log) - (
            0 if name == NAME else len(log)
        )
    return {str(each): count for each, count in states.items()}


def busiest(log: Sequence[Request], seconds: float = 1.0) -> int:
    """Return the most requests in any window of this many seconds."""
    times = sorted(request.at for request in log)
    return max(
        sum(begin <= at < begin + seconds for at in times[row : row + 2_000])
        for row, begin in enumerate(times)
    )


@frozen
class Scene:
    """A ledger on the virtual clock, a simulator, and a service that uses it."""

    ledger: MemoryLedger
    simulator: WritingSimulator
    service: CallService
    receiver: Receiver
    loaded: list[int] = field(factory=list[int])

    def campaign(self, config: CampaignSettings | None = None, **more: Any) -> Campaign:
        """Return a worker of the campaign."""
        name = more.pop("name", NAME)
        options: dict[str, Any] = {"timeouts": SHORT, **more}
        service = options.pop("service", self.service)
        ledger = options.pop("ledger", self.ledger)
        return Campaign(ledger, service, name, config or settings(), **options)

    async def account(self, total: int, **more: Any) -> dict[str, int]:
        """Hold the ledger against the simulator's log."""
        self.simulator.no_duplicates()
        return await account(self.ledger, self.simulator.log, total, **more)


@asynccontextmanager
async def scene(
    *faults: Fault, limit: RateLimit | None = None, **options: Any
) -> AsyncIterator[Scene]:
    """Yield a simulator of quick calls, with a receiver."""
    options = {"magic": False, "ring": 5.0, "talk": 2.0, "latency": 0.1} | options
    simulator = WritingSimulator(**options)
    simulator.log = []
    for fault in faults:
        simulator.faults.add(fault)
    receiver = Receiver(TOKEN)
    async with (
        receiver,
        simulator.service(from_=FROM, events=receiver, rate=limit) as service,
    ):
        yield Scene(MemoryLedger(), simulator, service, receiver)
