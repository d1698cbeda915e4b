"""Google's Gemini Live API as a local server: what a bridge uses of it.

The messages are those of ``google.genai.types``; `tests/servers/test_fake_engines.py` compares.
The real server sends its JSON in binary frames, too.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

import attrs
from engine_speech import KEY, Ears, FakeEngine
from websockets.asyncio.server import ServerConnection

if TYPE_CHECKING:
    from websockets.http11 import Request

RATE_IN: Final = 16000
RATE_OUT: Final = 24000
PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
_INPUT: Final = f"audio/pcm;rate={RATE_IN}"


@attrs.define
class FakeGemini(FakeEngine):
    """Answers each turn of the caller, and a text; is interrupted by the caller's voice."""

    def allows(self, request: Request) -> bool:
        return (request.path, request.headers.get("x-goog-api-key")) == (PATH, KEY)

    async def talk(self, socket: ServerConnection) -> None:
        async with asyncio.TaskGroup() as tasks:
            session = _Session(self, socket, tasks)
            async for message in socket:
                await session.take(json.loads(message))
            session.interrupted = True


@attrs.define
class _Session:
    engine: FakeGemini
    socket: ServerConnection
    tasks: asyncio.TaskGroup
    ears: Ears = attrs.field(factory=lambda: Ears(RATE_IN), init=False)
    ready: bool = attrs.field(default=False, init=False)
    speaking: bool = attrs.field(default=False, init=False)
    interrupted: bool = attrs.field(default=False, init=False)

    async def send(self, **message: Any) -> None:
        """Send a server message."""
        self.engine.sent.append(message)
        await self.socket.send(json.dumps(message).encode())

    async def take(self, message: dict[str, Any]) -> None:
        """Handle a client message: the setup first, then what is said."""
        match message:
            case {"realtimeInput": {"audio": blob}} if self.ready:
                assert blob["mimeType"] == _INPUT
                await self.listen(base64.b64decode(blob["data"], validate=True))
                return
            case {"setup": {"generationConfig": {"responseModalities": ["AUDIO"]}}} if (
                not self.ready and message["setup"]["model"].startswith("models/")
            ):
                self.ready = True
                await self.send(setupComplete={})
            case {"realtimeInput": {"text": str()}} if self.ready:
                self.tasks.create_task(self.speak())
            case _:
                await self.socket.close(1007, "Request contains an invalid argument.")
        self.engine.received.append(message)

    async def listen(self, pcm: bytes) -> None:
        """Hear the caller."""
        heard = self.ears.feed(pcm)
        self.engine.listened = self.ears.seconds
        if heard == "started":
            self.interrupted = True
            # A model assumes that it is heard in real time: it may have been interrupted although
            # all of its audio was sent long ago.
            await self.send(serverContent={"interrupted": True})
        elif heard == "stopped":
            self.tasks.create_task(self.speak())

    async def speak(self) -> None:
        """Send a turn of the model."""
        self.interrupted = False
        seconds, fault = self.engine.next_reply()
        if fault and fault.kind == "error":
            await self.send(goAway={"timeLeft": "0s"})
            await self.socket.close(1011, "Internal error encountered.")
            return
        async for pcm in self.engine.speak(seconds, RATE_OUT, fault):
            if self.interrupted:
                break
            data = base64.b64encode(pcm).decode()
            blob = {"mimeType": f"audio/pcm;rate={RATE_OUT}", "data": data}
            await self.send(serverContent={"modelTurn": {"parts": [{"inlineData": blob}]}})
        if fault:
            await self.socket.close(1011, "Internal error encountered.")
            return
        if not self.interrupted:
            await self.send(serverContent={"generationComplete": True})
        await self.send(serverContent={"turnComplete": True})
