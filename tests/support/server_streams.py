"""Connections to an HTTP server without sockets, and requests as bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteStream

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

PATH = "/v2/global_pcmo_make_call"


def body(to: int = 19170000001, **more: object) -> bytes:
    """Return the body of a valid call."""
    call = {
        "appid": 2222226,
        "secret": "simulated-secret",
        "from": 19170000000,
        "to": to,
        "pcmo": [{"action": "hangup"}],
    }
    return json.dumps(call | more).encode()


def post(content: bytes, *headers: str, path: str = PATH) -> bytes:
    """Return a request as bytes on the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: simulator",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


class End(ByteStream):
    """One end of an in-process connection with a small buffer."""

    def __init__(
        self,
        outgoing: MemoryObjectSendStream[bytes],
        incoming: MemoryObjectReceiveStream[bytes],
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._left = b""

    async def send(self, item: bytes) -> None:
        """Send a piece; wait while the other end's buffer is full."""
        await self._outgoing.send(item)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Return the next bytes."""
        data = self._left or await self._incoming.receive()
        self._left = data[max_bytes:]
        return data[:max_bytes]

    async def send_eof(self) -> None:
        """Close the sending side."""
        await self._outgoing.aclose()

    async def aclose(self) -> None:
        """Close both sides."""
        await self._outgoing.aclose()
        await self._incoming.aclose()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return the next answer's status, headers and body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self.receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0))
        while len(rest) < size:
            rest += await self.receive()
        self._left = rest[size:]
        return int(status.split(" ")[1]), headers, rest[:size]

    async def closed(self) -> bool:
        """Wait until the other end closes its sending side."""
        try:
            await self.receive()
        except anyio.EndOfStream:
            return True
        return False
