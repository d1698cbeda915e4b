"""Call outcomes: what handles know of their calls after they were accepted."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fake_store import TALK, FakeStore, payload, record, signed
from fake_telecmi import (
    FLOW,
    TO,
    FakeTelecmi,
    accepted,
    always,
    gateway,
    in_turn,
    refused,
)

from telecmi_async import (
    CallHandle,
    CallOutcomeUnknown,
    CallRejected,
    CallResult,
    CallService,
    CallStatus,
    ConfigurationError,
    InvalidCall,
    RateLimit,
    RetryPolicy,
    ServiceClosed,
    StoreError,
    WaitTimeout,
    WrongEventLoop,
)
from telecmi_async._internal.telecmi import REFERENCE_FIELD
from telecmi_async.events import LiveEvent, Stage
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

ID = f"{0:043d}"
OTHER_ID = f"{1:043d}"
LOST = httpx.ReadTimeout("slow")

pytestmark = pytest.mark.anyio


def place(service: CallService, **more: Any) -> CallHandle:
    """Place a call to the usual number."""
    return service.make_call(to=TO, pcmo=FLOW, **more)


async def later(seconds: float, fake_store: FakeStore, *payloads: dict[str, Any]) -> None:
    """Put events into a fake store after a delay."""
    await anyio.sleep(seconds)
    await fake_store.lay(*payloads)


@pytest.mark.parametrize(
    "wait",
    [
        lambda call: call.answered(),
        lambda call: call.ended(timeout=60),
        lambda call: anext(call.events()),
    ],
)
async def test_without_a_source_of_events_waiting_says_what_to_do(
    wait: Callable[[CallHandle], Any],
) -> None:
    """Without a source of events, waiting raises an error instead of hanging."""
    async with FakeTelecmi().service() as service:
        call = await place(service)
        with pytest.raises(ConfigurationError, match=r"events=Receiver\(token\)") as caught:
            await wait(call)

    assert "CdrPoller()" in str(caught.value)


async def test_a_call_is_waited_for_to_its_end() -> None:
    """`answered` wakes on the answer, `ended` on the call detail record."""
    fake_store = FakeStore()
    async with (
        FakeTelecmi().service(events=fake_store) as service,
        anyio.create_task_group() as tasks,
    ):
        call = await place(service)
        tasks.start_soon(later, 5, fake_store, payload("out_answered", ID))
        tasks.start_soon(later, 12, fake_store, payload("out_hangup", ID), record(ID))
        began = anyio.current_time()

        answered = await call.answered()
        after_answer = anyio.current_time() - began
        result = await call.ended()
        after_end = anyio.current_time() - began

    assert (answered, after_answer, after_end) == (True, 5, 12)
    assert (result.stage, result.over, result.complete) == (Stage.COMPLETED, True, True)
    assert (result.answered, result.talk_seconds, str(result.cost)) == (True, TALK, "0.5")
    assert (result.to, result.request_id, result.reference) == (TO, ID, call.reference)
    assert [leg.leg for leg in result.legs] == ["a"]
    assert result.request is call.request
    assert result == call.result == await call.ended()


async def test_a_missed_call_is_over_and_was_not_answered() -> None:
    """A call detail record alone settles the outcome."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(record(ID, answered=False))

        assert await call.answered() is False
        assert (await call.ended()).answered is False


async def test_a_call_that_is_over_without_saying_how_was_not_answered() -> None:
    """For a record of unknown status, `answered` returns False and the result has None."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(payload("gone", ID, type="cdr"))

        assert await call.answered() is False
        assert (await call.ended()).answered is None


async def test_what_is_known_by_now_can_be_looked_at() -> None:
    """`result` never waits, not even before TeleCMI's reply."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = place(service)
        nothing = call.result
        await call
        await fake_store.lay(payload("ringing", ID))

        assert (nothing.stage, nothing.request_id) == (Stage.NEW, None)
        assert (call.result.stage, call.result.request_id) == (Stage.RINGING, ID)
        assert repr(call.result) == (
            f"CallResult(to=•••••••0001, request_id='{ID}', stage='ringing', answered=None, "
            "talk_seconds=None, cost=None, complete=False, legs=1)"
        )


