"""ASGI: the receiver as an application that any ASGI framework can mount.

Frameworks pass different paths to a mounted application, so only the path's last part counts.
Most of them do not limit a body, so its size is checked while it is read.
"""

from __future__ import annotations

import functools
import sys
from types import coroutine
from typing import TYPE_CHECKING, TypeVar, cast

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
    from collections.abc import Coroutine, Generator

    from telecmi_async.events import Event
    from telecmi_async.events.receiver.intake import Intake

_TOO_SLOW = HttpResponse(408)
_T = TypeVar("_T")


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
        kind = length = b""
        for name, value in scope["headers"]:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                length = value
        path = scope["path"]
        if query := scope.get("query_string"):
            path = f"{path}?{query.decode('latin-1')}"
        intake = self._intake
        refusal = intake.check(
            scope["method"], path, kind.decode("latin-1"), length.decode("latin-1")
        )
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
        if not is_asyncio(current_loop()):
            with anyio.move_on_after(seconds):
                return await read_body(receive, most=MAX_PAYLOAD)
            raise _TooSlow
        # Most bodies are there already. Only the others get a time limit: it costs as much as
        # all else that is done before a body is parsed.
        reading = read_body(receive, most=MAX_PAYLOAD)
        try:
            waits_for = reading.send(None)
        except StopIteration as done:
            return cast("bytes | None", done.value)
        limit = sys.modules["asyncio"].timeout(seconds)
        try:
            async with limit:
                return await _resume(reading, waits_for)
        except TimeoutError:
            if not limit.expired():
                raise
            raise _TooSlow from None


@coroutine
def _resume(
    begun: Coroutine[object, object, _T], waits_for: object
) -> Generator[object, object, _T]:
    """Await a coroutine whose first step was made, after which it waits for something."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001  # such as its cancellation
            step = functools.partial(begun.throw, error)
        else:
            step = functools.partial(begun.send, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            return cast("_T", done.value)
