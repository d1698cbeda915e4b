"""httpx transport: one POST over an HTTP client, its own or the user's, and what came back.

The client may be anything with the methods of `httpx.AsyncClient`: a fork, one over another
library, one that retries, a mock. It gets nothing of this package but the request's body, and
what it does is judged by that body alone; see `telecmi_async.wire.sending`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import socket
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import anyio

from telecmi_async._internal.secrets import RequestBody
from telecmi_async.errors import ConfigurationError
from telecmi_async.wire.exchange import LARGEST_BODY, Exchange
from telecmi_async.wire.failure_cause import describe
from telecmi_async.wire.own_client import OwnClient
from telecmi_async.wire.reply import Failure, Reply
from telecmi_async.wire.sending import Sending, is_silent, sending_class
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    import httpx

logger = logging.getLogger("telecmi_async")

_CLOSE = {"Connection": "close"}
# How long a reply that is too long may take to close, in seconds, and how much of it may still come.
_LEAVING = 1.0
_CHUNKS_LEFT = 64


class HttpxTransport:
    """Carries calls over an `httpx.AsyncClient` or a client like it; closes an owned one."""

    def __init__(self, client: httpx.AsyncClient, *, owned: bool) -> None:
        if flaw := _flaw(client):
            raise ConfigurationError(f"http_client must be an httpx.AsyncClient, {flaw}")
        self._client = client
        self._owned = owned
        self._make_sending, self._parse_url = _classes(client)
        # A client that shows nothing of its connections would hide a stray reply on one: each
        # request gets a separate connection, until the client has shown that it traces them.
        self._reuses = False
        # An own client's connections see strays by themselves, as long as nothing stands between.
        # A foreign client's word for that, such as a mock's, which has every method, counts nothing.
        self._sees_strays: Callable[[], bool] = (
            client.sees_strays if isinstance(client, OwnClient) else lambda: False
        )

    async def post(
        self,
        url: str,
        body: RequestBody,
        timeouts: Timeouts,
        *,
        deadline: float,
        send_by: float | None = None,
    ) -> Reply | Failure:
        """Send one request; see `telecmi_async.wire.transport.Transport`."""
        if getattr(self._client, "is_closed", False) is True:
            return Failure("the http_client was closed", may_have_left=False)
        sending = self._make_sending(body, send_by)
        sees_strays = self._sees_strays()
        try:
            request = _build(
                self._client,
                self._parse_url(url),
                sending,
                body,
                timeouts,
                headers={} if sees_strays or self._reuses else _CLOSE,
            )
        except Exception as error:  # noqa: BLE001  # total on purpose: nothing foreign escapes
            reason = f"the request could not be built ({type(error).__name__})"
            return Failure(reason, may_have_left=False, permanent=True)
        with anyio.CancelScope(shield=True, deadline=deadline):
            try:
                return await self._exchange(request, sending, watched=not sees_strays)
            except Exception as error:  # noqa: BLE001  # as above
                return _carried(error, request, sending) or Failure(
                    _reason(error, sending, url),
                    may_have_left=sending.may_have_left,
                    resent=sending.resent,
                    unreached=not (sending.may_have_left or sending.late),
                )
        return Failure(
            f"no full answer within {timeouts.total:g} s",
            may_have_left=sending.may_have_left,
            resent=sending.resent,
            unreached=not sending.may_have_left,
        )

    async def _exchange(
        self, request: httpx.Request, sending: Sending, *, watched: bool
    ) -> Reply | Failure:
        """Send the request and read a reply of bounded size."""
        sending.check()
        answer = self._client.send(request, stream=True, follow_redirects=False)
        response = await (sending.watch(answer) if watched else answer)
        sending.status = status = response.status_code
        self._reuses = self._reuses or sending.traced
        if isinstance(exchange := response.extensions.get("exchange"), Exchange):
            # Our own connection's: its reply is complete, and nothing is behind it.
            content = _decompress(exchange.body, exchange.header(b"content-encoding"))
            return _reply(status, content, exchange.header(b"retry-after"), sending)
        try:
            if sending.stray:  # left unread, it closes its connection
                reason = "a reply that had arrived before the request was sent"
                return Failure(reason, may_have_left=True, resent=sending.resent)
            if sending.unasked_for:
                reason = f"HTTP {status}, before the request was sent"
                return Failure(reason, may_have_left=False)
            content = await _read(response)
        finally:
            await response.aclose()
        return _reply(status, content, response.headers.get("retry-after"), sending)

    async def aclose(self) -> None:
        """Close the client if it is ours."""
        if self._owned:
            try:
                await self._client.aclose()
            except Exception:
                logger.exception("closing the HTTP client failed; no call is affected")


# --- the client and its request -----------------------------------------------------------


def _flaw(client: object) -> str:
    """Return why a client cannot be used, or nothing."""
    name = type(client).__name__
    if isinstance(client, type):
        return f"an instance of it, not the class {client.__name__} itself"
    for method in ("build_request", "send", "aclose"):
        if not callable(getattr(client, method, None)):
            return f"not {name}, which has no method {method}"
    send = cast("Any", client).send
    if not inspect.iscoroutinefunction(inspect.unwrap(send)):
        return f"not {name}, whose method send is not asynchronous"
    return ""


def _classes(
    client: httpx.AsyncClient,
) -> tuple[Callable[[RequestBody, float | None], Sending], Callable[[str], httpx.URL]]:
    """Return the classes for a client's requests, by having it build one."""
    body, url = RequestBody(b"{}"), "https://localhost/"
    request: Any = None
    try:
        request = client.build_request("POST", url, content=Sending(body, None))
        stream = cast("type[object]", type(request.stream))
        # Parsing a URL takes long, and every service has two.
        parse_url = functools.lru_cache(maxsize=64)(
            cast("Callable[[str], httpx.URL]", type(request.url))
        )
        make_sending = stream if issubclass(stream, Sending) else sending_class(stream)
        sending = make_sending(body, None)
        _build(client, parse_url(url), sending, body, Timeouts(), headers=_CLOSE)
    except Exception as error:  # noqa: BLE001  # a foreign client's, of any kind
        if inspect.iscoroutine(request):
            request.close()
        raise ConfigurationError(
            "http_client must be an httpx.AsyncClient, not "
            f"{type(client).__name__}, which cannot build a request ({type(error).__name__})"
        ) from None
    return make_sending, parse_url