async def test_a_bridged_call_ends_with_the_records_of_both_legs() -> None:
    """A leg that an event has named must have a record before the call has ended."""
    fake_store = FakeStore()
    async with (
        FakeTelecmi().service(events=fake_store) as service,
        anyio.create_task_group() as tasks,
    ):
        call = await place(service)
        await fake_store.lay(payload("out_answered", ID), payload("out_bridged", ID, leg="b"))
        await fake_store.lay(record(ID))
        tasks.start_soon(later, 300, fake_store, record(ID, leg="b"))
        began = anyio.current_time()

        result = await call.ended()

    assert anyio.current_time() - began == 300
    assert [leg.leg for leg in result.legs] == ["a", "b"]
    assert str(result.cost) == "1.0"


async def test_a_record_that_never_comes_is_waited_for_half_an_hour() -> None:
    """TeleCMI sends a record for the last time 30 minutes after the end; then it is lost."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await anyio.sleep(10)
        await fake_store.lay(payload("out_answered", ID), payload("out_hangup", ID))
        began = anyio.current_time()

        result = await call.ended()
        waited = anyio.current_time() - began
        known = [event async for event in call.events()]

    assert waited == 31 * 60
    assert (result.over, result.complete, result.talk_seconds) == (True, False, None)
    assert len(known) == 2


async def test_events_are_given_once_to_everybody_who_asks() -> None:
    """Each iterator yields past events, then new ones until the end, without repeats."""
    fake_store = FakeStore()
    seen: dict[str, list[str]] = {"early": [], "late": []}

    async def watch(name: str, call: CallHandle) -> None:
        async for event in call.events():
            seen[name].append(str(event.raw["status"]))

    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, "early", call)
            await anyio.sleep(1)
            await fake_store.lay(*[payload("ringing", ID, time=1_700_000_000_000)] * 3)
            await anyio.sleep(1)
            tasks.start_soon(watch, "late", call)
            await fake_store.lay(payload("out_answered", ID))
            await anyio.sleep(1)
            await fake_store.lay(record(ID), record(ID))

    assert seen["early"] == seen["late"] == ["ringing", "out_answered", "answered"]


async def test_leaving_the_events_early_leaves_nothing_behind() -> None:
    """An iterator may be left early, because it holds nothing to be closed."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(payload("ringing", ID), payload("out_answered", ID))

        async for event in call.events():
            first = event
            break

        assert isinstance(first, LiveEvent)
        assert call.result.stage is Stage.ANSWERED


async def test_the_thousandth_event_is_the_last_that_is_kept() -> None:
    """A call keeps at most 1,000 events, and its outcome is still known."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        for n in range(1_100):
            await fake_store.lay(payload("ringing", ID, time=1_700_000_000_000 + 1_000 * n))
        await fake_store.lay(record(ID))

        assert len([event async for event in call.events()]) == 1_000
        assert (await call.ended()).answered is True


async def test_a_wait_that_takes_too_long_says_so_and_disturbs_nobody() -> None:
    """A time-out of one waiter does not affect the call or other waiters."""
    fake_store = FakeStore()
    results: list[CallResult] = []

    async def wait(call: CallHandle) -> None:
        results.append(await call.ended())

    async with (
        FakeTelecmi().service(events=fake_store) as service,
        anyio.create_task_group() as tasks,
    ):
        call = await place(service)
        tasks.start_soon(wait, call)
        with pytest.raises(WaitTimeout, match=r"not known to be answered after 3 s") as caught:
            await call.answered(timeout=3)
        with anyio.move_on_after(2):
            await call.ended()
        await fake_store.lay(record(ID))

    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.safe_to_redial
    assert str(TO) not in str(caught.value)
    assert [result.answered for result in results] == [True]


@pytest.mark.parametrize("timeout", [0, -1, "soon", float("nan"), True])
async def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    """A time-out must be seconds above 0, a timedelta, or None."""
    async with FakeTelecmi().service(events=FakeStore()) as service:
        call = await place(service)
        with pytest.raises(ConfigurationError, match="timeout must be"):
            await call.answered(timeout=timeout)


async def test_a_call_that_failed_raises_its_own_error() -> None:
    """Waiting for a call that failed raises the call's own error."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(lambda: refused(404))).service(events=fake_store) as service:
        call = place(service)
        with pytest.raises(CallRejected):
            await call.ended()
        with pytest.raises(CallRejected):
            await anext(call.events())


async def test_an_event_that_overtakes_the_reply_is_not_lost() -> None:
    """An event that arrives before the reply is kept until the call is known."""
    fake_store = FakeStore()
    async with FakeTelecmi(delay=2).service(events=fake_store, reference=False) as service:
        call = place(service)
        await anyio.sleep(1)
        await fake_store.lay(payload("out_answered", ID), record(ID))

        assert (await call.ended()).answered is True


