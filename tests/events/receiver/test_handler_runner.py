"""Event handlers: in order for each call, side by side for many, and never without a bound."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from fake_store import payload, record
from webhook_posts import DIGITS, REQUEST_ID, TOKEN, events_of, post

from telecmi_async import Flow, Receiver
from telecmi_async.events import parse_event
from telecmi_async.events.receiver import Counts
from telecmi_async.events.receiver.receiver import intake_of
from telecmi_async.testing import run

if TYPE_CHECKING:
    from telecmi_async.events import DigitsEvent, Event
    from telecmi_async.http_server import HttpResponse

pytestmark = pytest.mark.anyio


async def ring(receiver: Receiver, number: int, status: str = "ringing") -> HttpResponse:
    """Post an event of a call."""
    return await post(receiver, payload(status, f"call-{number}", cmiuuid=f"leg-{number}"))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_ten_thousand_events_behind_a_slow_handler_are_few_tasks() -> None:
    """By default 10,000 events wait, in 100 tasks, and the rest is refused."""
    receiver = Receiver(TOKEN)
    go_on = anyio.Event()
    receiver.on_event(lambda event: go_on.wait())
    async with receiver:
        statuses = [(await ring(receiver, number)).status for number in range(10_100)]
        await anyio.wait_all_tasks_blocked()
        tasks = intake_of(receiver).runner._tasks._running
        go_on.set()

    assert statuses == [204] * 10_000 + [503] * 100
    assert tasks == 100


async def test_at_the_bound_events_are_refused_and_taken_again_later() -> None:
    """What was refused is new when TeleCMI sends it again; no accepted event is lost."""
    receiver = Receiver(TOKEN, max_pending_events=500)
    go_on = anyio.Event()
    handled = 0
    at_once = most = 0

    @receiver.on_event
    async def slow(event: Event) -> None:
        nonlocal handled, at_once, most
        at_once += 1
        most = max(most, at_once)
        await go_on.wait()
        at_once -= 1
        handled += 1

    async with receiver:
        replies = [(await ring(receiver, number)).status for number in range(1_000)]
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        await anyio.sleep(1)
        again = [(await ring(receiver, number)).status for number in range(500, 1_000)]

    assert replies == [204] * 500 + [503] * 500
    assert again == [204] * 500
    assert most == 100
    assert handled == 1_000
    assert receiver.counts == Counts(accepted=1_000, deferred=500)


@pytest.mark.parametrize("waiting", [0, 50])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_event_that_comes_as_all_tasks_end_is_handled(waiting: int) -> None:
    """No event is left behind if 100 handlers return in the same pass of the event loop."""
    receiver = Receiver(TOKEN)
    runner, go_on = intake_of(receiver).runner, anyio.Event()
    handled: list[Event] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await go_on.wait()
        handled.append(event)

    async with receiver:
        for number in range(100 + waiting):
            await ring(receiver, number)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        # After the tasks' last steps, and before their ends are noted.
        late = parse_event(payload("ringing", "late"))
        asyncio.get_running_loop().call_soon(runner.dispatch, late)
        await anyio.wait_all_tasks_blocked()

        assert len(handled) == 101 + waiting
        assert late in handled
        assert [runner._pending, runner._lanes, runner._idle, runner._working] == [
            0,
            {},
            {},
            {},
        ]


async def test_the_handler_that_is_behind_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the handler for which most events wait, once until there is room."""
    receiver = Receiver(TOKEN, max_pending_events=3)
    go_on = anyio.Event()
    received = events_of(receiver)

    @receiver.on_event
    async def behind(event: Event) -> None:
        await go_on.wait()

    async with receiver:
        for number in range(6):
            await ring(receiver, number)
            await anyio.wait_all_tasks_blocked()
        before = len(received)
        go_on.set()
        await anyio.sleep(1)
        reply = await ring(receiver, 6)

    assert (before, reply.status) == (3, 204)
    assert caplog.text.count("too many events wait for the handler") == 1
    assert "<locals>.behind" in caplog.text


async def test_events_of_a_call_come_one_after_the_other() -> None:
    """A handler has ended with an event before it gets the next one of the same call."""
    receiver = Receiver(TOKEN)
    steps: dict[str | None, list[str]] = defaultdict(list)

    @receiver.on_event
    async def work(event: Event) -> None:
        status = str(event.raw["status"])
        steps[event.request_id].append(f"begin {status}")
        await anyio.sleep(3 if status == "started" else 1)
        steps[event.request_id].append(f"end {status}")

    began = anyio.current_time()
    async with receiver:
        for status in ("started", "ringing", "answered"):
            for number in range(5):
                await ring(receiver, number, status)
    took = anyio.current_time() - began

    expected = [
        f"{step} {status}"
        for status in ("started", "ringing", "answered")
        for step in ("begin", "end")
    ]
    assert steps == {f"call-{number}": expected for number in range(5)}
    assert round(took) == 5


async def test_events_that_name_their_call_differently_are_in_order() -> None:
    """An inbound call's question and its events, and both legs of a call, are one call."""
    receiver = Receiver(TOKEN)
    at_once = most = 0

    @receiver.on_event
    async def work(event: Event) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(1)
        at_once -= 1

    async with receiver:
        await post(receiver, payload("in_answered", None, cmiuuid="x", conversation_uuid="x"))
        await post(receiver, DIGITS | {"cmuuid": "x"})
        await post(
            receiver, payload("bridged", None, leg="b", cmiuuid="y", conversation_uuid="x")
        )

    assert most == 1


