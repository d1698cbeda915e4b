"""What the far end makes of a bot's messages."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

import pytest
from voice_bots import BREAK, clip, sound

from telecmi_async.simulator import Conversation
from telecmi_async.simulator.voice.far_end import FarEnd


def far_end(rate: int = 8_000) -> tuple[FarEnd, Conversation]:
    """Return a far end, and its conversation."""
    conversation = Conversation(rate)
    return FarEnd(conversation), conversation


def played(end: FarEnd) -> bytes:
    """Return all that is queued."""
    return b"".join(iter(end.play, b""))


def wav(pcm: bytes, rate: int = 8_000, channels: int = 1, width: int = 2) -> bytes:
    """Return a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


def test_clips_are_played_one_after_another_without_a_seam() -> None:
    """Two clips of 25 ms are 50 ms of sound in frames of 20 ms."""
    end, _ = far_end()
    pcm = sound(0.05)
    end.take(clip(pcm[:400]))
    end.take(clip(pcm[400:]))

    frames = [end.play(), end.play(), end.play(), end.play()]

    assert frames == [pcm[:320], pcm[320:640], pcm[640:], b""]


def test_a_break_empties_the_queue() -> None:
    """After ``break`` nothing is played, until another clip comes."""
    end, conversation = far_end()
    end.take(clip(sound(1)))
    end.play()
    end.take(BREAK)

    silence = end.play()
    end.take(clip(sound(0.01)))

    assert (silence, played(end)) == (b"", sound(0.01))
    assert [event.detail for event in conversation.timeline] == ["0.98 s unheard"]


@pytest.mark.parametrize(("rate", "line"), [(8_000, 16_000), (16_000, 8_000)])
@pytest.mark.parametrize("kind", ["raw", "wav"])
def test_a_clip_may_have_another_rate(rate: int, line: int, kind: str) -> None:
    """A clip is as long at the line's rate as at its own."""
    end, _ = far_end(line)
    pcm = sound(0.5, rate)
    end.take(clip(wav(pcm, rate) if kind == "wav" else pcm, rate, kind))

    heard = played(end)

    assert len(heard) == line
    assert abs(max(memoryview(heard).cast("h")) - 9_000) < 10


def test_a_stereo_file_is_mixed() -> None:
    """Both channels of a WAV file are heard."""
    end, _ = far_end()
    end.take(clip(wav(b"\x00\x10\x00\x20" * 100, channels=2), kind="wav"))

    assert played(end) == b"\x00\x18" * 100


def test_other_messages_set_flags() -> None:
    """``pause``, ``resume`` and ``stop`` are obeyed, and arrays wait for the call."""
    end, conversation = far_end()
    flags = list[tuple[bool, bool]]()
    for action in ("pause", "resume", "stop"):
        end.take(json.dumps({"action": action}))
        flags.append((end.paused, end.stopped))
    end.take('[{"action": "play", "file_name": "a.wav"}, {"action": "hangup"}]')

    assert flags == [(True, False), (False, False), (False, True)]
    assert list(end.arrays) == [
        [{"action": "play", "file_name": "a.wav"}, {"action": "hangup"}]
    ]
    assert [(event.what, event.detail) for event in conversation.timeline] == [
        ("pause", ""), ("resume", ""), ("stop", ""), ("array", "play, hangup"),
    ]  # fmt: skip


def data(**changes: object) -> str:
    """Return the message of a clip with other fields."""
    message: dict[str, Any] = json.loads(clip(sound(0.1)))
    message["data"] |= changes
    return json.dumps(message)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\x00\x01", "a binary message"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("7", "neither an object nor an array"),
        ("{}", "an unknown type of message"),
        ('{"action": "dance"}', "an unknown action"),
        ('{"action": ["break"]}', "an unknown action"),
        ('[{"action": 7}]', "an array that is no call flow"),
        ('{"type": "streamAudio"}', "a clip: no audioData"),
        (data(audioData=7), "a clip: no audioData"),
        (data(audioData="a?b="), "a clip: "),
        (data(audioDataType="mp3"), "a clip: the simulator plays raw and wav"),
        (data(sampleRate=24_000), "a clip: sampleRate is neither 8000 nor 16000"),
        (data(sampleRate="8000"), "a clip: sampleRate is neither 8000 nor 16000"),
        (clip(b"RIFFnonsense", kind="wav"), "a clip: it is no WAV file"),
        (clip(b"", kind="wav"), "a clip: it is no WAV file"),
        (clip(b"RIFF\x14\0\0\0WAVELIST\xff\0\0\0", kind="wav"), "a clip: it is no WAV file"),
        (clip(wav(b"12" * 700, rate=1), kind="wav"), "a clip: ten minutes are queued already"),
        (clip(wav(b"123", width=3), kind="wav"), "a clip: its samples have 24 bits, not 16"),
        (clip(bytes(16_000 * 600 + 2)), "a clip: ten minutes are queued already"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_ignored(message: str | bytes, why: str) -> None:
    """A message that cannot be used changes nothing, and the time line says why."""
    end, conversation = far_end()

    end.take(message)

    (event,) = conversation.timeline
    assert event.what == "ignored"
    assert event.detail.startswith(why)
    assert (end.play(), end.paused, end.stopped, len(end.arrays)) == (b"", False, False, 0)


def test_half_a_sample_does_not_shift_the_others() -> None:
    """Of a clip with an odd number of bytes, the last one is left out."""
    end, conversation = far_end()
    end.take(clip(sound(0.01) + b"\x01"))
    end.take(clip(sound(0.01)))

    assert played(end) == sound(0.01) * 2
    assert [event.detail for event in conversation.timeline] == [
        "half a sample at the end of a clip"
    ]


def test_arrays_that_nothing_runs_are_limited() -> None:
    """A thousand arrays wait at most."""
    end, conversation = far_end()

    for _ in range(1_001):
        end.take('[{"action": "record"}]')

    assert len(end.arrays) == 1_000
    assert conversation.timeline[-1].detail == "an array too many"
