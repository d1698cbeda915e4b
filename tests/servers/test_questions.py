"""Questions with a store on a real server: frozen, shared by two receivers, and seen by routes."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_store import record
from fastapi import HTTPException
from project_paths import docs_page
from webhook_posts import DIGITS, INBOUND, TOKEN, events_of, post

from telecmi_async import Flow, Receiver
from telecmi_async.events.store import RedisStore
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from valkey_server import ValkeyServer

    from telecmi_async.events import DigitsEvent

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

MENU = f"/telecmi/menu/{TOKEN}"
# How long the server stands still, in seconds: more than all limits together.
FROZEN = float(os.environ.get("FROZEN_SECONDS", "12"))
LIMIT = 3.0


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop that redis-py supports."""
    return "asyncio"


@pytest.fixture
def server(valkey_server: ValkeyServer) -> ValkeyServer:
    """The server, emptied."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


async def test_a_frozen_server_keeps_no_caller_waiting(server: ValkeyServer) -> None:
    """200 questions while the server stands still are answered in time; nothing is lost after."""
    took: list[float] = []
    sent: list[int] = []

    async def ask(receiver: Receiver, number: int) -> None:
        began = anyio.current_time()
        reply = await post(receiver, DIGITS | {"cmuuid": f"leg-{number}"}, path=MENU)
        took.append(anyio.current_time() - began)
        assert b"hello" in reply.body

    async def tell(receiver: Receiver, number: int) -> None:
        event = record(None, cmiuuid=f"leg-{number}")
        while (await post(receiver, event)).status != 204:  # noqa: ASYNC110  # as TeleCMI does
            await anyio.sleep(0.5)  # TeleCMI takes minutes
        sent.append(number)

    async with RedisStore(server.url) as store:
        receiver = Receiver(TOKEN, store=store, answer_timeout=LIMIT)
        received = events_of(receiver)

        @receiver.on_input("menu")
        async def menu(event: DigitsEvent) -> Flow:
            await anyio.sleep(0.2)
            return Flow().speak("hello")

        async with receiver:
            with server.client() as client:
                client.execute_command("CLIENT", "PAUSE", int(FROZEN * 1000), "ALL")
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(ask, receiver, number)
                    if number % 10 == 0:
                        tasks.start_soon(tell, receiver, number)
                    await anyio.sleep(FROZEN * 0.9 / 200)
            with anyio.fail_after(30):
                while len(received) < 220:  # noqa: ASYNC110  # the store tells nobody
                    await anyio.sleep(0.1)
        kept = [await store.get([f"leg-{number}"]) for number in range(200)]

    assert max(took) <= LIMIT
    assert sum(seconds > 1 for seconds in took) <= 20, (
        "those before the store is known to be down"
    )
    assert len(sent) == 20
    assert len(received) == 220
    assert {event.cmiuuid for event in received} == {f"leg-{number}" for number in range(200)}
    assert all(kept)


@pytest.mark.parametrize("question", [DIGITS, INBOUND])
async def test_two_processes_answer_a_question_once(
    server: ValkeyServer, question: dict[str, Any]
) -> None:
    """Of two receivers with stores of their own on one server one answers, for both."""
    asked: list[object] = []
    replies: list[bytes] = []

    async def answer(event: object) -> Flow:
        asked.append(event)
        await anyio.sleep(0.3)
        return Flow().speak(f"hello {len(asked)}")

    async def ask(receiver: Receiver) -> None:
        replies.append((await post(receiver, question, path=MENU)).body)

    async with RedisStore(server.url) as one, RedisStore(server.url) as two:
        receivers = [Receiver(TOKEN, store=store) for store in (one, two)]
        async with receivers[0], receivers[1]:
            received = [events_of(receiver) for receiver in receivers]
            for receiver in receivers:
                receiver.on_input("menu")(answer)
                receiver.on_inbound(answer)
            async with anyio.create_task_group() as tasks:
                for receiver in receivers * 3:
                    tasks.start_soon(ask, receiver)
            for receiver in receivers:
                await ask(receiver)
        found = await one.get([str(question.get("cmiuuid") or question["cmuuid"])])

    assert len(asked) == 1
    assert len(set(replies)) == 1
    assert sum(map(len, received)) == 1
    assert len(found) == 1


async def test_latin_1_goes_through_the_server(server: ValkeyServer) -> None:
    """An event in Latin-1, and one that gzip packed, come back from the server."""
    async with RedisStore(server.url) as store:
        receiver = Receiver(TOKEN, store=store)
        body = '{"status": "started", "cmiuuid": "x", "time": 1, "note": "José"}'
        async with receiver:
            await post(receiver, body.encode("latin-1"))
        (found,) = await store.get(["x"])

    assert found.event.raw["note"] == "José"


async def test_the_pages_route_tells_three_cases_apart(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The route of the page about several workers tells unknown, new and a store that is down."""
    simulator = Simulator(secret="your-secret")
    monkeypatch.setattr(
        "telecmi_async.wire.own_client.ConnectionPool", lambda _: simulator.transport()
    )
    for name, value in {
        "TELECMI_APP_ID": str(simulator.app_id),
        "TELECMI_SECRET": simulator.secret,
        "TELECMI_FROM": "19170000000",
        "TELECMI_WEBHOOK_TOKEN": TOKEN,
        "REDIS_URL": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "__main__"}
    page = docs_page("several-workers.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(code, names)
    async with names["lifespan"](names["app"]) as state:
        request = SimpleNamespace(state=SimpleNamespace(**state))
        placed = (await names["place"](19170000001, request))["request_id"]
        new = await names["show"](placed, request)
        await post(names["receiver"], record(placed))
        over = await names["show"](placed, request)
        with pytest.raises(HTTPException) as unknown:
            await names["show"]("kV5x2m", request)
        with server.client() as client:
            client.execute_command("CLIENT", "PAUSE", 6_000, "ALL")
        with pytest.raises(HTTPException) as down:
            await names["show"](placed, request)
        await names["redis"].aclose()

    assert (new["stage"], over["stage"], over["answered"]) == ("new", "completed", True)
    assert (unknown.value.status_code, down.value.status_code) == (404, 503)
