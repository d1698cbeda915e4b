"""A web backend in which one click is one call, also if its workers are killed.

Run any number of workers: ``uvicorn one_click_one_call:app --workers 3``. CALLS_LEDGER names a
file, or ``postgresql://…`` for workers on several machines.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from telecmi_async import (
    CallNotPlaced,
    CallOutcomeUnknown,
    CallService,
    Flow,
    InvalidCall,
    Receiver,
)
from telecmi_async.ledger import PostgresLedger, SqliteLedger

LEDGER = os.environ["CALLS_LEDGER"]
FLOW = Flow().speak("Your order is on its way.").hangup()
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Keep a ledger and a service open while the application runs."""
    async with (
        PostgresLedger(LEDGER) if "://" in LEDGER else SqliteLedger(LEDGER) as ledger,
        CallService.from_env(ledger=ledger, events=receiver, timeout=10) as app.state.calls,
    ):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/telecmi", receiver.asgi)


@app.post("/orders/{order}/call")
async def call_customer(order: str, number: str) -> dict[str, str]:
    """Call the customer of an order. The browser may repeat the request as often as it likes."""
    service: CallService = app.state.calls
    key, ours = f"order-{order}", {"order": order}
    try:
        call = await service.make_call(
            to=number, pcmo=FLOW, extra_params=ours, idempotency_key=key
        )
    except InvalidCall as error:
        raise HTTPException(422, str(error)) from None
    except CallOutcomeUnknown as error:  # do not call again: a phone may have rung
        raise HTTPException(409, f"may have been called: {error.reference}") from None
    except CallNotPlaced as error:  # no phone rang: the same request may be repeated
        raise HTTPException(503, str(error)) from None
    return {"request_id": call.request_id}
