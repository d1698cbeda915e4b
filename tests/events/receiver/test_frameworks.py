"""The receiver in seven web frameworks, with the code that docs/how-to/webhooks.md shows."""

from __future__ import annotations

import json
import types
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from aiohttp.test_utils import TestServer as AiohttpServer
from django.core.asgi import (  # type: ignore[import-untyped]  # Django has no types
    get_asgi_application,
)
from django.test.utils import (  # type: ignore[import-untyped]  # Django has no types
    override_settings,
)
from fake_store import record, signed
from fake_telecmi import FLOW, TO, FakeTelecmi
from page_code import code_under
from webhook_posts import DIGITS, JSON, TOKEN, Request

from telecmi_async import Receiver
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telecmi_async.events import DigitsEvent

# The frameworks use sockets, threads and their own loops.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("logs_stay_as_they_are"),
]


PAGE = "webhooks.md"
ANY_LOOP = ["FastAPI", "Starlette"]
ASYNCIO = ["Litestar", "Quart", "Django", "A Django view", "aiohttp"]


def build(framework: str, receiver: Receiver) -> dict[str, Any]:
    """Run the page's code for a framework around a receiver, and return its names."""
    code = "from telecmi_async import CallService\n" + code_under(PAGE, framework)
    if framework == "A Django view":
        code = code_under(PAGE, "Django") + code
    names: dict[str, Any] = {"__name__": "docs_webhooks", "receiver": receiver}
    exec(compile(code, f"docs/how-to/webhooks.md, {framework}", "exec"), names)
    return names


@asynccontextmanager
async def client_of(framework: str, receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    """Build the page's application around a receiver, and yield a client for it."""
    names = build(framework, receiver)
    if framework == "aiohttp":
        async with (
            AiohttpServer(names["app"]) as server,
            httpx.AsyncClient(base_url=str(server.make_url("/"))) as client,
        ):
            yield client
        return
    app = names.get("app") or names["application"]
    change: Any = nullcontext()
    if framework == "A Django view":
        urls = types.ModuleType("urls")
        vars(urls)["urlpatterns"] = names["urlpatterns"]
        change = override_settings(ROOT_URLCONF=urls)
        app = get_asgi_application()
    transport = httpx.ASGITransport(app=app)
    with change:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def check(framework: str) -> None:
    """Send valid and invalid requests to a framework's application, and check the replies."""
    receiver = Receiver(TOKEN)
    asked: list[DigitsEvent] = []

    @receiver.on_input("menu")
    def hang_up(event: DigitsEvent) -> list[dict[str, Any]]:
        asked.append(event)
        return FLOW

    address = f"/telecmi/{TOKEN}"
    async with (
        receiver,
        FakeTelecmi().service(events=receiver) as service,
        client_of(framework, receiver) as client,
    ):
        call = await service.make_call(to=TO, pcmo=FLOW)
        event = record(call.request_id) | signed(call.reference)
        with anyio.fail_after(10):
            taken = await client.post(address, json=event)
            result = await call.ended()
        replies = {
            "taken": taken,
            "repeated": await client.post(address, json=event),
            "other token": await client.post(f"{address[:-1]}x", json=event),
            "no token": await client.post("/telecmi/", json=event),
            "too large": await client.post(address, content=b" " * 65_537, headers=JSON),
            "no type": await client.post(
                address, content=b'{"type": "ping"}', headers={"Content-Type": "a/b"}
            ),
            "unreadable": await client.post(address, content=b"[]", headers=JSON),
            "looked at": await client.get(address),
            "asked": await client.post(
                receiver.url("http://test/telecmi", "menu", order="42 a").removeprefix(
                    "http://test"
                ),
                json=DIGITS,
            ),
        }

    assert {name: reply.status_code for name, reply in replies.items()} == {
        "taken": 204,
        "repeated": 204,
        "other token": 404,
        "no token": 404,
        "too large": 413,
        "no type": 204,
        "unreadable": 400,
        "looked at": 405,
        "asked": 200,
    }
    assert (result.answered, result.complete) == (True, True)
    assert json.loads(replies["asked"].content) == FLOW
    assert replies["asked"].headers["content-type"] == "application/json"
    assert replies["looked at"].headers["allow"] == "POST"
    assert [dict(question.query) for question in asked] == [{"order": "42 a"}]
    assert receiver.counts.accepted == 3
    assert receiver.counts.duplicates == 1


@pytest.mark.parametrize("framework", ANY_LOOP)
async def test_a_framework_for_both_loops(framework: str) -> None:
    """A record ends its call, a wrong token gets 404, and pressed keys get an answer."""
    await check(framework)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("framework", ASYNCIO)
async def test_a_framework_of_asyncio(framework: str) -> None:
    """A record ends its call, a wrong token gets 404, and pressed keys get an answer."""
    await check(framework)


async def test_a_service_lives_as_long_as_its_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FastAPI opens and closes receiver and service, and an endpoint places a call."""
    simulator = Simulator()
    monkeypatch.setattr(
        "telecmi_async.wire.own_client.ConnectionPool", lambda _: simulator.transport()
    )
    monkeypatch.setenv("TELECMI_APP_ID", str(simulator.app_id))
    monkeypatch.setenv("TELECMI_SECRET", simulator.secret)
    monkeypatch.setenv("TELECMI_FROM", "19170000000")
    app = build("FastAPI", Receiver(TOKEN))["app"]
    state: dict[str, Any] = {}
    lifespan = Request({"type": "lifespan.startup"})
    over = anyio.Event()

    async def receive() -> dict[str, Any]:
        if lifespan.messages:
            return lifespan.messages.pop()
        await over.wait()
        return {"type": "lifespan.shutdown"}

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, {"type": "lifespan", "state": state}, receive, lifespan.send)
        await anyio.wait_all_tasks_blocked()
        transport = httpx.ASGITransport(app=with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            reply = await client.post(f"/calls/{TO}")
        over.set()

    assert [message["type"] for message in lifespan.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert reply.status_code == 200
    assert len(reply.json()["request_id"]) == 43
