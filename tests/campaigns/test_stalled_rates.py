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


async def dial(
    kind: str,
    disk: Disk,
    rate: float,
    seconds: float,
    *,
    then: Callable[[MemoryLedger], object] | None = None,
    rates: tuple[float, float] | None = None,
) -> tuple[Simulator, float]:
    """Let two workers dial; return the simulator, and the share of the rate after a second.

    Args:
        kind: What the ledger and the limits are.
        disk: How long commits take.
        rate: The limit.
        seconds: For how long they dial.
        then: What happens to the limits halfway.
        rates: What each of two campaigns takes for the limit, if that differs.
    """
    simulator = Simulator(life=None, magic=False, latency=0.05)
    ledger = SlowLedger(disk, **KINDS[kind])
    apart = MemoryLedger() if kind.startswith("Valkey") else None
    limit = RateLimit(max_in_flight=40)
    async with (
        simulator.service(from_=FROM, rate=limit) as one,
        simulator.service(from_=FROM, rate=limit) as two,
        anyio.create_task_group() as tasks,
    ):
        campaigns = [
            Campaign(
                ledger,
                service,
                "spring" if rates is None else f"spring-{own:g}",
                CampaignSettings(flow=FLOW, pace=Pace(calls_per_second=own)),
                limits=apart,
                without_events=True,
            )
            for service, own in zip((one, two), rates or (rate, rate), strict=True)
        ]
        for first, campaign in zip((FIRST, FIRST + 10_000), campaigns, strict=True):
            count = int(rate * seconds) + 1
            await campaign.load(NewContact(number=first + row) for row in range(count))
            tasks.start_soon(campaign.run)
        await anyio.sleep(1.0)
        before = simulator.requests
        await anyio.sleep(seconds / 2 - 1.0)
        if then is not None:
            then(apart or ledger)
        await anyio.sleep(seconds / 2)
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
    seconds = 4.0 if rate < 100 else 2.4
    simulator, reached = await dial(kind, Disk(least=least, spread=spread), rate, seconds)

    assert simulator.busiest_second() <= rate + 1
    assert reached >= 0.97


def jump(limits: MemoryLedger) -> None:
    """Set the clock ahead, as a clock that was wrong is."""
    limits.ahead += 10.0


def forget(limits: MemoryLedger) -> None:
    """Lose all that was granted, as a server does that is restarted without its data."""
    limits._db.execute("DELETE FROM pace")


@pytest.mark.parametrize(
    ("kind", "then"),
    [
        ("SQLite on a disk that stalls", jump),
        ("PostgreSQL whose replica lags", jump),
        ("Valkey beside a locked SQLite file", forget),
    ],
)
@pytest.mark.parametrize("least", [0.004, 0.4])
async def test_limits_that_forget_cost_one_call_for_each_other_worker(
    kind: str, then: Callable[[MemoryLedger], object], least: float
) -> None:
    """If a clock jumps or a server loses its data, only starts that others wait for are extra.

    However slow the ledger is: a start whose intent was begun early is no other matter.
    """
    simulator, reached = await dial(kind, Disk(least=least), 20.0, 8.0, then=then)

    assert simulator.busiest_second() <= 20 + 1 + 1
    assert reached > 0.2  # a commit of 0.4 s allows no more


@pytest.mark.parametrize("stall", [0.0, 0.45])
@pytest.mark.parametrize("kind", KINDS)
async def test_campaigns_of_different_rates_keep_to_the_higher_one(
    kind: str, stall: float
) -> None:
    """Two campaigns with one limit and different rates: the higher one is not exceeded."""
    simulator, _ = await dial(kind, Disk(stall, least=0.004), 20.0, 6.0, rates=(20.0, 5.0))

    assert simulator.busiest_second() <= 21
    assert simulator.requests > 25
