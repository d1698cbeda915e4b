"""Bots of Pipecat: the serializer in the framework's own pipeline and WebSocket transport."""

from __future__ import annotations

import base64
import json
import warnings
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pipecat_bot import PipecatBot

from telecmi_async import Flow
from telecmi_async.errors import ConfigurationError, InvalidAudio, InvalidCall
from telecmi_async.simulator import Callee, Tone, dial_stream

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Pipecat's own: audioop, and others
    from pipecat.frames.frames import (
        CancelFrame,
        EndFrame,
        InputAudioRawFrame,
        InterruptionFrame,
        OutputAudioRawFrame,
        OutputTransportMessageFrame,
        OutputTransportMessageUrgentFrame,
        StartFrame,
    )

    from telecmi_async.voice.pipecat import TelecmiFrameSerializer, _SpeechEnded, flow_frame

if TYPE_CHECKING:
    from telecmi_async.simulator import CallVoice

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
]

HANG_UP = '[{"action":"hangup"}]'
BREAK = '{"action":"break"}'


def seconds_in(messages: list[str | None]) -> float:
    """Return how much audio messages have."""
    audio = [json.loads(each)["data"] for each in messages if each and "streamAudio" in each]
    bytes_at = [(len(base64.b64decode(d["audioData"])), int(d["sampleRate"])) for d in audio]
    return sum(size / 2 / rate for size, rate in bytes_at)


def actions_in(messages: list[str | None]) -> list[str]:
    """Return the messages that have no audio."""
    return [each for each in messages if each and "streamAudio" not in each]


def _ended(at: int) -> _SpeechEnded:
    return _SpeechEnded({"label": "rtvi-ai", "ended": at})


async def talk(bot: PipecatBot, callee: Callee | None = None) -> CallVoice:
    """Connect a callee to a bot until the stream is over."""
    async with dial_stream(bot.app, callee=callee, rate=bot.rate) as voice:
        with anyio.fail_after(20):
            await voice.ended()
    return voice


@pytest.mark.parametrize(
    ("rate", "rates", "params"),
    [
        (8000, (16000, 24000), {}),
        (16000, (16000, 24000), {}),
        (16000, (8000, 16000), {}),
        (8000, (8000, 8000), {}),
        (8000, (24000, 24000), {"audio_out_sample_rate": 8000}),
    ],
)
async def test_speech_is_heard_in_full(
    rate: int, rates: tuple[int, int], params: dict[str, Any]
) -> None:
    """At any rates all that a bot says is heard, without what follows, before it hangs up."""

    async def script(bot: PipecatBot) -> None:
        await bot.say(1.0)
        await bot.end()

    bot = PipecatBot(script, rate=rate, rates=rates, **params)
    voice = await talk(bot)
    (spoken,) = voice.heard.bot.utterances

    assert (spoken[1] - spoken[0]) * 0.02 == pytest.approx(1.0, abs=0.1)
    assert actions_in(bot.messages) == [HANG_UP]
    assert bot.messages[-1] == HANG_UP


async def test_the_end_of_speech_is_not_held_back() -> None:
    """What a resampler holds is sent when speech ends, and not when the bot speaks again."""
    sent: list[float] = []

    async def script(bot: PipecatBot) -> None:
        for _ in range(2):
            await bot.say(0.6)
            await anyio.sleep(1.2)
            sent.append(seconds_in(bot.messages))
        await bot.end()

    bot = PipecatBot(script)
    await talk(bot)

    assert sent == [pytest.approx(0.6), pytest.approx(1.2)]


async def test_speech_that_goes_on_at_once_is_not_torn() -> None:
    """A sentence that follows without a pause takes the end of the one before with it."""

    async def script(bot: PipecatBot) -> None:
        await bot.say(0.5, 0.5, 0.5)
        await bot.end()

    bot = PipecatBot(script, audio_out_end_silence_secs=0)
    voice = await talk(bot)
    (spoken,) = voice.heard.bot.utterances

    assert seconds_in(bot.messages) == pytest.approx(1.5)
    assert (spoken[1] - spoken[0]) * 0.02 == pytest.approx(1.5, abs=0.15)


async def test_an_interruption_empties_the_far_end() -> None:
    """A caller who talks over the bot is no longer talked to, and hears the answer in full."""

    async def greet(bot: PipecatBot) -> None:
        await bot.say(5.0)

    async def answer(bot: PipecatBot, what: str) -> None:
        if what == "stopped":
            await bot.say(0.6)
            await bot.end()

    bot = PipecatBot(greet, rate=16000, on_turn=answer)
    voice = await talk(bot, Callee(says=[Tone(0.5)], talks_over_after=1.0))
    (barge_in,) = voice.heard.barge_ins
    greeting, reply = voice.heard.bot.utterances

    assert barge_in.delay < 1.0
    assert (greeting[1] - greeting[0]) * 0.02 < 2.5
    assert (reply[1] - reply[0]) * 0.02 == pytest.approx(0.6, abs=0.15)
    assert actions_in(bot.messages) == [BREAK, HANG_UP]


async def test_the_caller_is_heard_in_full() -> None:
    """The pipeline gets what the caller says at its own rate, but for what a resampler holds."""

    async def silent(bot: PipecatBot) -> None:
        pass

    async def end(bot: PipecatBot, what: str) -> None:
        if what == "stopped":
            await bot.end()

    bot = PipecatBot(silent, on_turn=end)
    voice = await talk(bot, Callee(says=[Tone(1.0)]))

    assert 0 <= voice.heard.length - bot.listened < 0.4


