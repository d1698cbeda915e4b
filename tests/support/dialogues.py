"""Random dialogues of a voice bot with the simulator's callee, and what became of each.

Each sentence of the bot has samples of a value of its own, so the callee's audio shows how much of
which sentence was heard, and when: the truth that the session's estimate is compared with.
Messages and frames are late by a random time in both directions, in order, as on a network.
"""

from __future__ import annotations

import io
import random
import struct
import wave
from array import array
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from attrs import field, frozen

from telecmi_async import Hangup, Play, Receiver, StreamClosed
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Callee, Conversation, Silence, Simulator, Tone
from telecmi_async.voice import Heard, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from telecmi_async.voice import StreamSession

FROM, TO = 19170000000, 19170000001
URL = "wss://bot.example/talk"
#: How late a message or frame may be, in seconds, one way.
LATEST = 0.025
# A value that stands for no sentence is silence to the simulator; the callee's is not heard.
_FIRST_LEVEL, _STEP = 1_000, 100
_FORMS = ("raw", "wav", "fast pieces", "slow pieces")


@frozen
class Sentence:
    """Something the bot says."""

    number: int
    seconds: float
    form: str
    #: How long the bot is silent afterwards.
    pause: float

    def samples(self, rate: int) -> int:
        """Return how many samples it has."""
        return round(self.seconds * rate)

    def pcm(self, rate: int) -> bytes:
        """Return its samples."""
        level = _FIRST_LEVEL + _STEP * self.number
        return struct.pack("<h", level) * self.samples(rate)


@frozen
class Dialogue:
    """What both are going to say, and how the bot ends the call."""

    seed: int
    rate: int
    sentences: tuple[Sentence, ...]
    callee: Callee
    #: By hand: after how many seconds the callee says something for how long.
    words: tuple[tuple[float, float], ...]
    #: After how much speech the bot takes the callee for speaking, in seconds.
    notices: float
    ending: str
    #: Whether the bot waits until its goodbye was heard before it ends the call.
    waits: bool

    @classmethod
    def of(cls, seed: int) -> Dialogue:
        """Return the dialogue of a seed."""
        draw = random.Random(seed)
        sentences = [
            Sentence(
                number,
                round(draw.uniform(0.2, 4.0), 3),
                draw.choice(_FORMS),
                draw.choice((0.0, draw.uniform(0.0, 1.5))),
            )
            for number in range(draw.randint(2, 6))
        ]
        says: list[Any] = []
        for _ in range(draw.randint(0, 3)):
            says += [Tone(draw.uniform(0.35, 2.0)), Silence(draw.uniform(0.02, 0.5))]
        leaves = draw.random() < 0.15
        callee = Callee(
            ring=1,
            says=says,
            talks_over_after=draw.choice((None, draw.uniform(0.02, 3.0))),
            hangs_up_after=draw.uniform(0.5, 12.0) if leaves else None,
        )
        words = [
            (draw.uniform(0.0, 10.0), draw.uniform(0.35, 1.0))
            for _ in range(draw.randint(0, 3))
        ]
        ending = draw.choice(("hang_up", "transfer", "say", "drain and stop"))
        return cls(
            seed,
            draw.choice((8_000, 16_000)),
            tuple(sentences),
            callee,
            tuple(sorted(words)),
            draw.uniform(0.0, 0.2),
            ending,
            draw.random() < 0.5,
        )


@frozen
class Held:
    """A dialogue that was held."""

    dialogue: Dialogue
    conversation: Conversation
    #: Sentences that were said to their end or to an interruption, with the session's estimate.
    said: list[tuple[Sentence, Heard]]
    levels: array[int] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        levels = array("h")
        levels.frombytes(self.conversation.audio)
        object.__setattr__(self, "levels", levels)

    @property
    def complete(self) -> bool:
        """Whether the bot came to its end, so that the last sentence is the goodbye."""
        return len(self.said) == len(self.dialogue.sentences)

    def heard(self, sentence: Sentence, *, since: float = 0.0) -> float:
        """Return how many seconds of a sentence the callee heard."""
        level = _FIRST_LEVEL + _STEP * sentence.number
        rate = self.dialogue.rate
        return self.levels[round(since * rate) :].count(level) / rate

    def overrun(self) -> float:
        """Return the most that was heard of a sentence after the callee began to talk over it.

        The goodbye is not interrupted.
        """
        worst, rate = 0.0, self.dialogue.rate
        for barge_in in self.conversation.barge_ins:
            number = (self.levels[round(barge_in.at * rate)] - _FIRST_LEVEL) // _STEP
            if 0 <= number < len(self.dialogue.sentences) - 1:
                sentence = self.dialogue.sentences[number]
                worst = max(worst, self.heard(sentence, since=barge_in.at))
        return worst

    def error(self) -> float:
        """Return by how many seconds the worst estimate of what was heard is wrong."""
        return max(
            (abs(heard.seconds - self.heard(sentence)) for sentence, heard in self.said),
            default=0.0,
        )

    @property
    def trace(self) -> tuple[object, ...]:
        """All that must be the same in each run."""
        talk = self.conversation
        return (talk.timeline, talk.gaps, talk.overlap, talk.audio, talk.said, *self.said)


