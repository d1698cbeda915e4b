"""The far end of a stream in memory, on any clock: as a socket, and as a server of an ASGI app."""

from __future__ import annotations

import base64
import json
import math
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from telecmi_async.events.reference import new_reference
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.voice import StreamSession

URL = "wss://voice.example.com/talk"
SECRET = "a-secret-of-streams"


def streams_for(
    handler: Callable[[StreamSession], Awaitable[object]] | None = None, **options: Any
) -> Streams:
    """Return streams that know an account's secret, and have a handler."""
    streams = Streams(URL, **{"secret": SECRET} | options)
    if handler is not None:
        streams.on_stream(handler)
    return streams


def path_for(streams: Streams, reference: str = "", *, rate: int = 8_000) -> str:
    """Return the path of a genuine address."""
    return f"/talk/{rate}/{streams.calls.account().sign(reference or new_reference())}"


async def talk(
    handler: Callable[[StreamSession], Awaitable[object]], peer: StreamPeer, **options: Any
) -> Streams:
    """Serve one session to its end."""
    rate = options.pop("rate", 8_000)
    streams = streams_for(handler, **options)
    admission = streams.admit(path_for(streams, rate=rate))
    assert admission is not None
    await streams.serve(admission, peer)
    return streams


async def settle() -> None:
    """Let tasks that were just started take their first steps; no time passes."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


def silence(seconds: float, rate: int = 8_000) -> bytes:
    """Return audio of a length."""
    return b"\1\0" * round(seconds * rate)


class StreamPeer:
    """A `StreamSocket` whose other side is the test's.

    Args:
        reads: How many messages it takes; it never takes the next one.
        frames: What it sends first.
    """

    def __init__(self, *frames: bytes | str, reads: float = math.inf) -> None:
        self.reads = reads
        #: What it was sent, and when.
        self.sent: list[tuple[float, Any]] = []
        #: The codes with which it was closed.
        self.codes: list[int] = []
        self.gone = False
        self._frames: deque[bytes | str | None] = deque(frames)
        self._news = anyio.Event()

    def say(self, *frames: bytes | str) -> None:
        """Send frames to the session."""
        self._put(*frames)

    def leave(self) -> None:
        """Close the WebSocket from the far end."""
        self.gone = True
        self._put(None)

    def _put(self, *frames: bytes | str | None) -> None:
        self._frames.extend(frames)
        self._news.set()

    async def receive(self) -> bytes | str | None:
        """Return the next frame."""
        while not self._frames:
            self._news = anyio.Event()
            await self._news.wait()
        return self._frames.popleft()

    async def send(self, text: str) -> None:
        """Take a message."""
        await anyio.lowlevel.checkpoint()
        if self.gone or self.codes:
            raise OSError("the peer is gone")
        if len(self.sent) >= self.reads:
            await anyio.sleep_forever()
        self.sent.append((anyio.current_time(), json.loads(text)))

    async def close(self, code: int = 1000) -> None:
        """Be closed."""
        await anyio.lowlevel.checkpoint()
        self.codes.append(code)

    @property
    def messages(self) -> list[Any]:
        """The messages that it was sent: the seconds of audio, and others as they are."""
        return [seconds_of(message) for _, message in self.sent]

    def heard(self) -> float:
        """Return how many seconds of audio a far end has played by now that obeys ``break``."""
        end = -math.inf
        spans: list[tuple[float, float]] = []
        for at, message in self.sent:
            seconds = seconds_of(message)
            if isinstance(seconds, float):
                spans.append((max(at, end), end := max(at, end) + seconds))
            elif message == {"action": "break"}:
                spans = [(start, min(stop, at)) for start, stop in spans if start < at]
                end = min(end, at)
        now = anyio.current_time()
        return sum(max(min(stop, now) - start, 0.0) for start, stop in spans)


def seconds_of(message: Any) -> Any:
    """Return how much audio a message carries; another message as it is."""
    if not isinstance(message, dict) or message.get("type") != "streamAudio":
        return message
    data = message["data"]
    assert data["audioDataType"] == "raw"
    pcm = base64.b64decode(data["audioData"], validate=True)
    return len(pcm) / 2 / data["sampleRate"]


class AsgiPeer:
    """A server and a client of one WebSocket to an ASGI application.

    Args:
        path: What the client asks for.
        frames: What it sends once it is accepted.
    """

    def __init__(self, path: str, *frames: bytes | str, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "scheme": "ws", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": [(b"host", b"test")], "subprotocols": [], "state": {},
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "extensions": {},
        } | scope  # fmt: skip
        self.sent: list[Any] = []
        #: The path in the scope when the connection was accepted or refused, as servers log it.
        self.logged = ""
        self._frames: list[Any] = [{"type": "websocket.connect"}]
        for frame in frames:
            kind = "text" if isinstance(frame, str) else "bytes"
            self._frames.append({"type": "websocket.receive", kind: frame})

    async def to(self, app: Any) -> list[str]:
        """Run the application, and return the types of what it sent."""

        async def receive() -> Any:
            await anyio.lowlevel.checkpoint()
            return self._frames.pop(0) if self._frames else await anyio.sleep_forever()

        async def send(message: Any) -> None:
            await anyio.lowlevel.checkpoint()
            self.logged = self.logged or self.scope["path"]
            self.sent.append(message)

        with anyio.fail_after(600):
            await app(self.scope, receive, send)
        return [message["type"] for message in self.sent]
