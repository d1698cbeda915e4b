"""A voice bot on the phone: Deepgram writes down what callers say, and speaks the answers.

Run it with ``uvicorn deepgram_flux:app --port 8000``.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import ClientConnection, connect

from telecmi_async import Flow, Receiver
from telecmi_async.events import InboundRequest
from telecmi_async.voice import Streams, StreamSession

PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")
SECRET = os.environ["TELECMI_SECRET"]

receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"], secret=SECRET)
streams = Streams(f"{PUBLIC_URL}/talk", secret=SECRET)


@receiver.on_inbound
async def answer(event: InboundRequest) -> Flow:
    """Connect a call with the bot; if the bot fails, the flow goes on, and apologizes."""
    stream = streams.answer(event, rate=16000)
    return stream.speak("Sorry, something went wrong. Please call again.").hangup()


def deepgram(path: str, model: str, rate: int) -> connect:
    """Return a connection to one of Deepgram's engines, at the stream's own sample rate."""
    query = urlencode({"model": model, "encoding": "linear16", "sample_rate": rate})
    url = f"{os.environ.get('DEEPGRAM_URL', 'wss://api.deepgram.com')}{path}?{query}"
    headers = {"Authorization": f"Token {os.environ['DEEPGRAM_API_KEY']}"}
    return connect(url, additional_headers=headers, max_size=None)


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Talk to one caller, turn by turn."""
    history: list[str] = []  # for the language model
    async with (
        deepgram("/v2/listen", "flux-general-en", session.rate) as ears,
        asyncio.TaskGroup() as tasks,
    ):
        listening = tasks.create_task(listen(session, ears))
        speaking = tasks.create_task(speak(session, "Bicycle shop, hello!", history))
        async for message in ears:
            turn = json.loads(message)
            if turn.get("event") == "StartOfTurn":
                speaking.cancel()
                heard = await session.interrupt()
                if heard.interrupted:
                    history.append(f"(you were interrupted after {heard.seconds:.1f} s)")
            elif turn.get("event") == "EndOfTurn":
                history.append(f"caller: {turn['transcript']}")
                speaking = tasks.create_task(reply(session, history))
        listening.cancel()


async def listen(session: StreamSession, ears: ClientConnection) -> None:
    """Send what the caller says, until the call is over."""
    async for pcm in session:
        await ears.send(pcm)
    await ears.close()


async def reply(session: StreamSession, history: list[str]) -> None:
    """Find the answer to the caller's turn, and speak it."""
    await speak(session, await think(history), history)


async def think(history: list[str]) -> str:
    """Return the bot's next words: ask your language model here."""
    return f"You said: {history[-1].removeprefix('caller: ')}"


async def speak(session: StreamSession, text: str, history: list[str]) -> None:
    """Speak a text."""
    history.append(f"you: {text}")
    await session.play(speech(text, session.rate))


async def speech(text: str, rate: int) -> AsyncGenerator[bytes]:
    """Yield a text as audio while it is made: any text-to-speech fits in here."""
    async with deepgram("/v1/speak", "aura-2-thalia-en", rate) as voice:
        await voice.send(json.dumps({"type": "Speak", "text": text}))
        await voice.send(json.dumps({"type": "Flush"}))
        async for message in voice:
            if isinstance(message, str) and json.loads(message)["type"] == "Flushed":
                return
            if isinstance(message, bytes):
                yield message


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    """Let calls finish when the server is stopped."""
    async with receiver, streams:
        yield


routes = [Mount("/telecmi", receiver.asgi), Mount("/talk", streams.asgi)]
app = Starlette(routes=routes, lifespan=lifespan)
