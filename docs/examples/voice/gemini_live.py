"""A voice bot on the phone: calls that come in talk to Google's Gemini Live API.

Run it with ``uvicorn gemini_live:app --port 8000``.
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
from telecmi_async.voice import Streams, StreamSession

ENGINE = "wss://generativelanguage.googleapis.com"
METHOD = "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
RATE_IN, RATE_OUT = 16000, 24000  # Hz, of the engine
SETUP = {
    "model": "models/gemini-3.1-flash-live-preview",
    "generationConfig": {"responseModalities": ["AUDIO"]},
    "systemInstruction": {"parts": [{"text": "You answer the phone of a bicycle shop."}]},
}
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")
SECRET = os.environ["TELECMI_SECRET"]

receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"], secret=SECRET)
streams = Streams(f"{PUBLIC_URL}/talk", secret=SECRET)


@receiver.on_inbound
async def answer(event: InboundRequest) -> Flow:
    """Connect a call with the bot; if the bot fails, the flow goes on, and apologizes."""
    stream = streams.answer(event, rate=RATE_IN)
    return stream.speak("Sorry, something went wrong. Please call again.").hangup()


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Connect one call with one session of the engine."""
    url = f"{os.environ.get('GEMINI_URL', ENGINE)}/ws/{METHOD}"
    headers = {"x-goog-api-key": os.environ["GEMINI_API_KEY"]}
    async with connect(url, additional_headers=headers, max_size=None) as engine:
        await engine.send(json.dumps({"setup": SETUP}))
        await engine.recv()  # the setup is complete
        await engine.send(json.dumps({"realtimeInput": {"text": "Greet the caller."}}))
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen(session, engine))
            await speak(session, engine, tasks)
            listening.cancel()


async def listen(session: StreamSession, engine: ClientConnection) -> None:
    """Send the engine what the caller says, until the call is over."""
    async for pcm in session:
        audio = {"mimeType": f"audio/pcm;rate={RATE_IN}", "data": b64encode(pcm).decode()}
        await engine.send(json.dumps({"realtimeInput": {"audio": audio}}))
    await engine.close()


async def speak(
    session: StreamSession, engine: ClientConnection, tasks: asyncio.TaskGroup
) -> None:
    """Play what the engine says; a caller who talks over it interrupts it."""
    audio: asyncio.Queue[bytes] | None = None
    async for message in engine:
        content = json.loads(message).get("serverContent", {})
        for part in content.get("modelTurn", {}).get("parts", ()):
            if "inlineData" in part:
                if audio is None:
                    audio = asyncio.Queue()
                    tasks.create_task(session.play(pieces(audio), rate=RATE_OUT))
                audio.put_nowait(b64decode(part["inlineData"]["data"]))
        if audio and content.keys() & {"generationComplete", "interrupted"}:
            audio.put_nowait(b"")
            audio = None
        if "interrupted" in content:
            await session.interrupt()


async def pieces(audio: asyncio.Queue[bytes]) -> AsyncGenerator[bytes]:
    """Yield a turn's audio; an empty piece is its end."""
    while pcm := await audio.get():
        yield pcm


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    """Let calls finish when the server is stopped."""
    async with receiver, streams:
        yield


routes = [Mount("/telecmi", receiver.asgi), Mount("/talk", streams.asgi)]
app = Starlette(routes=routes, lifespan=lifespan)
