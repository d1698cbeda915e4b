"""HTTP requests and responses as values; how ASGI brings a body and takes a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from attrs import frozen

ASGIScope: TypeAlias = MutableMapping[str, Any]
ASGIMessage: TypeAlias = MutableMapping[str, Any]
ASGIReceive: TypeAlias = Callable[[], Awaitable[ASGIMessage]]
ASGISend: TypeAlias = Callable[[ASGIMessage], Awaitable[None]]

# A response with one of these statuses has no body and no length.
_BODILESS = frozenset({204, 304})


@frozen
class HttpRequest:
    """A request that arrived in full; ``local`` if its client is on this machine.

    The target is the path with its query. Names of headers are in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    local: bool


@frozen
class HttpResponse:
    """A response. Its headers are without ``Content-Length``, which is added."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers, with ``Content-Length`` where the status allows one."""
        if self.status in _BODILESS:
            return list(self.headers)
        return [*self.headers, ("Content-Length", str(len(self.body)))]


async def read_body(receive: ASGIReceive, *, most: int) -> bytes | None:
    """Return a request's body, or ``None`` if the client disconnected.

    Reading stops as soon as the body has more than ``most`` bytes.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        last = not message.get("more_body", False)
        if last and not body:  # most bodies come in one piece
            return bytes(part)
        body += part
        if last or len(body) > most:
            return bytes(body)


async def send_response(send: ASGISend, response: HttpResponse) -> None:
    """Send a response."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.all_headers()
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
