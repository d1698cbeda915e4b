"""Sending: one request on its way through an HTTP client, and what is known of it.

No exception proves that no phone can ring, since libraries name errors differently. But every
client must ask for the body, which holds the credentials and the number to call: as long as
nothing asked for it, no call can be placed, even if the headers left. Once any part of the
program asked for it, every failure is of unknown outcome.

httpcore's trace events, where a client has them, prove nothing here. They show resends (the
headers of a second POST) and strays: a second reply that nothing asked for. If it came in one
piece with the reply before, it waits in a buffer, and httpcore would take it for the reply to
the next request. A head for which nothing was awaited had arrived before.
"""

from __future__ import annotations

import ssl
import types
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from telecmi_async._internal.secrets import RequestBody


class TooLateError(Exception):
    """The request did not leave in time."""


class StrayError(Exception):
    """A server sent something over TLS before any request."""


def is_silent(tls: ssl.SSLObject) -> bool:
    """Return whether nothing came over TLS that was not read, not even its end."""
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:
        return False
    return False


async def _require_silence(stream: Any) -> None:
    """Close a network stream, if it is known, on which something came along with TLS."""
    if stream is None:
        return
    tls = stream.get_extra_info("ssl_object")
    if tls is not None and not is_silent(tls):
        await stream.aclose()
        raise StrayError


class Sending:
    """The body of one request, as an asynchronous iterable, and the trace of its sending.

    After ``send_by``, a reading of the event loop's clock, nothing may leave.
    """

    #: Whether the body was asked for.
    asked = False
    #: Whether it was sent more than once, as far as that can be seen.
    resent = False
    #: Whether the client has shown when it sent the request.
    traced = False
    #: Whether a reply had arrived before the request was written.
    stray = False
    #: Whether the request was stopped because it was too late.
    late = False
    #: The status of the reply, once its head is there.
    status: int | None = None
    #: Where the client connected to, which may be a proxy.
    peer: Mapping[str, Any] = MappingProxyType({})

    _posts = 0
    _running = False
    _silent = False

    def __init__(self, body: RequestBody, send_by: float | None) -> None:
        self._body = body
        self._send_by = send_by

    def __aiter__(self) -> _Pieces:
        return _Pieces(self)

    def ask(self) -> bytes:
        """Return the body; from now on it may have left."""
        self.check()
        if self.asked:
            self.resent = True
        self.asked = True
        return self._body.reveal()

    def check(self) -> None:
        """Stop a request that is too late. Raised before the body is given, it stays here."""
        if self._send_by is not None and anyio.current_time() > self._send_by:
            self.late = True
            raise TooLateError

    @property
    def unasked_for(self) -> bool:
        """Whether the headers were sent, and the body was not."""
        return self._posts > 0 and not self.asked

    @property
    def may_have_left(self) -> bool:
        """Whether the request may have left in full."""
        return self.asked or self.status is not None

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Handle one of httpcore's trace events.

        HTTP/2 has no strays: its replies name their request.
        """
        if name.endswith(".send_request_headers.started"):
            # A proxy's CONNECT is not the POST.
            if getattr(info.get("request"), "method", b"POST") not in _CONNECT:
                self.check()
                self.resent = self.resent or (self.asked and self._posts > 0)
                self._posts += 1
                self.traced = True
        elif name == "http11.receive_response_headers.started":
            self._silent = self._running
        elif name == "http11.receive_response_headers.complete":
            self.stray = self.stray or (self._silent and self._running)
        elif name == "connection.connect_tcp.started":
            self.peer = info
        elif name == "connection.start_tls.complete":
            await _require_silence(info.get("return_value"))

    @types.coroutine
    def watch(self, awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
        """Await something, noting when it waits.

        ``_running`` is false for a request that the client sends in a separate task, whose
        waiting cannot be seen here.
        """
        steps = awaitable.__await__()
        step: Callable[[Any], Any] = steps.send
        value: Any = None
        try:
            while True:
                self._running = True
                try:
                    wait = step(value)
                except StopIteration as result:
                    return result.value
                self._running = self._silent = False
                try:
                    step, value = steps.send, (yield wait)
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:  # noqa: BLE001  # a cancellation belongs inside
                    step, value = steps.throw, error
        finally:
            self._running = False
            del value  # it may be an exception whose traceback holds this frame


_CONNECT = frozenset({b"CONNECT", "CONNECT"})


class _Pieces:
    """One iteration of a body. It is no generator: trio warns if a failure leaves one open."""

    __slots__ = ("_sending",)

    def __init__(self, sending: Sending) -> None:
        self._sending: Sending | None = sending

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._sending is None:
            raise StopAsyncIteration
        sending, self._sending = self._sending, None
        return sending.ask()


def sending_class(stream: type) -> type[Sending]:
    """Return `Sending` as a stream class of a client's own library, as httpx's forks demand."""
    return cast("type[Sending]", type("Sending", (Sending, stream), {}))
