"""The receiver as a bare ASGI application: any ASGI framework can mount it.

Frameworks hand a mounted application different paths, so nothing but the path's last part is
looked at. Most of them put no limit on a body, so it is counted while it is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from telecmi_async.receiver.reply import LARGEST, Reply

if TYPE_CHECKING:
    from telecmi_async.events import Event
    from telecmi_async.receiver.receiver import Receiver

__all__ = ["Application", "Message", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_TOO_SLOW = Reply(408)


class Application:
    """Serves one receiver.

    Args:
        receiver: The receiver.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of a server that runs nothing else."""
        match scope["type"]:
            case "http":
                reply, event = await self._http(scope, receive)
                if reply is not None:
                    await _send(reply, send)
                await self._receiver.tell(event)
            case "lifespan":
                await _lifespan(receive, send)
            case _:  # TeleCMI opens no WebSocket here
                await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive) -> tuple[Reply | None, Event | None]:
        """Return what to answer, if anybody is there, and what to tell handlers of then."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        receiver = self._receiver
        refusal = receiver.refuse(scope["method"], scope["path"], headers)
        if refusal is not None:
            return refusal, None
        body = bytearray()
        with anyio.move_on_after(receiver.body_timeout) as slow:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None, None
                body += message.get("body", b"")
                if len(body) > LARGEST:
                    return receiver.too_large(), None
                if not message.get("more_body", False):
                    break
        if slow.cancelled_caught:
            return _TOO_SLOW, None
        return await receiver.take(scope["path"], bytes(body))


async def _send(reply: Reply, send: Send) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in reply.headers
    ]
    if reply.status != 204:
        headers.append((b"content-length", str(len(reply.body)).encode("ascii")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
