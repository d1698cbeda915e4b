"""The web application: places calls of clicks, and takes the webhooks of clicks and campaigns.

Run it with ``uvicorn web:app``, in any number of processes and on any number of machines.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import telemetry
from fastapi import FastAPI, HTTPException, Request

from telecmi_async import CallService, Flow, Hangup, RateLimit, Receiver, RetryPolicy
from telecmi_async.campaigns import Campaign, CampaignSettings
from telecmi_async.errors import CallNotPlaced, CallOutcomeUnknown, InvalidCall
from telecmi_async.events.store import RedisStore
from telecmi_async.ledger import PostgresLedger

# How long a request waits for TeleCMI's answer, and a click for its start, in seconds.
TIMEOUT, QUEUE_TIMEOUT = 10, 8
RATE = RateLimit(float(os.environ["CALLS_PER_SECOND"]), queue_timeout=QUEUE_TIMEOUT)
RETRY = RetryPolicy(deadline=QUEUE_TIMEOUT)
FLOW = Flow().speak("Your order is on its way.").hangup()
# It exists once this container is about to be stopped.
DRAIN_FILE = Path(os.environ["DRAIN_FILE"])

store = RedisStore(os.environ["REDIS_URL"])
receiver = Receiver(
    os.environ["TELECMI_WEBHOOK_TOKEN"],
    store=store,
    shutdown_timeout=5,
    observer=telemetry.observer,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Keep everything open while the application runs; at its end, wait for what was sent."""
    ledger = PostgresLedger(os.environ["TELECMI_LEDGER"], migrate=False)
    try:
        async with (
            store,
            receiver,
            ledger,
            CallService.from_env(
                ledger=ledger,
                limits=ledger,
                rate=RATE,
                retry=RETRY,
                events=receiver,
                timeout=TIMEOUT,
                observer=telemetry.observer,
            ) as service,
            # It is not run: it records the events of all campaigns of the ledger.
            Campaign(ledger, service, "webhooks", CampaignSettings(flow=[Hangup()])),
        ):
            app.state.service = service
            yield
    finally:
        telemetry.shutdown()


app = FastAPI(lifespan=lifespan)
app.mount("/telecmi", receiver.asgi)


@app.post("/orders/{order}/call")
async def call_customer(order: str, to: str, request: Request) -> dict[str, str]:
    """Call the customer of an order. The browser may send the same request again and again."""
    try:
        call = await request.app.state.service.make_call(
            to=to, pcmo=FLOW, extra_params={"order": order}, idempotency_key=f"order {order}"
        )
    except InvalidCall as error:
        raise HTTPException(422, str(error)) from None
    except CallOutcomeUnknown as error:  # the phone may have rung: do not call again
        raise HTTPException(409, f"perhaps called: {error.reference}") from None
    except CallNotPlaced:  # no phone rang: the same request may be sent again
        raise HTTPException(503, "No phone rang. Please try again.") from None
    return {"request_id": call.request_id}


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that this process works: its event loop turns."""
    return {"status": "ok"}


@app.get("/healthz/ready")
def ready() -> dict[str, str]:
    """Say whether new requests may come here."""
    if DRAIN_FILE.exists():
        raise HTTPException(503, "draining")
    return {"status": "ready"}
