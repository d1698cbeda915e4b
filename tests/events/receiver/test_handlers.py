"""Handlers: which one answers, when they run, and how their errors are contained."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
import pytest
from fake_store import payload, record
from fake_telecmi import FLOW, TO, FakeTelecmi
from webhook_posts import DIGITS, INBOUND, LEG, PATH, REQUEST_ID, TOKEN, events_of, post

from telecmi_async import (
    ConfigurationError,
    Flow,
    Hangup,
    Input,
    Play,
    Receiver,
    WrongEventLoop,
)
from telecmi_async.events.receiver.receiver import intake_of
from telecmi_async.testing import run

if TYPE_CHECKING:
    from telecmi_async.events import DigitsEvent, Event, InboundRequest

pytestmark = pytest.mark.anyio

HANG_UP = b'[{"action":"hangup"}]'
NAMED = f"/telecmi/menu/{TOKEN}"


async def test_a_question_is_answered_with_the_bare_array() -> None:
    """The answer is a bare PCMO array with a JSON content type."""
    receiver = Receiver(TOKEN)

    @receiver.on_input
    async def pressed(event: DigitsEvent) -> Flow:
        await anyio.lowlevel.checkpoint()
        return Flow().play("one.wav" if event.dtmf == "1" else "other.wav")

    @receiver.on_inbound
    def called(event: InboundRequest) -> list[Any]:
        return [Play(f"{event.to}.wav"), Hangup()]

    one = await post(receiver, DIGITS)
    two = await post(receiver, INBOUND)

    assert one.status == two.status == 200
    assert one.headers == (("Content-Type", "application/json"),)
    assert json.loads(one.body) == [{"action": "play", "file_name": "one.wav"}]
    assert json.loads(two.body)[0] == {"action": "play", "file_name": "19170000000.wav"}
    assert receiver.counts.questions == 2


async def test_each_address_has_its_handler() -> None:
    """The name before the token chooses the handler; otherwise the unnamed one answers."""
    receiver = Receiver(TOKEN)
    receiver.on_input(lambda event: [Play("any.wav")])

    @receiver.on_input("menu")
    def menu(event: DigitsEvent) -> list[Play]:
        return [Play("menu.wav")]

    bodies = [
        (await post(receiver, DIGITS, path=path)).body
        for path in (NAMED, f"/menu//{TOKEN}/", PATH, f"/{TOKEN}", f"/other/{TOKEN}")
    ]

    assert [json.loads(body)[0]["file_name"] for body in bodies] == [
        "menu.wav", "menu.wav", "any.wav", "any.wav", "any.wav",
    ]  # fmt: skip


async def test_a_handler_is_told_the_query_of_its_address() -> None:
    """A handler gets the URL's query, which is not in the event's repr."""
    receiver = Receiver([TOKEN, "o" * 43], secret="a-secret")
    asked: list[DigitsEvent | InboundRequest] = []

    def answer(event: DigitsEvent | InboundRequest) -> list[Hangup]:
        asked.append(event)
        return [Hangup()]

    receiver.on_input("menu")(answer)
    receiver.on_inbound(answer)
    receiver.on_input(answer)
    url = receiver.url(
        "https://example.com/telecmi/", "menu", order=4242424242, name="A&B ü", empty=""
    )

    for address in (url, f"{PATH}?a=1&a=2", f"{PATH}?" + "a=1&" * 51, PATH):
        await post(receiver, DIGITS, path=address.removeprefix("https://example.com"))
    await post(receiver, INBOUND, path=f"{PATH}?line=1")

    assert url.startswith(f"https://example.com/telecmi/menu/{TOKEN}?v=")
    assert "4242424242" not in unquote(url)  # fewer digits may occur in what is encrypted
    assert [dict(event.query) for event in asked] == [
        {"order": "4242424242", "name": "A&B ü", "empty": ""},
        {"a": "2"},
        {},
        {},
        {"line": "1"},
    ]
    assert "4242424242" not in repr(asked[0])


def test_the_address_goes_into_a_call_flow_and_shows_in_no_repr() -> None:
    """The URL fits `action_url`, and the repr of the action hides the token."""
    receiver = Receiver(TOKEN, secret="a-secret")
    flow = Flow([Input(receiver.url("https://example.com/telecmi", order=42))])

    assert receiver.url("https://example.com") == f"https://example.com/{TOKEN}"
    assert receiver.url("https://example.com", caller=None).endswith(TOKEN)
    assert repr(flow).startswith("Flow([Input('https://example.com/telecmi/•••?v=")


@pytest.mark.parametrize("name", ["", "a/b", "ü", "a" * 65, "a?b"])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    """A handler name that does not fit a URL is refused for handlers and for URLs."""
    receiver = Receiver(TOKEN)
    receiver.on_input("")(lambda event: FLOW)
    with pytest.raises(ConfigurationError):
        receiver.on_input(name)(lambda event: FLOW)
    with pytest.raises(ConfigurationError):
        receiver.url("https://example.com", name or "/")


def test_what_cannot_be_called_is_no_handler() -> None:
    """A handler that is not callable, and a second handler, are refused."""
    receiver = Receiver(TOKEN)
    receiver.on_inbound(lambda event: FLOW)
    with pytest.raises(ConfigurationError, match="already"):
        receiver.on_inbound(lambda event: FLOW)
    with pytest.raises(ConfigurationError, match="function"):
        receiver.on_event(None)  # type: ignore[type-var]  # that is the point
    with pytest.raises(ConfigurationError, match="function"):
        receiver.on_input(7)  # type: ignore[call-overload]  # that is the point


async def test_where_nobody_answers_the_fallback_does(caplog: pytest.LogCaptureFixture) -> None:
    """Without a handler the fallback answers, by default a hang-up, and this is logged."""
    replies = [
        await post(Receiver(TOKEN), DIGITS),
        await post(Receiver(TOKEN), INBOUND),
        await post(Receiver(TOKEN, fallback=[Play("sorry.wav"), Hangup()]), DIGITS),
    ]

    assert [reply.status for reply in replies] == [200] * 3
    assert replies[0].body == replies[1].body == HANG_UP
    assert b"sorry.wav" in replies[2].body
    assert caplog.text.count("no handler") == 3


@pytest.mark.parametrize(
    "said", [None, {"pcmo": FLOW}, [{"action": "nonsense"}], KeyError("menu"), BaseException]
)
async def test_an_answer_that_is_none_becomes_the_fallback(
    said: object, caplog: pytest.LogCaptureFixture
) -> None:
    """An invalid answer or an error in a handler leads to the fallback."""
    receiver = Receiver(TOKEN)

    @receiver.on_input
    def menu(event: DigitsEvent) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    reply = await post(receiver, DIGITS)

    assert (reply.status, reply.body) == (200, HANG_UP)
    assert "the fallback answers" in caplog.text
    assert ("raise said\nKeyError: 'menu'" in caplog.text) is isinstance(said, Exception)


async def test_an_answer_that_takes_too_long_becomes_the_fallback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A handler is cancelled after the time-out, 10 s by default, and the fallback answers."""
    receivers = [
        Receiver(TOKEN),
        Receiver(TOKEN, answer_timeout=3),
        Receiver(TOKEN, answer_timeout=None),
    ]
    waited = []
    cancelled = []

    async def slow(event: DigitsEvent) -> Any:
        try:
            await anyio.sleep(100)
        except BaseException as error:
            cancelled.append(type(error))
            raise
        return [Play("late.wav")]

    for receiver in receivers:
        receiver.on_input(slow)
        began = anyio.current_time()
        reply = await post(receiver, DIGITS)
        waited.append((round(anyio.current_time() - began), reply.body == HANG_UP))

    assert waited == [(10, True), (3, True), (100, False)]
    assert len(cancelled) == 2
    assert "took more than 3" in caplog.text


