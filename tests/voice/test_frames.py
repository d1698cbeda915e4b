"""Frames of any kind, in any order, from peers that never read or never stop."""

from __future__ import annotations

import os
import random
import tracemalloc
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from stream_peer import StreamPeer, silence, talk

from telecmi_async import (
    ConfigurationError,
    Hangup,
    InvalidAudio,
    InvalidCall,
    Play,
    PlayGetInput,
    StreamClosed,
)
from telecmi_async.testing import run
from telecmi_async.voice.protocol import RATES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from telecmi_async.testing.clock import Backend
    from telecmi_async.voice import StreamSession

pytestmark = pytest.mark.anyio

#: How many sequences of frames are tried; ``nox -s crash`` asks for 100,000.
SEQUENCES = int(os.environ.get("FRAME_SEQUENCES", "300"))
#: How many frames a peer sends that never stops.
FLOOD = 4_000
MB = 2**20

TEXTS = (
    "",
    "{",
    "null",
    '{"event":"start","metadata":{"a":[1]}}',
    '{"action":"break"}',
    '[{"action":"hangup"}]',
    "\x00\ud800" * 50,
    "[" * 5_000,
    "é" * 9_000,
)
# Bytes that a file begins with, too: what a call sends is never taken for one.
STARTS = (b"", b"", b"RIFF", b"ID3", b"OggS", b"\x7fELF", b"\xff\xfb")
SAMPLES = random.Random(0).randbytes(40_000)
#: What a program does.
STEPS = (
    "play", "play", "pieces", "nonsense", "say",
    "interrupt", "drain", "pause", "resume", "stop", "hang_up",
)  # fmt: skip
#: What a method may raise; `InvalidAudio` and the like only where what it is given is invalid.
OWN = (StreamClosed, InvalidAudio, InvalidCall, ConfigurationError)


def frames_of(draw: random.Random) -> list[bytes | str]:
    """Return a sequence of frames."""
    found: list[bytes | str] = []
    for _ in range(draw.choice((0, 1, 5, 30))):
        if draw.random() < 0.2:
            found.append(draw.choice(TEXTS))
        else:
            size = draw.choice((0, 1, 2, 319, 320, 640, draw.randint(0, 5_000)))
            at = draw.randint(0, len(SAMPLES) - size)
            found.append(draw.choice(STARTS) + SAMPLES[at : at + size])
    return found


class _CountingPeer(StreamPeer):
    """A peer that counts the bytes of audio that were taken from it."""

    taken = 0

    async def receive(self) -> bytes | str | None:
        frame = await super().receive()
        if isinstance(frame, bytes):
            self.taken += len(frame)
        return frame


