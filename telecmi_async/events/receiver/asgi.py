"""ASGI: the receiver as an application that any ASGI framework can mount.

Frameworks pass different paths to a mounted application, so only the path's last part counts.
Most of them do not limit a body, so its size is checked while it is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from telecmi_async._internal.messages import shown
from telecmi_async.events.payload import MAX_PAYLOAD
from telecmi_async.events.receiver.intake import Intake, WebhookResponse

if TYPE_CHECKING:
    from telecmi_async.events import Event

__all__ = [
    "ASGIMessage",
    "ASGIReceive",
    "ASGIScope",
    "ASGISend",
    "ReceiverApp",
    "read_body",
    "send_reply",
]

ASGIScope: TypeAlias = MutableMapping[str, Any]
ASGIMessage: TypeAlias = MutableMapping[str, Any]
ASGIReceive: TypeAlias = Callable[[], Awaitable[ASGIMessage]]
ASGISend: TypeAlias = Callable[[ASGIMessage], Awaitable[None]]

_TOO_SLOW = WebhookResponse(408)
_USED_HEADERS = frozenset({b"content-length", b"content-type"})


class ReceiverApp:
    """Serves one receiver."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one request, or the lifespan of a server that runs nothing else."""
        match scope["type"]:
            case "http":
                reply, event = await self._http(scope, receive)
                try:
                    if reply is not None:
                        headers = list(reply.headers)
                        if reply.status != 204:
                            headers.append(("Content-Length", str(len(reply.body))))
                        await send_reply(send, reply.status, headers, reply.body)
                finally:  # whether or not the reply arrives: the event is stored
                    if event is not None:
                        await self._intake.runner.run(event)
            case "lifespan":
                await receive()
                async with self._intake.runner:
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                await send({"type": "lifespan.shutdown.complete"})
            case "websocket":
                await send({"type": "websocket.close", "code": 1000})
            case other:
                raise ValueError(f"a receiver serves HTTP, not {shown(other)}")

    async def _http(
        self, scope: ASGIScope, receive: ASGIReceive
    ) -> tuple[WebhookResponse | None, Event | None]:
        """Return the reply, unless the client is gone, and the event to run handlers for."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _USED_HEADERS
        }
        path = scope["path"]
        if query := scope.get("query_string"):
            path = f"{path}?{query.decode('latin-1')}"
        intake = self._intake
        refusal = intake.check(scope["method"], path, headers)
        if refusal is not None:
            return refusal, None
        body: bytearray | None = None
        with anyio.move_on_after(intake.body_timeout) as slow:
            body = await read_body(receive, most=MAX_PAYLOAD)
        if slow.cancelled_caught:
            return _TOO_SLOW, None
        if body is None:
            return None, None
        return await intake.accept(path, body)


async def read_body(receive: ASGIReceive, *, most: int) -> bytearray | None:
    """Return a request's body, or ``None`` if the client disconnected.

    Args:
        receive: ASGI's ``receive``.
        most: How many bytes it may have. A longer one is read up to the part that exceeds it.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > most or not message.get("more_body", False):
            return body


async def send_reply(
    send: ASGISend, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> None:
    """Send a reply by ASGI's ``send``."""
    encoded = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
