"""Campaigns: CPU time and memory with a ledger, compared with ``make_calls`` without one.

CPU time per call on the in-process simulator, with 1 and with 20 requests in flight, for
`make_calls`, for the same with an idempotency key for each call (`keyed`), and for campaigns, on a
SQLite file or a PostgreSQL server. All threads of the
worker's process count, and the database server's own time does not. Each is measured in a process
of its own, in rounds, since a machine's speed changes: what a campaign costs more is the median of
the rounds' differences. With ``--beside`` another checkout of this package is measured in the
same rounds. Last comes the peak of resident memory of a campaign with many contacts, compared
with 1,000 contacts; ``--contacts 0`` leaves it out.

    python benchmarks/campaign.py [--calls 2000] [--rounds 5] [--contacts 100000] [--beside DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from pg_server import PgServer

from telecmi_async import CallRequest, RateLimit
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.ledger import ContactState, NewContact, PostgresLedger, SqliteLedger
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[1]
FIRST = 19170000000
FLOW = [{"action": "speak", "text": "Hello"}, {"action": "hangup"}]
# Answers are not instant, so that there is something to wait for.
LATENCY = 0.002


def contacts(count: int) -> Iterator[NewContact]:
    """Yield as many contacts."""
    for row in range(count):
        yield NewContact(number=FIRST + row, columns={"row": str(row)})


async def stream(
    calls: int, in_flight: int, ledger: SqliteLedger | PostgresLedger | None = None
) -> None:
    """Place calls without a ledger, or each with a key on a ledger."""
    limit = RateLimit(max_in_flight=in_flight)
    simulator = Simulator(latency=LATENCY, life=None, magic=False, keep=0)
    async with simulator.service(from_=FIRST, rate=limit, ledger=ledger) as service:
        rows = (
            CallRequest(
                to=FIRST + row, pcmo=FLOW, idempotency_key=None if ledger is None else f"{row}"
            )
            for row in range(calls)
        )
        accepted = 0
        began = time.process_time()
        async for call in service.make_calls(rows):
            accepted += call.accepted
        report(began, calls)
    if accepted != calls:
        sys.exit(f"only {accepted} of {calls} were accepted")


async def sqlite(calls: int, in_flight: int) -> None:
    """Dial the contacts of a ledger in a file."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        await dial(SqliteLedger(Path(folder, "ledger.db")), calls, in_flight)


async def postgres(calls: int, in_flight: int) -> None:
    """Dial the contacts of a ledger in a PostgreSQL server."""
    with PgServer() as server:
        await dial(PostgresLedger(server.url()), calls, in_flight)


async def dial(contacts_in: SqliteLedger | PostgresLedger, calls: int, in_flight: int) -> None:
    """Dial the contacts of a ledger."""
    limit = RateLimit(max_in_flight=in_flight)
    simulator = Simulator(latency=LATENCY, life=None, magic=False, keep=0)
    settings = CampaignSettings(
        flow=FLOW, pace=Pace(calls_per_second=10_000, max_in_flight=100)
    )
    async with (
        contacts_in as ledger,
        simulator.service(from_=FIRST, rate=limit) as service,
    ):
        dialler = Campaign(ledger, service, "benchmark", settings)
        await dialler.load(contacts(calls))
        began = time.process_time()
        state = await dialler.run()
        report(began, calls)
    if state.counts[ContactState.PLACED] != calls:
        sys.exit(f"only {state.counts[ContactState.PLACED]} of {calls} were placed")


async def keyed_sqlite(calls: int, in_flight: int) -> None:
    """Place calls with keys in a file."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        async with SqliteLedger(Path(folder, "ledger.db")) as ledger:
            await stream(calls, in_flight, ledger)


async def keyed_postgres(calls: int, in_flight: int) -> None:
    """Place calls with keys in a PostgreSQL server."""
    with PgServer() as server:
        async with PostgresLedger(server.url()) as ledger:
            await stream(calls, in_flight, ledger)


KINDS = {
    "stream": stream,
    "sqlite": sqlite,
    "postgres": postgres,
    "keyed_sqlite": keyed_sqlite,
    "keyed_postgres": keyed_postgres,
}


def report(began: float, calls: int) -> None:
    """Print what a child process measured: milliseconds of CPU per call, and its peak in MB."""
    spent = (time.process_time() - began) / calls * 1_000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps([spent, peak]))


def measure(
    kind: str, calls: int, in_flight: int, checkout: Path = HERE
) -> tuple[float, float]:
    """Measure in a child process that imports the package from a checkout."""
    command = [sys.executable, __file__, "--child", kind, str(calls), str(in_flight)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    result = subprocess.run(  # noqa: S603  # itself
        command, check=True, capture_output=True, text=True, env=environment
    )
    spent, peak = json.loads(result.stdout)
    return spent, peak


def compare(checkouts: dict[str, Path], calls: int, in_flight: int, rounds: int) -> None:
    """Print what a call costs in a stream, and how much more it costs in a campaign."""
    spent = [
        {
            (name, kind): measure(kind, calls, in_flight, checkout)[0]
            for kind in KINDS
            for name, checkout in checkouts.items()
        }
        for _ in range(rounds)
    ]
    for name in checkouts:
        row: dict[str, str | float] = {"checkout": name, "in_flight": in_flight}
        row["stream_ms"] = round(median(each[name, "stream"] for each in spent), 3)
        for kind in list(KINDS)[1:]:
            more = [each[name, kind] - each[name, "stream"] for each in spent]
            row[f"{kind}_more_ms"] = round(median(more), 3)
            row[f"{kind}_more_ms_range"] = f"{min(more):.3f}-{max(more):.3f}"
        print(json.dumps(row), flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, calls, in_flight = options.child
        asyncio.run(KINDS[kind](int(calls), int(in_flight)))
        return
    checkouts = {"here": HERE} | ({"beside": options.beside} if options.beside else {})
    for in_flight in (1, 20):
        compare(checkouts, options.calls, in_flight, options.rounds)
    if not options.contacts:
        return
    few = measure("sqlite", 1_000, 20)[1]
    many = measure("sqlite", options.contacts, 20)[1]
    row = {
        "peak_mb_of_1000": round(few, 1),
        f"peak_mb_of_{options.contacts}": round(many, 1),
        "more_mb": round(many - few, 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
