"""Call everyone in contacts.csv once, however often this program is stopped or killed.

Run it again, and it goes on. Any number of workers may run it at the same time.
"""

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
    """Print one line, every second."""
    print(state, flush=True)


async def main() -> None:
    """Dial until everyone was called, or until a signal arrives."""
    receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
    port = int(os.environ.get("PORT", "8000"))
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
        show(await campaign.run(on_progress=show))
        server.should_exit = True


if __name__ == "__main__":
    asyncio.run(main())
