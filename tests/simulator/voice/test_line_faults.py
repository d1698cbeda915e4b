"""Faults of a line: what a bot gets, and what becomes of the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from voice_bots import BREAK, BotSocket, bot, clip, sound

from telecmi_async.simulator import Callee, LineFault, Tone, dial_stream
from telecmi_async.simulator.voice.line_fault import GARBAGE_FRAMES

if TYPE_CHECKING:
    from telecmi_async.simulator import Conversation

pytestmark = pytest.mark.anyio


class Listener:
    """A bot that notes the frames of its sockets, and when they came."""

    def __init__(self) -> None:
        self.frames = list[list[tuple[float, bytes | str]]]()
        self.codes = list[int]()
        self.app = bot(self.talk)

    async def talk(self, socket: BotSocket) -> None:
        """Say something, and listen until the socket closes."""
        began, frames = anyio.current_time(), list[tuple[float, bytes | str]]()
        self.frames.append(frames)
        await socket.say(clip(sound(0.4)))
        while (frame := await socket.hear()) is not None:
            frames.append((round(anyio.current_time() - began, 3), frame))
        self.codes.append(socket.code)


async def listened(*faults: LineFault | str, **options: Any) -> tuple[Listener, Conversation]:
    """Return a bot, and its conversation with a callee whose line has faults."""
    listener = Listener()
    callee = Callee(
        says=[Tone(2)], talks_over_after=0.1, line_faults=faults, hangs_up_after=2.5
    )
    async with dial_stream(listener.app, callee=callee, **options) as voice:
        await voice.ended()
    return listener, voice.heard


def faults_of(heard: Conversation) -> list[tuple[float, str]]:
    """Return the faults on a time line."""
    return [(event.at, event.detail) for event in heard.timeline if event.what == "fault"]


async def test_a_drop_has_no_close_frame() -> None:
    """A dropped connection ends with code 1006 in the middle."""
    listener, heard = await listened("drop")

    assert listener.codes == [1006]
    assert heard.timeline[-1].detail == "the connection broke; 0.00 s unheard"
    assert (heard.length, faults_of(heard)) == (1.0, [(1.0, "drop")])


async def test_a_stall_delays_both_directions() -> None:
    """What is said in a stall arrives at its end, on both sides, and nothing is lost."""
    answers = list[float]()

    async def talk(socket: BotSocket) -> None:
        began = anyio.current_time()
        await socket.say(clip(sound(1)))
        await anyio.sleep(0.7)
        await socket.say(BREAK)
        while await socket.hear() is not None:
            answers.append(round(anyio.current_time() - began, 2))

    fault = LineFault("stall", after=0.6, seconds=0.3)
    callee = Callee(line_faults=[fault], hangs_up_after=1.5)
    async with dial_stream(bot(talk), callee=callee) as voice:
        await voice.ended()

    assert [event.at for event in voice.heard.timeline if event.what == "break"] == [0.9]
    assert (answers.count(0.7), answers.count(0.9), len(answers)) == (29, 16, 75)


async def test_a_slow_reader_is_sent_to_until_it_is_full() -> None:
    """A bot that sends to a far end that does not read has to wait after 1,000 messages."""
    sent = list[float]()

    async def talk(socket: BotSocket) -> None:
        began = anyio.current_time()
        await anyio.sleep(0.2)
        for _ in range(1_500):
            await socket.say(clip(b""))
            sent.append(round(anyio.current_time() - began, 2))

    fault = LineFault("slow_reader", after=0.1, seconds=2)
    async with dial_stream(bot(talk), callee=Callee(line_faults=[fault])) as voice:
        await voice.ended()

    assert (sent[999], sent[1_000], len(sent)) == (0.2, 2.1, 1_500)


async def test_a_bot_that_waits_is_let_go_at_the_end() -> None:
    """The end of the line wakes a bot whose messages nobody reads."""
    ends = list[str]()

    async def talk(socket: BotSocket) -> None:
        try:
            while True:
                await socket.say(clip(b""))
        except OSError as error:
            ends.append(str(error))

    fault = LineFault("slow_reader", after=0.02, seconds=9)
    callee = Callee(line_faults=[fault], hangs_up_after=1)
    async with dial_stream(bot(talk), callee=callee) as voice:
        await voice.ended()

    assert ends == ["the far end closed the connection"]


async def test_garbage_is_sent_between_frames() -> None:
    """Frames that mean nothing come in between, and leave the samples aligned."""
    listener, _ = await listened("garbage")

    frames = [frame for _, frame in listener.frames[0]]
    binary = [frame for frame in frames if isinstance(frame, bytes)]
    assert [frame for frame in frames if frame in GARBAGE_FRAMES] == list(GARBAGE_FRAMES)
    assert len(b"".join(binary)) % 2 == 0


async def test_a_second_connection_gets_the_audio() -> None:
    """From then on the newest connection gets the callee's audio; both are heard."""
    listener, heard = await listened("second_connection")

    first, second = listener.frames
    assert (first[-1][0], len(first)) == (1.0, 50)
    assert (second[0][0], len(second)) == (0.02, 75)
    assert heard.seconds == 0.8
    assert listener.codes == [1000, 1000]


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_stream_lasts_until_its_last_connection_closes(*, replaced: bool) -> None:
    """A bot may close either connection; the other goes on."""
    sockets, counts = list[BotSocket](), list[int]()

    async def talk(socket: BotSocket) -> None:
        sockets.append(socket)
        if len(sockets) == 2:
            await sockets[0 if replaced else 1].close()
        counts.append(len(await socket.hear_all()))

    fault = LineFault("second_connection", after=0.5)
    callee = Callee(line_faults=[fault], hangs_up_after=1)
    async with dial_stream(bot(talk), callee=callee) as voice:
        await voice.ended()

    assert voice.heard.timeline[-1].detail == "the callee; 0.00 s unheard"
    assert sum(counts) >= 49


