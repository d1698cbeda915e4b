"""A WebSocket server for streams, for programs without a web framework, on asyncio.

It needs the extra ``voice``, which has the library websockets. A peer costs a bounded amount of
memory, whether it never reads, never stops, or sends nothing. The library's own log lines, which
quote addresses with their codes, are written nowhere.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import TYPE_CHECKING, Final, cast

import anyio

from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async._internal.messages import shown
from telecmi_async._internal.seams import check_instance
from telecmi_async._internal.secrets import log_failure
from telecmi_async._internal.validators import is_whole
from telecmi_async.errors import ConfigurationError
from telecmi_async.voice.streams import Streams

try:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
except ImportError:
    raise ConfigurationError(
        "serve_streams needs websockets: pip install 'telecmi-async[voice]'"
    ) from None

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from websockets.asyncio.server import Server
    from websockets.http11 import Request, Response

    from telecmi_async.voice.socket import Admission

_LARGEST_PORT: Final = 65_535
# Times in seconds: of the handshake, between two pings, until a pong, and of the close.
_HANDSHAKE: Final = 10.0
_PING, _PONG = 20.0, 20.0
_CLOSE: Final = 2.0
# A second of audio at 16 kHz has 32,000 bytes, and frames have 0.02 to 0.1 seconds.
_LARGEST_FRAME: Final = 2**18
_FRAMES_WAITING: Final = 8
# Bytes from which on a sender waits, and at which a peer that does not read is cut off: it may
# have caused them by pings, which are answered without anyone waiting.
_WAIT_AT: Final = 2**16
_CUT_OFF_AT: Final = 2**19
# Connections that may be in their handshake or open.
_MOST_CONNECTIONS: Final = 2_000


class _Connection(ServerConnection):
    """A connection, from its beginning on."""

    admission: Admission

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(_open_connections) >= _MOST_CONNECTIONS:
            self.transport.abort()
        _open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        _open_connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > _CUT_OFF_AT:
            self.transport.abort()


# Of all servers: it is the process that must not run out of files.
_open_connections: Final[set[_Connection]] = set()


class _Socket:
    """An open connection, as a `StreamSocket`."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | str | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    async def send(self, text: str) -> None:
        await self._connection.send(text)

    async def close(self, code: int = 1000) -> None:
        await self._connection.close(code)


class _Front:
    """Admits and serves the connections of streams."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the refusal of a request, or None for one that is served."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            response = connection.respond(426, "This is a WebSocket.\n")
            response.headers["Upgrade"] = "websocket"
            return response
        admission = self._streams.admit(request.path)
        if admission is None:
            return connection.respond(403, "")
        cast("_Connection", connection).admission = admission
        return None

    async def handle(self, connection: ServerConnection) -> None:
        """Serve a connection that is open."""
        admission = cast("_Connection", connection).admission
        try:
            await self._streams.serve(admission, _Socket(connection))
        except Exception as error:  # noqa: BLE001  # the library would log it, with the address
            log_failure(error, "the connection of a stream failed")


@asynccontextmanager
async def serve_streams(
    streams: Streams, *, host: str, port: int, ssl: SSLContext | None = None
) -> AsyncGenerator[int]:
    """Serve streams on a port for as long as the context is open; give the port.

    At its end no more calls are accepted, and running ones may end as `Streams.aclose` allows.
    A WebSocket without a genuine address is refused with HTTP 403 before it is opened, and a plain
    HTTP request with 426. Compression is declined: the audio would not become smaller.

    Example:
        A program that serves one bot::

            import asyncio

            from telecmi_async.voice import Streams, serve_streams

            streams = Streams("wss://voice.example.com", secret="your-secret")


            @streams.on_stream
            async def talk(session):
                await session.play(greeting)


            async def main():
                async with serve_streams(streams, host="0.0.0.0", port=8765):
                    await asyncio.Event().wait()

    Args:
        streams: What is served. Its url's path may differ, as behind a proxy.
        host: The address to listen on: ``"127.0.0.1"`` behind a proxy on the same machine,
            ``"0.0.0.0"`` for all.
        port: The port; 0 for any free one.
        ssl: For ``wss://`` without a proxy that does TLS.

    Raises:
        ConfigurationError: An invalid argument, the address cannot be listened on, or the event
            loop is trio's: there, serve `Streams.asgi`.
    """
    _check(streams, port, ssl)
    front = _Front(streams)
    async with streams:
        server = await _listen(front, host, port, ssl)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            with anyio.CancelScope(shield=True):
                server.close(close_connections=False)
                await streams.aclose()
                server.close()
                await server.wait_closed()


async def _listen(front: _Front, host: str, port: int, ssl: SSLContext | None) -> Server:
    try:
        return await serve(
            front.handle,
            host,
            port,
            ssl=ssl,
            # Until TLS is agreed on, a connection is not counted.
            ssl_handshake_timeout=None if ssl is None else _HANDSHAKE,
            process_request=front.admit,
            compression=None,
            server_header=None,
            open_timeout=_HANDSHAKE,
            ping_interval=_PING,
            ping_timeout=_PONG,
            close_timeout=_CLOSE,
            max_size=_LARGEST_FRAME,
            max_queue=_FRAMES_WAITING,
            write_limit=_WAIT_AT,
            create_connection=_Connection,
            logger=_silent_logger(),
        )
    except OSError as error:
        failure = error.strerror
    raise ConfigurationError(
        f"cannot listen on {host} port {port}: {failure}; choose another port, or 0 for any "
        "free one"
    )


def _check(streams: Streams, port: int, ssl: SSLContext | None) -> None:
    if not is_asyncio(current_loop()):
        raise ConfigurationError(
            "serve_streams runs on asyncio only: on trio, serve streams.asgi, with hypercorn"
        )
    check_instance("streams", streams, Streams)
    if not is_whole(port, 0) or port > _LARGEST_PORT:
        raise ConfigurationError(f"port must be from 0 to {_LARGEST_PORT}, not {shown(port)}")
    if ssl is not None:
        check_instance("ssl", ssl, SSLContext)


def _silent_logger() -> logging.Logger:
    """Return a logger of no hierarchy that writes nothing."""
    logger = logging.Logger("telecmi_async.voice")  # noqa: LOG001  # it has no parent so
    logger.disabled = True
    return logger
