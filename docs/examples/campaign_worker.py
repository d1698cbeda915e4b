"""Call everyone in contacts.csv once. If it was stopped or killed, run it again: it goes on."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Generator

import uvicorn

from telecmi_async import CallService, Hangup, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.campaigns.contacts import ContactsFile
from telecmi_async.ledger import CampaignState, SqliteLedger

SETTINGS = CampaignSettings(
    flow=[{"action": "speak", "text": "Hello {name}. Your order has arrived."}, Hangup()],
    pace=Pace(calls_per_second=5),
)


class WebhookServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Change no signal handler."""
        yield


def show(state: CampaignState) -> None:
    """Show how the campaign stands, in one line that changes every second."""
    print(f"\r{state}", end="\x1b[K", flush=True)


async def main() -> None:
    """Dial until everyone was called, or until a signal arrives."""
    port = int(os.environ.get("PORT", "8000"))
    receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
    server = WebhookServer(uvicorn.Config(receiver.asgi, port=port, log_level="warning"))
    async with (
        SqliteLedger("campaigns.db") as ledger,
        CallService.from_env(events=receiver) as service,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(server.serve())
        campaign = Campaign(ledger, service, "orders", SETTINGS)
        for number in (signal.SIGINT, signal.SIGTERM):  # start nothing more, settle the rest
            asyncio.get_running_loop().add_signal_handler(number, campaign.leave)
        print(await campaign.load(ContactsFile("contacts.csv", country="1").contacts()))
        state = await campaign.run(on_progress=show)
        print(f"\r{state}\x1b[K")
        server.should_exit = True


if __name__ == "__main__":
    asyncio.run(main())
