"""The clients that random programs run over: the service's own, and users' clients of all kinds."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import attrs
import httpx
from program_server import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["VARIANTS", "Variant"]

_TRUST = client_context()
# A program sets its time-outs itself; these are for what it forgets.
_LAST_RESORT = 10.0


class Untraced(httpx.AsyncBaseTransport):
    """A wrapper that hides from what it wraps that the request is traced."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {
            name: value for name, value in request.extensions.items() if name != "trace"
        }
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Resending(httpx.AsyncBaseTransport):
    """A wrapper that sends a request again if its connection fails, as many users write one.

    Args:
        inner: What it wraps.
        lying: Whether its last word is that it could not connect.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, lying: bool = False) -> None:
        self._inner = inner
        self._lying = lying

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            try:
                return await self._inner.handle_async_request(request)
            except httpx.TransportError:
                continue
        try:
            return await self._inner.handle_async_request(request)
        except httpx.TransportError:
            if self._lying:
                raise httpx.ConnectError("all attempts failed") from None
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


class Asking(httpx.Auth):
    """An auth flow that sends the request again if it was refused or a gateway failed."""

    def auth_flow(self, request: httpx.Request) -> Any:
        response = yield request
        if response.status_code in {401, 502, 504}:
            request.headers["Authorization"] = "Again 1"
            yield request


async def _raise_for_status(response: httpx.Response) -> None:
    """Raise for a refusal; httpx's documentation shows this hook."""
    response.raise_for_status()


def _limits(pool: int) -> httpx.Limits:
    return httpx.Limits(max_connections=pool, max_keepalive_connections=pool)


def _transport(pool: int, **more: Any) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(
        verify=_TRUST, trust_env=False, limits=_limits(pool), **more
    )


def _client(transport: httpx.AsyncBaseTransport, **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport, timeout=_LAST_RESORT, trust_env=False, **more)


def _httpx2(pool: int) -> Any:
    httpx2 = importlib.import_module("httpx2")
    limits = httpx2.Limits(max_connections=pool, max_keepalive_connections=pool)
    return httpx2.AsyncClient(
        verify=_TRUST, trust_env=False, limits=limits, timeout=_LAST_RESORT
    )


def _aiohttp(pool: int) -> httpx.AsyncClient:
    httpx_aiohttp = importlib.import_module("httpx_aiohttp")
    transport: httpx.AsyncBaseTransport = httpx_aiohttp.AiohttpTransport(
        verify=_TRUST, trust_env=False, limits=_limits(pool)
    )
    return _client(transport)


#: How a user makes a client with so many connections; None for the service's own.
_CLIENTS: dict[str, Callable[[int], Any] | None] = {
    "own": None,
    "httpx": lambda pool: _client(_transport(pool)),
    "httpx, retries": lambda pool: _client(_transport(pool, retries=2)),
    "httpx, hook": lambda pool: _client(
        _transport(pool), event_hooks={"response": [_raise_for_status]}
    ),
    "httpx, auth": lambda pool: _client(_transport(pool), auth=Asking()),
    "httpx, redirects": lambda pool: _client(_transport(pool), follow_redirects=True),
    "untraced": lambda pool: _client(Untraced(_transport(pool))),
    "resending": lambda pool: _client(Resending(_transport(pool))),
    "resending, lying": lambda pool: _client(Resending(_transport(pool), lying=True)),
    "resending, untraced": lambda pool: _client(Resending(Untraced(_transport(pool)))),
    "httpx-aiohttp": _aiohttp,
    "httpx2": _httpx2,
}
_BLIND = {"untraced", "resending, untraced"}
_RESENDS = {"resending", "resending, lying", "resending, untraced", "httpx, auth"}
_NEEDS = {"httpx-aiohttp": "httpx_aiohttp", "httpx2": "httpx2", "uvloop": "uvloop"}


@attrs.frozen
class Variant:
    """What programs run over.

    Args:
        client: A name of the table above.
        loop: asyncio, uvloop or trio.
        wire: plain, tls, or split: TLS with many small records.
    """

    client: str
    loop: Literal["asyncio", "uvloop", "trio"]
    wire: Literal["plain", "tls", "split"]

    def __str__(self) -> str:
        return f"{self.client} · {self.loop} · {self.wire}"

    @property
    def missing(self) -> str | None:
        """The library that it needs and that is not installed."""
        needed = [_NEEDS[name] for name in (self.client, self.loop) if name in _NEEDS]
        return next((name for name in needed if importlib.util.find_spec(name) is None), None)

    @property
    def unseen(self) -> set[str]:
        """The fates of connections that nothing which the client shows tells from a true reply.

        aiohttp leaves it to the server to close a connection that the client asked to be closed.
        """
        strays = {"a reply with the handshake", "a reply in front", "a reply while idle"}
        if self.client == "httpx-aiohttp":
            return strays
        return {"a reply with the handshake"} if self.client in _BLIND else set()

    @property
    def resends(self) -> bool:
        """Whether the client may send a request again by itself."""
        return self.client in _RESENDS

    @asynccontextmanager
    async def options(self, pool: int) -> AsyncIterator[dict[str, Any]]:
        """Give the arguments of services that share a client."""
        make = _CLIENTS[self.client]
        if make is None:
            yield {"ssl_context": _TRUST}
            return
        client = make(pool)
        try:
            yield {"http_client": client}
        finally:
            await client.aclose()


def _variants() -> Iterable[Variant]:
    for loop in ("asyncio", "uvloop", "trio"):
        for wire in ("plain", "tls", "split"):
            yield Variant("own", loop, wire)
    for client in _CLIENTS:
        if client != "own":
            yield Variant(client, "asyncio", "plain")
    for client in ("httpx", "httpx-aiohttp", "httpx2", "untraced"):
        yield Variant(client, "asyncio", "split")
    for client in ("httpx", "httpx2", "resending"):
        yield Variant(client, "trio", "tls")
    yield Variant("httpx-aiohttp", "asyncio", "tls")


#: All of them, by name.
VARIANTS: dict[str, Variant] = {str(variant): variant for variant in _variants()}
