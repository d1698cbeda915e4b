"""Connection: what the drivers for asyncio and trio have in common.

A connection carries one exchange at a time. A driver writes in one place, and takes the request
right before that: as long as the request was not taken, not one byte of it has left. Bytes that
arrive while no exchange is under way end the connection, whether they come before a request,
behind a reply or later, in plain text or inside TLS. A caller would take them for its own reply.
"""

from __future__ import annotations

import select
import ssl
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from telecmi_async.wire.exchange import Exchange

_HTTP1 = "http/1.1"


@attrs.frozen
class Origin:
    """The server at the other end: a host and a port, and the settings of TLS if it is used."""

    host: str
    port: int
    ssl_context: ssl.SSLContext | None


class Connection(Protocol):
    """An open connection. Its owner closes it with `aclose`, even if it ended by itself."""

    #: When it was opened, a reading of the event loop's clock.
    opened: float
    #: When its last exchange ended, likewise.
    idle_since: float
    #: Whether it may not carry another exchange, as far as is known without looking.
    spent: bool

    async def exchange(
        self, take_request: Callable[[], Awaitable[bytes]], *, write: float, read: float
    ) -> Exchange | None:
        """Send one request and return its complete reply.

        Args:
            take_request: Returns the request, head and body. It is called at most once, right
                before the request is written. If it raises, nothing was written.
            write: For how many seconds the server may take nothing of the request.
            read: For how many seconds the server may send nothing of the reply.

        Returns:
            None if the connection had ended, or was spent, before the request was taken.

        Raises:
            WriteTimedOut: The server did not take the request in time.
            ReadTimedOut: The server did not reply in time.
            ReplyError: The reply cannot be read, or is not complete.
            OSError: The connection broke.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection at once, and wait until its socket is closed."""
        ...


class WriteTimedOut(Exception):
    """The server did not take the request in time."""


class ReadTimedOut(Exception):
    """The server did not reply in time."""


def offer_http1(context: ssl.SSLContext) -> None:
    """Have TLS offer HTTP/1.1 alone: a client that shares the settings may have added HTTP/2."""
    context.set_alpn_protocols([_HTTP1])


def require_http1(chosen: str | None) -> None:
    """Require that the server did not choose another protocol in the TLS handshake."""
    if chosen not in {None, _HTTP1}:
        error = ssl.SSLError("the server chose another protocol")
        error.reason = "NO_APPLICATION_PROTOCOL"  # as OpenSSL names it
        raise error


def watch(sock: socket.socket) -> Callable[[], bool]:
    """Return a function that returns whether a socket has anything to read, such as its end."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))
