"""httpx transport: one POST over a shared `httpx.AsyncClient`, and what its failures prove.

Which failures prove that no phone can ring? Exception names do not: a connection that was closed
before the request was read and one that was closed after the call was placed raise the same
error. httpcore's trace hook does. Until it announces that the POST's headers are being sent, no
byte of them has left; from then on every failure is of unknown outcome. For a client whose
transport has no such hook, only the errors that connecting alone can raise prove it.
"""

from __future__ import annotations

import functools
import inspect
import logging
import zlib
from typing import TYPE_CHECKING, Self

import anyio
import httpx

from telecmi_async.errors import ConfigurationError
from telecmi_async.wire.pool import ConnectionPool
from telecmi_async.wire.reply import Failure, Reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from telecmi_async._internal.secrets import RequestBody
    from telecmi_async.wire.transport import Timeouts

logger = logging.getLogger("telecmi_async")

# By name, so that a client of the httpx2 fork, which has classes of its own, works as well.
_ONLY_CONNECTING_RAISES = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "InvalidURL",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    }
)
_LARGEST_REPLY = 1 << 20
# A reply is small. httpx would decompress one without a limit.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class HttpxTransport:
    """Carries calls over an `httpx.AsyncClient`.

    Args:
        client: The shared client.
        owned: Whether `aclose` closes it.

    Raises:
        ConfigurationError: ``client`` is not an asynchronous client.
    """

    def __init__(self, client: httpx.AsyncClient, *, owned: bool) -> None:
        usable = inspect.iscoroutinefunction(getattr(client, "send", None))
        if not usable or isinstance(client, type):
            raise ConfigurationError(
                f"http_client must be an httpx.AsyncClient, not {type(client).__name__}"
            )
        self._client = client
        self._owned = owned

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
        if self._client.is_closed:
            return Failure("the http_client was closed", may_have_left=False)
        probe = _Probe(send_by)
        with anyio.CancelScope(shield=True, deadline=deadline):
            try:
                return await self._exchange(url, body, timeouts, probe)
            except Exception as error:  # noqa: BLE001  # total on purpose: nothing foreign escapes
                return Failure(
                    _describe(error, probe), may_have_left=probe.may_have_sent(error)
                )
        return Failure(
            f"no full answer within {timeouts.total:g} s", may_have_left=probe.may_have_sent()
        )

    async def _exchange(
        self, url: str, body: RequestBody, timeouts: Timeouts, probe: _Probe
    ) -> Reply | Failure:
        """Send the request and read a reply of bounded size."""
        request = self._client.build_request(
            "POST",
            _url(url),
            content=body.reveal(),
            headers=_HEADERS,
            extensions={"trace": probe.trace, "timeout": _httpx_timeouts(timeouts)},
        )
        request.stream = _Body(body)
        probe.check()
        probe.sending = True
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            probe.status = response.status_code
            content = await _read(response)
        finally:
            await response.aclose()
        if content is None:
            return Failure(
                f"HTTP {probe.status} with a body that cannot be read", may_have_left=True
            )
        return Reply(response.status_code, content, response.headers.get("retry-after"))

    async def aclose(self) -> None:
        """Close the client if it is ours."""
        if self._owned:
            try:
                await self._client.aclose()
            except Exception:
                logger.exception("closing the HTTP client failed; no call is affected")


async def _read(response: httpx.Response) -> bytes | None:
    """Return a reply's body; None if it exceeds 1 MiB or cannot be decompressed."""
    if response.is_stream_consumed:  # by a hook of the user's client
        return response.content if len(response.content) <= _LARGEST_REPLY else None
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > _LARGEST_REPLY:
            return None
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    return _decompress(bytes(raw), encoding)


def _decompress(raw: bytes, encoding: str) -> bytes | None:
    """Decompress a body; servers may compress one without being asked."""
    if not raw or encoding in {"", "identity"}:
        return raw
    if encoding not in {"gzip", "deflate"}:
        return None
    decompressor = zlib.decompressobj(wbits=47)  # gzip's header or zlib's
    try:
        body = decompressor.decompress(raw, _LARGEST_REPLY + 1)
    except zlib.error:
        return None
    return body if decompressor.eof and len(body) <= _LARGEST_REPLY else None


class _Body(httpx.AsyncByteStream):
    """A request's body. It is not a generator, as trio warns if a failure leaves one open."""

    def __init__(self, body: RequestBody) -> None:
        self._body = body
        self._yielded = False

    def __aiter__(self) -> Self:
        self._yielded = False
        return self

    async def __anext__(self) -> bytes:
        if self._yielded:
            raise StopAsyncIteration
        self._yielded = True
        return self._body.reveal()


class _TooLateError(Exception):
    """The request did not leave in time."""


class _Probe:
    """Follows the trace of one request to learn when its first byte leaves."""

    __slots__ = ("_send_by", "encoding", "headers_started", "sending", "status", "traced")

    def __init__(self, send_by: float | None) -> None:
        self._send_by = send_by
        self.sending = False
        self.traced = False
        self.headers_started = False
        self.encoding = False
        self.status: int | None = None

    async def trace(self, name: str, info: Mapping[str, object]) -> None:
        """Handle one of httpcore's trace events. A proxy's CONNECT is not the POST."""
        self.traced = True
        event = name.partition(".")[2]
        if event == "send_request_headers.started":
            request = info.get("request")
            if getattr(request, "method", b"POST") == b"POST":
                self.check()
                self.headers_started = True
            self.encoding = True
        elif event == "send_request_headers.complete":
            self.encoding = False

    def check(self) -> None:
        """Stop a request that is too late. Raised from the trace, it keeps all bytes back."""
        if self._send_by is not None and anyio.current_time() > self._send_by:
            raise _TooLateError

    def may_have_sent(self, error: Exception | None = None) -> bool:
        """Return whether a byte of the POST may have left."""
        if not self.sending:
            return False  # the request could not even be built
        names = {base.__name__ for base in type(error).__mro__}
        if self.encoding and "LocalProtocolError" in names:
            return False  # h11 refused to encode the headers: nothing was written
        if self.traced:
            return self.headers_started
        return self.status is not None or not names & _ONLY_CONNECTING_RAISES


def _describe(error: Exception, probe: _Probe) -> str:
    """Name a failure without its text, which may quote the request."""
    name = type(error).__name__
    return name if probe.status is None else f"HTTP {probe.status}, then {name}"


@functools.lru_cache(maxsize=64)
def _url(url: str) -> httpx.URL:
    """Return a parsed address; every service has two."""
    return httpx.URL(url)


@functools.lru_cache(maxsize=64)
def _httpx_timeouts(timeouts: Timeouts) -> dict[str, float]:
    """Return time-outs in httpx's form. The gate keeps requests from queueing in the pool."""
    return {
        "connect": timeouts.connect,
        "write": timeouts.write,
        "read": timeouts.read,
        "pool": timeouts.connect,
    }


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Return the process's TLS settings; reading the trust store takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


def default_client() -> httpx.AsyncClient:
    """Return the client a service makes for itself.

    It ignores the environment (proxies, certificates): pass ``http_client=`` for that.
    """
    return httpx.AsyncClient(
        transport=ConnectionPool(_ssl_context()),
        trust_env=False,
        follow_redirects=False,
    )
