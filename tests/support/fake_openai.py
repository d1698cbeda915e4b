"""OpenAI's Realtime API (general availability) as a local server: what a bridge uses of it.

The messages are those of ``openai.types.realtime``; `tests/servers/test_fake_engines.py` compares.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import attrs
from engine_speech import KEY, Ears, FakeEngine
from websockets.asyncio.server import ServerConnection

if TYPE_CHECKING:
    from websockets.http11 import Request

RATE: Final = 24000
_FORMAT: Final = {"type": "audio/pcm", "rate": RATE}


@attrs.define
class FakeOpenAI(FakeEngine):
    """Answers each turn of the caller, and is interrupted as server VAD does it."""

    #: Seconds of audio of each assistant item, by its id.
    items: dict[str, float] = attrs.field(factory=dict, init=False)

    def allows(self, request: Request) -> bool:
        path, _, query = request.path.partition("?")
        key = request.headers.get("Authorization")
        return (path, key) == ("/v1/realtime", f"Bearer {KEY}") and "model=" in query

    async def talk(self, socket: ServerConnection) -> None:
        async with asyncio.TaskGroup() as tasks:
            session = _Session(self, socket, tasks)
            await session.send("session.created", session={"type": "realtime"})
            async for message in socket:
                await session.take(json.loads(message))
            session.cancelled = "client_cancelled"


@attrs.define
class _Session:
    engine: FakeOpenAI
    socket: ServerConnection
    tasks: asyncio.TaskGroup
    ears: Ears = attrs.field(factory=lambda: Ears(RATE), init=False)
    ids: itertools.count[int] = attrs.field(factory=itertools.count, init=False)
    #: The newest response, and why it shall end.
    response: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    cancelled: str | None = attrs.field(default=None, init=False)

    def new_id(self, kind: str) -> str:
        """Return an id that no other has."""
        return f"{kind}_{next(self.ids)}"

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a server event."""
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        self.engine.sent.append(event)
        await self.socket.send(json.dumps(event))

    async def refuse(self, message: str, kind: str = "invalid_request_error") -> None:
        """Send an error; the session stays open."""
        await self.send("error", error={"type": kind, "message": message, "code": None})

    async def take(self, event: dict[str, Any]) -> None:
        """Handle a client event."""
        if event["type"] == "input_audio_buffer.append":
            await self.listen(base64.b64decode(event["audio"], validate=True))
            return
        self.engine.received.append(event)
        match event["type"]:
            case "session.update":
                await self.configure(event["session"])
            case "response.create":
                await self.respond()
            case "conversation.item.create":
                item = {"id": self.new_id("item"), "object": "realtime.item", **event["item"]}
                for kind in ("conversation.item.added", "conversation.item.done"):
                    await self.send(kind, item=item, previous_item_id=None)
            case "conversation.item.truncate":
                await self.truncate(event)
            case other:
                await self.refuse(f"Invalid value: '{other}'.")

    async def configure(self, session: dict[str, Any]) -> None:
        """Take the session's settings; audio is PCM at 24 kHz here, as by default."""
        audio = session.get("audio", {})
        formats = [
            audio[side]["format"] for side in audio if audio[side] and "format" in audio[side]
        ]
        if session["type"] != "realtime" or any(each != _FORMAT for each in formats):
            await self.refuse("Invalid session.")
        else:
            await self.send("session.updated", session=session)

    async def listen(self, pcm: bytes) -> None:
        """Hear the caller."""
        heard = self.ears.feed(pcm)
        self.engine.listened = self.ears.seconds
        at, item = round(self.ears.seconds * 1000), self.new_id("item")
        if heard == "started":
            self.cancelled = "turn_detected"
            await self.send(
                "input_audio_buffer.speech_started", audio_start_ms=at, item_id=item
            )
        elif heard == "stopped":
            await self.send("input_audio_buffer.speech_stopped", audio_end_ms=at, item_id=item)
            await self.send("input_audio_buffer.committed", item_id=item)
            await self.respond()

    async def respond(self) -> None:
        """Start a response."""
        if self.response is not None and not self.response.done():
            if not self.cancelled:
                await self.refuse("Conversation already has an active response in progress.")
                return
            await self.response
        self.cancelled = None
        self.response = self.tasks.create_task(self.speak())

    async def speak(self) -> None:
        """Send a response with one item."""
        seconds, fault = self.engine.next_reply()
        response = {"id": self.new_id("resp"), "object": "realtime.response"}
        item = self.new_id("item")
        at: dict[str, Any] = {"response_id": response["id"], "item_id": item}
        at |= {"output_index": 0, "content_index": 0}
        self.engine.items[item] = 0.0
        await self.send("response.created", response=response | {"status": "in_progress"})
        status: dict[str, Any] = {"type": "completed"}
        if fault and fault.kind == "error":
            status = {"type": "failed", "error": {"type": "server_error", "code": None}}
            await self.refuse("The server had an error.", "server_error")
            seconds = 0
        async for pcm in self.engine.speak(seconds, RATE, fault):
            if self.cancelled:
                status = {"type": "cancelled", "reason": self.cancelled}
                break
            self.engine.items[item] += len(pcm) / 2 / RATE
            delta = base64.b64encode(pcm).decode()
            await self.send("response.output_audio.delta", delta=delta, **at)
        if fault and fault.kind == "close":
            await self.socket.close(1011, "keepalive ping timeout")
            return
        await self.send("response.output_audio.done", **at)
        done = response | {"status": status["type"], "status_details": status}
        await self.send("response.done", response=done)

    async def truncate(self, event: dict[str, Any]) -> None:
        """Forget what was not heard; more than there is cannot have been heard."""
        seconds = self.engine.items.get(event["item_id"])
        if seconds is None:
            await self.refuse("Item with item_id not found.")
        elif event["audio_end_ms"] > round(seconds * 1000):
            await self.refuse("Audio content is already shorter than audio_end_ms.")
        else:
            told = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
            await self.send("conversation.item.truncated", **told)
