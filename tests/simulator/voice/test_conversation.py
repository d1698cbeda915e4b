"""What a callee hears: turns, interruptions, and the measures of a conversation."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from voice_bots import BREAK, BotSocket, bot, clip, sound

from telecmi_async.simulator import (
    BargeIn,
    Callee,
    Conversation,
    Gap,
    Silence,
    TalkEvent,
    Tone,
    dial_stream,
)
from telecmi_async.simulator.voice.speech import mix
from telecmi_async.testing import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from telecmi_async.testing.clock import Backend

pytestmark = pytest.mark.anyio


async def talked(
    talk: Callable[[BotSocket], Awaitable[object]], callee: Callee | None = None, **options: Any
) -> Conversation:
    """Return the conversation of a bot and a callee that is over."""
    async with dial_stream(bot(talk), callee=callee, **options) as voice:
        await voice.ended()
    return voice.heard


def spoken(heard: Conversation, who: str) -> list[tuple[float, float]]:
    """Return who spoke from when until when."""
    return [(event.at, event.until) for event in heard.timeline if event.what == who]


def notes(heard: Conversation) -> list[tuple[float, str, str]]:
    """Return what happened besides speech."""
    return [
        (event.at, event.what, event.detail)
        for event in heard.timeline
        if event.what not in {"bot", "callee"}
    ]


async def interrupted_bot(socket: BotSocket) -> None:
    """Speak for five seconds, stop when the callee speaks, say goodbye, and close."""
    await socket.say(clip(sound(5)))
    await socket.hear_voice()
    await socket.say(BREAK, clip(sound(1)))
    await anyio.sleep(1.1)
    await socket.close()


async def test_a_bot_is_heard_until_its_break_arrives() -> None:
    """A callee that talks over a bot hears it until ``break`` arrives, and then its next words."""
    callee = Callee(says=[Tone(0.5)], talks_over_after=1.2)

    heard = await talked(interrupted_bot, callee)

    assert heard.first_audio == 0.02
    assert spoken(heard, "bot") == [(0.02, 1.26), (1.26, 2.26)]
    assert spoken(heard, "callee") == [(1.22, 1.72)]
    assert heard.barge_ins == (BargeIn(1.22, 0.04),)
    assert heard.overlap == 0.5
    assert heard.seconds == 2.24
    assert heard.gaps == ()
    assert notes(heard) == [
        (1.26, "break", "3.76 s unheard"),
        (2.36, "closed", "by the bot, code 1000; 0.00 s unheard"),
    ]


def test_each_run_has_the_same_trace() -> None:
    """A hundred runs, on both event loops, give one time line and the same audio."""

    async def once() -> tuple[object, ...]:
        heard = await talked(interrupted_bot, Callee(says=[Tone(0.5)], talks_over_after=1.2))
        return heard.timeline, heard.audio, heard.said

    backends: list[Backend] = ["asyncio", "trio"]

    assert len({run(once, backend=name) for name in backends for _ in range(50)}) == 1


async def test_without_a_break_a_bot_goes_on() -> None:
    """A bot that is not interrupted is heard in full, and the delay is the rest of its words."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(3)))
        await socket.hear_all()

    heard = await talked(talk, Callee(says=[Tone(0.2)], talks_over_after=1, hangs_up_after=4))

    assert heard.barge_ins == (BargeIn(1.02, 2.0),)
    assert heard.seconds == 3
    assert notes(heard)[-1] == (4.0, "closed", "the callee; 0.00 s unheard")


async def test_a_callee_waits_for_its_turn() -> None:
    """A callee speaks when the bot has been silent for 0.7 s, or said nothing for 4 s."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(1)))
        await socket.hear_all()

    heard = await talked(talk, Callee(says=[Tone(0.5), Tone(0.4)]))

    assert spoken(heard, "bot") == [(0.02, 1.02)]
    assert spoken(heard, "callee") == [(1.72, 2.22), (6.22, 6.62)]
    assert heard.barge_ins == ()


async def test_a_callee_gives_up() -> None:
    """A callee hangs up after 20 seconds in which neither speaks."""
    heard = await talked(BotSocket.hear_all)

    assert notes(heard) == [(20.02, "closed", "the callee; 0.00 s unheard")]
    assert heard.first_audio is None


async def test_an_early_sound_makes_a_callee_speak_over_the_bot_at_once() -> None:
    """Only the first words are spoken over the bot; the others wait for their turn."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(2)))
        await socket.hear_all()

    callee = Callee(says=[Tone(0.2), Tone(0.3)], talks_over_after=0.5, hangs_up_after=4)
    heard = await talked(talk, callee)

    assert spoken(heard, "callee") == [(0.52, 0.72), (2.72, 3.02)]


async def test_frames_do_not_drift() -> None:
    """After two minutes, frame 6,000 is sent at second 120."""
    times = list[float]()

    async def talk(socket: BotSocket) -> None:
        began = anyio.current_time()
        while await socket.hear() is not None:
            times.append(anyio.current_time() - began)

    await talked(talk, Callee(says=[Silence(120)], hangs_up_after=120.1), keep_audio=False)

    assert max(abs(at - 0.02 * (n + 1)) for n, at in enumerate(times)) < 1e-6
    assert len(times) == 6_005


async def test_time_is_scaled() -> None:
    """With ``speed=10`` a conversation of four seconds takes 0.4 of the event loop's."""
    began = anyio.current_time()

    heard = await talked(BotSocket.hear_all, Callee(hangs_up_after=4), speed=10)

    assert heard.length == 4
    assert anyio.current_time() - began == pytest.approx(0.4)


