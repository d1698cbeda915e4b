"""The receiver as an ASGI application, called as servers call it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import pytest
from fake_store import payload, record
from webhook_posts import (
    DIGITS,
    LEG,
    OLD_TOKEN,
    PATH,
    REQUEST_ID,
    TOKEN,
    Request,
    events_of,
    part,
)

from telecmi_async import Hangup, Receiver
from telecmi_async.events.receiver import Counts

if TYPE_CHECKING:
    from telecmi_async.events import DigitsEvent, Event

pytestmark = pytest.mark.anyio

BODY = json.dumps(record(REQUEST_ID)).encode()


async def test_an_event_is_taken_over_and_answered() -> None:
    """A 204 reply has no body and no Content-Length."""
    receiver = Receiver(TOKEN)
    async with receiver:
        received = events_of(receiver)
        request = Request(part(BODY))
        answer = await request.to(receiver.asgi)
        await anyio.wait_all_tasks_blocked()

    assert answer == (204, b"")
    assert request.sent[0]["headers"] == []
    assert len(received) == 1


async def test_a_question_is_answered_with_its_length() -> None:
    """Header names are lower case, as ASGI requires; the query reaches the handler."""
    receiver = Receiver(TOKEN)
    asked: list[DigitsEvent] = []

    @receiver.on_input
    def hang_up(event: DigitsEvent) -> list[Hangup]:
        asked.append(event)
        return [Hangup()]

    request = Request(part(json.dumps(DIGITS).encode()), query=b"order=42")
    answer = await request.to(receiver.asgi)

    assert answer == (200, b'[{"action":"hangup"}]')
    assert request.sent[0]["headers"] == [
        (b"content-type", b"application/json"),
        (b"content-length", b"21"),
    ]
    assert dict(asked[0].query) == {"order": "42"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"path": "/telecmi/wrong"}, 404),
        ({"path": ""}, 404),
        ({"method": "GET"}, 405),
        ({"headers": []}, 204),
        ({"headers": [(b"content-type", b"text/html")]}, 204),
        (
            {
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"70000"),
                ]
            },
            413,
        ),
        # Litestar strips its mount path and adds a slash; others leave out the query.
        ({"path": f"/{TOKEN}/", "query": None}, 204),
        ({"path": f"/telecmi/{OLD_TOKEN}"}, 204),
        (
            {
                "headers": [
                    (b"x", b"\xff"),
                    (b"content-type", b"application/json;charset=utf-8"),
                ]
            },
            204,
        ),
    ],
)
async def test_a_request_is_judged_by_its_head(change: dict[str, Any], status: int) -> None:
    """A request that is refused by its path, method or headers is not read."""
    request = Request(part(BODY), **change)
    answer = await request.to(Receiver([TOKEN, OLD_TOKEN]).asgi)

    assert answer == (status, b"")
    assert len(request.messages) == (status != 204)


async def test_a_body_is_counted_while_it_is_read() -> None:
    """Reading stops at the size limit, even if Content-Length said less."""
    receiver = Receiver(TOKEN)
    lie = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    request = Request(*[part(b" " * 1000, more=True)] * 100, headers=lie)
    answer = await request.to(receiver.asgi)

    assert answer == (413, b"")
    assert len(request.messages) == 34
    assert receiver.counts == Counts(unreadable=1)


async def test_a_body_in_pieces_is_put_together() -> None:
    """A body that arrives in pieces, some of them empty, is joined."""
    receiver = Receiver(TOKEN)
    pieces = [part(BODY[n : n + 50], more=True) for n in range(0, len(BODY), 50)]
    answer = await Request(*pieces, {"type": "http.request"}).to(receiver.asgi)

    assert answer == (204, b"")
    assert receiver.counts == Counts(accepted=1)


@pytest.mark.parametrize(("limit", "waited"), [(10.0, 10), (2, 2)])
async def test_a_body_that_does_not_come_is_given_up(limit: float, waited: int) -> None:
    """A body that does not arrive in time gets 408, so that it holds no connection open."""
    receiver = Receiver(TOKEN, body_timeout=limit)
    began = anyio.current_time()
    answer = await Request(part(b"{", more=True)).to(receiver.asgi)

    assert answer == (408, b"")
    assert round(anyio.current_time() - began) == waited


async def test_a_timeout_of_the_server_is_not_ours() -> None:
    """A TimeoutError that the server raises while the body is read is passed on, not answered."""
    request = Request()

    async def receive() -> NoReturn:
        raise TimeoutError("the server's own")

    with pytest.raises(TimeoutError, match="the server's own"):
        await Receiver(TOKEN).asgi(request.scope, receive, request.send)

    assert request.sent == []


async def test_a_slow_body_that_comes_in_time_leaves_no_timer() -> None:
    """After a body that was waited for, nothing cancels the task, however long it goes on."""
    receiver = Receiver(TOKEN, body_timeout=2)
    request = Request(part(BODY[:9], more=True), part(BODY[9:]))

    async def receive() -> dict[str, Any]:
        await anyio.sleep(0.9)
        return await request.receive()

    await receiver.asgi(request.scope, receive, request.send)
    await anyio.sleep(10)

    assert request.sent[0]["status"] == 204


@pytest.mark.parametrize(("takes", "status"), [(1, 204), (5, 408)])
async def test_a_server_may_wait_in_a_scope_of_its_own(takes: float, status: int) -> None:
    """The time limit holds around task groups, which middleware opens for each receive."""
    request = Request(part(BODY[:9], more=True), part(BODY[9:]))

    async def receive() -> dict[str, Any]:
        with anyio.move_on_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                await anyio.sleep(takes)
                group.cancel_scope.cancel()
        return await request.receive()

    await Receiver(TOKEN, body_timeout=4).asgi(request.scope, receive, request.send)

    assert request.sent[0]["status"] == status


async def test_a_body_that_is_given_up_is_cleaned_up() -> None:
    """When a wait for the body is cancelled, the server may still wait for its own cleaning up."""
    request = Request()
    done: list[str] = []

    async def receive() -> dict[str, Any]:
        try:
            return await request.receive()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
                done.append("cleaned up")

    with anyio.move_on_after(2):
        await Receiver(TOKEN).asgi(request.scope, receive, request.send)

    assert (done, request.sent) == (["cleaned up"], [])


async def test_a_cancellation_that_the_server_swallows_is_no_loss() -> None:
    """A body that the server returns although its wait was cancelled is accepted once it is there."""
    receiver = Receiver(TOKEN, body_timeout=None)
    request = Request()
    waiting = anyio.Event()

    async def receive() -> dict[str, Any]:
        with anyio.CancelScope() as scope:
            waiting.set()
            group.start_soon(cancel, scope)
            await anyio.sleep_forever()
        return part(BODY)

    async def cancel(scope: anyio.CancelScope) -> None:
        await waiting.wait()
        scope.cancel()

    async with anyio.create_task_group() as group:
        await receiver.asgi(request.scope, receive, request.send)

    assert request.sent[0]["status"] == 204
    assert receiver.counts == Counts(accepted=1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_as_its_body_arrives_is_cancelled() -> None:
    """A cancellation in the moment in which the body arrives is not lost."""
    request = Request()
    arrived: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def receive() -> dict[str, Any]:
        return await arrived

    task = asyncio.ensure_future(Receiver(TOKEN).asgi(request.scope, receive, request.send))
    await anyio.wait_all_tasks_blocked()
    arrived.set_result(part(BODY))
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert request.sent == []


@pytest.mark.parametrize("error", [OSError("broke"), TimeoutError("the server's own")])
async def test_an_error_of_a_body_that_is_waited_for_is_passed_on(error: Exception) -> None:
    """An error that the server raises after a wait reaches the server again."""
    request = Request()

    async def receive() -> NoReturn:
        await anyio.sleep(1)
        raise error

    with pytest.raises(type(error), match=str(error)):
        await Receiver(TOKEN).asgi(request.scope, receive, request.send)

    assert request.sent == []


async def test_a_client_that_goes_is_not_answered() -> None:
    """A client that disconnects in the middle of a body gets no reply."""
    receiver = Receiver(TOKEN, body_timeout=None)
    request = Request(part(BODY, more=True), {"type": "http.disconnect"})
    answer = await request.to(receiver.asgi)

    assert answer == (0, b"")
    assert receiver.counts == Counts()


async def test_an_event_whose_answer_is_lost_reaches_user_code() -> None:
    """An event is handled once though its reply was lost and it is delivered again."""
    receiver = Receiver(TOKEN)
    async with receiver:
        received = events_of(receiver)
        with pytest.raises(OSError, match="gone"):
            await Request(part(BODY), gone=True).to(receiver.asgi)
        answer = await Request(part(BODY)).to(receiver.asgi)

    assert answer == (204, b"")
    assert len(received) == 1


async def test_the_answer_comes_before_the_handlers() -> None:
    """The reply is sent before handlers run, also when the receiver is closed."""
    receiver = Receiver(TOKEN)
    await receiver.aclose()
    request = Request(part(BODY))
    answered: list[bool] = []
    receiver.on_event(lambda event: answered.append(bool(request.sent)))
    await request.to(receiver.asgi)

    assert answered == [True]


async def test_a_server_that_runs_nothing_else_opens_and_closes_the_receiver() -> None:
    """ASGI lifespan opens the receiver, and waits for running handlers at its end."""
    receiver = Receiver(TOKEN)
    received: list[Event] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await anyio.sleep(5)
        received.append(event)

    lifespan = Request({"type": "lifespan.startup"})
    lifespan.scope = {"type": "lifespan"}
    shut_down = anyio.Event()

    async def receive() -> dict[str, Any]:
        if lifespan.messages:
            return lifespan.messages.pop()
        await shut_down.wait()
        return {"type": "lifespan.shutdown"}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receiver.asgi, lifespan.scope, receive, lifespan.send)
        await anyio.wait_all_tasks_blocked()
        await Request(part(json.dumps(payload("ringing", None, cmiuuid=LEG)).encode())).to(
            receiver.asgi
        )
        at_once = len(received)
        shut_down.set()

    assert [message["type"] for message in lifespan.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert (at_once, len(received)) == (0, 1)


async def test_there_is_no_websocket_here() -> None:
    """A WebSocket is closed, and an unknown ASGI scope is an error."""
    request = Request()
    request.scope = {"type": "websocket", "path": PATH}
    await Receiver(TOKEN).asgi(request.scope, request.receive, request.send)
    with pytest.raises(ValueError, match="webtransport"):
        await Receiver(TOKEN).asgi({"type": "webtransport"}, request.receive, request.send)

    assert [message["type"] for message in request.sent] == ["websocket.close"]
