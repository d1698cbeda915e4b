"""A front desk: it asks, connects callers who have a question to a person, and records.

Run it with ``uvicorn front_desk:app --port 8000``.
"""

import os
from array import array
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.routing import Mount

from telecmi_async import Flow, Receiver
from telecmi_async.events import InboundRequest
from telecmi_async.voice import Streams, StreamSession

SECRET = os.environ["TELECMI_SECRET"]
SOUNDS = {path.stem: path.read_bytes() for path in Path("sounds").glob("*.wav")}
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"], secret=SECRET)
streams = Streams(os.environ["PUBLIC_URL"] + "/talk", secret=SECRET)
app = Starlette(routes=[Mount("/telecmi", receiver.asgi), Mount("/talk", streams.asgi)])


@receiver.on_inbound
async def answer(event: InboundRequest) -> Flow:
    """Stream a call that comes in."""
    return streams.answer(event).hangup()


async def ask(session: StreamSession, question: bytes) -> float:
    """Ask something, and return for how many seconds the caller spoke, up to a pause."""
    spoken = silent = 0.0
    with anyio.move_on_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, question)
            async for pcm in session:
                seconds = len(pcm) / 2 / session.rate
                if max(array("h", pcm)) > 2_000:
                    if not spoken:
                        await session.interrupt()
                    spoken, silent = spoken + seconds, 0.0
                elif spoken and (silent := silent + seconds) > 0.7:
                    break
    return spoken


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Talk in one call: callers who say more than a word or two are connected to a person."""
    async with session.record(f"{session.reference}.wav"):
        has_question = await ask(session, SOUNDS["question"]) > 2
        await session.play(SOUNDS["wait" if has_question else "goodbye"])
    if not has_question:
        await session.hang_up()
        return
    await session.transfer(19170000002)
