"""Throughput: calls per second, compared with what a newcomer would write.

One simulator on a port, in a process of its own, serves three ways to place the same calls
at once: `CallService` with its default limits, the same with five in flight, and
``asyncio.gather`` over plain ``client.post`` on a default `httpx.AsyncClient`. All are
measured in one run; only their ratio means anything elsewhere.

    python benchmarks/throughput.py [--calls 2000] [--latency 0.0]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from telecmi_async import CallService, Hangup, Play, RateLimit
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

FLOW = [Play("welcome.wav"), Hangup()]
FIRST = 19170000000


def serve(pipe: Connection, latency: float) -> None:
    """Serve until asked to stop; answer every question with the counts so far."""

    async def main() -> None:
        simulator = Simulator(secret="s", latency=latency)
        async with simulator.serve() as url:
            pipe.send(url)
            while await anyio.to_thread.run_sync(pipe.recv):
                pipe.send(simulator.max_in_flight)

    anyio.run(main)


@contextlib.contextmanager
def server(latency: float) -> Iterator[tuple[str, Connection]]:
    """Run a simulator in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, latency))
    process.start()
    try:
        yield ours.recv(), ours
        ours.send(False)
        process.join(5)
    finally:
        process.kill()


async def ours(url: str, calls: int, **options: Any) -> None:
    """Start all calls at once through the service and await each."""
    async with CallService(
        2222226, "s", from_=FIRST, base_url=url, rate=RateLimit(**options)
    ) as service:
        handles = [service.make_call(to=FIRST + n, pcmo=FLOW) for n in range(calls)]
        for handle in handles:
            await handle


async def plain(url: str, calls: int) -> None:
    """Send the same requests with gather over a default client, with long time-outs."""
    async with httpx.AsyncClient(timeout=httpx.Timeout(600)) as client:

        async def one(number: int) -> None:
            body = {
                "appid": 2222226,
                "secret": "s",
                "from": FIRST,
                "to": FIRST + number,
                "pcmo": [{"action": "play", "file_name": "welcome.wav"}, {"action": "hangup"}],
            }
            reply = await client.post(f"{url}/global_pcmo_make_call", json=body)
            assert reply.json()["request_id"]  # noqa: S101  # a benchmark of failures is invalid

        await asyncio.gather(*(one(n) for n in range(calls)))


def measure(name: str, run: Any, pipe: Connection, calls: int) -> dict[str, Any]:
    """Run one variant and print its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(run)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pipe.send(True)
    most = pipe.recv()
    row = {
        "way": name,
        "calls": calls,
        "seconds": round(wall, 2),
        "calls_per_second": round(calls / wall),
        "cpu_us_per_call": round(cpu / calls * 1e6),
        "most_in_flight_at_server_so_far": most,
    }
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure the three ways and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    options = parser.parse_args()
    calls = options.calls
    with server(options.latency) as (url, pipe):
        measure("warm-up", ours(url, 200), pipe, 200)
        default = measure("CallService, default limits", ours(url, calls), pipe, calls)
        measure("CallService, 5 in flight", ours(url, calls, max_in_flight=5), pipe, calls)
        gathered = measure("asyncio.gather over client.post", plain(url, calls), pipe, calls)
    ratio = gathered["seconds"] / default["seconds"]
    print(json.dumps({"times_faster": round(ratio, 1)}))


if __name__ == "__main__":
    main()