async def test_an_event_brings_back_a_call_whose_reply_was_lost() -> None:
    """The event makes an unknown call accepted, and waiters for the end wake."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(lambda: LOST)).service(events=fake_store) as service:
        call = place(service)
        with pytest.raises(CallOutcomeUnknown):
            await call
        async with anyio.create_task_group() as tasks:
            mine = signed(call.reference)
            tasks.start_soon(later, 3, fake_store, payload("out_started", ID, **mine))
            tasks.start_soon(later, 9, fake_store, record(ID))

            result = await call.ended()

        assert (await call) is call
        assert (call.status, call.request_id) == (CallStatus.PROGRESS, ID)
        assert (call.error, call.reply, call.may_be_duplicate) == (None, None, False)
        assert result.request_id == ID


async def test_a_call_without_a_reference_stays_unknown() -> None:
    """Without a reference no event can match the call, so waiting raises at once."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(lambda: LOST)).service(
        events=fake_store, reference=False
    ) as service:
        call = place(service)
        with pytest.raises(CallOutcomeUnknown):
            await call.ended()


async def test_an_event_stops_the_repetition_of_what_was_placed() -> None:
    """A gateway's 502 would be retried, but the event shows that the call was placed."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi(in_turn(gateway, accepted))
    policy = RetryPolicy(wait_initial=10, wait_max=10)
    async with telecmi.service(events=fake_store, retry=policy) as service:
        call = place(service)
        await anyio.sleep(0.5)
        await fake_store.lay(payload("out_started", ID, **signed(call.reference)))
        await call
        await anyio.sleep(60)

        assert (call.accepted, call.request_id) == (True, ID)
        assert len(telecmi.requests) == len(call.attempts) == 1


async def test_an_event_settles_a_call_whose_request_fails_afterwards() -> None:
    """The event arrives while the request is in flight, and then the reply is lost."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi(in_turn(gateway, accepted), delay=2)
    async with telecmi.service(events=fake_store) as service:
        call = place(service)
        await anyio.sleep(1)
        await fake_store.lay(payload("out_started", ID, **signed(call.reference)))
        assert call.status is CallStatus.SENDING
        await call

        assert (call.request_id, len(telecmi.requests)) == (ID, 1)


async def test_an_event_proves_a_refusal_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """An event after a refusal makes the call accepted, since a phone may have rung."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(lambda: refused(404))).service(events=fake_store) as service:
        call = place(service)
        with pytest.raises(CallRejected):
            await call
        await fake_store.lay(payload("out_started", ID, **signed(call.reference)))

        assert (call.status, call.error) == (CallStatus.PROGRESS, None)
    assert "was rejected, and an event shows that TeleCMI placed it" in caplog.text


@pytest.mark.parametrize("when", ["after", "while sending"])
async def test_events_of_two_calls_show_a_duplicate(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two request ids for one reference show that the call was placed twice."""
    fake_store = FakeStore()
    async with FakeTelecmi(delay=2).service(events=fake_store) as service:
        call = place(service)
        await anyio.sleep(1 if when == "while sending" else 3)
        mine = signed(call.reference)
        await fake_store.lay(payload("out_started", OTHER_ID, **mine))
        await call
        await fake_store.lay(payload("ringing", OTHER_ID, **mine))

        assert (call.request_id, call.may_be_duplicate) == (ID, True)
    assert caplog.text.count("placed it twice") == 1


async def test_an_event_that_confirms_the_reply_changes_nothing() -> None:
    """The event has the request id of the reply, so nothing changes."""
    fake_store = FakeStore()
    async with FakeTelecmi(delay=2).service(events=fake_store) as service:
        call = place(service)
        await anyio.sleep(1)
        await fake_store.lay(payload("out_started", ID, **signed(call.reference)))
        await call
        await fake_store.lay(payload("ringing", ID, **signed(call.reference)))

        assert (call.request_id, call.may_be_duplicate) == (ID, False)


