"""Connection pool: the transport under a service's own HTTP client.

The gate limits the requests in flight, so there is no queue here: each request takes the idle
connection that was used last, or opens one. Those that were not used for two seconds are closed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Self

import anyio
import httpx

from telecmi_async._internal.event_loop import clock_of, current_loop, is_asyncio
from telecmi_async.wire.asyncio_connection import open_on_asyncio
from telecmi_async.wire.connection import Origin, ReadTimedOut, WriteTimedOut
from telecmi_async.wire.exchange import ReplyError, encode_head
from telecmi_async.wire.trio_connection import open_on_trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from telecmi_async.wire.connection import Connection
    from telecmi_async.wire.exchange import Exchange

#: Seconds. Well below the idle limits of common servers (usually 5 s): if a server closes a
#: connection just as it is reused, the call's outcome is unknown.
KEEPALIVE_EXPIRY: Final = 2.0
#: Seconds. Connections that are always busy would never follow a change of the host's address.
LONGEST_USE: Final = 300.0


class ConnectionPool(httpx.AsyncBaseTransport):
    """Gives every request a separate connection, with these TLS settings for https addresses.

    It belongs to the event loop of its first request.
    """

    #: The clock of its event loop.
    _now: Callable[[], float]

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._ssl_context = ssl_context
        self._origins: dict[tuple[str, str, int | None], Origin] = {}
        self._idle: dict[Origin, deque[Connection]] = {}
        self._loop: object = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over an idle connection, or over a new one.

        If it fails and the request's body was not asked for, not one byte of the request left.
        """
        if self._loop is None:
            self._loop = current_loop()
            self._now = clock_of(self._loop)
        origin = self._origin(request.url)
        timeouts: dict[str, float] = request.extensions["timeout"]

        async def take_request() -> bytes:
            assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101  # an async client's request
            body = b"".join([part async for part in request.stream])
            return encode_head(request.url.raw_path, request.headers.raw) + body

        try:
            exchange: Exchange | None = None
            is_new = False
            while exchange is None and not is_new:
                connection = await self._take_idle(origin)
                if connection is None:
                    is_new = True
                    connection = await self._connect(origin, timeouts["connect"])
                try:
                    exchange = await connection.exchange(
                        take_request, write=timeouts["write"], read=timeouts["read"]
                    )
                finally:
                    if connection.spent:
                        await connection.aclose()
                    else:
                        self._idle[origin].append(connection)
        except Exception as error:
            if (known := _error_of_httpx(error)) is None:
                raise
            raise known from error
        if exchange is None:
            raise httpx.ConnectError("the connection ended before the request")
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=ReceivedBody(exchange.body),
            extensions={"exchange": exchange},
        )

    def _origin(self, url: httpx.URL) -> Origin:
        """Return where a URL leads."""
        key = (url.scheme, url.host, url.port)
        origin = self._origins.get(key)
        if origin is None:
            secure = url.scheme == "https"
            origin = self._origins[key] = Origin(
                # ``url.host`` is decoded: event loops would encode it by the older IDNA rules, by
                # which it may be the name of another host.
                url.raw_host.decode("ascii"),
                url.port or (443 if secure else 80),
                self._ssl_context if secure else None,
            )
            self._idle[origin] = deque()
        return origin

    async def _take_idle(self, origin: Origin) -> Connection | None:
        """Return the idle connection that was used last, if there is one that can be used."""
        idle = self._idle[origin]
        now = self._now()
        while idle and now - idle[0].idle_since > KEEPALIVE_EXPIRY:
            await idle.popleft().aclose()
        while idle:
            connection = idle.pop()
            if not connection.spent and now - connection.opened < LONGEST_USE:
                return connection
            await connection.aclose()
        return None

    async def _connect(self, origin: Origin, seconds: float) -> Connection:
        """Open a connection; its time-out covers the look-up of the name, TCP and TLS."""
        loop = self._loop
        with anyio.move_on_after(seconds):
            try:
                if is_asyncio(loop):
                    return await open_on_asyncio(loop, origin)
                return await open_on_trio(origin)
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
                raise httpx.ConnectError("no connection could be opened") from error
        raise httpx.ConnectTimeout(f"no connection was open after {seconds:g} s")

    async def aclose(self) -> None:
        """Close every connection; no request may be under way.

        A cancellation is raised afterwards.
        """
        cancelled: BaseException | None = None
        for idle in self._idle.values():
            while idle:
                try:
                    await idle.pop().aclose()
                except anyio.get_cancelled_exc_class() as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled


class ReceivedBody(httpx.AsyncByteStream):
    """The body of a reply that is complete."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._yielded = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._yielded:
            raise StopAsyncIteration
        self._yielded = True
        return self._content


def _error_of_httpx(error: Exception) -> httpx.TransportError | None:
    """Return httpx's error for one of an exchange; None for any other."""
    match error:
        case WriteTimedOut():
            return httpx.WriteTimeout("the server did not take the request in time")
        case ReadTimedOut():
            return httpx.ReadTimeout("the server did not reply in time")
        case ReplyError():
            return httpx.RemoteProtocolError(str(error))
        case OSError() | anyio.BrokenResourceError():
            return httpx.ReadError("the connection broke")
        case _:
            return None
