"""Campaigns whose ledger stalls, and how many calls reach the simulator in a second.

    python tests/support/stalled_rates.py [--seconds 5] [--kinds sqlite …] [--rates 5 …]

Two processes dial one campaign while commits stall again and again, each time for less than a
worker would notice as a failure. Their ledger and their limits are

- ``sqlite``: a file that another process keeps locked meanwhile;
- ``postgres``: a server whose synchronous replica (PostgreSQL's own `pg_receivewal`) is stopped;
- ``valkey``: limits on a Valkey server, which does not stall, beside such a file.

For each kind, length of stall and rate it prints a row: the fullest second, and which share of the
rate was reached, stalls included. No second may hold more than one call above the limit. Rows
without a stall must reach at least 97 %. A busy machine delays some calls on their way and not the
next ones: with ``--tries 3`` a row is measured up to three times.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable  # attrs reads it
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from attrs import frozen
from paced_processes import (
    FLOW,
    Measured,
    let_go,
    line_of,
    say,
    shared,
    simulated_service,
    started,
)
from pg_server import PgServer, programs
from valkey_server import ValkeyServer

from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.ledger import NewContact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telecmi_async.ledger import Ledger

KINDS: Final = ("sqlite", "postgres", "valkey")
STALLS: Final = (0.1, 0.25, 0.45)
RATES: Final = (5.0, 20.0, 50.0, 100.0)
# Seconds from the end of a stall to the next one: what was stuck leaves in the same second as what
# is due then.
_BETWEEN: Final = 1.2
# The share of the rate that is reached without stalls.
_HEALTHY: Final = 0.97


@frozen
class Place:
    """Where a campaign and its limits are kept, and how to make its commits stall.

    Args:
        ledger: A file's path, or a PostgreSQL server's URL.
        limits: A Valkey server's URL; ``None``: the ledger.
        stop: Lets commits wait from now on.
        go_on: Lets them go on.
    """

    ledger: str
    limits: str | None
    stop: Callable[[], object]
    go_on: Callable[[], object]


@contextmanager
def place(kind: str) -> Iterator[Place]:
    """Make a ledger and limits of one kind."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if kind == "postgres":
            yield stack.enter_context(_replicated(folder))
            return
        limits = stack.enter_context(ValkeyServer()).url if kind == "valkey" else None
        ledger = folder / "stalled.db"
        db = sqlite3.connect(ledger, isolation_level=None, check_same_thread=False, timeout=60)
        stack.callback(db.close)
        yield Place(
            str(ledger),
            limits,
            lambda: db.execute("BEGIN IMMEDIATE"),
            lambda: db.execute("ROLLBACK"),
        )


@contextmanager
def _replicated(folder: Path) -> Iterator[Place]:
    """Start a PostgreSQL server whose commits wait for a replica."""
    with PgServer(synchronous_standby_names="*") as server:
        command = [str(programs() / "bin/pg_receivewal"), "--synchronous", "-D", str(folder)]
        with subprocess.Popen(
            [*command, "-d", server.url()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as replica:
            try:
                yield Place(
                    server.database("stalled"),
                    None,
                    lambda: replica.send_signal(signal.SIGSTOP),
                    lambda: replica.send_signal(signal.SIGCONT),
                )
            finally:
                replica.kill()


def measure_stalled(where: Place, rate: float, stall: float, seconds: float) -> Measured:
    """Let two processes dial while the ledger stalls again and again; 0: it does not stall."""
    with started({"serve": True}) as server:
        order = {
            "ledger": where.ledger,
            "limits": where.limits,
            "rate": rate,
            "seconds": seconds,
            "url": line_of(server.stdout),
            "name": f"stalled-{time.monotonic_ns()}",
        }
        workers = let_go(order, 2, Path(__file__))
        over = threading.Event()
        stalls = threading.Thread(target=_stall, args=(where, stall, over))
        if stall:
            stalls.start()
        time.sleep(seconds)
        over.set()
        if stall:
            stalls.join()
        for worker in workers:
            with worker:
                assert worker.wait(60) == 0
        said, _ = server.communicate("stop\n", 60)
    return Measured(rate, sorted(json.loads(said)))


def _stall(where: Place, stall: float, over: threading.Event) -> None:
    while not over.wait(_BETWEEN):
        where.stop()
        time.sleep(stall)
        where.go_on()


# -- code of the dialling processes


async def dial(order: Mapping[str, Any]) -> None:
    """Dial for some seconds, as fast as the limit allows."""
    pace = Pace(calls_per_second=order["rate"])
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(simulated_service(order["url"]))
        ledger: Ledger = await stack.enter_async_context(shared(order["ledger"]))  # type: ignore[arg-type]  # ledgers are limits
        limits = order["limits"] and await stack.enter_async_context(shared(order["limits"]))
        campaign = Campaign(
            ledger,
            service,
            order["name"],
            CampaignSettings(flow=FLOW, pace=pace),
            limits=limits,
            without_events=True,
        )
        count = int(order["rate"] * order["seconds"]) + 10
        await campaign.load(NewContact(number=order["first"] + row) for row in range(count))
        say("ready")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(order["seconds"])
            campaign.leave()


def main() -> int:
    """Print the table; return 1 if a row does not hold."""
    parser = argparse.ArgumentParser(description="Measure rates while the ledger stalls.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--stalls", type=float, nargs="+", default=(0.0, *STALLS))
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--tries", type=int, default=1)
    chosen, held, rows = parser.parse_args(), 0, 0
    _print(
        f"{'':9} {'stall':>7} {'limit':>6} {'calls':>6} {'fullest second':>15} reached tries"
    )
    for kind in chosen.kinds:
        with place(kind) as where:
            for stall in chosen.stalls:
                for rate in chosen.rates:
                    rows += 1
                    held += _row(kind, where, stall, rate, chosen)
    _print(f"{held} of {rows} hold")
    return int(held < rows)


def _row(
    kind: str, where: Place, stall: float, rate: float, chosen: argparse.Namespace
) -> bool:
    """Measure until a row holds, print it, and return whether it does."""
    for tries in range(1, chosen.tries + 1):
        found = measure_stalled(where, rate, stall, chosen.seconds)
        if (holds := _holds(found, stall)) or tries == chosen.tries:
            _print(
                f"{kind:9} {stall:5.2f} s {rate:6.0f} {len(found.arrivals):6} "
                f"{found.worst:15} {found.reached:7.1%} {tries:5}"
                f"{'' if holds else '  does not hold'}"
            )
            return holds
    return False


def _holds(found: Measured, stall: float) -> bool:
    """Return whether no second was too full and, without stalls, the rate was reached."""
    return found.worst <= found.rate + 1 and (stall > 0 or found.reached >= _HEALTHY)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command prints


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("{"):
        anyio.run(dial, json.loads(sys.argv[1]))
    else:
        sys.exit(main())
