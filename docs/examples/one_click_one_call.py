"""A web backend in which one click is one call, even if its workers are killed.

Run it with ``uvicorn one_click_one_call:app --workers 3``. CALLS_LEDGER is a file, or
``postgresql://…`` if the workers are on several machines. All of them share one rate.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

from telecmi_async import CallService, Flow, RateLimit, Receiver
from telecmi_async.errors import CallNotPlaced, CallOutcomeUnknown, InvalidCall
from telecmi_async.ledger import PostgresLedger, SqliteLedger

LEDGER = os.environ["CALLS_LEDGER"]
RATE = RateLimit(float(os.environ.get("CALLS_PER_SECOND", "10")), queue_timeout=8)
FLOW = Flow().speak("Your order is on its way.").hangup()
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Keep both open while the application runs; at its end, requests that left are awaited."""
    ledger = PostgresLedger(LEDGER) if "://" in LEDGER else SqliteLedger(LEDGER)
    async with (
        receiver,
        ledger,
        CallService.from_env(
            ledger=ledger, limits=ledger, rate=RATE, events=receiver, timeout=10
        ) as service,
    ):
        app.state.service = service
        yield


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
