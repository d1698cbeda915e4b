"""Call one number from a script, play a message, and record both sides."""

import asyncio
import os
import sys
from pathlib import Path

import anyio

from telecmi_async import CallService, CdrPoller
from telecmi_async.voice import Streams, StreamSession, serve_streams

MESSAGE = Path("message.wav").read_bytes()
streams = Streams(os.environ["PUBLIC_URL"])  # such as https://voice.example.com


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Play the message to its end, listen for five seconds, and hang up."""
    async with session.record(f"{session.reference}.wav"):
        heard = await session.play(MESSAGE)
        await anyio.sleep(5)
    print("message:", heard.seconds, "seconds")
    await session.hang_up()


async def main(number: str) -> None:
    """Serve the stream for as long as the call lasts."""
    port = int(os.environ.get("PORT", "8765"))
    async with (
        serve_streams(streams, host="127.0.0.1", port=port),
        CallService.from_env(events=CdrPoller(), streams=streams) as service,
    ):
        call = await service.make_call(to=number, pcmo=streams.flow().hangup())
        result = await call.ended()
        print("answered:", result.answered)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