async def test_events_of_no_known_call_are_handled_side_by_side() -> None:
    """Events without any id wait for none of their kind."""
    receiver = Receiver(TOKEN)
    received: list[float] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await anyio.sleep(5)
        received.append(anyio.current_time() - began)

    began = anyio.current_time()
    async with receiver:
        for number in range(3):
            await post(receiver, {"status": f"what {number}"})

    assert [round(seconds) for seconds in received] == [5, 5, 5]


async def test_no_handler_waits_for_another() -> None:
    """A handler that never returns keeps no event from the others."""
    receiver = Receiver(TOKEN, shutdown_timeout=1)
    receiver.on_event(lambda event: anyio.sleep_forever())
    received = events_of(receiver)
    async with receiver:
        for status in ("started", "ringing", "answered"):
            await ring(receiver, 1, status)
        await anyio.wait_all_tasks_blocked()
        at_once = len(received)

    assert at_once == 3


async def test_closing_waits_as_long_as_it_is_told_and_logs_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Closing waits for handlers, then cancels them, and logs each event that they did not end."""
    caplog.set_level(logging.INFO)
    receiver = Receiver(TOKEN, shutdown_timeout=12)
    ended: list[str | None] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await anyio.sleep(10 if event.request_id == "call-1" else 10_000)
        ended.append(event.request_id)

    began = anyio.current_time()
    async with receiver:
        for number in range(1, 151):
            await ring(receiver, number)
        await ring(receiver, 2, "answered")
        await ring(receiver, 1, "answered")
    waited = anyio.current_time() - began

    assert round(waited) == 12
    assert ended == ["call-1"]
    assert "it waits for handlers of 152 events, 12 s at most" in caplog.text
    assert "handlers of 151 accepted events did not end" in caplog.text
    assert caplog.text.count("lost for the handler") == 100
    assert "work: LiveEvent(" in caplog.text
    assert receiver.counts.accepted == 152


async def test_closing_may_take_as_long_as_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    """Without a limit closing waits for all handlers."""
    caplog.set_level(logging.INFO)
    receiver = Receiver(TOKEN, shutdown_timeout=None)
    ended: list[Event] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        await anyio.sleep(3600)
        ended.append(event)

    async with receiver:
        await ring(receiver, 1)

    assert len(ended) == 1
    assert "it waits for handlers of 1 events\n" in caplog.text


async def test_a_receiver_works_again_after_events_were_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Opened again, a receiver has room for as many events as at first."""
    receiver = Receiver(TOKEN, shutdown_timeout=1, max_pending_events=2)
    blocked = True
    received: list[Event] = []

    @receiver.on_event
    async def work(event: Event) -> None:
        if blocked:
            await anyio.sleep_forever()
        received.append(event)

    async with receiver:
        for number in range(2):
            await ring(receiver, number)
    blocked = False
    async with receiver:
        replies = [(await ring(receiver, number)).status for number in range(10, 12)]

    assert replies == [204, 204]
    assert len(received) == 2


def test_what_a_loop_that_was_closed_left_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Events of an event loop that ended are given up, and the next loop starts afresh."""
    receiver = Receiver(TOKEN, max_pending_events=150)
    receiver.on_event(lambda event: anyio.sleep_forever())

    async def ring_often(first: int) -> list[int]:
        return [(await ring(receiver, first + number)).status for number in range(150)]

    statuses = [run(partial(ring_often, first)) for first in (0, 1_000)]

    assert statuses == [[204] * 150, [204] * 150]
    assert "handlers of 150 accepted events did not end" in caplog.text


async def test_a_question_beyond_the_bound_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A question is answered though too many events wait; that no handler gets it is logged."""
    receiver = Receiver(TOKEN, max_pending_events=1, shutdown_timeout=1)
    receiver.on_event(lambda event: anyio.sleep_forever())
    async with receiver:
        await ring(receiver, 1)
        reply = await post(receiver, DIGITS)
        await anyio.wait_all_tasks_blocked()

    assert reply.status == 200
    assert "too many events wait for handlers; lost: DigitsEvent(" in caplog.text


@pytest.mark.real_clock
async def test_a_plain_handler_that_blocks_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain function that holds up the event loop is logged once, with its name."""
    monkeypatch.setattr("telecmi_async.events.receiver.handlers._BLOCKED", 0.02)
    receiver = Receiver(TOKEN)

    @receiver.on_event
    def lazy(event: Event) -> None:
        time.sleep(0.03)

    async with receiver:
        for number in range(3):
            await ring(receiver, number)

    assert caplog.text.count("blocked the event loop for") == 1
    assert "<locals>.lazy" in caplog.text


async def test_logs_name_what_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Functions, partials and objects are named in the lines about their errors."""
    receiver = Receiver(TOKEN)

    class Ledger:
        def __call__(self, event: Event) -> None:
            raise KeyError("no order")

        def save(self, event: Event) -> None:
            raise KeyError("no order")

    def note(name: str, event: Event) -> None:
        raise KeyError(name)

    async def menu(event: DigitsEvent) -> Flow:
        raise KeyError("no menu")

    for handler in (Ledger(), Ledger().save, partial(note, "x")):
        receiver.on_event(handler)
    receiver.on_input(menu)
    async with receiver:
        await post(receiver, record(REQUEST_ID))
        await post(receiver, DIGITS)

    for name in ("Ledger", "Ledger.save", "note"):
        assert f"<locals>.{name} failed on CallRecord(" in caplog.text
    assert "<locals>.menu failed on DigitsEvent(" in caplog.text
