"""The frames of a stream."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import Hangup, InvalidCall, Speak
from telecmi_async.voice.protocol import (
    BREAK,
    LONGEST_TEXT,
    PAUSE,
    RESUME,
    STOP,
    Audio,
    Text,
    audio_message,
    flow_message,
    parse_frame,
)


@given(frame=st.binary() | st.text())
def test_any_frame_is_something(frame: bytes | str) -> None:
    """A binary frame is audio and a text frame is text, whatever they hold."""
    parsed = parse_frame(frame)

    assert parsed == (Text(frame) if isinstance(frame, str) else Audio(frame))


def test_a_long_text_is_cut() -> None:
    """A text frame keeps its first 4,096 characters."""
    assert parse_frame("x" * 100_000) == Text("x" * LONGEST_TEXT)


@given(pcm=st.binary(), rate=st.sampled_from([8_000, 16_000]))
def test_audio_is_sent_as_the_vendor_s_sdk_sends_it(pcm: bytes, rate: int) -> None:
    """A message has the type, the kind, the rate, and the audio in canonical base64."""
    message = json.loads(audio_message(pcm, rate))

    assert message == {
        "type": "streamAudio",
        "data": {
            "audioDataType": "raw",
            "sampleRate": rate,
            "audioData": base64.b64encode(pcm).decode(),
        },
    }


def test_commands_are_single_actions() -> None:
    """The four commands are objects that name an action."""
    assert [json.loads(each) for each in (BREAK, PAUSE, RESUME, STOP)] == [
        {"action": "break"},
        {"action": "pause"},
        {"action": "resume"},
        {"action": "stop"},
    ]


def test_actions_are_sent_as_an_array() -> None:
    """Actions within a stream are a JSON array."""
    message = json.loads(flow_message([Speak("Bye."), {"action": "hangup"}]))

    assert message == [{"action": "speak", "text": "Bye."}, {"action": "hangup"}]


@pytest.mark.parametrize(
    ("actions", "path"),
    [
        ([Hangup(), {"action": "input", "action_url": "https://example.com/a"}], "pcmo[1]"),
        (
            [
                {
                    "action": "play_get_input",
                    "file_name": "a.wav",
                    "action_url": "https://example.com/a",
                }
            ],
            "pcmo[0]",
        ),
        ([], "pcmo"),
        ([{"action": "whistle"}], "pcmo[0].action"),
    ],
)
def test_what_a_stream_does_not_run_is_refused(actions: Any, path: str) -> None:
    """Actions that wait for keys, and what is no flow, are refused with their path."""
    with pytest.raises(InvalidCall) as refused:
        flow_message(actions)

    assert refused.value.path == path
