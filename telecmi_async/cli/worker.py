"""Demo worker: ``python -m telecmi_async.cli.worker``, the process that the demo kills.

It goes on with the campaign of a ledger, like any other. The secret is in its environment.
"""

from __future__ import annotations

import logging
import sys
from time import time
from typing import TYPE_CHECKING

import anyio

from telecmi_async import CallService
from telecmi_async.campaigns import Campaign
from telecmi_async.ledger import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Sequence


def worker_main(argv: Sequence[str]) -> None:
    """Dial what is left.

    Args:
        argv: The ledger's file, the campaign, and how many seconds ahead the ledger's clock is.
    """
    # What it finds left behind is what the demo shows.
    logging.getLogger("telecmi_async").setLevel(logging.ERROR)
    path, name, ahead = argv[0], argv[1], float(argv[2])

    async def work() -> None:
        async with (
            SqliteLedger(path, clock=lambda: time() + ahead) as ledger,
            CallService.from_env(reference=True) as service,
        ):
            campaign = await Campaign.attach(ledger, service, name)
            await campaign.run()

    anyio.run(work)


if __name__ == "__main__":
    worker_main(sys.argv[1:])
