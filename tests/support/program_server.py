"""The server of random programs: it misbehaves by plan, and counts complete requests by call.

It uses bare sockets, and TLS over buffers in memory, so that it decides itself what one record
and what one segment holds. It runs in a thread of its own, for clients on any event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs
from reply_bytes import DAMAGES, Draft, pieces
from wire_programs import WORDS, ConnectionFate, Fate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from wire_programs import Program

__all__ = ["FIRST", "LATE", "Arrival", "ProgramServer", "Scene", "client_context", "is_raced"]

CERTIFICATE = Path(__file__).parents[1] / "data" / "loopback.pem"
#: The number that call 0 dials.
FIRST = 19170000000
#: The ids in stray replies: in one write with a reply that was asked for, and in a later one.
STRAY, LATE = "stray", "late"
# How long before a request a stray reply on its connection may have been overlooked, in seconds.
_RACE = 0.05
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")
# A client may read that much at once.
_ONE_READ = 16_000
_CLOSES = re.compile(rb"(?im)^connection: *close\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding: *chunked")


def server_context(*, newest: bool) -> ssl.SSLContext:
    """Return the server's TLS settings; TLS 1.2 if not the newest."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def client_context() -> ssl.SSLContext:
    """Return TLS settings that trust the server, and nothing else."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@attrs.frozen
class Arrival:
    """A complete request that the server read.

    Args:
        fate: What happened to it.
        request_id: The id that the call got.
        since_stray: For how many seconds at least a stray reply had been there, which was sent
            on the same connection in a write of its own; None if there was none. If it is short,
            the client may have written the request before it could see the stray one.
    """

    fate: Fate
    request_id: str
    since_stray: float | None = None


def is_raced(since_stray: float | None) -> bool:
    """Return whether a client may have overlooked a stray reply, by `Arrival.since_stray`."""
    return since_stray is not None and since_stray < _RACE


class Lag:
    """How late an event loop is: the server and a busy client share an interpreter."""

    _EVERY = 0.005
    _USUAL = 0.001

    def __init__(self) -> None:
        self._due = time.monotonic()
        self._late: deque[tuple[float, float]] = deque(maxlen=2000)

    async def measure(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Measure it for ever, in that loop."""
        while True:
            self._due = time.monotonic() + self._EVERY
            await sleep(self._EVERY)
            now = time.monotonic()
            self._late.append((now, now - self._due))

    def since(self, moment: float) -> float:
        """Return all lags since a moment together, in seconds: a loaded machine has several."""
        late = [lag for at, lag in list(self._late) if at >= moment and lag > self._USUAL]
        return sum(late) + max(time.monotonic() - self._due, 0.0)