async def test_an_error_in_a_handler_is_logged_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error affects neither the reply, nor the other handlers, nor the next event."""
    receiver = Receiver(TOKEN)

    @receiver.on_event
    async def fail(event: Event) -> None:
        raise ValueError("no such order")

    async with receiver:
        received = events_of(receiver)
        replies = [await post(receiver, record(REQUEST_ID, leg=leg)) for leg in ("a", "b")]
        replies.append(await post(receiver, record(REQUEST_ID)))

    assert [reply.status for reply in replies] == [204] * 3
    assert len(received) == 2
    assert caplog.text.count("ValueError: no such order") == 2
    assert "is not repeated" in caplog.text


async def test_no_answer_waits_for_a_handler() -> None:
    """Event handlers run as tasks, which start in the order of their calls' events."""
    receiver = Receiver(TOKEN)
    steps: list[str] = []

    @receiver.on_event
    async def slow(event: Event) -> None:
        steps.append(f"begin {event.leg}")
        await anyio.sleep(5)
        steps.append(f"end {event.leg}")

    began = anyio.current_time()
    async with receiver:
        for leg in "abc":
            await post(receiver, payload("ringing", f"call-{leg}", leg=leg))
        answered = anyio.current_time() - began

    assert answered < 1
    assert steps[:3] == [f"begin {leg}" for leg in "abc"]
    assert sorted(steps[3:]) == [f"end {leg}" for leg in "abc"]


