"""ASGI: the receiver as an application that any ASGI framework can mount.

Frameworks pass different paths to a mounted application, so only the path's last part counts.
Most of them do not limit a body, so its size is checked while it is read.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async._internal.messages import shown
from telecmi_async.events.payload import MAX_PAYLOAD
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
    from telecmi_async.events.receiver.intake import Intake

_TOO_SLOW = HttpResponse(408)
_USED_HEADERS = frozenset({b"content-length", b"content-type"})


class _TooSlow(Exception):
    """A body did not arrive in time."""


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
                        await send_response(send, reply)
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
    ) -> tuple[HttpResponse | None, Event | None]:
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
        try:
            body = await self._body(receive)
        except _TooSlow:
            return _TOO_SLOW, None
        if body is None:
            return None, None
        return await intake.accept(path, body)

    async def _body(self, receive: ASGIReceive) -> bytes | None:
        """Return the body, or ``None`` if the client is gone.

        Raises:
            _TooSlow: It takes longer than ``body_timeout``.
        """
        seconds = self._intake.body_timeout
        loop = current_loop()
        if seconds is None:
            return await read_body(receive, most=MAX_PAYLOAD)
        if not is_asyncio(loop):
            with anyio.move_on_after(seconds):
                return await read_body(receive, most=MAX_PAYLOAD)
            raise _TooSlow
        # Most bodies are there already. A timer is set for the others only: it would cost more
        # than all else that is done before a body is parsed.
        limit = sys.modules["asyncio"].timeout(None)
        try:
            async with limit:
                timer = loop.call_soon(limit.reschedule, loop.time() + seconds)
                try:
                    return await read_body(receive, most=MAX_PAYLOAD)
                finally:
                    timer.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            raise _TooSlow from None
