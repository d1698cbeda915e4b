"""Four worker processes with one event store: a thousand calls and their events."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from typing import Any

import pytest
from fake_store import TALK
from project_paths import SUPPORT
from valkey_server import ValkeyServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

WORKERS = 4
CALLS = 1_000
DELIVERIES = 4
EACH = CALLS // WORKERS
SCRIPT = SUPPORT / "store_worker.py"


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the processes that this test starts."""
    return "asyncio"


class Worker:
    """One process and its last report."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.report: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.asked_to_end = False

    @classmethod
    async def start(cls, url: str, number: int) -> Worker:
        """Start a process, which begins to place its calls."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(SCRIPT), url, str(number), str(EACH)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 22,
            # The script imports the tests' own modules, and the package as this process does.
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parent)},
        )
        return cls(process)

    def say(self, **what: Any) -> None:
        """Send the process a message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def ask(self) -> dict[str, Any]:
        """Return the process's report."""
        self.say(report=True)
        return await self.report.get()


def events_of(request_id: str, extra_params: dict[str, str]) -> list[dict[str, Any]]:
    """Return the events of one call; every second one has no ``extra_params``."""
    common = {
        "appid": 2222226,
        "request_id": request_id,
        "cmiuuid": f"leg-{request_id}",
        "leg": "a",
        "direction": "outbound",
    }
    if int(request_id) % 2:
        common["extra_params"] = json.dumps(extra_params)
    return [
        common | {"status": "answered", "time": 1_000_000_000_000},
        common | {"type": "cdr", "status": "answered", "duration": TALK, "call_rate": "0.5"},
    ]


async def read(worker: Worker, workers: list[Worker], sent: dict[str, float]) -> None:
    """Deliver the events of each call as soon as it is placed: four times, to any worker."""
    assert worker.process.stdout is not None
    async for line in worker.process.stdout:
        said = json.loads(line)
        if "placed" in said:
            sent[said["placed"]] = time.monotonic()
            deliveries = events_of(said["placed"], said["extra_params"]) * DELIVERIES
            random.shuffle(deliveries)
            for event in deliveries:
                random.choice(workers).say(event=event)
        else:
            worker.report.put_nowait(said)
    assert worker.asked_to_end, "a worker ended by itself"


async def reports_of(workers: list[Worker], *, seconds: float) -> list[dict[str, Any]]:
    """Collect reports until all calls ended and all deliveries have replies, or time is up."""
    until = time.monotonic() + seconds
    while True:
        reports = [await worker.ask() for worker in workers]
        done = sum(len(report["ended"]) for report in reports)
        replies = sum(sum(report["replies"].values()) for report in reports)
        seen = sum(sum(report["seen"].values()) for report in reports)
        if time.monotonic() > until or (
            done == CALLS and replies == CALLS * 2 * DELIVERIES and seen >= CALLS * 2
        ):
            return reports
        await asyncio.sleep(0.2)


async def test_four_processes_lose_nothing_and_repeat_nothing() -> None:
    """All calls end with their records, and each event is handled exactly once.

    Events may arrive before the reply, reach any process, and are delivered four times. Half of
    them have no reference by which a process could find their call.
    """
    sent: dict[str, float] = {}
    began = time.monotonic()
    with ValkeyServer() as server:
        workers = [await Worker.start(server.url, number) for number in range(WORKERS)]
        try:
            async with asyncio.TaskGroup() as tasks:
                readers = [tasks.create_task(read(worker, workers, sent)) for worker in workers]
                await reports_of(workers, seconds=90)
                await asyncio.sleep(0.3)  # an event that is handled twice would show now
                reports = await reports_of(workers, seconds=1)
                for worker in workers:
                    worker.say(end=True)
                    worker.asked_to_end = True
                await asyncio.gather(*readers)
            codes = [await worker.process.wait() for worker in workers]
        finally:
            for worker in workers:
                if worker.process.returncode is None:
                    worker.process.kill()
    took = time.monotonic() - began

    seen: Counter[str] = Counter()
    replies: Counter[str] = Counter()
    waits: list[float] = []
    for report in reports:
        seen.update(report["seen"])
        replies.update(report["replies"])
        waits += [at - sent[request_id] for request_id, at in report["ended"].items()]
    repeated, unmatched, answered, records = (
        sum(report[name] for report in reports)
        for name in ("repeated", "unmatched", "answered", "records")
    )
    steps = statistics.quantiles(waits, n=100)
    print(  # noqa: T201  # shown by `pytest -s`
        f"\n{WORKERS} processes, {len(waits)} calls ended, {CALLS - len(waits)} lost; "
        f"{sum(replies.values())} deliveries, {repeated} repeats, {unmatched} unmatched; "
        f"from the first delivery to the end p50 {steps[49]:.3f} s, p99 {steps[98]:.3f} s; "
        f"{took:.1f} s in all"
    )

    assert len(waits) == answered == records == CALLS
    assert replies == {"204": CALLS * 2 * DELIVERIES}
    assert len(seen) == CALLS * 2
    assert set(seen.values()) == {1}
    assert unmatched > 0
    assert codes == [0] * WORKERS
    assert repeated >= CALLS * 2 * (DELIVERIES - 1) - unmatched