async def test_an_event_with_no_id_of_the_call_but_a_legs_finds_it() -> None:
    """Stream and DTMF events have only the leg's id, which other events connect to the call."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(
            {"cmiuuid": "leg-a", "status": "stream_connected", "ws_status": "{}"}
        )
        await fake_store.lay({"cmiuuid": "leg-a", "dtmf": "1"})
        assert len(fake_store.kept) == 2
        await fake_store.lay(payload("out_answered", ID))
        await anyio.sleep(1)
        await fake_store.lay({"cmiuuid": "leg-a", "dtmf": "1"}, record(ID))

        kinds = [type(event).__name__ async for event in call.events()]

    assert sorted(kinds) == [
        "CallRecord",
        "DigitsEvent",
        "DigitsEvent",
        "LiveEvent",
        "StreamEvent",
    ]


async def test_the_reference_is_sent_only_where_it_is_of_use_or_asked_for() -> None:
    """The reference is sent with a receiver or store by default, else only if asked for."""
    sent: list[Any] = []
    for options in (
        {},
        {"reference": True},
        {"events": FakeStore()},
        {"events": FakeStore(), "reference": False},
    ):
        telecmi = FakeTelecmi()
        async with telecmi.service(**options) as service:
            await place(service, extra_params={"order": "42"})
        sent.append(set(telecmi.requests[0]["extra_params"]))

    assert sent == [
        {"order"},
        {"order", REFERENCE_FIELD},
        {"order", REFERENCE_FIELD},
        {"order"},
    ]


async def test_the_references_key_belongs_to_the_service() -> None:
    """The user's own value under the reference's key is refused, not overwritten."""
    async with FakeTelecmi().service(reference=True) as service:
        with pytest.raises(InvalidCall) as caught:
            place(service, extra_params={REFERENCE_FIELD: "mine"})
    assert caught.value.path == f"extra_params.{REFERENCE_FIELD}"


async def test_a_call_is_taken_up_again_by_its_id() -> None:
    """After a restart, a handle can be made from the request id alone."""
    fake_store = FakeStore()
    await fake_store.lay(payload("out_answered", ID, to=TO))
    async with FakeTelecmi().service(events=fake_store) as service:
        call = service.handle_for(ID)
        assert (await call) is call
        assert await call.answered()
        await fake_store.lay(record(ID, to=TO))
        result = await call.ended()

        assert (call.request_id, call.accepted, call.attempts) == (ID, True, ())
        assert (call.request, call.reply, call.region) == (None, None, None)
        assert (result.to, result.answered) == (TO, True)
        assert service.handle_for(ID).result == result


async def test_a_call_that_is_held_is_not_taken_up_a_second_time() -> None:
    """Two handles of one call share the same state."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        first = await place(service)
        second = service.handle_for(ID)
        await fake_store.lay(record(ID))

        assert second.reference == first.reference
        assert (await second.ended()) == (await first.ended())


@pytest.mark.parametrize("to", [None, "", "anonymous", "0", "9" * 5_000, "१" * 10])
async def test_a_number_that_is_none_leaves_the_result_without_one(to: str | None) -> None:
    """An invalid callee number in an event is ignored."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = service.handle_for(ID)
        await fake_store.lay(record(ID, to=to))

        assert (await call.ended()).to is None
        assert ID in repr(call)


@pytest.mark.parametrize("request_id", ["", "two words", 7, None, "x" * 300])
async def test_what_is_no_id_is_refused(request_id: Any) -> None:
    """The error names the request id that is needed."""
    async with FakeTelecmi().service(events=FakeStore()) as service:
        with pytest.raises(InvalidCall, match="the id that TeleCMI gave"):
            service.handle_for(request_id)


@pytest.mark.parametrize("options", [{}, {"rate": RateLimit(max_live_calls=3)}])
async def test_a_call_is_not_taken_up_where_nothing_is_heard(options: Any) -> None:
    """Without a source of events, a handle for a request id is refused."""
    async with FakeTelecmi().service(**options) as service:
        with pytest.raises(ConfigurationError, match="source of events"):
            service.handle_for(ID)


@pytest.mark.parametrize("how", ["answered", "ended", "events"])
async def test_closing_the_service_wakes_those_who_wait(how: str) -> None:
    """Waiters get ServiceClosed, which says how to go on."""
    fake_store = FakeStore()
    errors: list[ServiceClosed] = []

    async def wait(call: CallHandle) -> None:
        with pytest.raises(ServiceClosed, match="handle_for") as caught:
            await (anext(call.events()) if how == "events" else getattr(call, how)())
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        async with FakeTelecmi().service(events=fake_store) as service:
            call, other = await place(service), place(service)
            tasks.start_soon(wait, call)
            tasks.start_soon(wait, call)
            await anyio.sleep(1)
        await wait(call)
        await wait(other)

    assert len(errors) == 4
    assert errors[0] is not errors[1]
    assert fake_store.listeners == []


async def test_what_was_known_when_the_service_closed_stays_known() -> None:
    """The outcome of a call that is over can be read after the service closed."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(record(ID))

    assert (await call.ended()).answered is True
    assert len([event async for event in call.events()]) == 1


