"""Ledger: CPU per send, loading a million contacts, and the time of queries on them.

A send is its intent and its outcome, each on disk before it counts; contacts are claimed twenty
at a time, which is included. The event loop's longest pause while contacts are loaded is
measured, too. All files are in a folder that is removed afterwards: use ``--folder`` to choose
the disk.

    python benchmarks/ledger.py [--sends 4000] [--contacts 1000000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from telecmi_async.ledger import (
    Claim,
    ContactState,
    Intent,
    Ledger,
    NewContact,
    SendLimits,
    SendResult,
    SqliteLedger,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = 919000000000
COLUMNS = {"name": "Asha", "order": "4711", "amount": "1200.50"}
LIMITS = SendLimits(per_number=((3, 86400.0),), per_day=10_000_000, cost=1e9)
PLACED = SendResult(state=ContactState.PLACED, request_id="r")


def contacts(count: int) -> Iterator[NewContact]:
    """Yield as many different contacts, not in the order of their numbers."""
    for row in range(count):
        yield NewContact(number=FIRST + row * 7919 % 1_000_003_129, columns=COLUMNS)


async def send(ledger: Ledger, claim: Claim, limits: SendLimits) -> None:
    token = f"tcm_{claim.contact}_{claim.epoch}_{time.monotonic_ns()}"
    intent = await ledger.intend(claim, "w", token, limits=limits, fence=30, lease=60)
    if not isinstance(intent, Intent) or not await ledger.settle(token, PLACED):
        raise SystemExit("a send was refused")


async def sends(ledger: Ledger, count: int, in_flight: int, limits: SendLimits) -> None:
    """Send to that many contacts, with that many in flight."""
    left, waiting = count, list[Claim]()

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if not waiting:
                waiting.extend(await ledger.claim("bench", "w", most=20, lease=600))
            await send(ledger, waiting.pop(), limits)

    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(work)


async def measure_sends(ledger: Ledger, count: int, size: int) -> None:
    for in_flight in (1, 20, 100):
        for words, limits in (("none", SendLimits(check_do_not_call=False)), ("all", LIMITS)):
            wall, cpu = time.perf_counter(), time.process_time()
            await sends(ledger, count, in_flight, limits)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            row = {
                "contacts": size,
                "in_flight": in_flight,
                "limits": words,
                "cpu_ms_per_send": round(cpu / count * 1e3, 3),
                "wall_ms_per_send": round(wall / count * 1e3, 3),
                "sends_per_second": round(count / wall),
            }
            print(json.dumps(row), flush=True)


async def longest_pause(longest: list[float]) -> None:
    """Record the longest delay of the event loop."""
    while True:
        began = time.perf_counter()
        await anyio.sleep(0.005)
        longest[0] = max(longest[0], time.perf_counter() - began - 0.005)


async def measure_load(ledger: Ledger, count: int) -> None:
    longest = [0.0]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(longest_pause, longest)
        wall = time.perf_counter()
        loaded = await ledger.load("bench", contacts(count))
        wall = time.perf_counter() - wall
        tasks.cancel_scope.cancel()
    began = time.perf_counter()
    state = await ledger.state("bench")
    row = {
        "loaded": loaded.added,
        "seconds": round(wall, 1),
        "longest_pause_of_the_loop_ms": round(longest[0] * 1e3),
        "state_ms": round((time.perf_counter() - began) * 1e3, 2),
        "total": state.total,
    }
    print(json.dumps(row), flush=True)


async def main(count: int, many: int, folder: Path) -> None:
    enough = count * 8  # each of the six measurements has contacts of its own
    for size in sorted({max(many // 10, enough), max(many, enough)}):
        async with SqliteLedger(folder / f"{size}.db") as ledger:
            await ledger.create("bench", {})
            await measure_load(ledger, size)
            await measure_sends(ledger, count, size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sends", type=int, default=4000)
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        anyio.run(main, options.sends, options.contacts, Path(made))
