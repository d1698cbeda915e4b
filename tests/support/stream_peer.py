"""A far end of a stream in memory: what TeleCMI does with a WebSocket, by hand, on any clock."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import anyio

from telecmi_async.errors import StreamClosed


class StreamPeer:
    """A `StreamSocket` whose other side is the test's.

    ``reads`` False: it takes no message. It plays what it is sent, and keeps when.
    """

    def __init__(self, *, reads: bool = True) -> None:
        self.reads = reads
        self.sent: list[tuple[float, Any]] = []
        self.codes: list[int] = []
        self._put, self._frames = anyio.create_memory_object_stream[bytes | str](math.inf)
        #: What was played, and until when what is there plays.
        self.audio = bytearray()
        self.until = -math.inf

    def say(self, *frames: bytes | str) -> None:
        """Send frames to the session."""
        for frame in frames:
            self._put.send_nowait(frame)

    def hang_up(self) -> None:
        """Close the WebSocket from the far end."""
        self._put.close()

    async def receive(self) -> bytes | str | None:
        try:
            return await self._frames.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return None

    async def send(self, text: str) -> None:
        if not self.reads:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        if self.codes or self._put.statistics().open_send_streams == 0:
            raise StreamClosed("the peer is gone")
        self.sent.append((anyio.current_time(), json.loads(text)))

    async def close(self, code: int = 1000) -> None:
        self.codes.append(code)
        self._put.close()
        self._frames.close()

    @property
    def messages(self) -> list[Any]:
        """What it was sent: seconds of audio, or the message."""
        return [seconds_of(message) for _, message in self.sent]

    def heard(self) -> float:
        """Return how many seconds of audio are heard by now, and how a far end that breaks plays."""
        heard = 0.0
        now = anyio.current_time()
        spans: list[tuple[float, float]] = []
        end = -math.inf
        for at, message in self.sent:
            if message == {"action": "break"}:
                spans = [(a, min(b, at)) for a, b in spans if a < at]
                end = at
            elif isinstance(seconds := seconds_of(message), float):
                start = max(at, end)
                end = start + seconds
                spans.append((start, end))
        for start, end in spans:
            heard += max(min(end, now) - start, 0.0)
        return heard


def seconds_of(message: Any) -> Any:
    """Return how much audio a message carries; another message as it is."""
    if not isinstance(message, dict) or message.get("type") != "streamAudio":
        return message
    data = message["data"]
    assert data["audioDataType"] == "raw"
    pcm = base64.b64decode(data["audioData"], validate=True)
    return len(pcm) / 2 / data["sampleRate"]