def _build(
    client: httpx.AsyncClient,
    url: httpx.URL | str,
    sending: Sending,
    body: RequestBody,
    timeouts: Timeouts,
    *,
    headers: Mapping[str, str],
) -> httpx.Request:
    """Return the request of one attempt."""
    request = client.build_request(
        "POST",
        url,
        content=sending,
        headers={
            "Content-Type": "application/json",
            # A reply is small. httpx would decompress one without a limit.
            "Accept-Encoding": "identity",
            # Without it httpx would send chunks.
            "Content-Length": str(len(body.reveal())),
            **headers,
        },
        extensions={"trace": sending.trace, "timeout": _httpx_timeouts(timeouts)},
    )
    # httpx would wrap it into a generator, which trio warns of if a failure leaves it open.
    request.stream = cast("httpx.AsyncByteStream", sending)
    return request


@functools.lru_cache(maxsize=64)
def _httpx_timeouts(timeouts: Timeouts) -> dict[str, float]:
    """Return time-outs in httpx's form. The gate keeps requests from queueing in the pool."""
    return {
        "connect": timeouts.connect,
        "write": timeouts.write,
        "read": timeouts.read,
        "pool": timeouts.connect,
    }


# --- the reply ----------------------------------------------------------------------------


async def _read(response: httpx.Response) -> bytes | None:
    """Return a reply's body; None if it exceeds 1 MiB or cannot be decompressed."""
    if response.is_stream_consumed:  # by a hook of the user's client
        await _look_behind(response)
        return response.content if len(response.content) <= LARGEST_BODY else None
    raw = bytearray()
    # httpx's own ways to read it close it at its end; see `_look_behind`.
    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for chunk in chunks:
        raw += chunk
        if len(raw) > LARGEST_BODY:
            await _leave(response, chunks)
            return None
    await _look_behind(response)
    return _decompress(bytes(raw), response.headers.get("content-encoding"))


