"""A web application whose workers share a limit; see `rolling_restarts`."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request
from paced_processes import shared

from telecmi_async import CallNotPlaced, CallService, Hangup, RateLimit, Receiver
from telecmi_async.pacing.redis import RedisLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
RATE, LIVE = os.environ["CALLS_PER_SECOND"], os.environ["LIVE_CALLS"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Share the limits of the account; a ledger keeps keys as well."""
    limit = RateLimit(float(RATE) if RATE else None, max_live_calls=int(LIVE) if LIVE else None)
    async with receiver, shared(os.environ["LIMITS"]) as limits:
        ledger: Any = None if isinstance(limits, RedisLimits) else limits
        async with CallService.from_env(
            rate=limit, limits=limits, ledger=ledger, events=receiver
        ) as service:
            app.state.service, app.state.keyed = service, ledger is not None
            yield


app = FastAPI(lifespan=lifespan)
app.mount("/telecmi", receiver.asgi)


@app.post("/calls/{to}")
async def place_call(to: int, request: Request) -> dict[str, str | None]:
    """Place a call, as soon as the limits allow it."""
    key = f"{to}" if request.app.state.keyed else None
    try:
        call = await request.app.state.service.make_call(
            to=to, pcmo=[Hangup()], idempotency_key=key
        )
    except CallNotPlaced as error:
        raise HTTPException(503, str(error)) from None
    return {"request_id": call.request_id}
