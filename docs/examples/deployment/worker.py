"""A worker: dials the campaigns of the ledger, until SIGTERM or SIGINT ends it.

Run it with ``python worker.py``, in any number of processes and on any number of machines.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Generator

import telemetry
import uvicorn
from fastapi import FastAPI, HTTPException

from telecmi_async import CallService
from telecmi_async.campaigns import Campaign
from telecmi_async.errors import LedgerLost, StoreError
from telecmi_async.ledger import PostgresLedger

# Seconds between two looks for campaigns.
LOOK = 10
logger = logging.getLogger("worker")
ending = asyncio.Event()
app = FastAPI()


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that this process works: its event loop turns."""
    return {"status": "draining" if ending.is_set() else "ok"}


@app.get("/healthz/ready")
async def ready() -> dict[str, str]:
    """Say whether calls are started here."""
    if ending.is_set():
        raise HTTPException(503, "draining")
    return {"status": "ready"}


class HealthServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Change no signal handler."""
        yield


async def dial(campaign: Campaign) -> None:
    """Dial until nothing is left, or this worker leaves."""
    try:
        print(await campaign.run())
    except LedgerLost:  # this worker is of an older version, or the ledger is damaged
        raise
    except StoreError as error:
        logger.warning("campaign %s is left for now: %s", campaign.name, error)


async def dial_all(ledger: PostgresLedger, service: CallService) -> None:
    """Dial each campaign that has something to do, until this worker is asked to end."""
    tasks: dict[asyncio.Task[None], Campaign] = {}
    async with asyncio.TaskGroup() as group:
        while not ending.is_set():
            with contextlib.suppress(StoreError):  # the next look may find the ledger back
                running = {campaign.name for campaign in tasks.values()}
                for name in {*await ledger.campaigns()} - running:
                    if (await ledger.state(name)).status not in {"done", "stopped"}:
                        # The web application receives the events.
                        campaign = await Campaign.attach(
                            ledger, service, name, without_events=True
                        )
                        task = group.create_task(dial(campaign))
                        tasks[task] = campaign
                        task.add_done_callback(tasks.pop)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), LOOK)
        for campaign in tasks.values():  # nothing more is started, and what was sent is awaited
            campaign.leave()


async def main() -> None:
    """Dial, and say on a port how this worker is."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    port = int(os.environ["HEALTH_PORT"])
    everywhere = "0.0.0.0"  # noqa: S104  # of the container: the kubelet asks from outside
    server = HealthServer(uvicorn.Config(app, host=everywhere, port=port, log_level="warning"))
    async with (
        PostgresLedger(os.environ["TELECMI_LEDGER"], migrate=False) as ledger,
        CallService.from_env(reference=True, observer=telemetry.observer) as service,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(server.serve())
        try:
            await dial_all(ledger, service)
        finally:
            server.should_exit = True


if __name__ == "__main__":
    try:
        asyncio.run(main())
    finally:
        telemetry.shutdown()
