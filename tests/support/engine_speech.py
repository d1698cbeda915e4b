"""What the fakes of speech engines share: a voice, ears, and a server with faults."""

from __future__ import annotations

import array
import asyncio
import contextlib
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import attrs
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

KEY: Final = "key-of-a-test"
#: An engine speaks several times as fast as a listener listens, in chunks of so many seconds.
CHUNK: Final = 0.1
SPEED: Final = 5
_LOUD: Final = 500


def tone(seconds: float, rate: int, hertz: float = 440.0) -> bytes:
    """Return a tone as s16le; it ends on a crest, so that a lost end is seen."""
    step = 2 * math.pi * hertz / rate
    samples = (round(8000 * math.sin(step * n)) for n in range(round(seconds * rate)))
    return array.array("h", samples).tobytes()


def chunks(pcm: bytes, rate: int) -> Iterator[bytes]:
    """Cut audio into an engine's chunks."""
    size = round(CHUNK * rate) * 2
    return (pcm[at : at + size] for at in range(0, len(pcm), size))


@attrs.define
class Ears:
    """Voice activity by loudness, with time as the audio counts it.

    Args:
        rate: Samples a second.
        silence: For how many seconds a speaker must be silent to have finished.
    """

    rate: int
    silence: float = 0.3
    #: How much was heard, in seconds.
    seconds: float = 0.0
    _loud_until: float | None = None

    def feed(self, pcm: bytes) -> str | None:
        """Return ``started`` or ``stopped`` when this audio is the start or end of speech."""
        samples = array.array("h", pcm)
        self.seconds += len(samples) / self.rate
        if samples and max(map(abs, samples)) > _LOUD:
            first, self._loud_until = self._loud_until is None, self.seconds
            return "started" if first else None
        if self._loud_until is None or self.seconds - self._loud_until < self.silence:
            return None
        self._loud_until = None
        return "stopped"


@attrs.define
class Fault:
    """What goes wrong in an engine, once.

    Args:
        kind: ``close`` ends the connection in the middle of a reply, ``error`` is the engine's own
            way to say that it failed.
        reply: Which reply, counted from 0.
        after: How many seconds of it are sent before.
    """

    kind: str
    reply: int = 0
    after: float = 0.5


@attrs.define
class FakeEngine:
    """A server for one kind of WebSocket; engines say what they do with a connection.

    Args:
        replies: How long the engine speaks, in seconds: reply by reply; the last one again and again.
        fault: What goes wrong.
    """

    replies: tuple[float, ...] = (1.0,)
    fault: Fault | None = None
    #: What clients sent but for audio, in order.
    received: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    #: What the engine sent, in order.
    sent: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    #: Connections that were refused.
    refused: int = attrs.field(default=0, init=False)
    #: Connections that are open.
    connected: int = attrs.field(default=0, init=False)
    #: Seconds of audio that clients sent.
    listened: float = attrs.field(default=0.0, init=False)
    _spoken: int = attrs.field(default=0, init=False)

    def allows(self, request: Request) -> bool:
        """Return whether address and key are right."""
        raise NotImplementedError

    async def talk(self, socket: ServerConnection) -> None:
        """Serve a connection."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a port of this machine; yield ``ws://host:port``."""
        async with serve(self._serve, "127.0.0.1", 0, process_request=self._admit) as server:
            (sock, *_) = server.sockets
            yield f"ws://127.0.0.1:{sock.getsockname()[1]}"

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        if self.allows(request):
            return None
        self.refused += 1
        return socket.respond(HTTPStatus.UNAUTHORIZED, "Wrong key or address\n")

    async def _serve(self, socket: ServerConnection) -> None:
        self.connected += 1
        try:
            await self.talk(socket)
        except ConnectionClosed:
            pass
        finally:
            self.connected -= 1

    def next_reply(self) -> tuple[float, Fault | None]:
        """Return for how many seconds to speak now, and what goes wrong in that."""
        number, self._spoken = self._spoken, self._spoken + 1
        fault = self.fault if self.fault and self.fault.reply == number else None
        return self.replies[min(number, len(self.replies) - 1)], fault

    async def speak(
        self, seconds: float, rate: int, fault: Fault | None
    ) -> AsyncIterator[bytes]:
        """Yield a reply faster than it is heard; where it is to be closed, it ends early."""
        said = 0.0
        for chunk in chunks(tone(seconds, rate), rate):
            if fault and fault.kind == "close" and said >= fault.after:
                return
            yield chunk
            said += CHUNK
            await asyncio.sleep(CHUNK / SPEED)
