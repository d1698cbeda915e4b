"""Voice: lateness, CPU time and memory of many sessions in one process.

A process places calls and serves their audio; this one plays TeleCMI: it takes the calls over HTTP,
connects a WebSocket for each, and sends 20 ms frames in real time at 8 kHz. The process reads all of
them, and plays audio without end. TeleCMI's reply to a call is late by a random time, and so is the
connection: about half of the calls are connected before their reply.

Each frame carries the number that was dialled and when it was sent, and each message back carries
the number of the session's call. So a frame at the wrong call is found, and each one's lateness:

- "in": from the moment a frame was sent until the program had it;
- "out": a message's arrival after the moment it was due, at 0.4 s ahead of real time;
- "dry": how often the far end had nothing to play.

This process sends late, too, when the machine is busy: "peer" is by how much. Memory and CPU time
are those of the serving process, which the frames' check is a small part of.

    python benchmarks/voice.py [--sessions 50 200 500] [--seconds 30] [--front websockets]
    python benchmarks/voice.py --sessions 500 --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import importlib
import json
import random
import resource
import socket
import struct
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from telecmi_async import CallService, RateLimit
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from telecmi_async import CallHandle
    from telecmi_async.voice import StreamSession

FRONTS: Final = ("asgi", "asgi-websockets", "asgi-wsproto", "websockets")
LOOPS: Final[dict[str, Callable[[], Any]]] = {
    "asyncio": lambda: asyncio.new_event_loop,
    "uvloop": lambda: importlib.import_module("uvloop").new_event_loop,
}
FIRST: Final = 19170100000
RATE: Final = 8_000
FRAME: Final = 320
FRAME_SECONDS: Final = 0.02
MESSAGE_SECONDS: Final = 0.1
AHEAD: Final = 0.4
# Of the number dialled, and of a time in nanoseconds.
STAMP: Final = struct.Struct("<QQ")
NUMBER: Final = struct.Struct("<Q")
LATE: Final = 0.06
# A reply, and a connection, comes up to so many seconds after the request.
DELAY: Final = 0.5
# After all are connected, before it is measured.
SETTLE: Final = 2.0
LONGEST_WAIT: Final = 120.0


@define
class Lateness:
    """How late things were."""

    count: int = 0
    late: int = 0
    worst: float = 0.0
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Add one."""
        self.count += 1
        self.total += seconds
        self.worst = max(self.worst, seconds)
        self.late += seconds > LATE

    def figures(self, name: str) -> dict[str, Any]:
        """Return what is printed."""
        return {
            f"{name}_frames": self.count,
            f"{name}_late_share": self.late / max(self.count, 1),
            f"{name}_mean_ms": round(1_000 * self.total / max(self.count, 1), 2),
            f"{name}_worst_ms": round(1_000 * self.worst, 1),
        }


# -- the process that is measured


class Pauses:
    """The longest pause for the garbage collector."""

    def __init__(self) -> None:
        self.worst = self._began = 0.0

    def __call__(self, phase: str, _: object) -> None:
        """Be called by it."""
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        else:
            self.worst = max(self.worst, now - self._began)


@define
class Measured:
    """The bot, and what it saw."""

    expected: int
    all_there: asyncio.Event = field(factory=asyncio.Event)
    sessions: int = 0
    crossed: int = 0
    lateness: Lateness = field(factory=Lateness)

    async def talk(self, session: StreamSession) -> None:
        """Read all, and play without end."""
        call = session.call
        if call is None or call.request is None:
            self.crossed += 1
            return
        number, self.sessions = call.request.to, self.sessions + 1
        if self.sessions == self.expected:
            self.all_there.set()
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(session.play(endless(number)))
            async for pcm in session:
                now = time.monotonic_ns()
                for at in range(0, len(pcm) - FRAME + 1, FRAME):
                    dialled, sent = STAMP.unpack_from(pcm, at)
                    self.crossed += dialled != number
                    self.lateness.add((now - sent) / 1e9)
            playing.cancel()


async def endless(number: int) -> AsyncGenerator[bytes]:
    """Yield audio that begins with the number in each message."""
    size = round(MESSAGE_SECONDS * RATE) * 2
    message = NUMBER.pack(number) + bytes(size - NUMBER.size)
    while True:
        yield message


