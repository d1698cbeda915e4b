"""asyncio connection: the driver of exchanges on asyncio and uvloop.

`AsyncioConnection` has the methods of an `asyncio.Protocol`. asyncio itself is not imported here:
where it runs, it is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import anyio

from telecmi_async.wire.connection import (
    ReadTimedOut,
    WriteTimedOut,
    offer_http1,
    require_http1,
    watch,
)
from telecmi_async.wire.exchange import Exchange, ReplyError
from telecmi_async.wire.happy_eyeballs import addresses_of, first_to_answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from telecmi_async.wire.connection import Origin

# How often the loop may turn until it has read what had arrived: an end, tickets of TLS, strays.
_TURNS = 8
# After so many turns it has passed on what came along with the end of the TLS handshake.
_TURNS_OF_TLS = 2


class AsyncioConnection:
    """A connection on asyncio; see `telecmi_async.wire.connection.Connection`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened = self.idle_since = loop.time()
        self.spent = False
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = loop.create_future()
        self._has_more: Callable[[], bool] | None = None
        self._exchange: Exchange | None = None
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # What is under the transport: TLS hides how much of a request was not taken yet.
        self._raw: asyncio.Transport | None = None
        # The time-outs of the exchange, when the server last moved, and what it had not taken then.
        self._write = self._read = self._moved = 0.0
        self._untaken: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport from asyncio; or, with TLS, another one in its place."""
        self._transport = cast("asyncio.Transport", transport)
        if self._raw is None:
            self._raw = self._transport
            self._has_more = watch(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Take bytes from asyncio: a part of the reply, or strays, which end the connection."""
        exchange = self._exchange
        if exchange is None:
            self._abort()
            return
        try:
            complete = exchange.receive(data)
        except ReplyError as error:
            self._finish(error)
        else:
            self._moved = self._loop.time()
            if complete:
                self._finish()

    def eof_received(self) -> None:
        """Note that the server sends no more. The transport closes itself then."""
        self.spent = True
        if self._exchange is not None:
            try:
                self._exchange.end()
            except ReplyError as error:
                self._finish(error)
            else:
                self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is closed."""
        self.spent = True
        self._stop_timer()
        if error is not None and self._exchange is not None:
            self._finish(error)
        else:
            self.eof_received()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Do nothing: a request is written at once, and its time-out looks at what is left."""

    def resume_writing(self) -> None:
        """Do nothing."""

    async def exchange(
        self, take_request: Callable[[], Awaitable[bytes]], *, write: float, read: float
    ) -> Exchange | None:
        """Send one request and return its complete reply."""
        if not await self._is_clean():
            return None
        request = await take_request()
        if self.spent:  # taking the request let the loop turn
            raise ConnectionResetError
        self._done = self._loop.create_future()
        self._exchange = exchange = Exchange()
        self._write, self._read = write, read
        cast("asyncio.Transport", self._transport).write(request)
        self._moved = self._loop.time()
        self._untaken = self._size_untaken()
        self._look_by(self._moved + (write if self._untaken else read))
        try:
            await self._done
        except BaseException:
            self._abort()
            raise
        finally:
            self._exchange = self._done = None
        self.idle_since = self._moved
        if not exchange.reusable or self._size_untaken():
            self._abort()
        return exchange

    async def _is_clean(self) -> bool:
        """Return whether it stands and nothing stray came; what arrived is read first."""
        for _ in range(_TURNS):
            if self.spent or self._transport is None or self._transport.is_closing():
                return False
            if self._has_more is None or not self._has_more():
                return True
            await anyio.lowlevel.checkpoint()
        self._abort()
        return False

    def _look_by(self, due: float) -> None:
        """See to it that `_check_time` runs by ``due``.

        A timer outlives its exchange and serves the next ones: setting one for each took longer
        than reading its reply.
        """
        if self._timer is None or self._timer.when() > due:
            self._stop_timer()
            self._timer = self._loop.call_at(due, self._check_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_time(self) -> None:
        """End the exchange if the server has not moved for too long."""
        self._timer = None
        if self._exchange is None:
            return
        now = self._loop.time()
        untaken = self._size_untaken()
        if untaken != self._untaken:
            self._untaken, self._moved = untaken, now
        due = self._moved + (self._write if untaken else self._read)
        if due > now:
            self._look_by(due)
        else:
            self._finish(WriteTimedOut() if untaken else ReadTimedOut())

    def _size_untaken(self) -> int:
        """Return how many bytes of the request wait for the server to take them."""
        size: int = 0 if self._raw is None else self._raw.get_write_buffer_size()
        return size

    def _finish(self, error: Exception | None = None) -> None:
        """End the exchange: what arrives from now on is stray."""
        self._exchange = None
        if self._done is not None and not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)

    def _abort(self) -> None:
        self.spent = True
        if self._transport is not None:
            self._transport.abort()

    async def aclose(self) -> None:
        """Close the connection at once, and wait until its socket is closed."""
        self._abort()
        if self._transport is not None:
            await self._closed


async def open_on_asyncio(loop: asyncio.AbstractEventLoop, origin: Origin) -> AsyncioConnection:
    """Open a connection to the first of the host's addresses that answers.

    Raises:
        OSError: The host is unknown, no address answers, or TLS cannot be set up.
    """
    addresses = await addresses_of(origin, loop.getaddrinfo)
    connection = await first_to_answer(
        addresses,
        lambda address: _connect(loop, address, origin.port),
        AsyncioConnection._abort,  # noqa: SLF001  # its own function, to be called
    )
    raw = connection._transport  # noqa: SLF001  # it was made here
    if origin.ssl_context is None or raw is None:
        return connection
    try:
        transport: asyncio.Transport | None = None
        if not connection.spent and not raw.is_closing():  # asyncio would wait for ever
            offer_http1(origin.ssl_context)
            transport = await loop.start_tls(
                raw, _protocol(connection), origin.ssl_context, server_hostname=origin.host
            )
        if transport is None:  # asyncio returns nothing if that happens during the handshake
            raise ConnectionResetError("the connection ended before TLS was set up")  # noqa: TRY301  # it is closed as after any other failure
        require_http1(transport.get_extra_info("ssl_object").selected_alpn_protocol())
        connection.connection_made(transport)
        for _ in range(_TURNS_OF_TLS):
            await anyio.lowlevel.checkpoint()
    except BaseException:
        raw.abort()
        raise
    return connection


def _protocol(connection: AsyncioConnection) -> asyncio.Protocol:
    """Return a connection as what it is to asyncio."""
    return cast("asyncio.Protocol", connection)


async def _connect(
    loop: asyncio.AbstractEventLoop, address: str, port: int
) -> AsyncioConnection:
    """Connect to one address."""
    connection = AsyncioConnection(loop)
    try:
        await loop.create_connection(lambda: _protocol(connection), address, port)
    except BaseException:
        connection._abort()  # noqa: SLF001  # it was made here
        raise
    return connection
