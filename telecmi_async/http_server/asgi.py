"""ASGI: its types, and reading a body and sending a response as it wants them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from telecmi_async.http_server.messages import HttpResponse

ASGIScope: TypeAlias = MutableMapping[str, Any]
ASGIMessage: TypeAlias = MutableMapping[str, Any]
ASGIReceive: TypeAlias = Callable[[], Awaitable[ASGIMessage]]
ASGISend: TypeAlias = Callable[[ASGIMessage], Awaitable[None]]


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
