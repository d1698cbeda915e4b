"""Webhook receiver: CPU time per delivery above parsing it, and memory of forged events.

Deliveries are realistic: each record comes four times, and a handler gets it once.
"handle" calls `Receiver.handle`, and is compared with `parse_event` alone; "asgi" calls the
receiver as a server does, and is compared with a bare application that reads the body, parses it and
answers. The rounds alternate, and the median of the differences counts.

For the memory, each kind of forged event comes 100,000 times, all different, with a valid
token, in a process of its own, to a receiver with a service: events of unknown calls, events
without a call's id, pressed keys, and events with a reference that has a wrong code. The growth
of the process's resident memory is printed.

    python benchmarks/receiver.py [--records 2000] [--rounds 15] [--forged 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telecmi_async import CallService, Receiver
from telecmi_async._internal.telecmi import REFERENCE_FIELD
from telecmi_async.events import parse_event
from telecmi_async.events.receiver import new_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.events import Event

TOKEN = new_token()
PATH = f"/telecmi/{TOKEN}"
HEADERS = {
    "Host": "example.com",
    "User-Agent": "axios/1.7",
    "Accept": "*/*",
    "Content-Type": "application/json",
    "Content-Length": "600",
    "X-Forwarded-For": "203.0.113.7",
}
KINDS = ("unknown_record", "record_without_id", "digits", "wrong_code")


def record(number: int, **more: Any) -> bytes:
    """Return a record as TeleCMI sends it."""
    payload = {
        "to": 440000000000 + number,
        "appid": 2222222,
        "time": 1632307235000,
        "start_time": 1632307238,
        "answer_time": 1632307240,
        "end_time": 1632307265,
        "from": 19170000000,
        "direction": "outbound",
        "duration": 25,
        "extra_params": '{"order":"42"}',
        "cmiuuid": f"1edceb4c-4e2c-402d-81b4-{number:012d}",
        "call_rate": "0.450000",
        "balance": "76.349024",
        "conversation_uuid": f"{number:043d}",
        "request_id": f"{number:043d}",
        "callerid": 19170000000,
        "status": "answered",
        "leg": "a",
    }
    return json.dumps(payload | more).encode()


def forged(kind: str, number: int) -> bytes:
    """Return a forged event."""
    match kind:
        case "record_without_id":
            return record(number, request_id=None, conversation_uuid=None)
        case "digits":
            return json.dumps({"dtmf": "1", "cmiuuid": f"{number:036d}", "to": 1}).encode()
        case "wrong_code":
            reference = "tcm_" + "a" * 26 + "." + "b" * 26
            return record(number, extra_params=json.dumps({REFERENCE_FIELD: reference}))
        case _:
            return record(number)


async def per_delivery(one: Callable[[bytes], Awaitable[object]], bodies: list[bytes]) -> float:
    """Return the CPU microseconds per body."""
    began = time.process_time()
    for body in bodies:
        await one(body)
        await asyncio.sleep(0)  # lets timers and handlers run, as between requests
    return (time.process_time() - began) / len(bodies) * 1e6


def ignore(event: Event) -> None:
    """Do nothing, because a handler's own work is not measured."""


async def parse(body: bytes) -> None:
    parse_event(body)


def handle(receiver: Receiver) -> Callable[[bytes], Awaitable[object]]:
    async def one(body: bytes) -> None:
        reply = await receiver.handle("POST", PATH, HEADERS, body)
        assert reply.status == 204  # noqa: S101  # a benchmark of failures is invalid

    return one


def serve(
    app: Callable[[Any, Any, Any], Awaitable[None]],
) -> Callable[[bytes], Awaitable[None]]:
    """Return a function that calls an ASGI application as a server does."""
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def one(body: bytes) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "query_string": b"",
            "headers": headers,
        }
        await app(scope, receive, send)
        assert sent[0]["status"] == 204  # noqa: S101  # a benchmark of failures is invalid

    return one


async def bare(_scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    parse_event(message["body"])
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def measure(records: int, rounds: int) -> dict[str, float]:
    """Run the variants in turn; return the median of each, and of their differences."""
    rows: list[dict[str, float]] = []
    for number in range(rounds + 1):
        first = number * records
        bodies = [record(first + n) for n in range(records) for _ in range(4)]
        row = {
            "parse": await per_delivery(parse, bodies),
            "bare_asgi": await per_delivery(serve(bare), bodies),
        }
        for name in ("handle", "asgi"):
            receiver = Receiver(TOKEN)
            receiver.on_event(ignore)
            one = handle(receiver) if name == "handle" else serve(receiver.asgi)
            row[name] = await per_delivery(one, bodies)
            await receiver.aclose()
        rows.append(row)
    del rows[0]  # warms up
    return {
        **{name: statistics.median(row[name] for row in rows) for name in rows[0]},
        "handle_above_parse": statistics.median(row["handle"] - row["parse"] for row in rows),
        "asgi_above_bare": statistics.median(row["asgi"] - row["bare_asgi"] for row in rows),
    }


async def flood(kind: str, events: int) -> float:
    """Return the growth of the process in MB."""
    logging.disable()
    receiver = Receiver(TOKEN)
    receiver.on_event(ignore)
    async with CallService(2222226, "a-secret", events=receiver):
        for number in range(100):
            await receiver.handle("POST", PATH, HEADERS, forged(kind, number))
        before = resident()
        for number in range(100, events):
            await receiver.handle("POST", PATH, HEADERS, forged(kind, number))
            if not number % 100:
                await asyncio.sleep(0)  # handlers run
        return resident() - before


def resident() -> float:
    """Return the resident memory of this process in MB; there is no portable way."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def grown_in_child(kind: str, events: int) -> float:
    """Return the growth of a process that receives forged events, in MB."""
    command = [sys.executable, __file__, "--child", kind, "--forged", str(events)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # itself
    return float(result.stdout)


def main() -> None:
    """Print microseconds of CPU per delivery, and megabytes per kind of forged event."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--forged", type=int, default=100_000)
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(asyncio.run(flood(options.child, options.forged)))
        return
    result = asyncio.run(measure(options.records, options.rounds))
    row = {f"{name}_us": round(value, 1) for name, value in result.items()}
    for kind in KINDS:
        row[f"{kind}_mb"] = round(grown_in_child(kind, options.forged), 1)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
