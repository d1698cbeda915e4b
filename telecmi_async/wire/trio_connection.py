"""trio connection: the driver of exchanges over anyio's streams, which serves trio.

What it needs of anyio is imported with anyio's backend, when a service is opened on trio. It is not
imported above: on asyncio a service starts faster without it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import anyio

from telecmi_async.wire.connection import (
    ReadTimedOut,
    WriteTimedOut,
    offer_http1,
    require_http1,
)
from telecmi_async.wire.exchange import Exchange
from telecmi_async.wire.happy_eyeballs import addresses_of, first_to_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from anyio.abc import ByteStream, SocketStream

    from telecmi_async.wire.connection import Origin

_READ_SIZE = 1 << 16


class _SocketReader:
    """A socket's stream that, while ``patient`` is False, reads what is there and never waits."""

    def __init__(self, stream: SocketStream) -> None:
        self.patient = True
        self._stream = stream
        from anyio.abc import SocketAttribute  # noqa: PLC0415  # see the module's docstring

        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  # anyio's, not Django's

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

    async def receive(self, max_bytes: int = _READ_SIZE) -> bytes:
        if self.patient:
            return await self._stream.receive(max_bytes)
        try:
            data = self._socket.recv(max_bytes)
        except BlockingIOError:
            raise anyio.WouldBlock from None
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()


class StreamConnection:
    """A connection over a stream; see `telecmi_async.wire.connection.Connection`."""

    def __init__(self, socket: _SocketReader, stream: ByteStream) -> None:
        self.opened = self.idle_since = anyio.current_time()
        self.spent = False
        self._socket = socket
        self._stream = stream

    async def exchange(
        self, take_request: Callable[[], Awaitable[bytes]], *, write: float, read: float
    ) -> Exchange | None:
        """Send one request and return its complete reply."""
        if self.spent or not await self._is_clean():
            return None
        request = await take_request()
        self.spent = True
        taken = False
        try:
            with anyio.move_on_after(write) as scope:
                await self._stream.send(request)
                taken = True
            if scope.cancelled_caught:
                raise WriteTimedOut
        except anyio.BrokenResourceError:
            pass  # the server closed its end; it may have replied before
        exchange = await self._read_reply(read)
        self.idle_since = anyio.current_time()
        self.spent = not (taken and exchange.reusable and await self._is_clean())
        return exchange

    async def _read_reply(self, read: float) -> Exchange:
        exchange = Exchange()
        complete = False
        while not complete:
            data = b""
            with anyio.move_on_after(read) as scope:
                try:
                    data = await self._stream.receive(_READ_SIZE)
                except anyio.EndOfStream:
                    exchange.end()
                    return exchange
            if scope.cancelled_caught:
                raise ReadTimedOut
            complete = exchange.receive(data)
        return exchange

    async def _is_clean(self) -> bool:
        """Return whether the connection stands and nothing came that was not asked for."""
        self._socket.patient = False
        try:
            await self._stream.receive(1)
        except anyio.WouldBlock:
            return True
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            pass  # it ended
        finally:
            self._socket.patient = True
        self.spent = True
        return False

    async def aclose(self) -> None:
        """Close the connection at once."""
        self.spent = True
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)


async def open_on_trio(origin: Origin) -> StreamConnection:
    """Open a connection to the first of the host's addresses that answers.

    Raises:
        OSError: The host is unknown, no address answers, or TLS cannot be set up.
        BrokenResourceError: The connection ended while TLS was set up.
        EndOfStream: Likewise.
    """
    reader = _SocketReader(await _connected(origin))
    stream = cast("ByteStream", reader)  # TLS and an exchange need no more of one
    if origin.ssl_context is None:
        return StreamConnection(reader, stream)
    from anyio.streams.tls import TLSAttribute, TLSStream  # noqa: PLC0415  # see the module's docstring

    try:
        offer_http1(origin.ssl_context)
        tls = await TLSStream.wrap(
            stream,
            hostname=origin.host,
            ssl_context=origin.ssl_context,
            standard_compatible=False,
        )
        require_http1(tls.extra(TLSAttribute.alpn_protocol))  # noqa: S610  # anyio's, not Django's
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(stream)
        raise
    return StreamConnection(reader, tls)


async def _connected(origin: Origin) -> SocketStream:
    """Return a stream to the first of a host's addresses that answers."""
    from anyio.abc import SocketStream  # noqa: PLC0415  # see the module's docstring

    addresses = await addresses_of(origin, anyio.getaddrinfo)
    found = await first_to_answer(
        addresses, lambda address: _connect(address, origin.port), socket.socket.close
    )
    try:
        return await SocketStream.from_socket(found)
    except BaseException:
        found.close()
        raise


async def _connect(address: str, port: int) -> socket.socket:
    """Connect a socket to one address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(0)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            made.connect((address, port))
        await anyio.wait_writable(made)
        if code := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, f"{os.strerror(code)}: {address} port {port}")  # noqa: TRY301  # it is closed as after any other failure
    except BaseException:
        made.close()
        raise
    return made