async def place_and_serve(options: argparse.Namespace) -> None:
    """Serve streams, place the calls, measure, and print the figures as JSON."""
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        port = listener.getsockname()[1]
        measured = Measured(options.serve)
        streams = Streams(f"ws://127.0.0.1:{port}/talk", shutdown_timeout=0.1)
        streams.on_stream(measured.talk)
        async with (
            served(streams, listener, options.front),
            CallService(
                2222226,
                "a-secret",
                from_=19170000000,
                base_url=f"http://127.0.0.1:{options.port}/v2",
                rate=RateLimit(200, max_in_flight=200),
                streams=streams,
            ) as service,
        ):
            rows = ({"to": FIRST + n, "pcmo": streams.flow()} for n in range(options.serve))
            calls: list[CallHandle] = [call async for call in service.make_calls(rows)]
            await asyncio.wait_for(measured.all_there.wait(), LONGEST_WAIT)
            await asyncio.sleep(SETTLE)
            print(json.dumps(await watched(measured, options.seconds)))
            del calls  # a session finds its call while something holds it
            await streams.aclose()


async def watched(measured: Measured, seconds: float) -> dict[str, Any]:
    """Return the figures of so many seconds."""
    measured.lateness = Lateness()
    cpu, began = time.process_time(), time.monotonic()
    memory = [resident()]
    gc.callbacks.append(pauses := Pauses())
    while (left := began + seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 10.0))
        memory.append(resident())
    cpu, passed = time.process_time() - cpu, time.monotonic() - began
    gc.callbacks.remove(pauses)
    return {
        "sessions": measured.sessions,
        "crossed": measured.crossed,
        "cpu_share": round(cpu / passed, 3),
        "cpu_ms_per_session_second": round(1_000 * cpu / passed / max(measured.sessions, 1), 3),
        "gc_worst_ms": round(1_000 * pauses.worst, 1),
        "memory_mb": round(memory[-1], 1),
        "memory_growth_mb": round(memory[-1] - memory[len(memory) // 5], 2),
        **measured.lateness.figures("in"),
    }


@asynccontextmanager
async def served(streams: Streams, listener: socket.socket, front: str) -> AsyncGenerator[None]:
    """Serve streams by one of the fronts."""
    if front == "websockets":
        from telecmi_async.voice.websockets_server import serve_streams  # the extra "voice"

        port = listener.getsockname()[1]
        listener.close()
        async with serve_streams(streams, host="127.0.0.1", port=port):
            yield
        return
    import uvicorn  # as above

    kinds: dict[str, Any] = {"asgi": "websockets-sansio", "asgi-wsproto": "wsproto"}
    config = uvicorn.Config(
        streams.asgi,
        access_log=False,
        lifespan="off",
        log_level="warning",
        loop="asyncio",
        ws=kinds.get(front, "websockets"),
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def resident() -> float:
    """Return the resident memory of this process in MB; there is no portable way."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


# -- TeleCMI


class Line(asyncio.Protocol):
    """One call's WebSocket: little more than a socket, since this process must not be late."""

    transport: asyncio.Transport

    def __init__(self, far_end: FarEnd, number: int, target: str) -> None:
        self._far_end = far_end
        self._number = number
        self._target = target
        self._open = False
        self._buffer = bytearray()
        # Masked, as a client's frames must be, with a mask that changes nothing.
        self._frame = bytearray(b"\x82\xfe" + struct.pack(">H", FRAME) + bytes(4 + FRAME))
        self._first = self._end = 0.0
        self._messages = 0

    def connection_made(self, transport: Any) -> None:
        """Ask for the WebSocket."""
        self.transport = transport
        transport.write(
            f"GET {self._target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def send(self) -> None:
        """Send a frame."""
        if not self._open:
            return
        STAMP.pack_into(self._frame, 8, self._number, time.monotonic_ns())
        self.transport.write(bytes(self._frame))

    def data_received(self, data: bytes) -> None:
        """Take what the bot sends."""
        buffer = self._buffer
        buffer += data
        if not self._open:
            head, end, rest = bytes(buffer).partition(b"\r\n\r\n")
            if not end:
                return
            self._open = head.startswith(b"HTTP/1.1 101")
            if not self._open:
                self._far_end.refused += 1
            buffer[:] = rest
        while len(buffer) >= 4:
            size, start = buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(buffer[2:4], "big"), 4
            if len(buffer) < start + size:
                return
            self._take(buffer[0] & 15, bytes(buffer[start : start + size]))
            del buffer[: start + size]

    def connection_lost(self, exc: Exception | None) -> None:
        """Send no more."""
        del exc
        self._open = False
        self._far_end.lost += 1

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
        if opcode != 1:
            return
        now, far_end = time.monotonic(), self._far_end
        at = payload.index(b'"audioData":"') + 13
        [number] = NUMBER.unpack_from(base64.b64decode(payload[at : at + 12]))
        far_end.crossed += number != self._number
        if not self._messages:
            self._first = self._end = now
        self._messages += 1
        due = self._first + max(self._messages * MESSAGE_SECONDS - AHEAD, 0.0)
        if far_end.measures:
            far_end.lateness.add(now - due)
            far_end.dry += now > self._end
        self._end = max(now, self._end) + MESSAGE_SECONDS


class FarEnd:
    """Takes calls, connects their streams, and sends frames."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311  # repeatable
        self.measures = False
        self.lateness, self.own_lateness = Lateness(), Lateness()
        self.crossed = self.refused = self.lost = self.dry = self.early = 0
        self._groups: list[list[Line]] = [[] for _ in range(round(FRAME_SECONDS * 1_000))]
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the requests of a connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(size))
                reply_after, connect_after = self.draw.random(), self.draw.random()
                self.early += connect_after < reply_after
                url = body["pcmo"][0]["ws_url"]
                task = asyncio.create_task(
                    self._connect(connect_after * DELAY, int(body["to"]), url)
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                await asyncio.sleep(reply_after * DELAY)
                reply = json.dumps(
                    {
                        "status": "progress",
                        "request_id": f"{body['to']:043d}",
                        "code": 200,
                    }
                )
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(reply)}\r\n\r\n{reply}".encode()
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _connect(self, delay: float, number: int, url: str) -> None:
        await asyncio.sleep(delay)
        place, _, target = url.removeprefix("ws://").partition("/")
        host, _, port = place.partition(":")
        line = Line(self, number, f"/{target}")
        self._groups[self._count % len(self._groups)].append(line)
        self._count += 1
        await asyncio.get_running_loop().create_connection(lambda: line, host, int(port))

    async def send_frames(self) -> None:
        """Send every line's frames in real time; each millisecond has its lines."""
        began, tick = time.monotonic(), 0
        while True:
            due = began + tick / 1_000
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            if self.measures:
                self.own_lateness.add(time.monotonic() - due)
            for line in self._groups[tick % len(self._groups)]:
                line.send()
            tick += 1
            if not tick % 10:
                await asyncio.sleep(0)  # what arrived has its turn, however late this is


async def measure(sessions: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one number of sessions, and return the figures."""
    far_end = FarEnd(options.seed)
    server = await asyncio.start_server(far_end.answer, "127.0.0.1", 0, backlog=1_024)
    port = server.sockets[0].getsockname()[1]
    sending = asyncio.create_task(far_end.send_frames())
    command = [sys.executable, __file__, "--serve", str(sessions), "--port", str(port)]
    command += ["--front", options.front, "--loop", options.loop]
    command += ["--seconds", str(options.seconds)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    cpu, began = time.process_time(), time.monotonic()
    assert child.stdout is not None  # noqa: S101  # it is a pipe
    printing = asyncio.create_task(child.stdout.readline())
    await asyncio.sleep(sessions / 200 + DELAY + SETTLE)
    far_end.measures = True
    line = await printing
    far_end.measures = False
    cpu, passed = time.process_time() - cpu, time.monotonic() - began
    lost = far_end.lost
    sending.cancel()
    await child.wait()
    server.close()
    if not line:
        sys.exit("the process that is measured failed")
    row: dict[str, Any] = json.loads(line)
    row["crossed"] += far_end.crossed
    return {
        "front": options.front,
        "loop": options.loop,
        **row,
        **far_end.lateness.figures("out"),
        "dry": far_end.dry,
        "refused": far_end.refused,
        "lost": lost,
        "connected_before_reply": far_end.early,
        "peer_worst_ms": round(1_000 * far_end.own_lateness.worst, 1),
        "peer_late_share": far_end.own_lateness.late / max(far_end.own_lateness.count, 1),
        "peer_cpu_share": round(cpu / passed, 3),
    }


def main() -> None:
    """Print a row of figures for each number of sessions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, nargs="+", default=[50, 100, 200, 350, 500])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, help="instead of --seconds: for the memory")
    parser.add_argument("--front", choices=FRONTS, default="asgi")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.minutes:
        options.seconds = 60 * options.minutes
    if options.serve:
        with asyncio.Runner(loop_factory=LOOPS[options.loop]()) as runner:
            runner.run(place_and_serve(options))
        return
    for sessions in options.sessions:
        print(json.dumps(asyncio.run(measure(sessions, options))), flush=True)


if __name__ == "__main__":
    main()
