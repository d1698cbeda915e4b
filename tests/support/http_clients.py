"""HTTP clients of many kinds, as users hand them in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import anyio
import fault_server as fs
import httpx
import httpx2
import httpx_aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

Transport: TypeAlias = httpx.AsyncBaseTransport


class ClientKind(NamedTuple):
    """A kind of client.

    Args:
        make: Makes one for TLS settings of `fault_server`; options go to the client.
        asyncio_only: Whether it does not run on trio.
        reads_early: Whether it reads the request before it connects, so that a failure to
            connect proves nothing.
        resends: How often it sends a request that fails.
    """

    make: Callable[..., Any]
    asyncio_only: bool = False
    reads_early: bool = False
    resends: int = 1


class Wrapper(Transport):
    """A user's own transport around another one, of which it hides all trace events."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        untraced = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=request.stream,
            extensions={"timeout": request.extensions["timeout"]},
        )
        return await self.inner.handle_async_request(untraced)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Retrying(Wrapper):
    """Sends a request that fails three times, and ends in an error of connecting."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            try:
                return await self.inner.handle_async_request(request)
            except httpx.TransportError:
                pass
        try:
            return await self.inner.handle_async_request(request)
        except httpx.TransportError as error:
            raise httpx.ConnectError("cannot reach it") from error


class Reading(Wrapper):
    """Reads the request before it is sent, as to sign or to log it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await self.inner.handle_async_request(request)


class InTask(Wrapper):
    """Sends in a task of its own, as `asyncio.wait_for` does in Python 3.11."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: list[httpx.Response] = []

        async def one() -> None:
            response.append(await self.inner.handle_async_request(request))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
        return response[0]


class WaitingFor(Wrapper):
    """Sends with a time-out of asyncio's."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.wait_for(self.inner.handle_async_request(request), 30)


class SigningAuth(httpx.Auth):
    """Reads the request's body, to sign it."""

    requires_request_body = True


def over_httpx(
    wrap: Callable[[Transport], Transport] = lambda inner: inner,
) -> Callable[..., Any]:
    """Return what makes an httpx client whose own transport is wrapped."""

    def make(**options: Any) -> httpx.AsyncClient:
        inner = httpx.AsyncHTTPTransport(verify=fs.tls_contexts()[1])
        return httpx.AsyncClient(transport=wrap(inner), **options)

    return make


def over_aiohttp(
    wrap: Callable[[Transport], Transport] = lambda inner: inner,
) -> Callable[..., Any]:
    """Return what makes an httpx client over aiohttp."""

    def make(**options: Any) -> httpx.AsyncClient:
        inner = httpx_aiohttp.AiohttpTransport(verify=fs.tls_contexts()[1])
        return httpx.AsyncClient(transport=wrap(inner), **options)

    return make


CLIENTS: dict[str, ClientKind] = {
    "httpx": ClientKind(over_httpx()),
    "httpx2": ClientKind(
        lambda **options: httpx2.AsyncClient(verify=fs.tls_contexts()[1], **options)
    ),
    "httpx-aiohttp": ClientKind(over_aiohttp(), asyncio_only=True),
    "untraced": ClientKind(over_httpx(Wrapper)),
    "untraced aiohttp": ClientKind(over_aiohttp(Wrapper), asyncio_only=True),
    "retrying": ClientKind(over_httpx(Retrying), resends=3),
    "retrying, untraced": ClientKind(
        over_httpx(lambda inner: Retrying(Wrapper(inner))), resends=3
    ),
    "retrying aiohttp": ClientKind(over_aiohttp(Retrying), asyncio_only=True, resends=3),
    "reading": ClientKind(over_httpx(Reading), reads_early=True),
    "reading, retrying": ClientKind(
        over_httpx(lambda inner: Reading(Retrying(inner))), reads_early=True, resends=3
    ),
    "signing": ClientKind(
        lambda **options: over_httpx()(auth=SigningAuth(), **options), reads_early=True
    ),
    "in a task": ClientKind(over_httpx(InTask)),
    "asyncio.wait_for": ClientKind(over_httpx(WaitingFor), asyncio_only=True),
    "mounted": ClientKind(
        lambda **options: httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(418)),
            mounts={"all://127.0.0.1": httpx.AsyncHTTPTransport(verify=fs.tls_contexts()[1])},
            **options,
        )
    ),
}
