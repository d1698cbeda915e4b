"""The receiver as a bare ASGI application: any ASGI framework can mount it.

Frameworks hand a mounted application different paths, so nothing but the path's last part is
looked at. Most of them put no limit on a body, so it is counted while it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.messages import shown
from telecmi_async.events.receiver.response import MAX_BODY_BYTES, WebhookResponse
from telecmi_async.http_server import (
    # Litestar evaluates an application's annotations, so these are imported at run time.
    ASGIReceive,
    ASGIScope,
    ASGISend,
    HttpResponse,
    read_body,
    send_response,
)

if TYPE_CHECKING:
    from telecmi_async.events import Event
    from telecmi_async.events.receiver.receiver import Receiver

__all__ = ["ReceiverApp"]

_TOO_SLOW = WebhookResponse(408)
_LOOKED_AT = frozenset({b"content-length", b"content-type"})


class ReceiverApp:
    """Serves one receiver.

    Args:
        receiver: The receiver.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one request, or the lifespan of a server that runs nothing else."""
        match scope["type"]:
            case "http":
                reply, event = await self._http(scope, receive)
                try:
                    if reply is not None:
                        response = HttpResponse(reply.status, reply.headers, reply.body)
                        await send_response(send, response)
                finally:  # whether or not somebody hears the answer: the event is ours now
                    if event is not None:
                        await self._receiver.tell(event)
            case "lifespan":
                await receive()
                async with self._receiver:
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                await send({"type": "lifespan.shutdown.complete"})
            case "websocket":
                await send({"type": "websocket.close", "code": 1000})
            case other:
                raise ValueError(f"a receiver serves HTTP, and no {shown(other)}")

    async def _http(
        self, scope: ASGIScope, receive: ASGIReceive
    ) -> tuple[WebhookResponse | None, Event | None]:
        """Return what to answer, if anybody is there, and what to tell handlers of then."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _LOOKED_AT
        }
        path = scope["path"]
        if query := scope.get("query_string"):
            path = f"{path}?{query.decode('latin-1')}"
        receiver = self._receiver
        refusal = receiver.refuse(scope["method"], path, headers)
        if refusal is not None:
            return refusal, None
        body: bytearray | None = None
        with anyio.move_on_after(receiver.body_timeout) as slow:
            body = await read_body(receive, most=MAX_BODY_BYTES)
        if slow.cancelled_caught:
            return _TOO_SLOW, None
        if body is None:
            return None, None
        return await receiver.take(path, body)