async def _leave(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a reply that was not read to its end, and the generators that read it.

    HTTP clients read through generators inside generators. Closing the outermost leaves the
    others to the garbage collector, of which trio warns. So the reply is closed first, and read
    on: after what was received already, the innermost fails, and with it all of them.
    """
    with anyio.move_on_after(_LEAVING, shield=True), suppress(Exception):
        await response.aclose()
        for _ in range(_CHUNKS_LEFT):
            await anext(chunks)
    with anyio.CancelScope(shield=True), suppress(Exception):
        await cast("AsyncGenerator[bytes]", chunks).aclose()


def _reply(
    status: int, content: bytes | None, retry_after: str | None, sending: Sending
) -> Reply | Failure:
    """Return a complete reply; a failure if its body cannot be read."""
    if content is None:
        reason = f"HTTP {status} with a body that cannot be read"
        return Failure(reason, may_have_left=True, resent=sending.resent)
    return Reply(status, content, retry_after, resent=sending.resent)


def _decompress(raw: bytes, encoding: str | None) -> bytes | None:
    """Decompress a body; servers may compress one without being asked."""
    if not raw or encoding is None:
        return raw
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return raw
    if encoding not in {"gzip", "deflate"}:
        return None
    decompressor = zlib.decompressobj(wbits=47)  # gzip's header or zlib's
    try:
        body = decompressor.decompress(raw, LARGEST_BODY + 1)
    except zlib.error:
        return None
    return body if decompressor.eof and len(body) <= LARGEST_BODY else None


async def _look_behind(response: httpx.Response) -> None:
    """Let go of a TLS connection on which anything follows the reply that was read.

    Before it uses a connection again, httpcore looks for bytes in the socket, but not for those
    that TLS has already taken from it.
    """
    stream = response.extensions.get("network_stream")
    if stream is None or response.extensions.get("http_version") == b"HTTP/2":
        return
    try:
        tls = stream.get_extra_info("ssl_object")
        if tls is None or is_silent(tls):
            return
        try:
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        except TypeError:  # uvloop's sockets cannot do that
            await stream.aclose()
    except Exception:
        logger.exception("a connection could not be closed; no call is affected")


def _carried(
    error: Exception, request: httpx.Request, sending: Sending
) -> Reply | Failure | None:
    """Return the reply that an exception carries, if it is one to this request.

    httpx documents a response hook that raises `HTTPStatusError`, which hides every refusal. The
    response may be one to another request, such as a login of the client's.
    """
    response = getattr(error, "response", None)
    if response is None or not sending.asked or sending.stray:
        return None
    try:
        answered, status = response.request, response.status_code
        same = (answered.method, str(answered.url)) == (request.method, str(request.url))
        retry_after = response.headers.get("retry-after")
    except Exception:  # noqa: BLE001  # it is no response, or one that answers nothing
        return None
    if not same or type(status) is not int:
        return None
    try:
        content = response.content
    except Exception:  # noqa: BLE001  # it was closed unread, or is of an unknown kind
        # Its body would say whether a 502 is TeleCMI's or a gateway's.
        content = b"" if status < 500 else None
    if not isinstance(content, bytes) or len(content) > LARGEST_BODY:
        reason = f"HTTP {status}, then {type(error).__name__}"
        return Failure(reason, may_have_left=True, resent=sending.resent)
    return Reply(status, content, retry_after, resent=sending.resent)


def _reason(error: Exception, sending: Sending, url: str) -> str:
    """Name a failure without its text, which may quote the request."""
    name = type(error).__name__
    if sending.status is not None:
        return f"HTTP {sending.status}, then {name}"
    if sending.asked:
        return name
    return "too late to be sent" if sending.late else describe(error, _peer(sending, url))


def _peer(sending: Sending, url: str) -> str:
    """Return where a request was to be sent, as host and port."""
    parts = urlsplit(url)
    host = sending.peer.get("host", parts.hostname)
    port = sending.peer.get("port", parts.port or (80 if parts.scheme == "http" else 443))
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
