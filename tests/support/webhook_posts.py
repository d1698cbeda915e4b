"""Webhooks as TeleCMI posts them, and a minimal ASGI server, for tests of the receiver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telecmi_async import Receiver
    from telecmi_async.events import Event
    from telecmi_async.http_server import HttpResponse

TOKEN = "kQzW-xPlM_vBnR~" + "t" * 28
OLD_TOKEN = "o" * 43
PATH = f"/telecmi/{TOKEN}"
JSON = {"Content-Type": "application/json"}
REQUEST_ID = f"{0:043d}"
LEG = "28b9fc5f-b147-47e1-80a4-1edf1339efe1"
#: Pressed keys, as in TeleCMI's sample, with its misspelt key.
DIGITS = {"from": 919100000000, "to": 4471000000, "dtmf": "1", "cmuuid": LEG}
#: An inbound call.
INBOUND = {
    "action": "inbound",
    "from": "19170000001",
    "to": "19170000000",
    "time": 1670568234000,
    "cmiuuid": LEG,
}


async def post(receiver: Receiver, payload: object, *, path: str = PATH) -> HttpResponse:
    """Post a webhook to a receiver."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return await receiver.handle("POST", path, JSON, body)


def events_of(receiver: Receiver) -> list[Event]:
    """Return a list to which every event for handlers is appended."""
    received: list[Event] = []
    receiver.on_event(received.append)
    return received


class Request:
    """One request to an ASGI application, and its reply."""

    def __init__(
        self,
        *messages: dict[str, Any],
        path: str = PATH,
        method: str = "POST",
        query: bytes | None = b"",
        headers: Iterable[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
        gone: bool = False,
    ) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.gone = gone
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": list(headers),
        }
        if query is not None:
            self.scope["query_string"] = query

    async def receive(self) -> dict[str, Any]:
        """Return the next message; wait forever after the last one."""
        if not self.messages:
            await anyio.sleep_forever()
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        """Record a message of the reply; fail if the client has disconnected."""
        if self.gone:
            raise OSError("the client has gone")
        self.sent.append(message)

    async def to(self, app: Any) -> tuple[int, bytes]:
        """Send the request to an application, and return the reply's status and body."""
        await app(self.scope, self.receive, self.send)
        if not self.sent:
            return 0, b""
        start, body = self.sent
        assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
        return start["status"], body["body"]


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    """Return a part of a request body."""
    return {"type": "http.request", "body": body, "more_body": more}
