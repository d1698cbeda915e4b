"""Connection pool: the connections of a service's own client.

httpx 0.28's connection pool looks at every connection and every waiting request on each event,
which is quick for a few and slow for many. The gate already limits the requests in flight, so
every request gets a *lane*: an httpx pool of a single connection. Lanes are used last in, first
out, so that busy ones stay warm and idle ones expire.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

# Well below the idle limits of common servers (usually 5 s): if a server closes a connection just
# as it is reused, the call's outcome is unknown.
KEEPALIVE_EXPIRY = 2.0


class ConnectionPool(httpx.AsyncBaseTransport):
    """Gives every request a connection of its own.

    Args:
        ssl_context: TLS settings for all of them.
    """

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._ssl_context = ssl_context
        # Making one imports httpcore: better now than during the first call.
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
    """A reply's body that returns its lane when it is closed."""

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
        """Close the body; if that is interrupted, the lane is not used again."""
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
    """Return whether unread bytes follow the reply.

    httpcore would take them for the reply to the next call. Only its private state shows them.
    """
    for connection in lane._pool.connections:  # noqa: SLF001  # see above
        http11 = getattr(connection, "_connection", None)
        state = getattr(http11, "_h11_state", None)
        if state is not None and state.trailing_data[0]:
            return True
    return False


async def _drop(lane: httpx.AsyncHTTPTransport) -> None:
    """Close a lane whose request was interrupted.

    httpcore 1.0 may count such a connection as busy for ever, which blocks a pool of one.
    """
    with anyio.CancelScope(shield=True):
        await lane.aclose()
