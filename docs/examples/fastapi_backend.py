"""A web backend: a click places a call, webhooks arrive, and a route says how the call went.

Run it with ``uvicorn fastapi_backend:app --port 8000``.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from telecmi_async import CallService, Flow, InvalidCall, Receiver, RetryPolicy, TelecmiError

FLOW = Flow().speak("You asked us to call you.").hangup()
receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Keep one service open for as long as the application runs."""
    policy = RetryPolicy(at_most_once=True, deadline=8)
    async with receiver, CallService.from_env(events=receiver, retry=policy) as service:
        app.state.service = service
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/telecmi", receiver.asgi)


class Click(BaseModel):
    """What the browser sends."""

    to: str


@app.post("/calls", status_code=202)
async def place_call(click: Click, request: Request) -> dict[str, str]:
    """Place a call, and answer as soon as TeleCMI has accepted it."""
    try:
        call = await request.app.state.service.make_call(to=click.to, pcmo=FLOW)
    except InvalidCall as error:
        raise HTTPException(422, str(error)) from None
    except TelecmiError as error:
        if error.safe_to_redial:
            raise HTTPException(503, "No phone rang. Please try again.") from None
        raise HTTPException(504, "Your phone may ring. Please wait a minute.") from None
    return {"request_id": call.request_id}


@app.get("/calls/{request_id}")
async def how_it_went(request_id: str, request: Request) -> dict[str, str | bool | int | None]:
    """Wait up to ten seconds for the end of a call, and say what is known of it."""
    call = request.app.state.service.handle_for(request_id)
    with suppress(TelecmiError):
        await call.ended(timeout=10)
    known = call.result
    return {"stage": known.stage, "answered": known.answered, "talk": known.talk_seconds}
