"""Call everyone in contacts.csv with a voice bot. If it was stopped, run it again: it goes on."""

import asyncio
import os
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from telecmi_async import CallService, Hangup, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.campaigns.contacts import ContactsFile
from telecmi_async.ledger import SqliteLedger
from telecmi_async.voice import Streams, StreamSession

MESSAGE = Path("message.wav").read_bytes()
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
streams = Streams(os.environ["PUBLIC_URL"] + "/talk")  # of https://voice.example.com
app = Starlette(routes=[Mount("/telecmi", receiver.asgi), Mount("/talk", streams.asgi)])
SETTINGS = CampaignSettings(
    flow=[*streams.flow(), Hangup()], pace=Pace(calls_per_second=1, max_live_calls=20)
)


@streams.on_stream
async def talk(session: StreamSession) -> None:
    """Talk in one call."""
    heard = await session.play(MESSAGE)
    print(session.reference, "heard", heard.seconds, "seconds")
    await session.hang_up()


async def main() -> None:
    """Serve streams and webhooks while the campaign dials."""
    port = int(os.environ.get("PORT", "8000"))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    async with (
        SqliteLedger("campaigns.db") as ledger,
        CallService.from_env(events=receiver, streams=streams) as service,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(server.serve())
        campaign = Campaign(ledger, service, "reminders", SETTINGS)
        await campaign.load(ContactsFile("contacts.csv", country="1").contacts())
        print(await campaign.run())
        await streams.aclose()
        server.should_exit = True


if __name__ == "__main__":
    asyncio.run(main())
