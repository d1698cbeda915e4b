"""ASGI: the receiver as an application that any ASGI framework can mount.

Frameworks pass different paths to a mounted application, so only the path's last part counts.
Most of them do not limit a body, so its size is checked while it is read. Servers log the path
that is in the scope, after the reply began, so the token is taken out of the scope by then.
"""

from __future__ import annotations

import functools
import sys
from contextlib import suppress
from types import coroutine
from typing import TYPE_CHECKING, Final, TypeVar, cast

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

    from telecmi_async.events.receiver.intake import Intake, WebhookRequest

# How long a caller's last answer may take, in seconds, when the server ends.
_LAST_WORD: Final = 1.0
# In place of the token, in letters that no server encodes.
_IN_LOGS: Final = "hidden-token"
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
                await self._serve(scope, receive, send)
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

    async def _serve(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        path = scope["path"]
        if query := scope.get("query_string"):
            path = f"{path}?{query.decode('latin-1')}"
        delivery = self._intake.open(path)
        if delivery is not None:
            _hide_token(scope)
        try:
            reply = await self._reply(delivery, scope, receive)
            if reply is not None:
                await send_response(send, reply)
        except anyio.get_cancelled_exc_class():
            if delivery is not None and delivery.asks:  # a caller waits, and the server ends
                with anyio.move_on_after(_LAST_WORD, shield=True), suppress(Exception):
                    await send_response(send, self._intake.fallback())
            raise
        finally:  # whether or not the reply arrives: the events are stored
            if delivery is not None:
                for event in delivery.unhandled:
                    await self._intake.runner.run(event)

    async def _reply(
        self, delivery: WebhookRequest | None, scope: ASGIScope, receive: ASGIReceive
    ) -> HttpResponse | None:
        """Return the reply, unless the client is gone."""
        length = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
        intake = self._intake
        refusal = intake.check(delivery, scope["method"], length.decode("latin-1"))
        if refusal is not None or delivery is None:
            return refusal
        try:
            body = await self._body(receive)
        except _TooSlow:
            return intake.unreadable(delivery, 408)
        return None if body is None else await intake.accept(delivery, body)

    async def _body(self, receive: ASGIReceive) -> bytes | None:
        """Return the body, or ``None`` if the client is gone; raise `_TooSlow` after the limit."""
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


def _hide_token(scope: ASGIScope) -> None:
    """Take the token, and the query, out of what servers log once the reply began."""
    rest, slash, _ = scope["path"].rstrip("/").rpartition("/")
    scope["path"] = hidden = f"{rest}{slash}{_IN_LOGS}"
    scope["query_string"] = b""
    if "raw_path" in scope:
        scope["raw_path"] = hidden.encode()


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
