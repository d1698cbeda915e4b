"""Deepgram's Flux (speech to text) and Aura (text to speech) as local servers.

The messages are those of ``deepgram.listen.v2`` and ``deepgram.speak.v1``;
`tests/servers/test_fake_engines.py` compares.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import attrs
from engine_speech import KEY, Ears, FakeEngine
from websockets.asyncio.server import ServerConnection

if TYPE_CHECKING:
    from websockets.http11 import Request

_LISTEN: Final = "/v2/listen"
_SPEAK: Final = "/v1/speak"


@attrs.define
class FakeDeepgram(FakeEngine):
    """Writes down each turn of the caller, and speaks what it is sent.

    Args:
        said: What the caller says, turn by turn; the last one again and again.
    """

    said: tuple[str, ...] = ("When do you open?",)
    #: What it was asked to speak.
    texts: list[str] = attrs.field(factory=list, init=False)

    def allows(self, request: Request) -> bool:
        url = urlsplit(request.path)
        asked = parse_qs(url.query)
        model = asked.get("model", [""])[0]
        flux = url.path == _LISTEN and model.startswith("flux-general-")
        aura = url.path == _SPEAK and model.startswith("aura-")
        audio = asked.get("encoding") == ["linear16"] and "sample_rate" in asked
        authorized = request.headers.get("Authorization") == f"Token {KEY}"
        return authorized and audio and (flux or aura)

    async def talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        (rate,) = map(int, parse_qs(url.query)["sample_rate"])
        if url.path == _LISTEN:
            await _Listener(self, socket, Ears(rate)).run()
        else:
            await self.speak_texts(socket, rate)

    async def speak_texts(self, socket: ServerConnection, rate: int) -> None:
        """Speak what was collected, at each ``Flush``."""
        text = ""
        async for message in socket:
            asked = json.loads(message)
            self.received.append(asked)
            match asked["type"]:
                case "Speak":
                    text += asked["text"]
                case "Flush":
                    self.texts.append(text)
                    text = ""
                    seconds, fault = self.next_reply()
                    if fault and fault.kind == "error":
                        await socket.close(1011, "NET-0000")
                        return
                    async for pcm in self.speak(seconds, rate, fault):
                        await socket.send(pcm)
                    if fault:
                        await socket.close(1011, "NET-0001")
                        return
                    flushed = {"type": "Flushed", "sequence_id": len(self.texts)}
                    self.sent.append(flushed)
                    await socket.send(json.dumps(flushed))
                case "Close":
                    return
                case other:
                    await socket.close(1008, f"DATA-0000: {other}")


@attrs.define
class _Listener:
    engine: FakeDeepgram
    socket: ServerConnection
    ears: Ears
    turn: int = attrs.field(default=0, init=False)
    sequence: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Listen until the client is done."""
        await self.send("Connected")
        async for message in self.socket:
            if isinstance(message, str):
                self.engine.received.append(json.loads(message))
                return
            heard = self.ears.feed(message)
            self.engine.listened = self.ears.seconds
            said = self.engine.said
            text = said[min(self.turn, len(said) - 1)]
            if heard == "started":
                await self.inform("StartOfTurn", text.split()[0], 0.1)
                await self.inform("Update", text.split()[0], 0.1)
            elif heard == "stopped":
                await self.inform("EndOfTurn", text, 0.9)
                self.turn += 1

    async def inform(self, event: str, text: str, confidence: float) -> None:
        """Send what is known of the turn."""
        words = [{"word": word, "confidence": 0.9} for word in text.split()]
        await self.send(
            "TurnInfo",
            event=event,
            turn_index=self.turn,
            audio_window_start=0.0,
            audio_window_end=self.ears.seconds,
            transcript=text,
            words=words,
            end_of_turn_confidence=confidence,
        )

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a server message."""
        message = {"type": kind, "request_id": "1", "sequence_id": self.sequence, **fields}
        self.sequence += 1
        self.engine.sent.append(message)
        await self.socket.send(json.dumps(message))
