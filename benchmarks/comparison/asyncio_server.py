"""The benchmarks' server where no C compiler is: the twin of ``server.c``, on asyncio.

    python asyncio_server.py REPLIES LATENCY_MS [CERTIFICATE KEY]

The arguments, the counts and what ends it are those of ``server.c``, which describes them.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

HEAD_MAX = 65536
MISSING = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


class Counts:
    def __init__(self) -> None:
        self.requests = self.body_bytes = self.in_flight = self.most_in_flight = 0
        self.connections: set[object] = set()

    def as_json(self) -> bytes:
        body = json.dumps(
            {
                "requests": self.requests,
                "body_bytes": self.body_bytes,
                "connections": len(self.connections),
                "most_in_flight": self.most_in_flight,
            }
        )
        return encode_reply("200 OK", body)

    def reset(self) -> None:
        self.requests = self.body_bytes = 0
        self.most_in_flight = self.in_flight
        self.connections.clear()


def encode_reply(status: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: "
    return f"{head}{len(body.encode())}\r\n\r\n{body}".encode()


class Connection(asyncio.Protocol):
    def __init__(
        self, counts: Counts, replies: list[tuple[bytes, bytes]], latency: float
    ) -> None:
        self._counts, self._replies, self._latency = counts, replies, latency
        self._buffer = bytearray()
        self._waiting = 0
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._closing and self._take_request():
            pass

    def _take_request(self) -> bool:
        """Take one complete request from what was read, and say whether there was one."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_MAX:
                self._refuse("431 Request Header Fields Too Large")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        if b"transfer-encoding" in headers:
            self._refuse("411 Length Required")
            return False
        said, words = headers.get(b"content-length", b"0"), first.split(b" ")
        if not said.isdigit() or len(words) != 3:
            self._refuse("400 Bad Request")
            return False
        whole = end + 4 + int(said)
        if len(self._buffer) < whole:
            return False
        del self._buffer[:whole]
        self._closing = headers.get(b"connection", b"").lower() == b"close"
        self._answer(words[0], words[1], int(said))
        return True

    def _answer(self, method: bytes, path: bytes, length: int) -> None:
        counts = self._counts
        if (method, path) in {(b"GET", b"/stats"), (b"GET", b"/reset")}:
            if path == b"/reset":
                counts.reset()
            self._write(counts.as_json())
            return
        counts.requests += 1
        counts.body_bytes += length
        counts.connections.add(self)
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        reply = next(
            (reply for start, reply in self._replies if path.startswith(start)), MISSING
        )
        if self._latency:
            self._waiting += 1
            asyncio.get_running_loop().call_later(self._latency, self._answer_now, reply)
        else:
            counts.in_flight -= 1
            self._write(reply)

    def _answer_now(self, reply: bytes) -> None:
        self._waiting -= 1
        self._counts.in_flight -= 1
        self._write(reply)

    def _write(self, reply: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(reply)
        if self._closing and not self._waiting:
            self._transport.close()

    def _refuse(self, status: str) -> None:
        self._closing = True
        self._buffer.clear()
        self._write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )


def load_replies(path: str) -> list[tuple[bytes, bytes]]:
    """Read lines of "path prefix<TAB>status<TAB>body"."""
    rows = [line.split("\t", 2) for line in Path(path).read_text("utf-8").splitlines()]
    return [(prefix.encode(), encode_reply(status, body)) for prefix, status, body in rows]


async def serve(replies: str, latency_ms: str, *certificate: str) -> None:
    """Serve until standard input ends."""
    counts, loaded, seconds = Counts(), load_replies(replies), float(latency_ms) / 1000
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(counts, loaded, seconds),
        "127.0.0.1",
        0,
        ssl=context,
        backlog=4096,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