async def test_gaps_are_where_the_queue_ran_dry() -> None:
    """Silence of up to a second between clips is a gap; longer silence is a pause."""

    async def talk(socket: BotSocket) -> None:
        for pause in (0.5, 1.5, 0.3):
            await socket.say(clip(sound(0.25)))
            await anyio.sleep(pause)
        await socket.close()

    heard = await talked(talk)

    assert heard.gaps == (Gap(0.28, 0.24),)
    assert spoken(heard, "bot") == [(0.02, 0.78), (2.02, 2.28)]


async def test_a_break_leaves_no_gap() -> None:
    """What comes after a break belongs to another sentence."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(0.1)))
        await anyio.sleep(0.2)
        await socket.say(BREAK, clip(sound(0.1)))
        await anyio.sleep(0.2)
        await socket.close()

    heard = await talked(talk)

    assert heard.gaps == ()
    assert spoken(heard, "bot") == [(0.02, 0.12), (0.22, 0.32)]


async def test_a_pause_after_a_break_is_no_gap() -> None:
    """A bot that was interrupted may think for a moment."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(1)))
        await anyio.sleep(0.2)
        await socket.say(BREAK)
        await anyio.sleep(0.5)
        await socket.say(clip(sound(0.1)))
        await anyio.sleep(0.2)
        await socket.close()

    heard = await talked(talk)

    assert heard.gaps == ()
    assert spoken(heard, "bot") == [(0.02, 0.22), (0.72, 0.82)]


async def test_silence_of_a_bot_is_no_speech() -> None:
    """A bot that sends silence lets the callee speak, and its silence counts as played."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(0.5) + bytes(16_000 * 2) + sound(0.5)))
        await socket.hear_all()

    heard = await talked(talk, Callee(says=[Tone(0.2)], hangs_up_after=4))

    assert spoken(heard, "bot") == [(0.02, 0.52), (2.52, 3.02)]
    assert spoken(heard, "callee") == [(1.22, 1.42)]
    assert (heard.seconds, heard.gaps) == (3, ())


async def test_both_sides_are_saved(tmp_path: Path) -> None:
    """The WAV file has the callee on the left, and on the right what was heard."""
    heard = await talked(interrupted_bot, Callee(says=[Tone(0.5)], talks_over_after=1.2))

    heard.save(tmp_path / "talk.wav")

    with wave.open(str(tmp_path / "talk.wav")) as file:
        parameters, samples = file.getparams()[:4], file.readframes(file.getnframes())
    assert parameters == (2, 2, 8_000, round(heard.length * 8_000))
    assert samples[0::4] == heard.said[0::2]
    assert samples[3::4] == heard.audio[1::2]
    assert heard.audio[320:340] == sound(0.1)[:20]


async def test_audio_need_not_be_kept(tmp_path: Path) -> None:
    """Without audio, time line and measures are the same, and nothing can be saved."""
    callee = Callee(says=[Tone(0.5)], talks_over_after=1.2)

    heard = await talked(interrupted_bot, callee, keep_audio=False)

    assert (heard.audio, heard.said, heard.barge_ins) == (b"", b"", (BargeIn(1.22, 0.04),))
    with pytest.raises(RuntimeError, match="keep_audio"):
        heard.save(tmp_path / "talk.wav")


async def test_a_test_talks_by_hand() -> None:
    """`say` speaks at once; `listen` returns what is heard until the bot is silent."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(sound(1)))
        await socket.hear_voice()
        await socket.say(clip(sound(0.5)))
        await socket.hear_all()

    async with dial_stream(bot(talk)) as voice:
        greeting = await voice.listen()
        voice.say(Tone(0.3), Silence(0.2))
        reply = await voice.listen(silence=0.4)
        voice.hang_up()
        await voice.ended()

    assert greeting.startswith(bytes(320) + sound(1)[:320])
    assert len(greeting) == 27_520  # that is 1.72 s
    assert (
        len(reply) == 15_040
    )  # the bot waits for 0.04 s, speaks for 0.5 s and is silent for 0.4 s
    assert [event.what for event in voice.heard.timeline] == ["bot", "callee", "bot", "closed"]


async def test_listening_ends_with_the_stream_and_its_timeout() -> None:
    """`listen` returns after its time-out, at the end of the stream, and after it at once."""

    async def talk(socket: BotSocket) -> None:
        await anyio.sleep(3)
        await socket.close()

    async with dial_stream(bot(talk)) as voice:
        first = await voice.listen(timeout=1)
        second = await voice.listen()
        third = await voice.listen()

    assert [round(len(each) / 16_000, 2) for each in (first, second, third)] == [1.02, 2.0, 0]


async def test_an_echo_is_sent_back() -> None:
    """With ``both``, a bot is sent its own words, mixed with the callee's."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(clip(b"\x10\x27" * 8_000))
        frames.extend(await socket.hear_all())

    frames = list[Any]()
    await talked(
        talk,
        Callee(says=[Tone(0.5)], talks_over_after=0.5, hangs_up_after=1),
        both=True,
    )

    assert frames[0] == bytes(320)
    assert frames[1] == b"\x10\x27" * 160
    assert frames[26] == mix(frames[1], Tone(0.5).pcm(8_000)[:320])
    assert all(isinstance(frame, bytes) and len(frame) == 320 for frame in frames)


async def test_times_of_events_are_in_order() -> None:
    """Events come in order, and what happens in a moment comes before what is said then."""
    heard = await talked(interrupted_bot, Callee(says=[Tone(0.5)], talks_over_after=1.2))

    assert [event.at for event in heard.timeline] == sorted(e.at for e in heard.timeline)
    assert heard.timeline[2] == TalkEvent(1.26, "break", 1.26, "3.76 s unheard")