async def test_a_store_that_fails_is_asked_again_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Earlier events are missed until the store works again, and the log says so once."""
    fake_store = FakeStore()
    fake_store.broken = True
    await fake_store.lay(record(ID))
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await anyio.sleep(60)
        nothing = call.result
        fake_store.broken = False

        assert (await call.ended(timeout=10)).answered is True
        assert nothing.stage is Stage.NEW
    assert caplog.text.count("cannot be looked up now: the fake_store broke") == 1


async def test_a_store_that_fails_for_good_wakes_those_who_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A user's own store may raise any exception; waiters get StoreError instead."""
    fake_store = FakeStore()
    fake_store.foreign = ZeroDivisionError("in the store")
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        with pytest.raises(StoreError, match="see the log") as caught:
            await call.ended()
        with pytest.raises(StoreError):
            await (await place(service)).answered()

    assert not caught.value.safe_to_redial
    assert "ZeroDivisionError" in caplog.text


async def test_the_ids_of_calls_without_an_end_can_be_asked_for() -> None:
    """The listener returns the calls without an end, so a store can look up missed events."""
    fake_store = FakeStore()
    async with FakeTelecmi(in_turn(accepted, lambda: accepted(1), lambda: LOST)).service(
        events=fake_store
    ) as service:
        calls = [place(service) for _ in range(3)]
        await anyio.sleep(1)
        await fake_store.lay(record(ID))
        (listener,) = fake_store.listeners

        assert set(listener.waiting()) == {OTHER_ID, *(call.reference for call in calls[1:])}
        assert calls[2].status is CallStatus.UNKNOWN


async def test_a_service_keeps_no_call_alive_that_nobody_holds() -> None:
    """A call is freed with its last handle; only its request id is remembered for a while."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(payload("ringing", ID))
        gone = weakref.ref(call._call)
        del call
        await anyio.sleep(1)
        gc.collect()
        (listener,) = fake_store.listeners

        assert gone() is None
        assert (listener.wants([ID]), listener.wants(["leg-a"])) == (True, False)
        assert listener.waiting() == []


async def test_a_late_event_of_a_call_that_is_gone_is_ignored() -> None:
    """A call may be freed between the store's question and the event."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store):
        await anyio.sleep(1)
        (listener,) = fake_store.listeners
        await fake_store.lay(record(ID))

        listener.take(fake_store.kept[0])

    assert len(fake_store.kept) == 1


async def test_ids_are_learnt_from_the_first_events_only() -> None:
    """Many events with made-up legs do not increase memory without limit."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        for n in range(300):
            await fake_store.lay(payload("ringing", ID, leg="b", cmiuuid=f"leg {n}"))
        (listener,) = fake_store.listeners

        assert listener.wants(["leg 150"])
        assert not listener.wants(["leg 250"])
        assert len(call.result.legs) <= 64


async def test_waiting_belongs_to_the_loop_of_the_call() -> None:
    """Waiting in another event loop raises, because it could not be woken."""
    async with FakeTelecmi().service(events=FakeStore()) as service:
        call = await place(service)

        async def elsewhere() -> None:
            with pytest.raises(WrongEventLoop, match=r"handle\.result"):
                await call.ended()

        await anyio.to_thread.run_sync(anyio.run, elsewhere)


@pytest.mark.parametrize("how", ["answered", "ended", "events"])
async def test_cancelled_anywhere_a_wait_leaves_no_trace(how: str) -> None:
    """No waiter remains, the call goes on, and the next waiter is served."""
    fake_store = FakeStore()
    async with FakeTelecmi(delay=1).service(events=fake_store) as service:

        async def wait(call: CallHandle) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    later,
                    2,
                    fake_store,
                    record(call.result.request_id, **signed(call.reference)),
                )
                await (anext(call.events()) if how == "events" else getattr(call, how)())

        async def check(call: CallHandle) -> None:
            assert call._call.history.waiters == 0
            await fake_store.lay(record(ID, **signed(call.reference)))
            assert await call.answered()

        points = await cancel_everywhere(wait, setup=lambda: place(service), check=check)

    assert points == 2