async def hold(dialogue: Dialogue) -> Held:
    """Let a call with this dialogue take place."""
    said: list[tuple[Sentence, Heard]] = []
    streams = Streams(URL)
    bot = _Bot(dialogue, said)
    streams.on_stream(bot.talk)
    simulator = Simulator(
        seed=dialogue.seed,
        callees={TO: dialogue.callee},
        streams=partial(late, streams.asgi, random.Random(dialogue.seed)),
    )
    async with simulator.service(
        from_=FROM, events=Receiver(new_token()), streams=streams
    ) as service:
        call = await service.make_call(to=TO, pcmo=streams.flow(rate=dialogue.rate))
        truth = simulator.call(call.request_id)
        with anyio.fail_after(600):
            await bot.begun.wait()
            at = 0.0
            for after, seconds in dialogue.words:
                await anyio.sleep(after - at)
                truth.voice.say(Tone(seconds))
                at = after
            await call.ended()
    assert streams.counts.failed == 0
    return Held(dialogue, truth.heard, said)


class _Bot:
    """A bot that says its sentences, and stops when the callee speaks."""

    def __init__(self, dialogue: Dialogue, said: list[tuple[Sentence, Heard]]) -> None:
        self._plan = dialogue
        self._said = said
        self.begun = anyio.Event()
        self._speaking = False
        self._draw = random.Random(-dialogue.seed)

    async def talk(self, session: StreamSession) -> None:
        self.begun.set()
        *first, goodbye = self._plan.sentences
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, session)
            for sentence in first:
                await self._say(session, sentence)
                await anyio.sleep(sentence.pause)
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._say, session, goodbye)
            await anyio.sleep(goodbye.seconds + 2 if self._plan.waits else 0.01)
            await self._end(session)

    async def _end(self, session: StreamSession) -> None:
        match self._plan.ending:
            case "hang_up":
                await session.hang_up()
            case "transfer":
                await session.transfer(FROM + 2)
            case "say":
                await session.say(Play("bye.wav"), Hangup())
                await session.hang_up()
            case _:
                await session.drain()
                await anyio.sleep(0.2)
                await session.stop()

    async def _say(self, session: StreamSession, sentence: Sentence) -> None:
        self._speaking = True
        try:
            heard = await session.play(self._audio(sentence, session.rate))
        except StreamClosed:
            self._said.append((sentence, await session.interrupt()))
            raise
        finally:
            self._speaking = False
        self._said.append((sentence, heard))

    def _audio(self, sentence: Sentence, rate: int) -> bytes | AsyncIterator[bytes]:
        pcm = sentence.pcm(rate)
        match sentence.form:
            case "raw":
                return pcm
            case "wav":
                whole = io.BytesIO()
                with wave.open(whole, "wb") as file:
                    file.setparams((1, 2, rate, 0, "NONE", ""))
                    file.writeframes(pcm)
                return whole.getvalue()
            case form:
                return self._pieces(pcm, rate, slow=form == "slow pieces")

    async def _pieces(self, pcm: bytes, rate: int, *, slow: bool) -> AsyncIterator[bytes]:
        while pcm:
            size = self._draw.randint(1, rate)  # half a second at most, and half samples
            yield pcm[:size]
            pcm = pcm[size:]
            await anyio.sleep(size / rate / 2 * self._draw.uniform(0.0, 1.5 if slow else 0.5))

    async def _listen(self, session: StreamSession) -> None:
        spoken = 0.0
        async for pcm in session:
            audible = max(memoryview(pcm).cast("h")) > _STEP
            spoken = spoken + len(pcm) / 2 / session.rate if audible else 0.0
            if self._speaking and spoken > self._plan.notices:
                await session.interrupt()
                spoken = 0.0


# -- the network


class _Way:
    """One direction: what is put in comes out later, in order."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._under_way: deque[tuple[float, Any]] = deque()
        self._news = anyio.Event()
        self._due = 0.0

    def put(self, item: Any) -> None:
        now = anyio.current_time()
        self._due = max(self._due, now + self._draw.uniform(0.0, LATEST))
        self._under_way.append((self._due, item))
        self._news.set()

    async def get(self) -> Any:
        while not self._under_way:
            self._news = anyio.Event()
            await self._news.wait()
        await anyio.sleep_until(self._under_way[0][0])
        return self._under_way.popleft()[1]


async def late(
    app: Callable[..., Awaitable[object]],
    draw: random.Random,
    scope: Any,
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[object]],
) -> None:
    """Serve a WebSocket by an ASGI app, with frames that are late in both directions."""
    arriving, leaving = _Way(draw), _Way(draw)

    async def carry_in() -> None:
        while True:
            arriving.put(await receive())

    async def carry_out() -> None:
        while True:
            message = await leaving.get()
            with suppress(OSError):
                await send(message)
            if message["type"] == "websocket.close":
                return

    async def take(message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        leaving.put(message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carry_in)
        async with anyio.create_task_group() as out:
            out.start_soon(carry_out)
            await app(scope, arriving.get, take)
        tasks.cancel_scope.cancel()
