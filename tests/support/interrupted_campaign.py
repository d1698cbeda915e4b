"""A program that runs a campaign from Python, for tests that interrupt it.

``python interrupted_campaign.py HOW``: with ``asyncio.run``, or a backend of anyio.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import anyio

from telecmi_async import CallService, Hangup, RateLimit
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.ledger import NewContact, SqliteLedger


async def dial() -> None:
    """Run a campaign of four hundred contacts."""
    settings = CampaignSettings(
        flow=[Hangup()], pace=Pace(calls_per_second=100, max_in_flight=50)
    )
    async with (
        SqliteLedger("l.db") as ledger,
        CallService.from_env(rate=RateLimit(max_in_flight=50)) as service,
        Campaign(ledger, service, "people", settings) as campaign,
    ):
        await campaign.load(NewContact(number=19175550000 + n) for n in range(400))
        await campaign.run()


if __name__ == "__main__":
    # A process that was started in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    how = sys.argv[1]
    if how == "asyncio.run":
        asyncio.run(dial())
    else:
        anyio.run(dial, backend=how)
