"""One process that sends to the contacts of a campaign, and prints what is committed.

`tests/processes/test_ledger.py` starts several of them, and kills some.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from ledgers import FENCE, LEASE, NO_LIMITS, PLACED, open_sqlite

from telecmi_async.ledger import Intent

if TYPE_CHECKING:
    from telecmi_async.ledger import Claim, Ledger


def say(*words: object) -> None:
    """Write a line to the test with one system call, because the process may be killed."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def send(ledger: Ledger, claim: Claim, worker: str) -> None:
    """Send to one contact."""
    token = f"tcm_{worker}_{claim.contact}_{claim.epoch}"
    intent = await ledger.intend(
        claim, worker, token, limits=NO_LIMITS, fence=FENCE, lease=LEASE
    )
    if isinstance(intent, Intent):
        say("sent", claim.number, token)
        if await ledger.settle(token, PLACED):
            say("placed", claim.number, token)


async def work(ledger: Ledger, worker: str) -> None:
    """Claim and send until nothing is left."""
    while claims := await ledger.claim("spring", worker, most=3, lease=LEASE):
        for claim in claims:
            await send(ledger, claim, worker)


async def main(folder: str, worker: str) -> None:
    """Work in ten tasks, so that their transactions are committed together."""
    async with open_sqlite(Path(folder), time.time) as ledger:
        say("ready")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(work, ledger, f"{worker}.{number}")
    say("done")


if __name__ == "__main__":
    loop, folder, worker = sys.argv[1:]
    anyio.run(partial(main, folder, worker), backend=loop)
