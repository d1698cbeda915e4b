"""Web workers on shared limits, restarted one after another under demand.

uvicorn runs `limited_app` with four workers. Every few seconds the oldest worker is asked to end
(SIGTERM), or killed (SIGKILL); uvicorn starts another one. Clients ask for more calls than the
limits allow, all the time. The simulator is a process of its own and says when calls arrived, and
how many were live at once.

    python tests/support/rolling_restarts.py [--where postgres] [--rate 5] [--seconds 120]
    python tests/support/rolling_restarts.py --rate 0 --live 8
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import httpx
from paced_processes import FIRST, Measured, line_of, say, shared, started
from project_paths import SUPPORT
from web_server import WebServer

from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLIENTS = 40


@attrs.frozen
class Rolled:
    """The result of a run.

    Args:
        restarts: How many workers were asked to end.
        kills: How many were killed.
        calls: How many calls arrived.
        worst: The most calls in any second.
        reached: The share of the rate that was reached while there was demand; 0 without a rate.
        live: The most live calls at once.
        freed: How many channels are free in the end.
        failed: How many requests were answered with an error.
    """

    restarts: int
    kills: int
    calls: int
    worst: int
    reached: float
    live: int
    freed: int
    failed: int


def most_live(calls: Sequence[tuple[float, float]]) -> int:
    """Return the most calls at once, by when each was accepted and over."""
    changes = sorted([(at, 1) for at, _ in calls] + [(end, -1) for _, end in calls])
    return max(itertools.accumulate(change for _, change in changes))


@attrs.define(eq=False)
class Rolling:
    """One run: a simulator, workers, clients, and what restarts the workers."""

    where: str
    rate: float | None
    live: int | None
    seconds: float
    every: float
    kill_share: float = 0.25
    seed: int = 1
    _restarts: int = attrs.field(default=0, init=False)
    _kills: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)

    async def run(self) -> Rolled:
        """Run for some seconds."""
        token = new_token()
        with started({"seed": self.seed, "live": self.live}, Path(__file__)) as simulator:
            server = WebServer(
                "limited_app:app",
                SUPPORT,
                4,
                {
                    "TELECMI_APP_ID": "2222226",
                    "TELECMI_SECRET": "simulated-secret",
                    "TELECMI_FROM": f"{FIRST}",
                    "TELECMI_BASE_URL": line_of(simulator.stdout),
                    "TELECMI_WEBHOOK_TOKEN": token,
                    "LIMITS": self.where,
                    "CALLS_PER_SECOND": f"{self.rate or ''}",
                    "LIVE_CALLS": f"{self.live or ''}",
                },
            )
            try:
                await server.ready()
                assert simulator.stdin is not None
                simulator.stdin.write(f"{server.url}/telecmi/{token}\n")
                simulator.stdin.flush()
                began = time.monotonic()
                await self._demand(server)
                seconds = time.monotonic() - began
                freed = await self._freed()
            finally:
                server.end()
            said, _ = await asyncio.to_thread(simulator.communicate, "stop\n", 60)
        return self._result(json.loads(said), seconds, freed)

    async def _demand(self, server: WebServer) -> None:
        """Ask for more calls than the limits allow, while workers are restarted."""
        numbers = itertools.count(FIRST + 1)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            asking = [
                asyncio.create_task(self._ask(client, server.url, numbers))
                for _ in range(_CLIENTS)
            ]
            chance, until = random.Random(self.seed), time.monotonic() + self.seconds
            while time.monotonic() + self.every < until:
                await asyncio.sleep(self.every)
                is_kill = chance.random() < self.kill_share
                done = await asyncio.to_thread(
                    server.signal_one, signal.SIGKILL if is_kill else signal.SIGTERM
                )
                self._kills += done and is_kill
                self._restarts += done and not is_kill
            await asyncio.sleep(until - time.monotonic())
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(
        self, client: httpx.AsyncClient, url: str, numbers: itertools.count[int]
    ) -> None:
        while True:
            try:
                answer = await client.post(f"{url}/calls/{next(numbers)}")
            except httpx.HTTPError:  # its worker was killed
                await asyncio.sleep(0.05)
            else:
                self._failed += answer.status_code != 200

    async def _freed(self) -> int:
        """Return how many channels are free: those of killed workers' queues after a minute."""
        if self.live is None:
            return 0
        await asyncio.sleep(65)
        async with shared(self.where) as limits:
            leases = [
                await limits.lease_channel("account", f"left {n}", limit=self.live, seconds=60)
                for n in range(self.live)
            ]
        return sum(leases)

    def _result(
        self, calls: Sequence[tuple[float, float, float]], seconds: float, freed: int
    ) -> Rolled:
        """Return the figures; `calls` are when they arrived, were accepted, and ended."""
        began = min(at for at, _, _ in calls)
        arrived = sorted(at for at, _, _ in calls if at < began + seconds)
        reached = Measured(self.rate, arrived).reached if self.rate else 0.0
        return Rolled(
            restarts=self._restarts,
            kills=self._kills,
            calls=len(calls),
            worst=Measured(1.0, sorted(at for at, _, _ in calls)).worst,
            reached=round(reached, 4),
            live=most_live([(accepted, ended) for _, accepted, ended in calls]),
            freed=freed,
            failed=self._failed,
        )


