"""The fakes of speech engines speak as the vendors' SDKs for Python do: their types take it all.

What the example programs send is parsed by the types of clients' messages, and what the fakes send
by those of servers' messages: every field must be known.
"""

from __future__ import annotations

import json
import runpy
import warnings
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from engine_speech import KEY, tone
from example_programs import EXAMPLES
from fake_deepgram import FakeDeepgram
from fake_gemini import PATH, FakeGemini
from fake_openai import FakeOpenAI
from pydantic import BaseModel, TypeAdapter
from websockets.asyncio.client import connect

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the SDKs
    from deepgram.listen.v2.types import ListenV2Connected, ListenV2TurnInfo
    from deepgram.speak.v1.types import SpeakV1Flush, SpeakV1Flushed, SpeakV1Text
    from google.genai.types import LiveClientMessage, LiveServerMessage
    from openai.types.realtime import (
        ConversationItemTruncateEvent,
        InputAudioBufferAppendEvent,
        RealtimeServerEvent,
        ResponseCreateEvent,
        SessionUpdateEvent,
    )

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example programs read when they are loaded."""
    monkeypatch.setenv("TELECMI_SECRET", "your-secret")
    monkeypatch.setenv("TELECMI_WEBHOOK_TOKEN", "t" * 43)


def program(name: str) -> dict[str, Any]:
    """Return the names of an example program."""
    return runpy.run_path(str(EXAMPLES / "voice" / name))


def speech(rate: int) -> list[bytes]:
    """Return a turn of a caller, with the silence after it, in pieces."""
    pcm = tone(0.4, rate) + bytes(rate)
    return [pcm[at : at + rate // 25] for at in range(0, len(pcm), rate // 25)]


def check(model: Any, message: dict[str, Any]) -> None:
    """Require that a type of an SDK knows every field of a message."""
    parsed = TypeAdapter(model).validate_python(message)

    assert isinstance(parsed, BaseModel)
    assert not parsed.model_extra, (type(parsed), parsed.model_extra)


async def receive(socket: ClientConnection, last: str, times: int) -> list[dict[str, Any]]:
    """Return messages until one that mentions ``last`` came so many times."""
    found: list[dict[str, Any]] = []
    while sum(last in json.dumps(message) for message in found) < times:
        message = await socket.recv()
        if isinstance(message, str) or message.startswith(b"{"):
            found.append(json.loads(message))
    return found


async def test_openai() -> None:
    """Two responses, an interruption, a truncation and an error are events of OpenAI's SDK."""
    settings = program("openai_realtime.py")["SETTINGS"]
    truncation: dict[str, Any] = {
        "type": "conversation.item.truncate",
        "content_index": 0,
        "audio_end_ms": 100,
    }
    async with (
        FakeOpenAI(replies=(2.0, 0.2)).serving() as url,
        connect(
            f"{url}/v1/realtime?model=gpt",
            additional_headers={"Authorization": f"Bearer {KEY}"},
        ) as socket,
    ):
        sent: list[dict[str, Any]] = [
            {"type": "session.update", "session": settings},
            {"type": "response.create"},
        ]
        for event in sent:
            await socket.send(json.dumps(event))
        events = await receive(socket, "output_audio.delta", 1)
        for pcm in speech(24000):
            sent.append({"type": "input_audio_buffer.append", "audio": b64encode(pcm).decode()})
            await socket.send(json.dumps(sent[-1]))
        events += await receive(socket, '"response.done"', 2)
        for item in (events[-2]["item_id"], "unknown"):
            sent.append(truncation | {"item_id": item})
            await socket.send(json.dumps(sent[-1]))
        events += await receive(socket, '"error"', 1)

    clients = {
        "session.update": SessionUpdateEvent,
        "response.create": ResponseCreateEvent,
        "input_audio_buffer.append": InputAudioBufferAppendEvent,
        "conversation.item.truncate": ConversationItemTruncateEvent,
    }
    for event in sent:
        check(clients[event["type"]], event)
    for event in events:
        check(RealtimeServerEvent, event)
    assert {event["type"] for event in events} >= {
        "session.created", "session.updated", "response.created", "response.done", "error",
        "response.output_audio.delta", "response.output_audio.done",
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed", "conversation.item.truncated",
    }  # fmt: skip


async def test_gemini() -> None:
    """A setup, two turns and an interruption are messages of Google's SDK."""
    sent: list[dict[str, Any]] = [
        {"setup": program("gemini_live.py")["SETUP"]},
        {"realtimeInput": {"text": "Greet the caller."}},
    ]
    async with (
        FakeGemini(replies=(2.0, 0.2)).serving() as url,
        connect(url + PATH, additional_headers={"x-goog-api-key": KEY}) as socket,
    ):
        for message in sent:
            await socket.send(json.dumps(message))
        messages = await receive(socket, "inlineData", 1)
        for pcm in speech(16000):
            audio = {"mimeType": "audio/pcm;rate=16000", "data": b64encode(pcm).decode()}
            sent.append({"realtimeInput": {"audio": audio}})
            await socket.send(json.dumps(sent[-1]))
        messages += await receive(socket, "turnComplete", 2)

    for message in sent:
        check(LiveClientMessage, message)
    for message in messages:
        check(LiveServerMessage, message)
    told = {key for each in messages for key in each.get("serverContent", {})}
    assert told == {"modelTurn", "generationComplete", "interrupted", "turnComplete"}


async def test_deepgram() -> None:
    """A turn of Flux and a sentence of Aura are messages of Deepgram's SDK."""
    headers = {"Authorization": f"Token {KEY}"}
    query = "encoding=linear16&sample_rate=8000"
    spoken: list[dict[str, Any]] = [{"type": "Speak", "text": "Hello."}, {"type": "Flush"}]
    async with FakeDeepgram(replies=(0.2,)).serving() as url:
        listen = f"{url}/v2/listen?model=flux-general-en&{query}"
        async with connect(listen, additional_headers=headers) as socket:
            for pcm in speech(8000):
                await socket.send(pcm)
            messages = await receive(socket, "EndOfTurn", 1)
        speak = f"{url}/v1/speak?model=aura-2-thalia-en&{query}"
        async with connect(speak, additional_headers=headers) as socket:
            for message in spoken:
                await socket.send(json.dumps(message))
            (flushed,) = await receive(socket, "Flushed", 1)

    connected, *turns = messages
    check(ListenV2Connected, connected)
    for message in turns:
        check(ListenV2TurnInfo, message)
    check(SpeakV1Text, spoken[0])
    check(SpeakV1Flush, spoken[1])
    check(SpeakV1Flushed, flushed)
    assert [turn["event"] for turn in turns] == ["StartOfTurn", "Update", "EndOfTurn"]
