"""A web backend in which one click is one call, whatever happens to its workers.

Run it with any number of workers: ``uvicorn one_click_one_call:app --workers 3``. It reads
TELECMI_APP_ID, TELECMI_SECRET, TELECMI_FROM, TELECMI_WEBHOOK_TOKEN, and CALLS_LEDGER: a file, or
``postgresql://…`` for workers on several machines.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException

from telecmi_async import (
    CallNotPlaced,
    CallOutcomeUnknown,
    CallService,
    Hangup,
    InvalidCall,
    Receiver,
    Speak,
)
from telecmi_async.ledger import PostgresLedger, SqliteLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LEDGER = os.environ["CALLS_LEDGER"]
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a ledger and a service open while the application runs."""
    ledger = PostgresLedger(LEDGER) if "://" in LEDGER else SqliteLedger(LEDGER)
    async with (
        ledger,
        CallService.from_env(ledger=ledger, events=receiver, timeout=10) as app.state.calls,
    ):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/telecmi", receiver.asgi)


@app.post("/orders/{order}/call")
async def call_customer(order: str, number: str) -> dict[str, str | None]:
    """Call the customer of an order. The browser may repeat the request as often as it likes."""
    service: CallService = app.state.calls
    flow = [Speak("Your order is on its way."), Hangup()]
    try:
        call = await service.make_call(
            to=number,
            pcmo=flow,
            extra_params={"order": order},
            idempotency_key=f"order-{order}",
        )
    except InvalidCall as error:
        raise HTTPException(422, str(error)) from None
    except CallOutcomeUnknown as error:  # do not call again: a phone may have rung
        raise HTTPException(409, f"may have been called: {error.reference}") from None
    except CallNotPlaced as error:  # no phone rang: the same request may be repeated
        raise HTTPException(503, str(error)) from None
    return {"request_id": call.request_id}
