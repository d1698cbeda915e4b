"""A WebSocket to an ASGI app in this process: no network, on any event loop and any clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import anyio

from telecmi_async._internal.secrets import log_failure
from telecmi_async.simulator.voice.socket import Arrivals, Closed, NotConnected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from anyio.abc import TaskGroup

#: An ASGI application, of version 3.
AsgiApp: TypeAlias = "Callable[..., Awaitable[object]]"
#: Where streams go: an ASGI app in this process, or ``"dial"`` for the address in the flow.
StreamTarget: TypeAlias = "AsgiApp | Literal['dial']"

_KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="  # the sample of RFC 6455
# Frames that an app has not read, half a minute: then more are dropped.
_MOST_UNREAD: Final = 1_500


class AsgiSocket:
    """The client's end of a WebSocket of an ASGI app, which runs in a task of its own."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._events: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._more = anyio.Event()
        self._decided = anyio.Event()
        self._accepted = False
        self._over = False
        self._refusal = "the app neither accepted the connection nor closed it"

    @classmethod
    async def open(
        cls, app: AsgiApp, url: str, tasks: TaskGroup, arrivals: Arrivals
    ) -> AsgiSocket:
        """Connect to an app.

        Raises:
            NotConnected: It refused.
        """
        socket = cls(arrivals)
        try:
            scope = scope_of(url)
        except ValueError:
            raise NotConnected("ws_url is not a URL") from None
        tasks.start_soon(socket._run, app, scope)
        await socket._decided.wait()
        if not socket._accepted:
            socket._over = True
            raise NotConnected(socket._refusal)
        return socket

    async def send(self, data: bytes | str) -> None:
        """Send a frame to the app."""
        if not self._over and len(self._events) < _MOST_UNREAD:
            kind = "bytes" if isinstance(data, bytes) else "text"
            self._push({"type": "websocket.receive", kind: data})

    async def close(self, code: int) -> None:
        """Close the socket, which the app sees when it has read what came before."""
        if not self._over:
            self._over = True
            self._push({"type": "websocket.disconnect", "code": code, "reason": ""})

    def _push(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._more.set()

    async def _run(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        code = 1006
        try:
            await app(scope, self._app_receive, self._app_send)
        except Exception as error:  # noqa: BLE001  # as a server does; a call goes on
            code = 1011
            self._refusal = "the app failed"
            log_failure(error, "the ASGI app that serves a simulated stream failed")
        self._decided.set()
        await self._close_from_app(code)

    async def _app_receive(self) -> dict[str, Any]:
        while not self._events:
            self._more = anyio.Event()
            await self._more.wait()
        return self._events.popleft()

    async def _app_send(self, event: MutableMapping[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        match event["type"]:
            case "websocket.accept":
                self._accepted = True
                self._decided.set()
            case "websocket.send":
                if self._over:
                    raise OSError("the far end closed the connection")
                text: str | None = event.get("text")
                await self._arrivals.put(event["bytes"] if text is None else text)
            case "websocket.close" if self._accepted:
                await self._close_from_app(event.get("code", 1000))
            case "websocket.close":
                self._refuse(403)
            case "websocket.http.response.start":
                self._refuse(event["status"])
            case _:  # the body of a refusal
                pass

    def _refuse(self, status: int) -> None:
        self._refusal = f"the app refused the connection: HTTP {status}"
        self._decided.set()

    async def _close_from_app(self, code: int) -> None:
        if self._accepted and not self._over:
            await self._arrivals.put(Closed(code))
            await self.close(code)


def scope_of(url: str) -> dict[str, Any]:
    """Return the ASGI scope of a connection to a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": parts.scheme,
        "path": unquote(parts.path) or "/",
        "raw_path": (parts.path or "/").encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [
            (b"host", parts.netloc.encode()),
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", _KEY),
        ],
        "client": ("127.0.0.1", 50_000),
        "server": (parts.hostname or "", port),
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
