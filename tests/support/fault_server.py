"""A server that reads one POST at a time, misbehaves by script, and counts requests.

It uses bare sockets, so that it can close in the middle of a reply, reset a connection
or send something that is not HTTP. Over TLS it decides which bytes share a record, and which
records share a segment. It needs the real clock.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import anyio
import trustme

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Script: TypeAlias = "Callable[[Peer], Awaitable[None]]"

HEAD_END = b"\r\n\r\n"
ACCEPTED = json.dumps(
    {"status": "progress", "request_id": "r" * 43, "code": 200}, separators=(",", ":")
).encode()


def reply(
    body: bytes = ACCEPTED,
    *,
    status: str = "200 OK",
    length: int | None = None,
    headers: str = "",
) -> bytes:
    """Return the bytes of a reply; ``length`` is its Content-Length, right or wrong."""
    claimed = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {claimed}\r\n{headers}\r\n"
    return head.encode("latin-1") + body


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS settings of a server on this machine, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Peer:
    """One connection, from the server's side."""

    def __init__(self, sock: socket.socket, server: FaultServer) -> None:
        sock.setblocking(False)
        sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # what is sent leaves at once
        self._socket = sock
        self._server = server
        self._read = b""
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def secure(self, context: ssl.SSLContext) -> None:
        """Shake hands, if the client can."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(self._outgoing.read())
                if not await self._receive():
                    return
            except ssl.SSLError:
                return
            else:
                break
        self._tls = tls
        await self._flush(self._outgoing.read())
        self._decrypt()

    async def _receive(self) -> bool:
        """Read available bytes, encrypted or not; False if the client is gone."""
        await anyio.wait_readable(self._socket)
        try:
            data = self._socket.recv(65536)
        except OSError:
            return False
        if self._server.tls is None:
            self._read += data
        else:
            self._incoming.write(data)
        return bool(data)

    async def _more(self) -> bool:
        """Read available bytes; False at the end, or if the client is gone."""
        # The client's first request may have come with the end of its handshake.
        return self._decrypt() or (await self._receive() and (self._decrypt() or True))

    def _decrypt(self) -> bool:
        """Decrypt what arrived, if it is encrypted; False if there was nothing."""
        before = len(self._read)
        try:
            while self._tls is not None:
                self._read += self._tls.read(65536)
        except ssl.SSLError:
            pass  # there is no more
        return len(self._read) > before

    async def head(self) -> int | None:
        """Read a request's head; return the length of its body, or None if no head came."""
        while HEAD_END not in self._read:
            if not await self._more():
                return None
        head, _, self._read = self._read.partition(HEAD_END)
        self._server.heads += 1
        length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
        return int(length[1]) if length else 0

    async def request(self) -> bool:
        """Read a whole request; False if it did not arrive in full."""
        length = await self.head()
        if length is None:
            return False
        while len(self._read) < length:
            if not await self._more():
                return False
        self._server.bodies.append(self._read[:length])
        self._read = self._read[length:]
        return True

    async def send(self, *parts: bytes) -> None:
        """Send all bytes at once, or as many as the client reads; each part as a TLS record."""
        if self._tls is not None:
            for part in parts:
                self._tls.write(part)
            await self._flush(self._outgoing.read())
        else:
            await self._flush(b"".join(parts))

    async def _flush(self, data: bytes) -> None:
        try:
            while data:
                await anyio.wait_writable(self._socket)
                data = data[self._socket.send(data) :]
        except OSError:
            return

    async def gone(self) -> None:
        """Wait until the client closes."""
        while await self._more():
            pass

    def reset(self) -> None:
        """Make the connection end in a reset instead of an orderly close."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class FaultServer:
    """Runs a script for each connection, and counts requests.

    Args:
        scripts: The scripts of the first, second … connection; the last one is repeated.
        port: Its port; 0 for any free port.
        tls: Whether it speaks TLS, as `tls_contexts` has it.
    """

    def __init__(self, *scripts: Script, port: int = 0, tls: bool = False) -> None:
        self._scripts = scripts
        self.tls = tls_contexts()[0] if tls else None
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        #: The bodies of all requests that arrived in full.
        self.bodies: list[bytes] = []
        #: Requests whose headers arrived in full.
        self.heads = 0
        self.connections = 0
        self.open = 0

    @property
    def url(self) -> str:
        """Its URL."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def complete(self) -> int:
        """How many requests arrived in full."""
        return len(self.bodies)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultServer]:
        """Serve until the block is left."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve, tasks)
                yield self
                tasks.cancel_scope.cancel()
        finally:
            self._listener.close()

    async def _serve(self, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.wait_readable(self._listener)
            sock, _ = self._listener.accept()
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            tasks.start_soon(self._run, script, sock)

    async def _run(self, script: Script, sock: socket.socket) -> None:
        self.open += 1
        try:
            peer = Peer(sock, self)
            if self.tls is not None:
                await peer.secure(self.tls)
            await script(peer)
        finally:
            self.open -= 1
            sock.close()


def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


async def well_behaved(peer: Peer) -> None:
    """Accept every call, on a connection that is kept open."""
    while await peer.request():
        await peer.send(reply())


def answering(data: bytes) -> Script:
    """Read a request, send some bytes, close."""

    async def script(peer: Peer) -> None:
        if await peer.request():
            await peer.send(data)

    return script


def answering_and_silent(data: bytes) -> Script:
    """Read a request, send some bytes, and keep the connection open."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        await peer.gone()

    return script


async def close_at_once(peer: Peer) -> None:
    """Read nothing."""


async def close_after_head(peer: Peer) -> None:
    """Read the headers, not the body."""
    await peer.head()


async def close_after_body(peer: Peer) -> None:
    """Read the whole request, send nothing."""
    await peer.request()


async def answers_unasked(peer: Peer) -> None:
    """Send a line before any request, and keep the connection open."""
    await peer.send(b"220 ready\r\n")
    await peer.gone()


async def reset_at_once(peer: Peer) -> None:
    """Read nothing, reset."""
    peer.reset()


async def reset_after_head(peer: Peer) -> None:
    """Read the headers, reset."""
    await peer.head()
    peer.reset()


async def reset_after_body(peer: Peer) -> None:
    """Read the whole request, reset."""
    await peer.request()
    peer.reset()


async def reset_in_reply(peer: Peer) -> None:
    """Reset in the middle of an answer."""
    await peer.request()
    await peer.send(reply(length=len(ACCEPTED) + 1))
    peer.reset()


async def stall_at_once(peer: Peer) -> None:
    """Read nothing and send nothing, forever."""
    await anyio.sleep_forever()


async def stall_after_body(peer: Peer) -> None:
    """Read the whole request, send nothing while the client waits."""
    await peer.request()
    await peer.gone()


async def drip(peer: Peer) -> None:
    """Answer a byte at a time, each before a read time-out is due."""
    await peer.request()
    for n in range(len(whole := reply(headers=f"X-Padding: {'x' * 4000}\r\n"))):
        await peer.send(whole[n : n + 1])
        await anyio.sleep(0.005)
