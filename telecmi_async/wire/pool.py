"""The connections of a service's own client: one small pool each, behind one gate.

httpx 0.28's connection pool looks at every connection and every waiting request on each
event, which is quick for a few and slow for many. The gate already limits the requests
under way, so every request gets a *lane*: a pool of a single connection. Lanes are used last
in, first out, which keeps the busy ones warm and lets the others rest.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

__all__ = ["ConnectionPool"]

# Well below the idle limits of common servers (5 s is the usual one): a connection that the
# server closes just as it is reused fails in a way that leaves the call's fate unknown.
KEEPALIVE_EXPIRY = 2.0


class ConnectionPool(httpx.AsyncBaseTransport):
    """Gives every request a connection that no other request is using.

    Args:
        ssl_context: TLS settings for all of them.
    """

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._ssl_context = ssl_context
        # Making one imports httpcore; better now than within the first call.
        self._idle = [self._open()]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over the lane that was used last."""
        lane = self._idle.pop() if self._idle else self._open()
        try:
            response = await lane.handle_async_request(request)
        except Exception:
            self._idle.append(lane)
            raise
        except BaseException:
            await _drop(lane)
            raise
        response.stream = _Stream(response.stream, lane, self._idle)
        return response

    def _open(self) -> httpx.AsyncHTTPTransport:
        """Return a new lane; it connects with its first request."""
        limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=KEEPALIVE_EXPIRY,
        )
        return httpx.AsyncHTTPTransport(
            verify=self._ssl_context, trust_env=False, limits=limits
        )

    async def aclose(self) -> None:
        """Close every connection; no request may be under way."""
        async with AsyncExitStack() as lanes:
            while self._idle:
                lanes.push_async_callback(self._idle.pop().aclose)


class _Stream(httpx.AsyncByteStream):
    """A reply's body that gives its lane back when it is closed."""

    def __init__(
        self,
        stream: object,
        lane: httpx.AsyncHTTPTransport,
        idle: list[httpx.AsyncHTTPTransport],
    ) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101  # an async transport's reply
        self._stream = stream
        self._lane = lane
        self._idle = idle

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        """Close the body; if that is cut short, the lane is not used again."""
        try:
            await self._stream.aclose()
        except BaseException:
            await _drop(self._lane)
            raise
        if _has_more(self._lane):
            await _drop(self._lane)
        else:
            self._idle.append(self._lane)


def _has_more(lane: httpx.AsyncHTTPTransport) -> bool:
    """Tell whether more has come than the reply that was read.

    httpcore keeps it, and the next call's answer would be something that nobody asked for.
    It offers no way to find out but this look into its connection.
    """
    for connection in lane._pool.connections:  # noqa: SLF001  # see above
        http11 = getattr(connection, "_connection", None)
        state = getattr(http11, "_h11_state", None)
        if state is not None and state.trailing_data[0]:
            return True
    return False


async def _drop(lane: httpx.AsyncHTTPTransport) -> None:
    """Close a lane whose request was cut short.

    httpcore 1.0 can leave such a connection counted as busy for ever, and a pool of one would
    then never serve again.
    """
    with anyio.CancelScope(shield=True):
        await lane.aclose()
