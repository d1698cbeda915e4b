"""Webhook receiver: CPU time per delivery above parsing it, and memory of forged events.

Deliveries are realistic: each record comes four times, and a handler gets it once.
"handle" calls `Receiver.handle`, and is compared with `parse_event` alone; "asgi" calls the
receiver as a server does, and is compared with a bare application that reads the body, parses it and
answers. The rounds alternate, and the median of the differences counts.

"served" compares servers: uvicorn with a bare ASGI application, with a Starlette endpoint that
decodes the same JSON, with the receiver as the application, and with the receiver mounted in
Starlette, with and without a handler. Each is a process of its own; sixteen connections send new
records to one after the other, and the CPU time of the server's process counts. The medians of
the ratios to the Starlette endpoint are printed; ``--repeats 4`` sends each record four times.

For the memory, each kind of forged event comes 100,000 times, all different, with a valid
token, in a process of its own, to a receiver with a service: events of unknown calls, events
without a call's id, pressed keys, and events with a reference that has a wrong code. The growth
of the process's resident memory is printed.

    python benchmarks/receiver.py [--records 2000] [--rounds 15] [--forged 100000] [--repeats 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import resource
import socket
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

    from starlette.requests import Request

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
SERVED = ("bare", "starlette", "receiver", "mounted", "mounted_with_handler")
CONNECTIONS = 16


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


async def answer_only(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def application(kind: str, token: str) -> Any:
    """Return what is served."""
    from starlette.applications import Starlette  # the other parts do without
    from starlette.responses import Response  # as above
    from starlette.routing import Mount, Route  # as above

    async def decode(request: Request) -> Response:
        await request.json()
        return Response(status_code=204)

    receiver = Receiver(token)
    if kind == "mounted_with_handler":
        receiver.on_event(ignore)
    match kind:
        case "bare":
            return answer_only
        case "starlette":
            return Starlette(routes=[Route("/telecmi/{token}", decode, methods=["POST"])])
        case "receiver":
            return receiver.asgi
        case _:
            return Starlette(routes=[Mount("/telecmi", app=receiver.asgi)])


def run_server(kind: str, descriptor: int, token: str) -> None:
    """Serve on an inherited socket; ``GET /cpu`` answers the CPU seconds of this process."""
    import uvicorn  # the other parts do without

    app = application(kind, token)

    async def measured(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/cpu":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%.6f" % time.process_time()})

    config = uvicorn.Config(
        measured,
        access_log=False,
        lifespan="off",
        log_level="warning",
        loop="asyncio",
        timeout_keep_alive=3600,  # the others wait for their turn
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


class Served:
    """A server in a process of its own, and connections to it."""

    def __init__(self, kind: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._address = listener.getsockname()
            number = listener.fileno()
            command = [sys.executable, __file__, "--serve", kind, "--fd", str(number)]
            self._process = subprocess.Popen(  # noqa: S603  # itself
                [*command, "--token", TOKEN], pass_fds=[number]
            )
        self._connections = [self._connect() for _ in range(CONNECTIONS)]

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=30)

    def _cpu(self) -> float:
        with self._connect() as connection:
            connection.sendall(b"GET /cpu HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        found = re.search(rb"\d+\.\d{6}", answer)
        assert found is not None, answer  # noqa: S101  # a benchmark of failures is invalid
        return float(found[0])

    def per_delivery(self, requests: list[bytes]) -> float:
        """Return the server's CPU microseconds per request."""
        began = self._cpu()
        for start in range(0, len(requests), CONNECTIONS):
            some = requests[start : start + CONNECTIONS]
            for connection, request in zip(self._connections, some, strict=False):
                connection.sendall(request)
            for connection, _ in zip(self._connections, some, strict=False):
                reply = connection.recv(65536)
                assert b" 204 " in reply[:20], reply  # noqa: S101  # as above
        return (self._cpu() - began) / len(requests) * 1e6

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._process.terminate()
        self._process.wait()


def measure_served(records: int, rounds: int, repeats: int) -> dict[str, float]:
    """Return the server's CPU microseconds per delivery, and ratios to the Starlette endpoint."""
    servers = {kind: Served(kind) for kind in SERVED}
    rows: list[dict[str, float]] = []
    try:
        for number in range(rounds + 1):
            bodies = [record(number * records + n) for n in range(records)]
            requests = [request(body) for body in bodies for _ in range(repeats)]
            rows.append({kind: each.per_delivery(requests) for kind, each in servers.items()})
    finally:
        for each in servers.values():
            each.close()
    del rows[0]  # warms up
    shown: dict[str, float] = {}
    for kind in SERVED:
        shown[f"served_{kind}_us"] = statistics.median(row[kind] for row in rows)
    for kind in SERVED:
        ratios = (row[kind] / row["starlette"] for row in rows)
        shown[f"served_{kind}_ratio"] = statistics.median(ratios)
    return shown


def request(body: bytes) -> bytes:
    """Return an HTTP request."""
    lines = [f"{name}: {value}" for name, value in HEADERS.items() if name != "Content-Length"]
    head = "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, f"Content-Length: {len(body)}"])
    return head.encode() + b"\r\n\r\n" + body


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
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=SERVED, help=argparse.SUPPRESS)
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_server(options.serve, options.fd, options.token)
        return
    if options.child:
        print(asyncio.run(flood(options.child, options.forged)))
        return
    result = asyncio.run(measure(options.records, options.rounds))
    row = {f"{name}_us": round(value, 1) for name, value in result.items()}
    served = measure_served(options.records, options.rounds, options.repeats)
    row |= {name: round(value, 2) for name, value in served.items()}
    for kind in KINDS:
        row[f"{kind}_mb"] = round(grown_in_child(kind, options.forged), 1)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
