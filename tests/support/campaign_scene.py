"""A campaign on an in-memory ledger and the simulator, on the virtual clock."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen
from memory_ledger import MemoryLedger

from telecmi_async import (
    CallService,
    Hangup,
    RateLimit,
    Receiver,
)
from telecmi_async.campaigns import (
    Campaign,
    CampaignSettings,
    CampaignTimeouts,
    Pace,
    Retries,
)
from telecmi_async.ledger import ContactState, NewContact
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


__all__ = [
    "FIRST",
    "FROM",
    "GREETING",
    "SHORT",
    "TOKEN",
    "S",
    "Scene",
    "contacts",
    "scene",
    "settings",
]


S = ContactState


FROM = 19170000000


FIRST = 19170100000


TOKEN = "t" * 43


GREETING = [{"action": "speak", "text": "Hello {name}"}, Hangup()]


# A test that waits for proof need not wait for two hours of virtual time.
SHORT = CampaignTimeouts(outcomes=200.0, proof=300.0)


def settings(rate: float = 50.0, **more: Any) -> CampaignSettings:
    """Return settings for a quick campaign."""
    pace = more.pop("pace", {})
    return CampaignSettings(
        flow=more.pop("flow", GREETING),
        pace=Pace(calls_per_second=rate, **pace),
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
class Scene:
    """A ledger, a simulator, and a service that calls the simulator."""

    ledger: MemoryLedger
    simulator: Simulator
    service: CallService
    receiver: Receiver

    def campaign(self, config: CampaignSettings | None = None, **more: Any) -> Campaign:
        """Return a worker's view of the campaign."""
        name = more.pop("name", "spring")
        options: dict[str, Any] = {"timeouts": SHORT, **more}
        return Campaign(self.ledger, self.service, name, config or settings(), **options)

    async def counted(self, name: str = "spring") -> dict[str, int]:
        """Return how many contacts are in each state that has any."""
        state = await self.ledger.state(name)
        return {str(found): count for found, count in state.counts.items() if count}

    async def story(self, number: int = FIRST, name: str = "spring") -> list[str]:
        """Return the history of a contact."""
        contact = await self.ledger.find(name, number)
        assert contact is not None
        return [passage.what for passage in contact.history]


@asynccontextmanager
async def scene(
    *faults: Fault,
    limit: RateLimit | None = None,
    reference: bool | None = None,
    once: bool = True,
    **options: Any,
) -> AsyncIterator[Scene]:
    """A simulator with short calls, and a receiver; each number is called once at most."""
    options = {"magic": False, "ring": 1.0, "talk": 2.0, "latency": 0.1} | options
    simulator = Simulator(**options)
    for fault in faults:
        simulator.faults.add(fault)
    receiver = Receiver(TOKEN)
    async with (
        receiver,
        simulator.service(
            from_=FROM, events=receiver, rate=limit, reference=reference
        ) as service,
    ):
        yield Scene(MemoryLedger(), simulator, service, receiver)
    if once:
        simulator.no_duplicates()