async def test_a_second_connection_may_be_refused() -> None:
    """A refusal of the second connection changes nothing."""
    accepted = list[int]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if accepted:
            await send({"type": "websocket.close"})
            return
        accepted.append(1)
        await bot(BotSocket.hear_all)(scope, receive, send)

    callee = Callee(line_faults="second_connection", hangs_up_after=1.5)
    async with dial_stream(app, callee=callee) as voice:
        await voice.ended()

    assert faults_of(voice.heard) == [
        (1.0, "second_connection"),
        (1.02, "second_connection: the app refused the connection: HTTP 403"),
    ]
    assert voice.heard.length == 1.5


async def test_the_rate_may_be_wrong() -> None:
    """For a while frames have the samples of twice the rate."""
    listener, _ = await listened(LineFault("wrong_rate", after=0.5, seconds=0.5))

    sizes = [len(frame) for _, frame in listener.frames[0]]
    assert (sizes[:25], sizes[25:50], set(sizes[50:])) == ([320] * 25, [640] * 25, {320})


async def test_the_rate_may_be_half() -> None:
    """At 16 kHz the wrong rate is 8 kHz."""
    listener, _ = await listened("wrong_rate", rate=16_000)

    assert {len(frame) for _, frame in listener.frames[0]} == {640, 320}


async def test_frames_may_be_cut_anywhere() -> None:
    """Odd frames hold the same bytes as the callee said, in pieces that follow from the seed."""
    first, heard = await listened(LineFault("odd_frames", after=0.1, seconds=2))
    again, _ = await listened(LineFault("odd_frames", after=0.1, seconds=2))
    other, _ = await listened(LineFault("odd_frames", after=0.1, seconds=2), seed=1)

    sizes = [len(frame) for _, frame in first.frames[0]]
    assert (
        b"".join(frame for _, frame in first.frames[0] if isinstance(frame, bytes))
        == (heard.said[: sum(sizes)])
    )
    assert sum(size % 2 for size in sizes) > 20
    assert max(sizes[5:100]) <= 640
    assert len(heard.said) == sum(sizes)
    assert first.frames == again.frames != other.frames