class Sequence:
    """One session: its frames, what the program does, and what came of both."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.frames = frames_of(self.draw)
        self.peer = _CountingPeer()
        self.read = 0
        self.dropped = 0
        self.faults: list[str] = []

    async def run(self) -> None:
        """Serve the session to its end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send)
            streams = await talk(
                self.talk,
                self.peer,
                rate=self.draw.choice(RATES),
                inbox=self.draw.choice((0.1, 10.0)),
            )
        if streams.counts.failed or len(self.peer.codes) != 1:
            self.faults.append(f"{streams.counts}, closed with {self.peer.codes}")
        lost = self.peer.taken - self.peer.taken % 2 - self.read - self.dropped
        if lost:
            self.faults.append(f"{lost} bytes of the call's audio are missing")

    async def _send(self) -> None:
        for frame in self.frames:
            self.peer.say(frame)
            if self.draw.random() < 0.2:
                await anyio.sleep(self.draw.uniform(0.0, 0.5))
        if self.draw.random() < 0.2:
            self.peer.reads = len(self.peer.sent)
        self.peer.leave()

    async def talk(self, session: StreamSession) -> None:
        """Do anything; then read what is left."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, session)
            for _ in range(self.draw.randint(0, 4)):
                tasks.start_soon(self._do, session, self.draw.choice(STEPS))
                await anyio.sleep(self.draw.choice((0.0, 0.05)))
        if len(session.texts) > 100 or any(len(text) > 4_096 for text in session.texts):
            self.faults.append("texts are not bounded")
        self.dropped = round(session.dropped * session.rate) * 2

    async def _read(self, session: StreamSession) -> None:
        async for pcm in session:
            if not pcm or len(pcm) % 2:
                self.faults.append(f"a piece of {len(pcm)} bytes")
            self.read += len(pcm)
            if self.draw.random() < 0.1:
                await anyio.sleep(0.3)

    async def _do(self, session: StreamSession, step: str) -> None:
        try:
            match step:
                case "play":
                    await session.play(self._bytes())
                case "pieces":
                    await session.play(self._pieces(), rate=self.draw.choice((None, *RATES)))
                case "nonsense":
                    await session.play(self.draw.choice((None, "a", 1)))  # type: ignore[arg-type]  # on purpose
                case "say":
                    actions: tuple[Any, ...] = (
                        Play("a.wav"),
                        Hangup(),
                        PlayGetInput("a.wav"),
                        {"action": 1},
                    )
                    await session.say(*self.draw.sample(actions, 2))
                case _:
                    await getattr(session, step)()
        except OWN:
            pass
        except Exception as error:  # noqa: BLE001  # this is what is looked for
            self.faults.append(f"{step} raised {error!r}")

    def _bytes(self) -> bytes:
        return self.draw.choice(STARTS) + SAMPLES[: self.draw.randint(0, 9_000)]

    async def _pieces(self) -> AsyncGenerator[Any]:
        for _ in range(self.draw.randint(0, 4)):
            yield self.draw.choice((b"", b"a", SAMPLES[:333], SAMPLES[:4_000]))
            await anyio.sleep(self.draw.choice((0.0, 0.05)))


async def try_sequences(seeds: range) -> dict[int, list[str]]:
    """Try sequences, and return the faults by seed."""
    faults: dict[int, list[str]] = {}
    for seed in seeds:
        sequence = Sequence(seed)
        with anyio.fail_after(600):
            await sequence.run()
        if sequence.faults:
            faults[seed] = sequence.faults
    return faults


@pytest.mark.parametrize(("backend", "share"), [("asyncio", 0.8), ("trio", 0.2)])
def test_random_sequences_raise_own_errors_only(backend: Backend, share: float) -> None:
    """Whatever comes: the program's errors are this package's, and no audio is lost unseen."""
    seeds = range(int(SEQUENCES * share)) if share > 0.5 else range(-int(SEQUENCES * share), 0)

    assert not run(partial(try_sequences, seeds), backend=backend)


# -- memory


@contextmanager
def bounded(most: float) -> Generator[None]:
    """Fail if more memory is taken at any moment than so many MB."""
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < most * MB


async def test_a_peer_that_never_reads_costs_little() -> None:
    """What is played waits at its source until the session is closed."""
    peer = StreamPeer(reads=3)
    made = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield silence(0.1)

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(session.play, endless())

    with bounded(4):
        streams = await talk(handler, peer)

    assert streams.counts.stalled == 1
    assert made < 150


class _Flood(StreamPeer):
    """A peer whose next frame is there at once, always."""

    def __init__(self, frame: bytes | str) -> None:
        super().__init__()
        self._frame = frame
        self.left = FLOOD

    async def receive(self) -> bytes | str | None:
        self.left -= 1
        return None if self.left < 0 else self._frame


@pytest.mark.parametrize(
    "frame",
    [silence(0.1), b"", b"a", "{}", "\U0001f600" * 100_000],
    ids=lambda frame: f"{type(frame).__name__} {len(frame)}",
)
async def test_a_peer_that_never_stops_costs_little(frame: bytes | str) -> None:
    """What the program does not read is dropped, and other tasks take their turns meanwhile."""
    peer = _Flood(frame)
    turns = 0

    async def handler(session: StreamSession) -> None:
        nonlocal turns
        while not session.closed:
            turns += 1
            await anyio.lowlevel.checkpoint()

    with bounded(5):
        await talk(handler, peer)

    assert turns > FLOOD / 100
