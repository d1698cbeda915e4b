"""A WebSocket over the network, by the sans-I/O half of `websockets`: on asyncio and on trio."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import anyio

from telecmi_async.simulator.voice.socket import Arrivals, Closed, NotConnected

if TYPE_CHECKING:
    from anyio.abc import ByteStream, TaskGroup
    from websockets.client import ClientProtocol
    from websockets.frames import Frame
    from websockets.protocol import Event
    from websockets.uri import WebSocketURI

# Bytes of a message; the far end's limit is unknown.
_LONGEST_MESSAGE: Final = 16 * 2**20
# It would log the path of each address, which has the code of a call.
_SILENT: Final = logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001  # no handler may get it
# What anyio raises when a connection is at its end.
_ENDS: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


async def _connect(uri: WebSocketURI) -> ByteStream:
    if not uri.secure:
        return await anyio.connect_tcp(uri.host, uri.port)
    # Servers seldom say goodbye before they close a TLS connection.
    return await anyio.connect_tcp(uri.host, uri.port, tls=True, tls_standard_compatible=False)


class DialledSocket:
    """The client's end of a WebSocket of a server."""

    def __init__(
        self, stream: ByteStream, protocol: ClientProtocol, arrivals: Arrivals
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._arrivals = arrivals
        self._sending = anyio.Lock()
        self._message = bytearray()
        self._is_text = False

    @classmethod
    async def open(cls, url: str, tasks: TaskGroup, arrivals: Arrivals) -> DialledSocket:
        """Connect to a server.

        Raises:
            NotConnected: It cannot be reached, or it refused.
        """
        try:
            from websockets.client import ClientProtocol  # noqa: PLC0415  # an extra
            from websockets.exceptions import InvalidURI  # noqa: PLC0415  # an extra
            from websockets.extensions.permessage_deflate import (  # noqa: PLC0415  # an extra
                ClientPerMessageDeflateFactory,
            )
            from websockets.uri import parse_uri  # noqa: PLC0415  # an extra
        except ImportError:
            raise NotConnected("install the extra: telecmi-async[voice]") from None
        try:
            uri = parse_uri(url)
            stream = await _connect(uri)
        except (OSError, ValueError, InvalidURI, *_ENDS) as error:
            raise NotConnected(f"no connection ({type(error).__name__})") from None
        protocol = ClientProtocol(
            uri,
            extensions=[ClientPerMessageDeflateFactory()],
            max_size=_LONGEST_MESSAGE,
            logger=_SILENT,
        )
        socket = cls(stream, protocol, arrivals)
        try:
            frames = await socket._shake_hands()
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        tasks.start_soon(socket._read, frames)
        return socket

    async def send(self, data: bytes | str) -> None:
        """Send a frame, unless the connection is closing."""
        if self._protocol.state.name == "OPEN":
            if isinstance(data, str):
                self._protocol.send_text(data.encode())
            else:
                self._protocol.send_binary(data)
            await self._flush()

    async def close(self, code: int) -> None:
        """Close the connection; 1006 breaks it."""
        if code == 1006:
            await anyio.aclose_forcefully(self._stream)
        elif self._protocol.state.name == "OPEN":
            self._protocol.send_close(code)
            await self._flush()

    async def _shake_hands(self) -> list[Event]:
        """Send the request, and return the frames that came with the answer."""
        self._protocol.send_request(self._protocol.connect())
        await self._flush()
        events: list[Event] = []
        while not events and self._protocol.handshake_exc is None:
            events = await self._receive()
        if self._protocol.handshake_exc is not None:
            status = getattr(events[0], "status_code", "") if events else ""
            raise NotConnected(f"the server refused the connection: HTTP {status}".rstrip())
        return events[1:]

    async def _receive(self) -> list[Event]:
        try:
            self._protocol.receive_data(await self._stream.receive())
        except _ENDS:
            self._protocol.receive_eof()
        await self._flush()
        return self._protocol.events_received()

    async def _flush(self) -> None:
        async with self._sending:
            for data in filter(None, self._protocol.data_to_send()):
                with suppress(*_ENDS):
                    await self._stream.send(data)  # the reader notices an end, too

    async def _read(self, events: list[Event]) -> None:
        told = False
        try:
            while True:
                for event in events:
                    await self._take(cast("Frame", event))
                state = self._protocol.state.name
                if state != "OPEN" and not told:
                    told, close = True, self._protocol.close_rcvd
                    await self._arrivals.put(Closed(close.code if close else 1006))
                if state == "CLOSED":
                    break
                events = await self._receive()
        finally:
            await anyio.aclose_forcefully(self._stream)

    async def _take(self, frame: Frame) -> None:
        match frame.opcode.name:
            case "TEXT" | "BINARY":
                self._is_text = frame.opcode.name == "TEXT"
                self._message = bytearray(frame.data)
            case "CONT":
                self._message += frame.data
            case _:  # the protocol has answered it
                return
        if frame.fin:
            message = bytes(self._message)
            await self._arrivals.put(
                message.decode("utf-8", "replace") if self._is_text else message
            )