class Scene:
    """What the server does in one program, and what it saw.

    Args:
        program: The program.
        key: What its calls carry, so that a call of another program is noticed.
        wire: plain, tls, or split: TLS with many small records.
        lags: Of both sides.
    """

    def __init__(self, program: Program, key: str, wire: str, lags: Sequence[Lag]) -> None:
        self.lags = lags
        self.program = program
        self.key = key
        self.wire = wire
        self.rng = random.Random(program.split)
        #: The complete requests of each call, in the order of their arrival.
        self.arrivals: list[list[Arrival]] = [[] for _ in program.calls]
        #: What no program may do.
        self.oddities: list[str] = []
        self.connections = 0
        self._open: set[_Connection] = set()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        if not program.refused_for:
            self._socket.listen(64)
        self.port: int = self._socket.getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The API's address."""
        return f"{'http' if self.wire == 'plain' else 'https'}://127.0.0.1:{self.port}/v2"

    def start(self) -> None:
        """Begin to serve; in the server's thread."""
        self._accepting = asyncio.create_task(self._accept())

    def stop(self) -> None:
        """End whatever is still going on; in the server's thread."""
        if self._accepting is not None:
            self._accepting.cancel()
        for task in self._tasks:
            task.cancel()
        self._socket.close()

    async def _accept(self) -> None:
        if self.program.refused_for:
            await asyncio.sleep(min(self.program.refused_for, 60))
            self._socket.listen(64)
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._socket)
            plans = self.program.connections
            n = self.connections
            self.connections += 1
            fate = plans[n] if n < len(plans) else ConnectionFate()
            connection = _Connection(self, sock, fate)
            self._open.add(connection)
            task = asyncio.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.serve()
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client went away, or the program is over
        except Exception as error:  # noqa: BLE001  # a fault of this server must be seen
            self.oddities.append(f"the server failed: {error!r}")
        finally:
            connection.close()
            self._open.discard(connection)

    @property
    def open(self) -> int:
        """How many connections are still served."""
        return len(self._open)

    def left_open(self) -> bool:
        """Return whether the client keeps a connection open, as far as can be seen."""
        return any(not connection.asked() for connection in tuple(self._open))

    def arrived(self, body: bytes, target: bytes, since_stray: float | None) -> Arrival | None:
        """Note a complete request, and return its fate; None if it is no call of this program."""
        try:
            call = json.loads(body)
            number = int(call["to"]) - FIRST
            mine = call["extra_params"]["program"] == self.key
        except (ValueError, KeyError, TypeError):
            number, mine = -1, False
        if not mine or not 0 <= number < len(self.arrivals):
            self.oddities.append(f"a request that is no call of this program: {body[:80]!r}")
            return None
        if b"pcmo_make_call" not in target:
            self.oddities.append(f"call {number} was sent to {target!r}")
        before = self.arrivals[number]
        fates = self.program.calls[number].fates
        late = LATE if is_raced(since_stray) else ""
        arrival = Arrival(
            fates[min(len(before), len(fates) - 1)],
            f"{late}call{number}request{len(before)}".ljust(43, "x"),
            since_stray,
        )
        before.append(arrival)
        return arrival