async def serve(order: dict[str, Any]) -> None:
    """Serve; then print when calls arrived, and between which times they were live.

    Without a limit on live calls nothing happens in them: a busy simulator would read requests
    late, and say that they arrived together.
    """
    simulator = Simulator(
        seed=order["seed"],
        magic=False,
        keep=None,
        speed=60.0,
        ring=(5.0, 30.0),
        talk=(5.0, 90.0),
        life="timed" if order["live"] else None,
    )
    async with simulator.serve() as url:
        say(url)
        target = await anyio.to_thread.run_sync(sys.stdin.readline)
        simulator.webhooks = Webhooks(target.strip(), delay=(0.0, 10.0), drop_share=0.05)
        await anyio.to_thread.run_sync(sys.stdin.readline)
    say(
        json.dumps(
            [
                [
                    call.at,
                    call.accepted,
                    max([leg.ended or 1e9 for leg in call.legs], default=0.0),
                ]
                for call in simulator.calls
            ]
        )
    )


def main() -> None:
    """Run once, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--where", choices=["sqlite", "postgres", "valkey"], default="postgres")
    parser.add_argument("--rate", type=float, default=5.0, help="0 for none")
    parser.add_argument("--live", type=int, default=0, help="0 for no limit")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between restarts")
    parser.add_argument("--kill-share", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with ExitStack() as stack:
        where = place(given.where, stack)
        rolling = Rolling(
            where, given.rate or None, given.live or None, given.seconds, given.every,
            given.kill_share, seed=given.seed,
        )  # fmt: skip
        found = asyncio.run(rolling.run())
    sys.stdout.write(f"{given.where} {found}\n")
    holds = not given.rate or (found.worst <= given.rate + 1 and found.reached >= 0.95)
    sys.exit(
        not holds or bool(given.live and (found.live > given.live or found.freed < given.live))
    )


def place(kind: str, stack: ExitStack) -> str:
    """Return where limits are kept: a new file, database or server."""
    if kind == "sqlite":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tcm-rolling-"))
        return str(Path(folder, "limits.db"))
    if kind == "postgres":
        from pg_server import PgServer  # noqa: PLC0415  # of the full group

        return stack.enter_context(PgServer()).database("limits")
    from valkey_server import ValkeyServer  # noqa: PLC0415  # of the full group

    return stack.enter_context(ValkeyServer()).url


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        anyio.run(serve, json.loads(sys.argv[1]))
    else:
        main()