@pytest.mark.parametrize("handlers", [1, 2])
async def test_a_handler_may_close_the_receiver(
    handlers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing inside a handler waits neither for itself nor for another such handler."""
    receiver = Receiver(TOKEN)
    closed: list[float] = []

    @receiver.on_event
    async def close(event: Event) -> None:
        await anyio.sleep(1)
        await receiver.aclose()
        closed.append(anyio.current_time() - began)

    began = anyio.current_time()
    async with receiver:
        for leg in "ab"[:handlers]:
            await post(receiver, payload("ringing", f"call-{leg}", leg=leg))

    assert [round(seconds) for seconds in closed] == [1] * handlers
    assert not caplog.text


async def test_several_may_close_the_receiver() -> None:
    """Several tasks may close a receiver at once; each waits for the handlers."""
    receiver = Receiver(TOKEN)
    receiver.on_event(lambda event: anyio.sleep(5))
    began = anyio.current_time()
    async with receiver, anyio.create_task_group() as tasks:
        await post(receiver, record(REQUEST_ID))
        for _ in range(3):
            tasks.start_soon(receiver.aclose)

    assert round(anyio.current_time() - began) == 5


async def test_an_answer_that_is_cancelled_is_none() -> None:
    """A cancelled request gets no fallback."""
    receiver = Receiver(TOKEN)
    replies: list[object] = []

    @receiver.on_inbound
    async def think(event: Event) -> Flow:
        await anyio.sleep(10)
        return Flow().hangup()

    with anyio.move_on_after(1) as scope:
        replies.append(await post(receiver, INBOUND))

    assert (scope.cancelled_caught, replies) == (True, [])


async def test_closing_that_is_cancelled_takes_its_handlers_along() -> None:
    """Cancelling the close cancels the handlers at once."""
    receiver = Receiver(TOKEN)
    receiver.on_event(lambda event: anyio.sleep(10_000))
    began = anyio.current_time()
    with anyio.move_on_after(2):
        async with receiver:
            await post(receiver, record(REQUEST_ID))

    assert round(anyio.current_time() - began) == 2


async def test_what_comes_after_closing_is_handled_before_the_answer() -> None:
    """After closing, handlers finish before the reply; reopened, they run as tasks."""
    receiver = Receiver(TOKEN)
    received: list[Event] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await anyio.sleep(1)
        received.append(event)

    async with receiver:
        pass
    await post(receiver, record(REQUEST_ID))
    after_closing = len(received)
    async with receiver:
        await post(receiver, record(REQUEST_ID, leg="b"))
        at_once = len(received)

    assert (after_closing, at_once, len(received)) == (1, 1, 2)


async def test_a_receiver_that_nobody_opened(anyio_backend_name: str) -> None:
    """Without opening, asyncio runs handlers as tasks, and trio runs them before the reply."""
    receiver = Receiver(TOKEN)
    received: list[Event] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await anyio.sleep(1)
        received.append(event)

    await post(receiver, record(REQUEST_ID))
    at_once = len(received)
    await receiver.aclose()
    await receiver.aclose()

    assert at_once == (anyio_backend_name == "trio")
    assert len(received) == 1


async def test_a_receiver_is_opened_once_at_a_time(anyio_backend_name: str) -> None:
    """On trio a second opening is refused: it would lose the tasks of the first."""
    receiver = Receiver(TOKEN)
    async with receiver:
        if anyio_backend_name == "trio":
            with pytest.raises(WrongEventLoop):
                await receiver.__aenter__()


@pytest.mark.parametrize("closed", [False, True])
async def test_an_event_that_nobody_can_be_told_of_is_logged(
    closed: bool, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that is matched when no task can be started is logged."""
    receiver = Receiver(TOKEN)
    if closed:
        await receiver.aclose()
    async with FakeTelecmi(delay=5).service(events=receiver, reference=False) as service:
        received = events_of(receiver)
        call = service.make_call(to=TO, pcmo=FLOW)
        await post(receiver, record(REQUEST_ID))
        await (await call).ended()
        await anyio.wait_all_tasks_blocked()

    handled = not closed and anyio_backend_name == "asyncio"
    assert (len(received) == 1) is handled
    assert ("no handler is called for" in caplog.text) is not handled


def test_a_receiver_goes_on_in_another_event_loop() -> None:
    """A receiver whose event loop ended works in the next one."""
    receiver = Receiver(TOKEN)
    received = events_of(receiver)

    async def one(leg: str) -> int:
        await post(receiver, payload("ringing", REQUEST_ID, leg=leg))
        at_once = len(received)
        await anyio.sleep(1)
        return at_once

    counts = [run(partial(one, leg)) for leg in "abc"]

    assert counts == [0, 1, 2]
    assert len(received) == 3


@pytest.mark.real_clock
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_handlers_run_where_the_receiver_is(anyio_backend: object) -> None:
    """Handlers run in the receiver's loop, also when another thread dispatches the event."""
    receiver = Receiver(TOKEN)
    loops: list[object] = []
    called_thrice = anyio.Event()
    received = events_of(receiver)

    @receiver.on_event
    def note(event: Event) -> None:
        loops.append(asyncio.get_running_loop())
        if len(loops) == 3:
            called_thrice.set()

    async def elsewhere() -> None:
        await post(receiver, payload("ringing", REQUEST_ID, leg="b"))
        assert len(loops) == 2, "where no task can be started, the answer waits"
        intake_of(receiver).runner.dispatch(received[0])

    await post(receiver, payload("ringing", REQUEST_ID))
    await asyncio.sleep(0)
    with anyio.fail_after(10):
        await anyio.to_thread.run_sync(lambda: asyncio.run(elsewhere()))
        await called_thrice.wait()

    here = asyncio.get_running_loop()
    assert [loop is here for loop in loops] == [True, False, True]


@pytest.mark.real_clock
async def test_closing_elsewhere_waits_for_nothing() -> None:
    """Closing from another loop does not wait for handlers."""
    receiver = Receiver(TOKEN)
    go_on = anyio.Event()
    receiver.on_event(lambda event: go_on.wait())
    async with receiver:
        await post(receiver, payload("ringing", REQUEST_ID, cmiuuid=LEG))
        with anyio.fail_after(10):
            await anyio.to_thread.run_sync(
                lambda: asyncio.run(receiver.aclose()), abandon_on_cancel=True
            )
        go_on.set()
