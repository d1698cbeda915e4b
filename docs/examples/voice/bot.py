"""A voice bot that greets, can be interrupted, and hangs up: ``uvicorn bot:app --port 8000``."""

import os
from array import array
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastapi import FastAPI

from telecmi_async import CallService, Flow, Receiver
from telecmi_async.events import InboundRequest
from telecmi_async.voice import Streams, StreamSession

GREETING, GOODBYE = (Path(name).read_bytes() for name in ("greeting.wav", "goodbye.wav"))
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
streams = Streams(os.environ["PUBLIC_URL"] + "/talk")  # of https://voice.example.com
service = CallService.from_env(events=receiver, streams=streams)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Keep all three open for as long as the application runs."""
    async with receiver, service, streams:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/telecmi", receiver.asgi)
app.mount("/talk", streams.asgi)


@app.post("/calls/{number}")
async def place_call(number: int) -> dict[str, str]:
    """Call someone: what they say is streamed to ``talk``."""
    call = await service.make_call(to=number, pcmo=streams.flow().hangup())
    return {"request_id": call.request_id}


@receiver.on_inbound
async def answer(event: InboundRequest) -> Flow:
    """Stream a call that comes in to ``talk`` as well."""
    return streams.answer(event).hangup()


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Talk in one call."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.play, GREETING)
        async for pcm in session:
            if max(array("h", pcm)) > 2_000:  # they speak
                await session.interrupt()
                break
    await session.play(GOODBYE)
    await session.hang_up()
