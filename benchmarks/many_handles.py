"""Memory of many calls, and the longest block of the event loop while they come and go.

Each row is measured in a process of its own. The transport is in process. Times are CPU times of the
event loop's thread, so that a busy machine hardly changes them. A block is one pass of the event
loop; "without GC" leaves out what Python's garbage collector took of it, which grows with all
objects of the program.

    python benchmarks/many_handles.py [--pending 100000] [--streamed 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx

from telecmi_async import CallHandle, CallService, Hangup, Play, RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

FIRST = 19170000000
FLOW = (Play("welcome.wav"), Hangup())
SECRET = "6f9619ff-8b86-d011-b42d"  # made up, and as long as a real one
#: How many calls are made or cancelled between two pauses of the program itself.
PIECE = 200


class Transport(httpx.AsyncBaseTransport):
    """Accepts each call after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.number = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002  # as httpx has it
        """Accept a call."""
        await asyncio.sleep(self.seconds)
        self.number += 1
        reply = {"status": "progress", "request_id": f"{self.number:043d}", "code": 200}
        return httpx.Response(200, json=reply)


def service_with(seconds: float, rate: float | None = None) -> CallService:
    """Return a service whose calls are accepted after so many seconds."""
    client = httpx.AsyncClient(transport=Transport(seconds))
    return CallService(2222226, SECRET, from_=FIRST, http_client=client, rate=RateLimit(rate))


def memory() -> float:
    """Return the largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class LoopWatch:
    """Measures the passes of the event loop."""

    def __init__(self) -> None:
        self._collecting = self._began = self._in_pass = 0.0
        self.blocks: list[tuple[float, float]] = []
        gc.callbacks.append(self._collected)
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self._in_pass += time.thread_time() - self._began

    async def _watch(self) -> None:
        while True:
            self._in_pass = 0.0
            began = time.thread_time()
            await asyncio.sleep(0)
            seconds = time.thread_time() - began
            self.blocks.append((seconds, seconds - self._in_pass))

    def take(self) -> dict[str, float]:
        """Return the longest blocks since the last time, in milliseconds."""
        blocks, self.blocks = self.blocks or [(0.0, 0.0)], []
        return {
            "block_ms": round(1000 * max(block for block, _ in blocks), 1),
            "without_gc_ms": round(1000 * max(block for _, block in blocks), 1),
        }

    def stop(self) -> None:
        """Measure no more."""
        self._task.cancel()
        gc.callbacks.remove(self._collected)


async def in_pieces(count: int, step: Callable[[int], object]) -> None:
    """Take steps, with a pause of the program itself after each piece."""
    for number in range(count):
        step(number)
        if number % PIECE == 0:
            await asyncio.sleep(0)


async def pending(calls: int, how: str) -> dict[str, Any]:
    """Make handles that stay pending, and then cancel them, or close the service."""
    service = service_with(0.2, 10.0 if how == "paced" else None)
    handles: list[CallHandle] = []
    await service.make_call(to=FIRST, pcmo=FLOW)
    before, watch = memory(), LoopWatch()
    await asyncio.sleep(0)

    def make(number: int) -> None:
        handles.append(service.make_call(to=FIRST + number, pcmo=FLOW))

    def cancel(number: int) -> None:
        handles[number].cancel()

    if how == "at once":
        for number in range(calls):
            make(number)
        await asyncio.sleep(0)
        watch.take()  # the loop above is the program's own
        for _ in range(calls // 100 + 10):  # until every task has begun
            await asyncio.sleep(0)
    else:
        await in_pieces(calls, make)
        for _ in range(10):
            await asyncio.sleep(0)
    created = watch.take()
    took = memory() - before
    if how == "cancelled":
        await in_pieces(calls, cancel)
        for _ in range(10):
            await asyncio.sleep(0)
    await service.aclose()
    ended = watch.take()
    watch.stop()
    return {
        "calls": calls,
        "kb_a_call": round(1024 * took / calls, 2),
        "created": created,
        "ended": ended,
    }


def requests(calls: int) -> Iterator[dict[str, Any]]:
    """Yield requests to as many different numbers."""
    for number in range(calls):
        yield {"to": FIRST + number, "pcmo": FLOW, "extra_params": {"row": str(number)}}


async def streamed(calls: int, _: str) -> dict[str, Any]:
    """Place the calls of a stream, and measure the peak of the memory."""
    async with service_with(0.0) as service:
        await service.make_call(to=FIRST, pcmo=FLOW)
        before, accepted = memory(), 0
        async for call in service.make_calls(requests(calls)):
            accepted += call.accepted
    if accepted != calls:
        sys.exit(f"only {accepted} of {calls} were accepted")
    return {"calls": calls, "more_mb": round(memory() - before, 1)}


WAYS: dict[str, Callable[[int, str], Coroutine[Any, Any, dict[str, Any]]]] = {
    "cancelled": pending,
    "closed": pending,
    "paced": pending,
    "at once": pending,
    "streamed": streamed,
}


def in_child(how: str, calls: int) -> dict[str, Any]:
    """Return what a process of its own measured."""
    command = [sys.executable, __file__, "--child", how, "--pending", str(calls)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # itself
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pending", type=int, default=100_000)
    parser.add_argument("--streamed", type=int, default=1_000_000)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        logging.disable()
        print(json.dumps(asyncio.run(WAYS[options.child](options.pending, options.child))))
        return
    print(
        "pending handles      calls  KB each   created: block  without GC   ended: block  without GC"
    )
    for how, what in (
        ("cancelled", "each cancelled"),
        ("closed", "service closed"),
        ("paced", "closed at 10/s"),
        ("at once", "made in one pass"),
    ):
        row = in_child(how, options.pending)
        created, ended = row["created"], row["ended"]
        print(
            f"{what:16} {row['calls']:>9,} {row['kb_a_call']:8.2f} {created['block_ms']:13.1f} ms"
            f"{created['without_gc_ms']:9.1f} ms {ended['block_ms']:12.1f} ms"
            f"{ended['without_gc_ms']:9.1f} ms"
        )
    for calls in (1_000, options.streamed):
        row = in_child("streamed", calls)
        print(f"streamed         {calls:>9,} calls: {row['more_mb']:.1f} MB more than one call")


if __name__ == "__main__":
    main()
