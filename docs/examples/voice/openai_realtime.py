"""A voice bot on the phone: calls that come in talk to OpenAI's Realtime API.

Run it with ``uvicorn openai_realtime:app --port 8000``.
"""

import asyncio
import json
import os
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import ClientConnection, connect

from telecmi_async import Flow, Receiver
from telecmi_async.events import InboundRequest
from telecmi_async.voice import Resampler, Streams, StreamSession

ENGINE = "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
RATE = 24000  # Hz, of the engine: in and out
PCM = {"type": "audio/pcm", "rate": RATE}
SETTINGS = {
    "type": "realtime",
    "instructions": "You answer the phone of a bicycle shop. Greet the caller. Be brief.",
    "audio": {
        "input": {"format": PCM, "turn_detection": {"type": "server_vad"}},
        "output": {"format": PCM, "voice": "marin"},
    },
}
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")
SECRET = os.environ["TELECMI_SECRET"]

receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"], secret=SECRET)
streams = Streams(f"{PUBLIC_URL}/talk", secret=SECRET)


@receiver.on_inbound
async def answer(event: InboundRequest) -> Flow:
    """Connect a call with the bot; if the bot fails, the flow goes on, and apologizes."""
    stream = streams.answer(event, rate=16000)
    return stream.speak("Sorry, something went wrong. Please call again.").hangup()


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Connect one call with one session of the engine."""
    url = os.environ.get("OPENAI_REALTIME_URL", ENGINE)
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    async with connect(url, additional_headers=headers, max_size=None) as engine:
        await send(engine, "session.update", session=SETTINGS)
        await send(engine, "response.create")
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen(session, engine))
            await speak(session, engine, tasks)
            listening.cancel()


async def send(engine: ClientConnection, kind: str, **fields: object) -> None:
    """Send an event to the engine."""
    await engine.send(json.dumps({"type": kind, **fields}))


async def listen(session: StreamSession, engine: ClientConnection) -> None:
    """Send the engine what the caller says, until the call is over."""
    resampler = Resampler(session.rate, RATE)
    async for pcm in session:
        if audio := resampler.feed(pcm):
            await send(engine, "input_audio_buffer.append", audio=b64encode(audio).decode())
    await engine.close()


async def speak(
    session: StreamSession, engine: ClientConnection, tasks: asyncio.TaskGroup
) -> None:
    """Play what the engine says; a caller who talks over it interrupts it."""
    item, audio = "", asyncio.Queue[bytes]()
    async for message in engine:
        event = json.loads(message)
        kind = event["type"]
        if kind == "response.output_audio.delta":
            if event["item_id"] != item:
                item, audio = event["item_id"], asyncio.Queue[bytes]()
                tasks.create_task(play(session, engine, item, audio))
            audio.put_nowait(b64decode(event["delta"]))
        elif kind == "response.output_audio.done":
            audio.put_nowait(b"")
        elif kind == "input_audio_buffer.speech_started":
            await session.interrupt()
        elif kind == "error":  # most errors do not end the session
            print("OpenAI:", event["error"]["message"])


async def play(
    session: StreamSession, engine: ClientConnection, item: str, audio: asyncio.Queue[bytes]
) -> None:
    """Play an item; if it is interrupted, the engine forgets what was not heard of it."""
    heard = await session.play(pieces(audio), rate=RATE)
    if heard.interrupted:
        at = {"content_index": 0, "audio_end_ms": int(heard.seconds * 1000)}
        await send(engine, "conversation.item.truncate", item_id=item, **at)


async def pieces(audio: asyncio.Queue[bytes]) -> AsyncGenerator[bytes]:
    """Yield an item's audio as it comes; an empty piece is its end."""
    while pcm := await audio.get():
        yield pcm


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    """Let calls finish when the server is stopped."""
    async with receiver, streams:
        yield


routes = [Mount("/telecmi", receiver.asgi), Mount("/talk", streams.asgi)]
app = Starlette(routes=routes, lifespan=lifespan)