class _Connection:
    """One connection, from the server's side."""

    def __init__(self, scene: Scene, sock: socket.socket, fate: ConnectionFate) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # the client may be gone
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._scene = scene
        self._socket = sock
        self._fate = fate
        self._loop = asyncio.get_running_loop()
        self._read = b""
        self._strayed: float | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None

    # -- bytes

    async def _handshake(self) -> None:
        fate = self._fate
        context = _OLDER if fate.kind == "a reply with the handshake" else _NEWEST
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        step = 0
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            if step == 1:
                await self._interrupt("in the handshake")
            await self._flush()
            step += 1
            data = await self._loop.sock_recv(self._socket, 65536)
            if not data:
                raise EOFError
            self._incoming.write(data)
        self._tls = tls
        if fate.kind == "a reply with the handshake":
            await self.send(self._plain(fate.word))
        await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._socket, self._outgoing.read())

    async def _receive(self) -> bytes:
        """Return what came; b"" at the end."""
        if self._tls is None:
            return await self._loop.sock_recv(self._socket, 65536)
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._loop.sock_recv(self._socket, 65536)
                if not data:
                    return b""
                self._incoming.write(data)

    async def send(self, data: bytes) -> None:
        """Send bytes in one write: one segment, as far as they fit, and one record or many."""
        if self._tls is None:
            await self._loop.sock_sendall(self._socket, data)
            return
        split = self._scene.wire == "split" and data
        for piece in pieces(self._scene.rng, data) if split else [data]:
            self._tls.write(piece)
        await self._flush()

    async def _gone(self) -> None:
        """Wait until the client closes."""
        while await self._receive():
            pass

    def _end_writing(self) -> None:
        """Say that nothing more comes."""
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLError):  # it waits for the client's word
                self._tls.unwrap()
            with contextlib.suppress(OSError):
                self._socket.send(self._outgoing.read())
        self._socket.shutdown(socket.SHUT_WR)

    def _reset(self) -> None:
        """Make the connection end in a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Close it; under TLS perhaps without a word."""
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls is not None and self._scene.rng.random() < 0.5:
                self._end_writing()
        self._socket.close()

    # -- what happens

    async def _end(self, how: str) -> None:
        """End the connection, or leave it as it is for ever."""
        if how == "reset":
            self._reset()
        if how == "half-close":
            self._end_writing()
        if how in {"silence", "half-close"}:
            await self._gone()
        raise EOFError

    async def _interrupt(self, place: str) -> None:
        """End the connection if that is its fate at this place."""
        how, _, where = self._fate.kind.partition(" ")
        if where == place and how in {"close", "reset", "silence", "half-close"}:
            await self._end(how)

    def _plain(self, name: str, request_id: str = STRAY) -> bytes:
        """Return a stray reply."""
        word = WORDS[name]
        body = word.body.replace(b"ID", request_id.ljust(43, "x").encode())
        head = b"HTTP/1.1 %d Stray\r\nContent-Length: %d\r\n" % (word.status, len(body))
        return head + b"".join(field + b"\r\n" for field in word.fields) + b"\r\n" + body

    async def _stray(self, data: bytes) -> None:
        """Send something that nothing asked for, unless something has been asked meanwhile."""
        if not self.asked():
            await self.send(data)
            self._strayed = time.monotonic()

    def asked(self) -> bool:
        """Return whether more of the client, or its end, is there to be read."""
        if self._read:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass  # it was reset
        return True

    async def serve(self) -> None:
        """Serve requests until the connection ends."""
        fate = self._fate
        await self._interrupt("at once")
        if fate.kind == "late":
            await asyncio.sleep(fate.after)
        if self._scene.wire != "plain":
            if fate.kind == "no TLS":
                await self._loop.sock_sendall(self._socket, self._plain("420"))
            await self._handshake()
        if fate.kind == "a reply in front":
            await self._stray(self._plain(fate.word, LATE))
        number = 0
        while await self._request(number):
            number += 1

    async def _request(self, number: int) -> bool:
        """Serve one request; False if none came."""
        special = number == self._fate.at
        if special and number:
            await self._idle()
        request = await self._read_request(special=special)
        if request is None:
            return False
        target, body, closes = request
        since = None
        if self._strayed is not None:
            # One side may not have looked for a while: the client that wrote the request, or
            # this one for which it waited.
            lag = sum(each.since(self._strayed) for each in self._scene.lags)
            since = time.monotonic() - self._strayed - lag
        arrival = self._scene.arrived(body, target, since)
        if arrival is None:
            return False
        await self._answer(arrival)
        if is_raced(since):
            # The client took the stray reply for this one. So this one is stray.
            self._strayed = time.monotonic()
        # A client that asks for that is sure of it: it may not see what comes behind a reply.
        return self._fate.kind != "one reply each" and not closes

    async def _idle(self) -> None:
        """Do what happens while the connection is idle, unless a request came first."""
        fate = self._fate
        if not fate.kind.endswith("while idle"):
            return
        await asyncio.sleep(fate.after)
        if self.asked():
            return
        await self._interrupt("while idle")
        strays = {
            "a reply while idle": self._plain(fate.word, LATE),
            "garbage while idle": b"\x00\xff\r\n\r\n",
            "line ends while idle": b"\r\n\r\n",
        }
        await self._stray(strays[fate.kind])

    async def _more(self) -> bool:
        data = await self._receive()
        self._read += data
        return bool(data)

    async def _read_request(self, *, special: bool) -> tuple[bytes, bytes, bool] | None:
        """Read a request: its target, its body, and whether it is the connection's last one.

        None if it did not come in full.
        """
        if special and self._fate.kind == "slow reading":
            await asyncio.sleep(self._fate.after)
        head = await self._until(_HEAD_END)
        if head is None:
            return None
        if special:
            await self._interrupt("after the head")
            if self._fate.kind == "refusal after the head":
                await self.send(self._plain("422"))
                raise EOFError
        if _CHUNKED.search(head):
            body = await self._read_chunks()
        else:
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if special and length and await self._enough(1):
                await self._interrupt("in the body")
            body = await self._take(length)
        closes = _CLOSES.search(head) is not None
        return None if body is None else (head.split(b" ", 2)[1], body, closes)

    async def _until(self, end: bytes) -> bytes | None:
        """Read until a mark; return what comes before it."""
        while end not in self._read:
            if not await self._more():
                return None
        before, _, self._read = self._read.partition(end)
        return before

    async def _enough(self, size: int) -> bool:
        """Wait until so many bytes are there; False if they never come."""
        while len(self._read) < size:
            if not await self._more():
                return False
        return True

    async def _take(self, size: int) -> bytes | None:
        """Read so many bytes."""
        if not await self._enough(size):
            return None
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    async def _read_chunks(self) -> bytes | None:
        """Read a body in chunks, as some clients send one."""
        body = b""
        while (line := await self._until(b"\r\n")) is not None:
            data = await self._take(int(line, 16) + 2)
            if data is None:
                return None
            if data == b"\r\n":
                return body
            body += data[:-2]
        return None

    async def _answer(self, arrival: Arrival) -> None:
        """Do with a request what its fate says."""
        fate = arrival.fate
        if fate.delay:
            await asyncio.sleep(fate.delay)
        data, reusable = _render(fate, arrival.request_id)
        whole = len(data)
        if fate.cut < 1:
            data = data[: int(whole * fate.cut)]
        stray = fate.stray
        if stray is not None and stray.after is None:
            data += self._plain(stray.word, STRAY if fate.drip is None else LATE)
        await self._deliver(data, fate)
        if stray is not None and stray.after is not None:
            if stray.after:
                await asyncio.sleep(stray.after)
            await self._stray(self._plain(stray.word, LATE))
        if fate.ending != "keep":
            await self._end(fate.ending)
        if not reusable:
            raise EOFError

    async def _deliver(self, data: bytes, fate: Fate) -> None:
        """Send a reply at once or in pieces."""
        if fate.drip is None:
            await self.send(data)
        else:
            rng = random.Random(fate.seed)
            for piece in pieces(rng, data, at_most=40):
                await self.send(piece)
                await asyncio.sleep(fate.drip)
        if (fate.stray or fate.damage) and (fate.drip is not None or len(data) > _ONE_READ):
            # The end of the reply and what follows it came apart.
            self._strayed = time.monotonic()


def _render(fate: Fate, request_id: str) -> tuple[bytes, bool]:
    """Return a reply's bytes, and whether the connection may be used after it."""
    word = WORDS[fate.word]
    body = word.body.replace(b"ID", request_id.encode())
    rng = random.Random(fate.seed)
    draft = Draft(rng, word.status, body)
    if fate.plain and word.status != 204:
        draft.interims.clear()
        draft.fields.clear()
        draft.trailers.clear()
        draft.measure(rng)
        draft.reusable = True
    draft.fields += word.fields
    if fate.damage:
        DAMAGES[fate.damage](draft, rng)
    return draft.render(), draft.reusable


_NEWEST = server_context(newest=True)
_OLDER = server_context(newest=False)


class ProgramServer:
    """A thread that serves the scenes of programs."""

    def __init__(self) -> None:
        self.lag = Lag()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        measuring = self._loop.create_task(self.lag.measure(asyncio.sleep))
        self._loop.run_forever()
        measuring.cancel()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    def start(self, scene: Scene) -> None:
        """Serve a scene."""
        self._loop.call_soon_threadsafe(scene.start)

    def stop(self, scene: Scene) -> None:
        """Serve a scene no longer."""
        self._loop.call_soon_threadsafe(scene.stop)
