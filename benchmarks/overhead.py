"""CPU time of a call above the same client's bare ``post``.

The transport is in process and answers at once, so that what remains is the client's work.
"bare" posts ready-made bytes; "service" does everything: validates, encodes, queues at the
gate, runs a retrier, judges and settles a handle. Both place the calls with 20 workers, in
alternating rounds, and the median round counts.

    python benchmarks/overhead.py [--calls 2000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import TYPE_CHECKING

import httpx

from telecmi_async import CallService, Hangup, Play, RateLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FROM, TO = 19170000000, 19170000001
SECRET = "6f9619ff-8b86-d011-b42d"  # noqa: S105  # made up, and as long as a real one
REPLY = (
    b'{"data":{"status":"progress","request_id":"%(id)s"},"status":"progress",'
    b'"request_id":"%(id)s","code":200}'
) % {b"id": b"a" * 43}
BODY = (
    b'{"appid":2222226,"secret":"6f9619ff-8b86-d011-b42d","from":19170000000,"to":19170000001,"pcmo":'
    b'[{"action":"play","file_name":"welcome.wav"},{"action":"hangup"}]}'
)
URL = "https://rest.telecmi.com/v2/global_pcmo_make_call"


class Instant(httpx.AsyncBaseTransport):
    """A transport that answers at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Read the request and accept it."""
        await request.aread()
        return httpx.Response(
            200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(REPLY)
        )


async def workers(calls: int, one: Callable[[], Awaitable[object]]) -> float:
    """Return the CPU microseconds per call with 20 workers."""

    async def work() -> None:
        for _ in range(calls // 20):
            await one()

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(20)))
    return (time.process_time() - began) / calls * 1e6


async def measure(calls: int, rounds: int) -> dict[str, float]:
    """Run the variants in turn; return the median of each, and of their differences."""
    async with (
        httpx.AsyncClient(transport=Instant()) as client,
        CallService(2222226, SECRET, from_=FROM, http_client=client) as service,
        CallService(
            2222226, SECRET, from_=FROM, http_client=client, rate=RateLimit(10_000)
        ) as paced,
    ):

        async def bare() -> None:
            reply = await client.post(
                URL, content=BODY, headers={"Content-Type": "application/json"}
            )
            assert reply.json()["request_id"]  # noqa: S101  # a benchmark of failures is invalid

        async def ours() -> None:
            await service.make_call(to=TO, pcmo=[Play("welcome.wav"), Hangup()])

        async def ours_paced() -> None:
            await paced.make_call(to=TO, pcmo=[Play("welcome.wav"), Hangup()])

        ways = {"bare": bare, "service": ours, "service_with_rate": ours_paced}
        for one in ways.values():
            await workers(400, one)
        rows = [
            {name: await workers(calls, one) for name, one in ways.items()}
            for _ in range(rounds)
        ]

    return {
        **{name: statistics.median(row[name] for row in rows) for name in ways},
        "above_bare": statistics.median(row["service"] - row["bare"] for row in rows),
        "above_bare_with_rate": statistics.median(
            row["service_with_rate"] - row["bare"] for row in rows
        ),
    }


def main() -> None:
    """Print microseconds of CPU per call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    result = asyncio.run(measure(options.calls, options.rounds))
    print(json.dumps({f"{name}_us": round(value, 1) for name, value in result.items()}))


if __name__ == "__main__":
    main()
