"""Processes that share one limit, and a simulator that logs when their calls arrive.

`measure` starts them, for the benchmark and the tests of shared limits.
As a script, this module is one of those processes.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from attrs import frozen

from telecmi_async import CallService, RateLimit
from telecmi_async.campaigns import CampaignSettings, Pace
from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.settings_in_use import SettingsInUse
from telecmi_async.campaigns.start_scheduler import StartScheduler
from telecmi_async.ledger import SqliteLedger
from telecmi_async.pacing.redis import RedisLimits
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup

    from telecmi_async.pacing.shared import SharedLimits
    from telecmi_async.simulator.replies import Decision

FIRST = 19172000000
FLOW = [{"action": "hangup"}]


@frozen
class Measured:
    """The result of a run.

    Args:
        rate: The limit, in calls per second.
        arrivals: When calls arrived, in seconds, in order.
    """

    rate: float
    arrivals: list[float]

    @property
    def worst(self) -> int:
        """The most arrivals in any window of one second."""
        first, most = 0, 0
        for last, at in enumerate(self.arrivals):
            while at - self.arrivals[first] >= 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    @property
    def reached(self) -> float:
        """The share of the rate that was reached."""
        span = self.arrivals[-1] - self.arrivals[0]
        return (len(self.arrivals) - 1) / span / self.rate


def measure(where: str, rate: float, seconds: float, *, processes: int = 2) -> Measured:
    """Let processes dial for some seconds, as fast as the limit lets them.

    Args:
        where: Their limits: a file's path, or the URL of a PostgreSQL or Valkey server.
        rate: How many calls may start in a second.
        seconds: For how long they dial.
        processes: How many there are.
    """
    with started({"serve": True}) as server:
        url = line_of(server.stdout)
        order = {"where": where, "rate": rate, "seconds": seconds, "url": url}
        workers = let_go(order, processes)
        for worker in workers:
            with worker:
                assert worker.wait(60) == 0
        said, _ = server.communicate("stop\n", 60)
    return Measured(rate, sorted(json.loads(said)))


def started(
    order: Mapping[str, object], script: Path = Path(__file__)
) -> subprocess.Popen[str]:
    """Start a process of a script with an order; it may import what is beside it."""
    safe = "PYTHONSAFEPATH"
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != safe},
    )


def let_go(
    order: Mapping[str, object], processes: int, script: Path = Path(__file__)
) -> list[subprocess.Popen[str]]:
    """Start processes that dial numbers apart from each other, all at the same time."""
    workers = [started({**order, "first": FIRST + n * 10**6}, script) for n in range(processes)]
    for worker in workers:
        assert line_of(worker.stdout) == "ready"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return workers


def line_of(stream: IO[str] | None) -> str:
    """Return the next line that a process wrote."""
    assert stream is not None
    return stream.readline().rstrip()


# -- code of the processes


def say(word: str) -> None:
    """Send a line to the process that started this one."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


class WritingSimulator(Simulator):
    """A simulator that remembers when requests arrived."""

    arrivals: list[float]

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
        """Log and process a request."""
        self.arrivals.append(at)
        return super().receive(method, path, headers, body, at=at, **options)


async def serve() -> None:
    """Serve until a line arrives on stdin; then print when requests arrived."""
    simulator = WritingSimulator(life=None, magic=False, keep=0, latency=0.0)
    simulator.arrivals = []
    async with simulator.serve() as url:
        say(url)
        await anyio.to_thread.run_sync(sys.stdin.readline)
    say(json.dumps(simulator.arrivals))


def shared(where: str) -> AbstractAsyncContextManager[SharedLimits]:
    """Return the limits at an address."""
    if where.startswith("redis://"):
        return RedisLimits(where)
    if where.startswith("postgresql://"):
        from telecmi_async.ledger.postgres.ledger import PostgresLedger  # noqa: PLC0415  # an extra

        return PostgresLedger(where)
    return SqliteLedger(where)


def simulated_service(url: str) -> CallService:
    """Return a service that calls the simulator at an address."""
    limit = RateLimit(max_in_flight=40)
    return CallService(2222226, "simulated-secret", from_=FIRST, base_url=url, rate=limit)


async def dial(order: Mapping[str, Any]) -> None:
    """Dial as fast as the limits let this process."""
    settings = CampaignSettings(flow=FLOW, pace=Pace(calls_per_second=order["rate"]))
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(simulated_service(order["url"]))
        limits = await stack.enter_async_context(shared(order["where"]))
        turns = StartScheduler(
            limits,
            ChannelLeases(limits, "paced", SettingsInUse(settings)),
            "paced",
            SettingsInUse(settings),
            rate=lambda: order["rate"],
            pause=_pause,
            longest=60.0,
            apart=True,
        )
        say("ready")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as calls:
            await _dial_all(service, turns, order, calls)


async def _dial_all(
    service: CallService, turns: StartScheduler, order: Mapping[str, Any], calls: TaskGroup
) -> None:
    async def call(number: int, due: float) -> None:
        if await turns.starts.reach(due, began=turns.starts.now(), until=math.inf):
            await service.make_call(to=number, pcmo=FLOW)

    number, until = order["first"], time.monotonic() + order["seconds"]
    while time.monotonic() < until:
        due = await turns.take(number)
        assert due is not None
        calls.start_soon(call, number, due)
        number += 1


async def _pause(seconds: float) -> bool:
    await anyio.sleep(seconds)
    return True


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    if order.get("serve"):
        anyio.run(serve)
    else:
        anyio.run(dial, order)
