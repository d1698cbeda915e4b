"""Shared rates while the ledger's commits stall, or are always slow; two workers, virtual clock."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

import anyio
import pytest
from attrs import define, field
from campaign_scene import FROM
from memory_ledger import MemoryLedger

from telecmi_async import RateLimit
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.ledger import NewContact
from telecmi_async.ledger.sqlite import limits
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.anyio

_T = TypeVar("_T")

FIRST = 19170100000
FLOW = [{"action": "hangup"}]
# Seconds from the end of a stall to the next one.
BETWEEN = 1.2


@define(eq=False)
class Disk:
    """How long commits take.

    Args:
        stall: For how many seconds commits stall, again and again.
        least: How long each takes at least.
        spread: By how much more it may take.
    """

    stall: float = 0.0
    least: float = 0.0
    spread: float = 0.0
    dice: random.Random = field(factory=lambda: random.Random(1))

    async def commit(self) -> None:
        """Wait as long as a commit takes."""
        await anyio.sleep(self.least + self.dice.random() * self.spread)
        phase = anyio.current_time() % (BETWEEN + self.stall)
        if phase > BETWEEN:
            await anyio.sleep(BETWEEN + self.stall - phase)


class SlowLedger(MemoryLedger):
    """A ledger whose commits take time.

    Args:
        disk: How long they take.
        locked: Whether a write waits before it is done, as for a locked file.
        durable_pacing: Whether the limits' commits wait as well.
    """

    def __init__(self, disk: Disk, *, locked: bool, durable_pacing: bool) -> None:
        super().__init__()
        self.disk = disk
        self.locked = locked
        self.durable_pacing = durable_pacing

    async def _write(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        with anyio.CancelScope(shield=True):  # a job that began is done
            if self.locked:
                await self.disk.commit()
            result = await super()._write(work)
            if not self.locked:
                await self.disk.commit()
            return result

    async def reserve(  # type: ignore[override]  # it is an attribute there
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts."""
        write = self._write if self.durable_pacing else super()._write
        return await write(
            lambda db, now: limits.reserve(db, now, keys, longest=longest, most=most)
        )


KINDS = {
    "locked SQLite file": {"locked": True, "durable_pacing": True},
    "SQLite on a disk that stalls": {"locked": False, "durable_pacing": True},
    "PostgreSQL whose replica lags": {"locked": False, "durable_pacing": False},
    "Valkey beside a locked SQLite file": {"locked": True, "durable_pacing": True},
}


async def dial(kind: str, disk: Disk, rate: float, seconds: float) -> tuple[Simulator, float]:
    """Let two workers dial; return the simulator, and the share of the rate after a second."""
    simulator = Simulator(life=None, magic=False, latency=0.05)
    ledger = SlowLedger(disk, **KINDS[kind])
    apart = MemoryLedger() if kind.startswith("Valkey") else None
    settings = CampaignSettings(flow=FLOW, pace=Pace(calls_per_second=rate))
    limit = RateLimit(max_in_flight=40)
    async with (
        simulator.service(from_=FROM, rate=limit) as one,
        simulator.service(from_=FROM, rate=limit) as two,
        anyio.create_task_group() as tasks,
    ):
        campaigns = [
            Campaign(ledger, service, "spring", settings, limits=apart, without_events=True)
            for service in (one, two)
        ]
        await campaigns[0].load(
            NewContact(number=FIRST + row) for row in range(int(rate * seconds * 2))
        )
        for campaign in campaigns:
            tasks.start_soon(campaign.run)
        await anyio.sleep(1.0)
        before = simulator.requests
        await anyio.sleep(seconds - 1.0)
        reached = (simulator.requests - before) / (seconds - 1.0) / rate
        for campaign in campaigns:
            campaign.leave()
    return simulator, reached


@pytest.mark.parametrize(
    ("rate", "stall"), [(5.0, 0.45), (20.0, 0.1), (20.0, 0.45), (50.0, 0.25)]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_second_holds_more_when_commits_stall(
    kind: str, rate: float, stall: float
) -> None:
    """No second has more calls than the limit and one; what a stall delays takes other starts.

    `tests/servers/test_stalled_rates.py` does the same with real ledgers and servers.
    """
    simulator, reached = await dial(kind, Disk(stall, least=0.004), rate, 4.0)

    assert simulator.busiest_second() <= rate + 1
    assert reached > 0.4


@pytest.mark.parametrize(
    ("kind", "rate", "least", "spread"),
    [
        ("locked SQLite file", 20.0, 0.06, 0.005),
        ("PostgreSQL whose replica lags", 20.0, 0.06, 0.005),
        ("locked SQLite file", 20.0, 0.01, 0.04),
        ("PostgreSQL whose replica lags", 20.0, 0.01, 0.04),
        ("locked SQLite file", 100.0, 0.002, 0.008),
        ("PostgreSQL whose replica lags", 500.0, 0.0, 0.003),
    ],
)
async def test_a_ledger_that_is_only_slow_costs_no_calls(
    kind: str, rate: float, least: float, spread: float
) -> None:
    """If commits take long, or now longer and now shorter, the whole rate is reached."""
    seconds = 4.0 if rate < 100 else 2.0 if rate < 500 else 1.4
    simulator, reached = await dial(kind, Disk(least=least, spread=spread), rate, seconds)

    assert simulator.busiest_second() <= rate + 1
    assert reached >= 0.97
