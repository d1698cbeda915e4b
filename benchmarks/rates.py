"""Whether a rate that is asked for is reached, and never exceeded, on each event loop.

Each rate is tried through the gate alone and through `CallService.make_calls` with a transport
that answers at once, so that nothing but the event loop and the processor limits it. For each it
prints the share of the rate that was reached, the most starts in any second, the processor's
share, and its time for one start.

    python benchmarks/rates.py [--loops asyncio,uvloop,trio] [--rates 10,100,1000,2000,5000]
        [--seconds 4] [--in-flight 100]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from telecmi_async import CallRequest, CallService, Hangup, RateLimit
from telecmi_async.pacing.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
FROM = 19170000000
REQUEST = CallRequest(to=FROM + 1, pcmo=[Hangup()])
REPLY = b'{"status":"progress","request_id":"%s","code":200}' % (b"a" * 43)


class Stamping(httpx.AsyncBaseTransport):
    """A transport that answers at once and notes when it was asked."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Note the time and accept the call."""
        self.starts.append(time.perf_counter())
        await request.aread()
        return httpx.Response(
            200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(REPLY)
        )


async def through_gate(limit: RateLimit, seconds: float) -> list[float]:
    """Return when tasks passed the gate, of which there are twice as many as slots."""
    gate, starts = Gate(limit), list[float]()
    end = time.perf_counter() + seconds

    async def work() -> None:
        while time.perf_counter() < end:
            await gate.enter()
            starts.append(time.perf_counter())
            await anyio.lowlevel.checkpoint()
            gate.leave()

    async with anyio.create_task_group() as tasks:
        for _ in range(2 * limit.max_in_flight):
            tasks.start_soon(work)
            # Rates below the number of tasks: those that wait at the end are cancelled.
        await anyio.sleep(seconds)
        tasks.cancel_scope.cancel()
    return starts


async def through_service(limit: RateLimit, seconds: float) -> list[float]:
    """Return when the requests of a stream of calls reached the transport."""
    transport = Stamping()
    end = time.perf_counter() + seconds

    def requests() -> Iterator[CallRequest]:
        while time.perf_counter() < end:
            yield REQUEST

    async with (
        httpx.AsyncClient(transport=transport) as client,
        CallService(2222226, "secret", from_=FROM, http_client=client, rate=limit) as service,
        service.make_calls(requests()) as calls,
    ):
        async for call in calls:
            assert call.accepted  # noqa: S101  # a benchmark of failures is invalid
            if time.perf_counter() > end:
                break
    return transport.starts


def fullest_second(starts: list[float]) -> int:
    """Return the most starts in any window of one second."""
    fullest = first = 0
    for last, start in enumerate(starts):
        while start - starts[first] >= 1.0:
            first += 1
        fullest = max(fullest, last - first + 1)
    return fullest


def measure(loop: str, way: str, rate: float, seconds: float, in_flight: int) -> None:
    """Print one line of JSON: what one rate became on one loop."""
    backend, options = LOOPS[loop]
    run = {"gate": through_gate, "service": through_service}[way]
    limit = RateLimit(rate, max_in_flight=in_flight)
    cpu, began = time.process_time(), time.perf_counter()
    starts = anyio.run(run, limit, seconds, backend=backend, backend_options=options)
    cpu, lasted = time.process_time() - cpu, time.perf_counter() - began
    reached = (len(starts) - 1) / (starts[-1] - starts[0]) / rate
    print(
        json.dumps(
            {
                "loop": loop,
                "through": way,
                "asked": rate,
                "reached_percent": round(100 * reached, 1),
                "fullest_second": fullest_second(starts),
                "cpu_percent": round(100 * cpu / lasted),
                "cpu_us_per_start": round(cpu / len(starts) * 1e6),
                "load": round(os.getloadavg()[0], 1),
            }
        ),
        flush=True,
    )


def main() -> None:
    """Measure each combination in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", default=",".join(LOOPS))
    parser.add_argument("--through", default="gate,service")
    parser.add_argument("--rates", default="10,100,1000,2000,5000")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--one", action="store_true", help="measure here, in this process")
    options = parser.parse_args()
    for way in options.through.split(","):
        for loop in options.loops.split(","):
            for rate in options.rates.split(","):
                if options.one:
                    measure(loop, way, float(rate), options.seconds, options.in_flight)
                    continue
                one = ["--one", "--loops", loop, "--through", way, "--rates", rate]
                one += ["--seconds", str(options.seconds)]
                one += ["--in-flight", str(options.in_flight)]
                subprocess.run([sys.executable, __file__, *one], check=True)  # noqa: S603  # itself


if __name__ == "__main__":
    main()
