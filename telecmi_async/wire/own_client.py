"""Own client: the `httpx.AsyncClient` that a service makes for itself.

It sends over a `ConnectionPool`, and leaves out what a service never uses: authentication,
redirects, hooks and cookies. While a test has replaced methods of httpx or httpcore, as respx,
pytest-httpx and vcrpy do, requests take httpx's own way past them: see `is_mocked`.
"""

from __future__ import annotations

import functools
import ssl
import sys
from typing import Any, cast

import httpx

from telecmi_async.errors import ConfigurationError
from telecmi_async.wire.connection_pool import ConnectionPool

# Where httpx and httpcore define what mocking libraries replace.
_CLIENT, _TRANSPORT = "httpx._client", "httpx._transports.default"
_POOL, _CONNECTION = "httpcore._async.connection_pool", "httpcore._async.connection"

# The methods that were found to be the libraries' own. Comparing them is all that a call costs.
_originals: tuple[object, ...] | None = None


def is_mocked() -> bool:
    """Return whether a method was replaced that a request of httpx's own client goes through.

    Some of these names are private to httpx. If one is missing, it counts as replaced: requests
    are slower then, and right.
    """
    global _originals  # noqa: PLW0603  # a cache
    httpcore = sys.modules.get("httpcore")
    client, transport = httpx.AsyncClient, httpx.AsyncHTTPTransport
    methods = (
        getattr(client, "send", None),
        getattr(client, "_send_single_request", None),
        getattr(client, "_transport_for_url", None),
        getattr(transport, "handle_async_request", None),
        httpcore and httpcore.AsyncConnectionPool.handle_async_request,
        httpcore and httpcore.AsyncHTTPConnection.handle_async_request,
    )
    if methods == _originals:
        return False
    homes = (_CLIENT, _CLIENT, _CLIENT, _TRANSPORT, _POOL, _CONNECTION)
    # A function keeps the module it was defined in, under any decorator of a mock.
    mocked = any(
        method is not httpcore and getattr(method, "__globals__", {}).get("__name__") != home
        for method, home in zip(methods, homes, strict=True)
    )
    if not mocked:
        _originals = methods
    return mocked


class OwnClient(httpx.AsyncClient):
    """The client of one service; it ignores the environment (proxies, certificates)."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._pool = ConnectionPool(ssl_context)
        # The headers of requests to each URL, but for their length.
        self._merged_headers: list[tuple[httpx.URL, httpx.Headers]] = []
        super().__init__(
            transport=_Mockable(self._pool, ssl_context),
            trust_env=False,
            follow_redirects=False,
        )

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """Build a request; see `httpx.AsyncClient.build_request`.

        Merging headers takes httpx longer than sending them. For a URL that was parsed before,
        and a body of stated length, it is done once.
        """
        headers = options.get("headers", {})
        length = headers.get("Content-Length")
        if length is None or "Connection" in headers or isinstance(url, str):
            return super().build_request(method, url, **options)
        merged = next((each for known, each in self._merged_headers if known is url), None)
        if merged is None:
            merged = super().build_request(method, url, **options).headers
            del merged["Content-Length"]
            self._merged_headers.append((url, merged))
        request = httpx.Request(
            method,
            url,
            headers=merged,
            stream=options["content"],
            extensions=options["extensions"],
        )
        request.headers["Content-Length"] = length
        return request

    def sees_strays(self) -> bool:
        """Return whether a request that is sent now uses a connection of this package's.

        While a method is replaced it does not. The replacement may be no mock but a monitor (an
        APM agent, for example) that lets each request through to httpx's own connections.
        """
        return not is_mocked()

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request; see `httpx.AsyncClient.send`."""
        if is_mocked():
            return await super().send(request, **options)
        response = await self._pool.handle_async_request(request)
        response.request = request
        return response


class _Mockable(httpx.AsyncBaseTransport):
    """Sends over httpx's own transport while that is mocked."""

    def __init__(self, pool: ConnectionPool, ssl_context: ssl.SSLContext) -> None:
        self._pool = pool
        self._standard = functools.cache(
            lambda: httpx.AsyncHTTPTransport(verify=ssl_context, trust_env=False)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = self._standard() if is_mocked() else self._pool
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        try:
            await self._pool.aclose()
        finally:
            if self._standard.cache_info().currsize:
                await self._standard().aclose()


@functools.cache
def _standard_ssl_context() -> ssl.SSLContext:
    """Return the process's TLS settings; reading the trust store takes tens of milliseconds."""
    try:
        return httpx.create_ssl_context(trust_env=False)
    except OSError as error:  # ssl.SSLError is one, too
        raise ConfigurationError(
            f"certifi's certificates cannot be read ({type(error).__name__}): install certifi "
            "again, or give ssl_context=ssl.create_default_context()"
        ) from None


def open_own_client(
    ssl_context: ssl.SSLContext | None = None, *, secure: bool = True
) -> httpx.AsyncClient:
    """Return a client that trusts certifi's certificates, or none unless ``secure``."""
    if ssl_context is None:
        ssl_context = (
            _standard_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
    elif not isinstance(cast("object", ssl_context), ssl.SSLContext):
        raise ConfigurationError(
            f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}"
        )
    if httpx.AsyncClient is not OwnClient.__base__:
        # A test has replaced the whole class: the replacement is what it wants to see used.
        return httpx.AsyncClient(verify=ssl_context, trust_env=False, follow_redirects=False)
    return OwnClient(ssl_context)
