"""ASGI: streams as an application that any ASGI framework can mount.

Servers log the path of a WebSocket when it is accepted, so the code is taken out of the scope
before; the filter of web servers' logs (`telecmi_async.events.receiver`) covers copies of it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from telecmi_async._internal.messages import shown
from telecmi_async._internal.telecmi import REFERENCE_PREFIX
from telecmi_async.http_server import (
    # Litestar evaluates an application's annotations, so these are imported at run time.
    ASGIMessage,
    ASGIReceive,
    ASGIScope,
    ASGISend,
    HttpResponse,
    send_response,
)

if TYPE_CHECKING:
    from telecmi_async.voice.socket import Admission, StreamSocket

_UPGRADE: Final = HttpResponse(426, (("Upgrade", "websocket"), ("Connection", "Upgrade")))
# How long a client may take for the handshake, in seconds.
_HANDSHAKE: Final = 10.0
_IN_LOGS: Final = "hidden-code"


class _Streams(AbstractAsyncContextManager[Any], Protocol):
    """The part of `telecmi_async.voice.Streams` that a front uses."""

    def admit(self, path: str) -> Admission | None: ...

    async def serve(self, admission: Admission, socket: StreamSocket) -> None: ...


class StreamsApp:
    """Serves streams."""

    def __init__(self, streams: _Streams) -> None:
        self._streams = streams

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one WebSocket, or the lifespan of a server that runs nothing else."""
        match scope["type"]:
            case "websocket":
                await self._serve(scope, receive, send)
            case "http":
                await send_response(send, _UPGRADE)
            case "lifespan":
                await receive()
                async with self._streams:
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                await send({"type": "lifespan.shutdown.complete"})
            case other:
                raise ValueError(f"streams serve WebSockets, not {shown(other)}")

    async def _serve(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        first: ASGIMessage = {"type": "none in time"}
        with anyio.move_on_after(_HANDSHAKE):
            first = await receive()
        if first["type"] != "websocket.connect":
            return
        query = scope.get("query_string", b"").decode("latin-1")
        admission = self._streams.admit(f"{scope['path']}?{query}")
        _hide_code(scope)
        try:
            if admission is None:
                await send({"type": "websocket.close", "code": 1008})  # HTTP 403
                return
            await send({"type": "websocket.accept"})
        except Exception:  # noqa: BLE001  # the client is gone: each server raises another one
            return
        await self._streams.serve(admission, _AsgiSocket(receive, send))


def _hide_code(scope: ASGIScope) -> None:
    """Take the code, and the query, out of what servers log."""
    mount, _, _ = scope["path"].partition(f"/{REFERENCE_PREFIX}")
    scope["path"] = hidden = f"{mount}/{_IN_LOGS}"
    scope["query_string"] = b""
    if "raw_path" in scope:
        scope["raw_path"] = hidden.encode(errors="replace")


class _AsgiSocket:
    """A WebSocket that an ASGI server accepted."""

    def __init__(self, receive: ASGIReceive, send: ASGISend) -> None:
        self._receive = receive
        self._send = send

    async def receive(self) -> bytes | str | None:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return None
        data: bytes | str | None = message.get("bytes")
        return message["text"] if data is None else data

    async def send(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int = 1000) -> None:
        await self._send({"type": "websocket.close", "code": code})
