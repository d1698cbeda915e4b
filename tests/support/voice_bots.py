"""Small voice bots, written by hand on ASGI, and clips for them."""

from __future__ import annotations

import functools
import json
import math
import struct
from base64 import b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HANG_UP = json.dumps([{"action": "hangup"}])
BREAK = json.dumps({"action": "break"})


@functools.cache
def sound(seconds: float, rate: int = 8_000) -> bytes:
    """Return samples of a loud tone."""
    step = 2 * math.pi * 300 / rate
    values = (round(9_000 * math.sin(step * n)) for n in range(round(seconds * rate)))
    return b"".join(struct.pack("<h", value) for value in values)


def clip(pcm: bytes, rate: int = 8_000, kind: str = "raw") -> str:
    """Return the message that plays a clip."""
    data = {
        "audioDataType": kind,
        "sampleRate": rate,
        "audioData": b64encode(pcm).decode(),
    }
    return json.dumps({"type": "streamAudio", "data": data})


class BotSocket:
    """A bot's end of an accepted socket."""

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.scope = scope
        self.code = 0
        self._receive = receive
        self._send = send

    async def accept(self) -> None:
        """Accept the connection."""
        assert (await self._receive())["type"] == "websocket.connect"
        await self._send({"type": "websocket.accept"})

    async def say(self, *messages: str | bytes) -> None:
        """Send messages."""
        for message in messages:
            kind = "bytes" if isinstance(message, bytes) else "text"
            await self._send({"type": "websocket.send", kind: message})

    async def hear(self) -> bytes | str | None:
        """Return the next frame; ``None`` after the last."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            self.code = event["code"]
            return None
        found: bytes | str = event["bytes"] if event.get("text") is None else event["text"]
        return found

    async def hear_all(self) -> list[bytes | str]:
        """Return all frames until the socket closes."""
        frames = list[bytes | str]()
        while (frame := await self.hear()) is not None:
            frames.append(frame)
        return frames

    async def hear_voice(self) -> None:
        """Wait for a frame that is not silent."""
        while (frame := await self.hear()) is not None:
            if isinstance(frame, bytes) and any(frame):
                return

    async def close(self, code: int = 1000) -> None:
        """Close the socket."""
        await self._send({"type": "websocket.close", "code": code})


def bot(talk: Callable[[BotSocket], Awaitable[object]]) -> Callable[..., Awaitable[None]]:
    """Return an ASGI app that accepts each connection and talks on it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = BotSocket(scope, receive, send)
        await socket.accept()
        await talk(socket)

    return app
