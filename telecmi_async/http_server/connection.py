"""HTTP connection: reads requests one after the other and writes their responses.

h11 keeps the protocol's state. A request that is too large, too slow or not HTTP gets the status
for that, and the connection is closed.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import anyio
import h11
from anyio.abc import SocketAttribute
from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async.http_server.messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ByteStream

#: Answers one request over its connection, usually by `HttpConnection.send`. If no response
#: was completed when it returns, the connection is closed.
HttpApplication: TypeAlias = "Callable[[HttpRequest, HttpConnection], Awaitable[None]]"

_CHUNK: Final = 65_536
# Raised when the client went away, or does not take its response.
_GONE: Final = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    TimeoutError,
)
# Seconds that a refused client may continue to send. Closing a socket with unread data resets the
# connection, and the refusal would be lost.
_LINGER_SECONDS: Final = 1.0
_MOST_CONNECTIONS: Final = 500
_HERE: Final = ("127.0.0.1", 0)
_PROBLEMS: Final = {
    408: "the request took too long to arrive",
    413: "the body is too large",
    431: "the headers are too large",
}


def _most_connections() -> int:
    """Return how many connections leave half of the process's file descriptors for the rest."""
    try:
        import resource  # noqa: PLC0415  # Windows has none, and no such limit
    except ImportError:
        return _MOST_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft // 2 if 0 < soft < 2 * _MOST_CONNECTIONS else _MOST_CONNECTIONS
    return max(few, 1)


@frozen(kw_only=True)
class ConnectionLimits:
    """Limits for the clients of a port.

    Args:
        header_bytes: The longest request line and headers, together; above it, 431.
        body_bytes: The longest body; above it, 413.
        idle: Seconds that a connection may rest between two requests.
        slow: Seconds that a request may take to arrive, and its response to be taken.
        grace: Seconds that requests under way have left when the server stops.
        connections: How many connections may be open. For one more, the one that has waited
            longest for a request is closed. By default 500, and at most half of the process's
            limit of open files, so that the other half is left for outgoing calls.

    Raises:
        ConfigurationError: A value is not a positive number.
    """

    header_bytes: int = field(default=16_384, validator=validators.whole(1))
    body_bytes: int = field(default=1_048_576, validator=validators.whole(1))
    idle: float = field(default=30.0, validator=validators.positive)
    slow: float = field(default=10.0, validator=validators.positive)
    grace: float = field(default=5.0, validator=validators.positive)
    connections: int = field(factory=_most_connections, validator=validators.whole(1))


class _RefusedRequest(Exception):  # it becomes a response
    """The request cannot be read; ``status`` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HttpConnection:
    """Serves requests one after the other over one stream, which it does not close.

    Its arguments are explained at `HttpServer`.
    """

    def __init__(
        self,
        stream: ByteStream,
        application: HttpApplication,
        limits: ConnectionLimits,
        refuse: Callable[[int, str], HttpResponse],
    ) -> None:
        self.stream: Final = stream
        self._application = application
        self._limits = limits
        self._refusal = refuse
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self._resting: anyio.CancelScope | None = None
        self._scope = anyio.CancelScope()
        #: Whether a request is being answered, and whether one was.
        self.answering = self.served = False
        self._stopping = False
        self._method = b""
        peer = stream.extra(SocketAttribute.remote_address, _HERE)  # noqa: S610  # anyio's, no database
        self._local = _is_loopback(str(peer[0]))

    async def run(self) -> None:
        """Serve requests until the client leaves or errs, or `stop` is called."""
        try:
            with self._scope:
                while await self._begins() and await self._exchange():
                    self._wire.start_next_cycle()
        except _GONE:
            return

    def stop(self) -> None:
        """Take no more requests; one that is under way is answered."""
        self._stopping = True
        if self._resting is not None:
            self._resting.cancel()

    def drop(self) -> None:
        """End at once, to make room for another connection."""
        self._scope.cancel()

    # -- responses

    async def send(self, response: HttpResponse) -> None:
        """Send a whole response."""
        headers = response.all_headers()
        if self._stopping:
            headers.append(("Connection", "close"))
        await self._write(
            h11.Response(status_code=response.status, headers=headers),
            *([] if self._method == b"HEAD" else [h11.Data(data=response.body)]),
            h11.EndOfMessage(),
        )

    async def send_head(self, response: HttpResponse) -> None:
        """Send the status and headers of a response, whose body follows in pieces."""
        await self._write(
            h11.Response(status_code=response.status, headers=response.all_headers())
        )

    async def send_data(self, data: bytes) -> None:
        """Send a piece of a body."""
        await self._write(h11.Data(data=data))

    async def finish(self) -> None:
        """Complete a response that was sent in pieces."""
        await self._write(h11.EndOfMessage())

    async def _write(self, *events: h11.Event) -> None:
        """Send events in one piece; `TimeoutError` if the client does not take them."""
        pieces = [self._wire.send(event) or b"" for event in events]
        with anyio.fail_after(self._limits.slow):
            await self.stream.send(b"".join(pieces))

    async def _refuse(self, status: int) -> None:
        """Refuse a request that cannot be read, and let the client finish sending."""
        self._stopping = True
        message = _PROBLEMS.get(status, "this is no HTTP request")
        await self.send(self._refusal(status, message))
        with anyio.move_on_after(_LINGER_SECONDS):
            await self.stream.send_eof()
            while True:
                await self.stream.receive(_CHUNK)

    # -- requests

    async def _begins(self) -> bool:
        """Wait for a request's first byte; return whether one came."""
        self._method = b""
        if self._wire.trailing_data[0]:  # sent together with the request before
            return True
        with anyio.move_on_after(self._limits.idle) as self._resting:
            await self._more()
        self._resting = None
        return bool(self._wire.trailing_data[0])

    async def _exchange(self) -> bool:
        """Answer one request; return whether there may be another."""
        request, problem = None, 408
        try:
            with anyio.move_on_after(self._limits.slow):
                request = await self._read()
        except h11.RemoteProtocolError as error:
            problem = error.error_status_hint
        except _RefusedRequest as refusal:
            problem = refusal.status
        if request is None:
            await self._refuse(problem)
            return False
        self.answering = True
        await self._application(request, self)
        self.answering, self.served = False, True
        return self._wire.our_state is h11.DONE and not self._stopping

    async def _read(self) -> HttpRequest:
        """Read one request to its end."""
        # A connection whose first bytes are there begins with a request, or h11 raises.
        head = cast("h11.Request", await self._event())
        self._method = head.method
        size = len(head.target) + sum(len(name) + len(value) for name, value in head.headers)
        if size > self._limits.header_bytes:
            raise _RefusedRequest(431)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers
        }
        if int(headers.get("content-length", 0)) > self._limits.body_bytes:
            raise _RefusedRequest(413)
        if self._wire.they_are_waiting_for_100_continue:
            await self._write(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > self._limits.body_bytes:
                raise _RefusedRequest(413)
        return HttpRequest(
            head.method.decode("ascii"),
            head.target.decode("ascii"),
            headers,
            bytes(body),
            self._local,
        )

    async def _event(self) -> h11.Event:
        """Return the next part of a request."""
        while True:
            event = self._wire.next_event()
            if isinstance(event, h11.Event):
                return event
            await self._more()  # the event is NEED_DATA: nothing is read between requests

    async def _more(self) -> None:
        try:
            self._wire.receive_data(await self.stream.receive(_CHUNK))
        except anyio.EndOfStream:
            self._wire.receive_data(b"")


def _is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own; a host name never is."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4 on a socket of both kinds
    return (mapped or address).is_loopback