@pytest.mark.parametrize("silence", [0, 2])
async def test_the_last_sentence_is_heard_before_the_call_ends(silence: int) -> None:
    """Whatever silence Pipecat adds, the call ends right after the last sound of the bot."""

    async def script(bot: PipecatBot) -> None:
        await bot.say(0.73)
        await bot.end()

    bot = PipecatBot(script, audio_out_end_silence_secs=silence)
    voice = await talk(bot)
    (spoken,) = voice.heard.bot.utterances
    (array,) = (event for event in voice.heard.timeline if event.what == "array")

    assert (spoken[1] - spoken[0]) * 0.02 == pytest.approx(0.74, abs=0.1)
    assert 0.1 < array.at - spoken[1] * 0.02 < 0.8


async def test_a_cancelled_pipeline_hangs_up() -> None:
    """A pipeline that is cancelled says no more, and ends the call."""

    async def script(bot: PipecatBot) -> None:
        await bot.say(5.0)
        await anyio.sleep(0.5)
        await bot.worker.cancel()

    bot = PipecatBot(script)
    voice = await talk(bot)

    assert voice.heard.seconds < 1.0
    assert bot.messages[-1] == HANG_UP


async def test_a_bot_may_leave_the_call_to_its_flow() -> None:
    """With hang_up=False the socket is closed after the last sentence, and no action is sent."""

    async def script(bot: PipecatBot) -> None:
        await bot.say(0.5)
        await bot.end()

    bot = PipecatBot(script, hang_up=False)
    voice = await talk(bot)

    assert voice.heard.seconds >= 0.5
    assert actions_in(bot.messages) == []


async def test_a_transfer_waits_for_what_was_said() -> None:
    """A flow is sent once the sentence before it has been heard."""

    async def script(bot: PipecatBot) -> None:
        await bot.say(0.5)
        await bot.worker.queue_frame(flow_frame(Flow().bridge([19170000002])))

    bot = PipecatBot(script)
    voice = await talk(bot)
    (array,) = (event for event in voice.heard.timeline if event.what == "array")

    assert array.detail == "bridge"
    assert array.at > voice.heard.bot.utterances[0][1] * 0.02
    assert json.loads(actions_in(bot.messages)[0])[0]["action"] == "bridge"


async def test_frames_without_a_meaning_for_the_stream_are_ignored() -> None:
    """Messages of others, whatever they are, and other frames are not sent."""
    serializer = TelecmiFrameSerializer()
    others: list[Any] = [{"label": "rtvi-ai", "type": "bot-ready"}, {}, [1], "text", None]

    for message in others:
        assert await serializer.serialize(OutputTransportMessageFrame(message)) is None
        assert await serializer.serialize(OutputTransportMessageUrgentFrame(message)) is None
    assert await serializer.serialize(StartFrame()) is None
    assert await serializer.serialize(OutputAudioRawFrame(b"", 8000, 1)) is None


async def test_a_serializer_without_a_pipeline() -> None:
    """Before a pipeline has set it up, audio has the stream's rate, in whole samples."""
    serializer = TelecmiFrameSerializer(rate=16000)

    assert await serializer.deserialize(b"a") is None
    frame = await serializer.deserialize(b"bc")
    assert isinstance(frame, InputAudioRawFrame)
    assert (frame.audio, frame.sample_rate, frame.num_channels) == (b"ab", 16000, 1)
    text = await serializer.deserialize("hello")
    assert getattr(text, "message", None) == {"type": "telecmi", "text": "hello"}
    assert await serializer.serialize(InterruptionFrame()) == BREAK
    assert await serializer.serialize(EndFrame()) == HANG_UP
    assert await serializer.serialize(CancelFrame()) == HANG_UP


async def test_the_rate_of_audio_may_change() -> None:
    """What is held of audio at one rate is sent before the first of another."""
    serializer = TelecmiFrameSerializer()
    loud = b"\xff\x1f"

    messages = [
        await serializer.serialize(OutputAudioRawFrame(loud * 2400, 24000, 1)),
        await serializer.serialize(OutputAudioRawFrame(loud * 800, 8000, 1)),
    ]

    assert seconds_in(messages) == pytest.approx(0.2)


async def test_an_interruption_drops_what_a_resampler_holds() -> None:
    """Nothing of interrupted speech is heard at the beginning of the next."""
    serializer = TelecmiFrameSerializer()
    audio = OutputAudioRawFrame(b"\xff\x1f" * 2400, 24000, 1)
    await serializer.serialize(audio)
    await serializer.serialize(InterruptionFrame())

    rest = [await serializer.serialize(audio), await serializer.serialize(_ended(0))]

    assert seconds_in(rest) == pytest.approx(0.1)


async def test_only_the_newest_speech_is_ended() -> None:
    """That speech has ended is known late: if there is more by then, it is not torn."""
    serializer = TelecmiFrameSerializer()
    await serializer.serialize(OutputAudioRawFrame(b"\xff\x1f" * 2400, 24000, 1))
    serializer._given = 7

    assert await serializer.serialize(_ended(6)) is None
    assert seconds_in([await serializer.serialize(_ended(7))]) > 0.0
    assert await serializer.serialize(_ended(8)) is None


async def test_what_cannot_be_sent_is_refused() -> None:
    """Stereo, a stream's rate that there is not, and a flow that waits for keys are errors."""
    serializer = TelecmiFrameSerializer()

    with pytest.raises(InvalidAudio, match="one channel, and this audio 2"):
        await serializer.serialize(OutputAudioRawFrame(b"\0\0\0\0", 8000, 2))
    with pytest.raises(ConfigurationError, match="rate must be 8000 or 16000, not 24000"):
        TelecmiFrameSerializer(rate=24000)
    with pytest.raises(InvalidCall, match="within a stream"):
        flow_frame(Flow().input("https://example.com/"))
