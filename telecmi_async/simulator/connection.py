"""One HTTP/1.1 connection to the simulator, from its first byte to its last.

h11 keeps the protocol's state. A connection is left alone with any client: what is too
large, too slow or no HTTP at all gets the status that says so, and that is its end.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, Protocol, cast

import anyio
import h11
from anyio.abc import SocketAttribute
from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async.simulator.fault import Breach

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anyio.abc import ByteStream

__all__ = ["Answerer", "Connection", "ConnectionLimits", "Decided", "Said", "is_loopback"]

_CHUNK: Final = 65_536
# How it shows that the client went away, or does not take its answer.
_GONE: Final = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    TimeoutError,
)
# How long a client that was refused may go on talking. A socket that is closed with something
# unread resets the connection, and takes the refusal with it.
_LINGER_SECONDS: Final = 1.0
_HERE: Final = ("127.0.0.1", 0)
# From one byte of an answer that drips to the next.
_DRIP_SECONDS: Final = 1.0
_PROBLEMS: Final = {
    408: "the request took too long to arrive",
    413: "the body is too large",
    431: "the headers are too large",
}


class Said(Protocol):
    """What is sent back."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The body."""
        ...

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Every header, in a list of its own."""
        ...


class Decided(Protocol):
    """What becomes of one request."""

    @property
    def delay(self) -> float:
        """Seconds to wait before the answer is sent."""
        ...

    @property
    def answer(self) -> Said:
        """What to send."""
        ...

    @property
    def breach(self) -> Breach | None:
        """What happens to the connection instead, or while it is sent."""
        ...


class Answerer(Protocol):
    """Who answers: a simulator, or whoever else is reached on a port."""

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        local: bool,
    ) -> Decided | Awaitable[Decided]:
        """Take one request, at once or after a while, and say what becomes of it."""
        ...

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        ...


@frozen(kw_only=True)
class ConnectionLimits:
    """What the simulator's clients are held to, on a port.

    Args:
        header_bytes: The longest request line and headers, together; above it, 431.
        body_bytes: The longest body; above it, 413.
        idle: Seconds that a connection may rest between two requests.
        slow: Seconds that a request may take to arrive, and its answer to be taken.
        grace: Seconds that requests under way have left when the server stops.

    Raises:
        ConfigurationError: One is not a positive number.
    """

    header_bytes: int = field(default=16_384, validator=validators.whole(1))
    body_bytes: int = field(default=1_048_576, validator=validators.whole(1))
    idle: float = field(default=30.0, validator=validators.positive)
    slow: float = field(default=10.0, validator=validators.positive)
    grace: float = field(default=5.0, validator=validators.positive)


@frozen
class _Request:
    """A request that arrived in full."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _Refused(Exception):  # it becomes an answer
    """The request cannot be read; ``status`` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection:
    """Serves requests one after the other over one stream.

    Args:
        stream: The stream; it is not closed here.
        answerer: Who answers.
        limits: What the client is held to.
        refuse: What is said to what is no request.
    """

    def __init__(
        self,
        stream: ByteStream,
        answerer: Answerer,
        limits: ConnectionLimits,
        refuse: Callable[[int, str], Said],
    ) -> None:
        self._stream = stream
        self._refused = refuse
        self._answerer = answerer
        self._limits = limits
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self._resting: anyio.CancelScope | None = None
        self._stopping = False
        self._local = _is_local(stream)

    async def run(self) -> None:
        """Serve requests until the client leaves, errs, or `stop` is called."""
        try:
            while await self._begins() and await self._exchange():
                self._wire.start_next_cycle()
        except _GONE:
            return

    def stop(self) -> None:
        """Take no more requests; one that is under way is answered."""
        self._stopping = True
        if self._resting is not None:
            self._resting.cancel()

    async def _begins(self) -> bool:
        """Wait for a request's first byte; return whether one came."""
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
        except _Refused as refusal:
            problem = refusal.status
        if request is None:
            await self._refuse(problem)
            return False
        await self._answer(request)
        return self._wire.our_state is h11.DONE and not self._stopping

    async def _read(self) -> _Request:
        """Read one request to its end."""
        # A connection whose first bytes are there begins with a request, or h11 raises.
        head = cast("h11.Request", await self._event())
        size = len(head.target) + sum(len(name) + len(value) for name, value in head.headers)
        if size > self._limits.header_bytes:
            raise _Refused(431)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers
        }
        if int(headers.get("content-length", 0)) > self._limits.body_bytes:
            raise _Refused(413)
        if self._wire.they_are_waiting_for_100_continue:
            await self._write(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > self._limits.body_bytes:
                raise _Refused(413)
        return _Request(
            head.method.decode("ascii"), head.target.decode("ascii"), headers, bytes(body)
        )

    async def _event(self) -> h11.Event:
        """Return what the client sent next."""
        while True:
            event = self._wire.next_event()
            if isinstance(event, h11.Event):
                return event
            await self._more()  # the event is NEED_DATA: nothing is read between requests

    async def _more(self) -> None:
        try:
            self._wire.receive_data(await self._stream.receive(_CHUNK))
        except anyio.EndOfStream:
            self._wire.receive_data(b"")

    async def _answer(self, request: _Request) -> None:
        """Ask who answers, wait as long as it says, and send its answer."""
        decision = self._answerer.receive(
            request.method,
            request.path,
            request.headers,
            request.body,
            at=anyio.current_time(),
            local=self._local,
        )
        try:
            if isinstance(decision, Awaitable):
                decision = await decision
            await anyio.sleep(decision.delay)
            if decision.breach is None:
                await self._send(decision.answer, with_body=request.method != "HEAD")
            else:
                await self._break(decision.answer, decision.breach)
        finally:
            self._answerer.leave()

    async def _break(self, answer: Said, breach: Breach) -> None:
        """Send what arrives of an answer before the connection breaks, and break it."""
        self._stopping = True
        if breach is Breach.RESET:
            # A socket that is closed with this set is reset.
            raw = self._stream.extra(SocketAttribute.raw_socket)  # noqa: S610  # anyio's, no database
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if breach in {Breach.RESET, Breach.CLOSE}:
            return
        await self._write(h11.Response(status_code=answer.status, headers=answer.headers))
        if breach is Breach.CUT:
            await self._write(h11.Data(data=answer.body[: len(answer.body) // 2]))
            return
        for byte in answer.body:
            await self._write(h11.Data(data=bytes([byte])))
            await anyio.sleep(_DRIP_SECONDS)
        await self._write(h11.EndOfMessage())

    async def _send(self, answer: Said, *, with_body: bool = True) -> None:
        headers = answer.headers
        if self._stopping:
            headers.append(("Connection", "close"))
        await self._write(
            h11.Response(status_code=answer.status, headers=headers),
            *([h11.Data(data=answer.body)] if with_body else []),
            h11.EndOfMessage(),
        )

    async def _write(self, *events: h11.Event) -> None:
        """Send events in one piece; `TimeoutError` if the client does not take them."""
        pieces = [self._wire.send(event) or b"" for event in events]
        with anyio.fail_after(self._limits.slow):
            await self._stream.send(b"".join(pieces))

    async def _refuse(self, status: int) -> None:
        """Say why a request cannot be read, and let the client finish its sentence."""
        self._stopping = True
        message = _PROBLEMS.get(status, "this is no HTTP request")
        await self._send(self._refused(status, message))
        with anyio.move_on_after(_LINGER_SECONDS):
            await self._stream.send_eof()
            while True:
                await self._stream.receive(_CHUNK)


def _is_local(stream: ByteStream) -> bool:
    """Tell whether a stream's other end is on this machine."""
    peer = stream.extra(SocketAttribute.remote_address, _HERE)  # noqa: S610  # anyio's, no database
    return is_loopback(str(peer[0]))


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own; a name is none."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4 on a socket of both kinds
    return (mapped or address).is_loopback
