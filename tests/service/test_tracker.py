"""Tracker: which call an event belongs to, what it proves, and clean-up after calls."""

from __future__ import annotations

import gc
import json
import logging
import os
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fake_store import TALK, FakeStore, payload, record, signed
from fake_telecmi import FLOW, TO, FakeTelecmi, accepted, always, gateway, in_turn, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from telecmi_async import (
    CallHandle,
    CallOutcomeUnknown,
    CallService,
    CallStatus,
    CdrPoller,
    NotSent,
    RateLimit,
    Receiver,
    RetryPolicy,
    ServiceClosed,
    TelecmiError,
    WaitTimeout,
)
from telecmi_async._internal.event_loop import call_in_loop, current_loop
from telecmi_async.calls.history import History
from telecmi_async.events import Stage
from telecmi_async.events.receiver import new_token
from telecmi_async.testing import cancel_everywhere, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.calls.call import Call

LOST = httpx.ReadTimeout("slow")

pytestmark = pytest.mark.anyio


def ids(n: int) -> str:
    """Return the ``request_id`` of the n-th call."""
    return f"{n:043d}"


def place(service: CallService, **more: Any) -> CallHandle:
    """Place a call to the usual number."""
    return service.make_call(to=TO, pcmo=FLOW, **more)


def stages(*calls: CallHandle) -> list[Stage]:
    """Return the stages of calls."""
    return [call.result.stage for call in calls]


# -- which call an event belongs to


async def test_an_event_that_names_another_request_is_not_the_calls() -> None:
    """An event belongs to the call of its request id, even if calls share legs."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store, reference=False) as service:
        first, second = await place(service), await place(service)
        shared = {"conversation_uuid": "c-1", "cmiuuid": "leg-1"}
        await fake_store.lay(payload("ringing", ids(0), **shared))
        await fake_store.lay(payload("out_answered", ids(1), **shared))
        await fake_store.lay(payload("out_answered", ids(7), **shared))

        assert stages(first, second) == [Stage.RINGING, Stage.ANSWERED]


async def test_an_overtaking_event_of_a_shared_conversation_waits_for_its_call() -> None:
    """An event before its call's reply reaches that call only, and is not lost."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi()
    async with telecmi.service(events=fake_store, reference=False) as service:
        first = await place(service)
        shared = {"conversation_uuid": "c-1", "cmiuuid": "leg-1"}
        await fake_store.lay(payload("ringing", ids(0), **shared))
        telecmi.delay = 10
        second = place(service)
        await anyio.sleep(5)
        await fake_store.lay(record(ids(1), **{**shared, "cmiuuid": "leg-2"}))  # type: ignore[arg-type]  # no flag among them
        await fake_store.lay(payload("out_hangup", ids(1), **shared))
        assert stages(first, second) == [Stage.RINGING, Stage.NEW]

        assert (await second.ended()).stage is Stage.COMPLETED
        assert stages(first) == [Stage.RINGING]


async def test_an_event_cannot_rename_the_leg_of_another_call() -> None:
    """A leg id belongs to the call whose event named it first."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        first, second = await place(service), await place(service)
        await fake_store.lay(payload("ringing", ids(0), cmiuuid="leg-1"))
        await fake_store.lay(payload("ringing", ids(1), cmiuuid="leg-1"))
        await fake_store.lay({"cmiuuid": "leg-1", "dtmf": "1"})

        assert [len(call._call.history.events) for call in (first, second)] == [2, 1]


async def test_a_forged_name_takes_no_call_from_its_owner() -> None:
    """An event that names another call's id as its leg does not take over that call."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi()
    async with telecmi.service(events=fake_store) as service:
        first = await place(service)
        telecmi.delay = 10
        second = place(service)
        await fake_store.lay(payload("ringing", ids(0), cmiuuid=ids(1)))
        await fake_store.lay(payload("ringing", ids(0), cmiuuid=second.reference))
        await fake_store.lay(payload("ringing", ids(0), conversation_uuid=second.reference))
        await second
        await fake_store.lay(payload("out_answered", ids(1)))

        assert stages(first, second) == [Stage.RINGING, Stage.ANSWERED]


async def test_a_reference_without_its_code_proves_nothing() -> None:
    """A reference without its code, which logs show, does not turn a refusal into a call."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(lambda: refused(404))).service(events=fake_store) as service:
        call = place(service)
        with pytest.raises(TelecmiError):
            await call
        for name in ("conversation_uuid", "cmiuuid", "request_id"):
            await fake_store.lay(payload("ringing", ids(9)) | {name: call.reference})

        assert call.status is CallStatus.REJECTED


async def test_a_proven_reference_wins_over_a_request_id() -> None:
    """A signed reference overrides a request id, and shows that the call was placed twice."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        first, second = await place(service), await place(service)
        await fake_store.lay(payload("ringing", ids(1), **signed(first.reference)))

        assert stages(first, second) == [Stage.RINGING, Stage.NEW]
        assert (first.may_be_duplicate, first.request_id) == (True, ids(0))


async def test_a_call_placed_twice_hears_of_both() -> None:
    """The second request id is learnt from the signed event, and then finds the call."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(
            payload("out_started", ids(7), cmiuuid="x", **signed(call.reference))
        )
        await fake_store.lay(record(ids(7), cmiuuid="x"))

        assert call.result.over
        assert service.handle_for(ids(7)).request_id == ids(0)


async def test_what_an_event_calls_a_leg_is_no_call_to_be_taken_up() -> None:
    """A leg id in an event cannot redirect a handle for another call's request id."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        await (first := place(service))
        await fake_store.lay(payload("ringing", ids(0), cmiuuid=ids(7)))
        second = service.handle_for(ids(7))
        await fake_store.lay(record(ids(7)))

        assert second.request_id == ids(7)
        assert stages(first, second) == [Stage.RINGING, Stage.COMPLETED]


async def test_an_event_without_a_request_id_is_found_by_its_conversation() -> None:
    """Older events have no request id, but their conversation has the same id."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store, reference=False) as service:
        call = await place(service)
        await fake_store.lay(payload("answered", None, type="event", conversation_uuid=ids(0)))

        assert await call.answered()


@pytest.mark.parametrize("reference", [True, False])
async def test_what_is_left_of_a_call_whose_handle_is_gone_is_ours(*, reference: bool) -> None:
    """Handlers receive events of a call whose handle is gone, but not of unknown calls."""
    receiver = Receiver(token := new_token())
    seen: list[Any] = []
    receiver.on_event(lambda event: seen.append(event.request_id))
    headers = {"content-type": "application/json"}
    async with (
        receiver,
        FakeTelecmi().service(events=receiver, reference=reference) as service,
    ):
        call = await place(service)
        mine = signed(call.reference) if reference else {}
        del call
        gc.collect()
        for n in (0, 7):
            body = json.dumps(record(ids(n), **(mine if n == 0 else {}))).encode()
            await receiver.handle("POST", f"/{token}", headers, body)
        await anyio.sleep(1)

    assert seen == [ids(0)]


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("early", [True, False])
async def test_what_brings_no_reference_is_ours_by_its_request(
    *, early: bool, reference: bool
) -> None:
    """Its request id is enough, before the reply and after the handle is gone."""
    receiver = Receiver(token := new_token())
    seen: list[Any] = []
    receiver.on_event(lambda event: seen.append(event.request_id))
    headers = {"content-type": "application/json"}
    options = {"events": receiver, "reference": reference}
    async with receiver, FakeTelecmi(delay=5).service(**options) as service:
        place(service)
        await anyio.sleep(1 if early else 10)
        gc.collect()
        for n in (0, 7):
            body = json.dumps(payload("started", ids(n))).encode()
            await receiver.handle("POST", f"/{token}", headers, body)
        await anyio.sleep(10)

    assert seen == [ids(0)]


async def test_of_many_calls_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of calls without a handle is limited to the latest."""
    monkeypatch.setattr("telecmi_async.service.tracker._MOST_PLACED", 3)
    async with FakeTelecmi().service(events=FakeStore(), reference=False) as service:
        for _ in range(5):
            await place(service)
        gc.collect()
        assert service._parts.tracker is not None

        assert [service._parts.tracker.wants([ids(n)]) for n in range(6)] == [
            False, False, True, True, True, False,
        ]  # fmt: skip


# -- two handles of one call


@pytest.mark.parametrize("order", ["handle first", "event first"])
async def test_a_call_taken_up_while_it_is_dialled_hears_the_same(order: str) -> None:
    """A handle for the request id may be made before the call's own reply arrives."""
    fake_store = FakeStore()
    async with FakeTelecmi(delay=10).service(events=fake_store, reference=False) as service:
        call = place(service)
        await anyio.sleep(5)
        if order == "event first":
            await fake_store.lay(payload("ringing", ids(0)))
        other = service.handle_for(ids(0))
        await anyio.sleep(1)
        if order == "handle first":
            await fake_store.lay(payload("ringing", ids(0)))
        await call
        assert stages(call, other) == [Stage.RINGING] * 2
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.ended)
            tasks.start_soon(other.ended)
            await anyio.sleep(1)
            await fake_store.lay(record(ids(0)))

        assert call.result.state == other.result.state
        assert other.request is None


async def test_a_call_taken_up_goes_on_hearing_without_the_first_handle() -> None:
    """Of two handles of one call, either is enough to receive events."""
    fake_store = FakeStore()
    async with FakeTelecmi(delay=10).service(events=fake_store, reference=False) as service:
        call = place(service)
        other = service.handle_for(ids(0))
        await call
        del call
        gc.collect()
        await fake_store.lay(record(ids(0)))

        assert (await other.ended()).answered is True


async def test_a_call_proven_after_it_was_taken_up_becomes_accepted() -> None:
    """A signed event reaches the unknown call, and both handles receive later events."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(lambda: LOST)).service(events=fake_store) as service:
        call = place(service)
        with pytest.raises(CallOutcomeUnknown):
            await call
        other = service.handle_for(ids(3))
        await fake_store.lay(payload("ringing", ids(3), **signed(call.reference)))
        await fake_store.lay(payload("out_answered", ids(3)))

        assert (call.status, call.request_id) == (CallStatus.PROGRESS, ids(3))
        assert stages(call, other) == [Stage.ANSWERED] * 2


# -- what an event proves


async def test_a_proof_without_an_id_stops_the_repetition() -> None:
    """The call is not retried, and stays unknown until an event has a request id."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi(in_turn(gateway, accepted))
    policy = RetryPolicy(wait_initial=10, wait_max=10)
    async with telecmi.service(events=fake_store, retry=policy) as service:
        call = place(service)
        await anyio.sleep(0.5)
        await fake_store.lay(payload("started", None, type="event", **signed(call.reference)))
        with pytest.raises(CallOutcomeUnknown, match="an event shows") as caught:
            await call
        await anyio.sleep(60)
        await fake_store.lay(payload("ringing", None, type="event", **signed(call.reference)))
        unknown = call.status
        await fake_store.lay(
            payload("answered", ids(4), type="event", **signed(call.reference))
        )

        assert (caught.value.cause, len(caught.value.attempts)) == ("event", 1)
        assert (len(telecmi.requests), unknown) == (1, CallStatus.UNKNOWN)
        assert (call.accepted, call.request_id) == (True, ids(4))


@pytest.mark.parametrize(
    ("answer", "status"),
    [(accepted, CallStatus.PROGRESS), (lambda: refused(404), CallStatus.UNKNOWN)],
)
async def test_a_proof_without_an_id_while_sending_waits_for_the_reply(
    answer: Callable[[], httpx.Response], status: CallStatus
) -> None:
    """An accepting reply gives the request id; a refusal then leaves the call unknown."""
    fake_store = FakeStore()
    async with FakeTelecmi(always(answer), delay=2).service(events=fake_store) as service:
        call = place(service)
        await anyio.sleep(1)
        await fake_store.lay(payload("started", None, type="event", **signed(call.reference)))
        await anyio.sleep(5)

        assert call.status is status
        assert call.error is None or not call.error.safe_to_redial
        assert not call.may_be_duplicate


async def test_a_proof_without_an_id_changes_nothing_of_an_accepted_call() -> None:
    """A call that is already accepted does not change."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        await fake_store.lay(payload("started", None, type="event", **signed(call.reference)))

        assert (call.accepted, call.may_be_duplicate) == (True, False)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda: refused(404), "rejected"),
        (lambda: httpx.ConnectError("refused"), "not_sent"),
    ],
)
@pytest.mark.parametrize("request_id", [ids(5), None])
async def test_no_proven_call_stays_safe_to_dial_again(
    answer: Callable[[], Any],
    status: str,
    request_id: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a signed event, no call keeps an error that says redialling is safe."""
    fake_store = FakeStore()
    off = RetryPolicy(attempts=1)
    async with FakeTelecmi(always(answer)).service(events=fake_store, retry=off) as service:
        call = place(service)
        with pytest.raises(TelecmiError) as caught:
            await call
        assert (call.status, caught.value.safe_to_redial) == (status, True)
        await fake_store.lay(payload("started", request_id, **signed(call.reference)))

        assert call.accepted is (request_id is not None)
        assert call.error is None or isinstance(call.error, CallOutcomeUnknown)
    assert f"was {status}, and an event shows" in caplog.text


async def test_the_second_of_two_attempts_that_were_both_placed_is_marked() -> None:
    """The first attempt's event during the second marks a duplicate, and no third is sent."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi(in_turn(gateway, lambda: accepted(1)), delay=2)
    policy = RetryPolicy(wait_initial=0.01, wait_max=0.01)
    async with telecmi.service(events=fake_store, retry=policy) as service:
        call = place(service)
        await anyio.sleep(3)
        assert call.status is CallStatus.SENDING
        await fake_store.lay(payload("out_started", ids(0), **signed(call.reference)))
        await call

        assert (call.request_id, call.may_be_duplicate) == (ids(1), True)
        assert len(telecmi.requests) == 2


@pytest.mark.parametrize("step", range(1, 30))
async def test_no_moment_of_a_proof_makes_a_second_call(step: int) -> None:
    """An event between two attempts, or before the second is sent, prevents the second."""
    fake_store = FakeStore()
    telecmi = FakeTelecmi(in_turn(gateway, accepted))
    policy = RetryPolicy(wait_initial=1, wait_max=1)
    rate = RateLimit(2, max_in_flight=1)
    async with telecmi.service(events=fake_store, retry=policy, rate=rate) as service:
        call = place(service)
        await anyio.sleep(0.05 * step)
        before = len(telecmi.requests)
        await fake_store.lay(payload("out_started", ids(9), **signed(call.reference)))
        await call
        await anyio.sleep(20)

        assert len(telecmi.requests) == before
        assert call.accepted


# -- what waiting raises


@pytest.mark.parametrize("how", ["answered", "ended", "events"])
@pytest.mark.parametrize(
    ("options", "timeout"),
    [({}, 1), ({"events": CdrPoller()}, -1), ({"events": CdrPoller()}, 1)],
)
async def test_no_error_of_a_wait_says_that_an_accepted_call_may_be_dialled_again(
    how: str, options: Any, timeout: float
) -> None:
    """Errors of waiting for an accepted call do not say that redialling is safe."""
    if how == "events" and options:
        return
    async with FakeTelecmi().service(**options) as service:
        call = await place(service)
        with pytest.raises(TelecmiError) as caught:
            await (
                anext(call.events()) if how == "events" else getattr(call, how)(timeout=timeout)
            )

    assert not caught.value.safe_to_redial


async def test_a_calls_own_error_keeps_its_word_in_a_wait() -> None:
    """A call that was not placed is safe to redial, also when waiting for it raises."""
    dead = FakeTelecmi(always(lambda: httpx.ConnectError("refused")))
    async with dead.service(events=FakeStore(), retry=RetryPolicy(attempts=1)) as service:
        with pytest.raises(NotSent) as caught:
            await place(service).ended()

    assert caught.value.safe_to_redial


async def test_what_is_known_at_the_last_moment_is_no_timeout() -> None:
    """An event and the time-out may come together; the result and the error agree."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        for _ in range(20):
            call = await place(service)

            async def wait(call: CallHandle) -> None:
                try:
                    assert (await call.ended(timeout=5)).over
                except WaitTimeout:
                    assert not call.result.over

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait, call)
                await anyio.sleep(5)
                await fake_store.lay(
                    record(call.request_id, cmiuuid=f"leg of {call.request_id}")
                )


# -- generated sequences of events

_BRIDGED = [
    payload("out_started", ids(0), time=1_700_000_000_000),
    payload("ringing", ids(0), time=1_700_000_001_000),
    payload("out_answered", ids(0), time=1_700_000_005_000),
    payload("out_bridged", ids(0), leg="b", time=1_700_000_006_000),
    payload("out_hangup", ids(0), time=1_700_000_012_000),
]
_MISSED = _BRIDGED[:2]


@st.composite
def programs(draw: st.DrawFn) -> tuple[bool, list[tuple[float, dict[str, Any]]], list[Any]]:
    """Generate a call's outcome, its events as they arrive, and its waiters.

    Live events may be lost, and three of a record's four deliveries.
    """
    answered = draw(st.booleans())
    legs = "ab" if answered else "a"
    live = _BRIDGED if answered else _MISSED
    kept = [event for event in live for _ in range(draw(st.integers(0, 2)))]
    for leg in legs:
        kept += [record(ids(0), leg=leg, answered=answered)] * draw(st.integers(1, 4))
    order = draw(st.permutations(kept))
    arrivals = [(draw(st.sampled_from([0.0, 0.5, 2.0, 90.0])), event) for event in order]
    waiters = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["answered", "ended", "events"]),
                st.sampled_from([0.0, 1.0, 3.0, 200.0, 2_000.0]),
                st.sampled_from([None, None, 1.0, 100.0]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    return answered, arrivals, waiters


@settings(max_examples=150)
@given(
    programs(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["asyncio", "trio"]),
)
def test_whatever_is_lost_doubled_late_or_early_everybody_hears_the_truth(
    program: tuple[bool, list[tuple[float, dict[str, Any]]], list[Any]],
    reference: bool,
    lost: bool,
    backend: Any,
) -> None:
    """All waiters get the true outcome, even if TeleCMI's reply is late or lost."""
    answered, arrivals, waiters = program
    lost = lost and reference

    async def main() -> None:
        fake_store = FakeStore()
        telecmi = FakeTelecmi(always(lambda: LOST) if lost else accepted, delay=2)
        async with telecmi.service(events=fake_store, reference=reference) as service:
            call = place(service)
            mine = signed(call.reference) if reference else {}
            seen: list[Any] = []

            async def deliver() -> None:
                await anyio.sleep(0.1)  # not before the reference was sent
                for delay, data in arrivals:
                    await anyio.sleep(delay)
                    await fake_store.lay(data | mine)

            async def wait(how: str, start: float, time_limit: float | None) -> None:
                await anyio.sleep(start)
                with anyio.move_on_after(time_limit) as scope:
                    if how == "answered":
                        seen.append(await call.answered() is answered)
                    elif how == "ended":
                        result = await call.ended()
                        seen.append(
                            (result.answered, result.complete, result.talk_seconds)
                            == (answered, True, TALK if answered else 0)
                        )
                    else:
                        events = [event.raw async for event in call.events()]
                        texts = [json.dumps(event, sort_keys=True) for event in events]
                        seen.append(len(texts) == len(set(texts)) and bool(texts))
                if scope.cancelled_caught:
                    seen.append(True)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deliver)
                for waiter in waiters:
                    tasks.start_soon(wait, *waiter)

            await call
            await anyio.sleep(1)
            assert seen == [True] * len(waiters)
            assert call._call.history.waiters == 0
            assert call.accepted
            assert len(telecmi.requests) == 1
            legs = 2 if answered else 1
            assert call.result.cost == legs / 2

    run(main, backend=backend)


# -- what remains


async def test_nothing_is_left_of_thousands_of_calls() -> None:
    """Neither ended calls nor a call without a handle and an end are kept."""
    batches = int(os.environ.get("MANY_CALLS", "300")) // 50
    fake_store = FakeStore()
    calls: list[weakref.ref[Call]] = []
    async with FakeTelecmi().service(
        events=[fake_store, CdrPoller(first=1)], rate=RateLimit(max_live_calls=50)
    ) as service:
        tracker, channels = service._parts.tracker, service._parts.channels
        assert tracker is not None
        assert tracker._polling is not None
        assert channels is not None
        for batch in range(batches):
            handles = [place(service) for _ in range(50)]
            for handle in handles:
                await handle
            for n, handle in enumerate(handles):
                if n or batch:
                    leg = f"leg-{batch}-{n}"
                    await fake_store.lay(record(handle.request_id, cmiuuid=leg))
                    await handle.ended()
            calls += [weakref.ref(handle._call) for handle in handles]
            del handles, handle
            fake_store.kept.clear()
            if not batch:
                await anyio.sleep(10_000)
        await anyio.sleep(100)
        gc.collect()

        assert [call for call in calls if call() is not None] == []
        assert len(calls) == batches * 50
        assert len(tracker._calls) == len(tracker._unread) == len(tracker._claims) == 0
        assert tracker._polling._calls == set()
        assert channels.held == 0
        assert len(service._runner.calls) == 0


async def test_a_call_lives_as_long_as_somebody_waits_for_it() -> None:
    """A waiter keeps its call alive without another reference to the handle."""
    fake_store = FakeStore()
    results: list[Any] = []

    async def wait(service: CallService) -> None:
        results.append((await place(service).ended()).answered)
        results.extend([type(event).__name__ async for event in place(service).events()])

    async with (
        FakeTelecmi().service(events=fake_store) as service,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(wait, service)
        for n in range(2):
            await anyio.sleep(1)
            gc.collect()
            await fake_store.lay(record(ids(n)))

    assert results == [True, "CallRecord"]


async def test_a_flood_of_events_does_not_grow_a_call() -> None:
    """Many events do not increase a call's events, legs or ids without limit."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        for n in range(5_000):
            await fake_store.lay(payload("ringing", ids(0), leg="b", cmiuuid=f"leg {n}"))
            fake_store.kept.clear()
        await fake_store.lay(record(ids(0)))
        assert service._parts.tracker is not None
        history = call._call.history
        assert history is not None

        assert len(service._parts.tracker._calls) <= 203
        assert len(history.events) == len(history._keys) == 1_000
        assert call.result.answered is True


async def test_a_flood_of_large_events_does_not_grow_a_call() -> None:
    """The total size of a call's events is limited, and long texts are not ids."""
    receiver = Receiver(token := new_token())
    headers = {"content-type": "application/json"}
    async with receiver, FakeTelecmi().service(events=receiver) as service:
        call = await place(service)
        for n in range(100):
            body = json.dumps(payload("ringing", ids(0), cmiuuid=f"{n}" + "x" * 60_000))
            await receiver.handle("POST", f"/{token}", headers, body.encode())
        assert service._parts.tracker is not None
        kept = call._call.history.events

        assert sum(len(json.dumps(event.raw)) for event in kept) <= 1 << 20
        assert len(kept) == 17
        assert max(map(len, service._parts.tracker._calls)) < 100
        assert call.result.stage is Stage.RINGING


async def test_one_iterator_may_serve_several_tasks() -> None:
    """Each event goes to one of the tasks, and all of them end."""
    fake_store = FakeStore()
    seen: Counter[str] = Counter()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = await place(service)
        events = call.events()

        async def watch() -> None:
            async for event in events:
                seen[str(event.raw["status"])] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(watch)
            for data in (payload("ringing", ids(0)), payload("out_answered", ids(0))):
                await anyio.sleep(1)
                await fake_store.lay(data)
            await anyio.sleep(1)
            await fake_store.lay(record(ids(0)))

    assert seen == {"ringing": 1, "out_answered": 1, "answered": 1}


async def test_two_services_hear_of_one_receivers_events() -> None:
    """Each service gets events of its own calls; closing one does not affect the other."""
    receiver = Receiver(token := new_token())
    headers = {"content-type": "application/json"}

    async def deliver(data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        reply = await receiver.handle("POST", f"/{token}", headers, body)
        assert reply.status == 204

    telecmi = FakeTelecmi()
    async with receiver, telecmi.service(events=receiver) as first:
        async with telecmi.service(events=receiver) as second:
            one, two = await place(first), await place(second)
            await deliver(payload("ringing", ids(0)))
            await deliver(payload("out_answered", ids(1)))
            assert stages(one, two) == [Stage.RINGING, Stage.ANSWERED]
        await deliver(record(ids(1), cmiuuid="leg of two", **signed(two.reference)))
        await deliver(record(ids(0), **signed(one.reference)))

        assert (await one.ended()).answered is True
        assert not two.result.over
        with pytest.raises(ServiceClosed):
            await two.ended()
        assert (await first.handle_for(ids(1)).ended()).answered is True


async def test_a_handler_that_raises_disturbs_no_wait() -> None:
    """The handler's error is logged, and the waiter gets the event."""
    receiver = Receiver(token := new_token())

    @receiver.on_event
    def handle(_: Any) -> None:
        raise ZeroDivisionError

    headers = {"content-type": "application/json"}
    async with receiver, FakeTelecmi().service(events=receiver) as service:
        call = await place(service)
        body = json.dumps(record(ids(0), **signed(call.reference))).encode()
        await receiver.handle("POST", f"/{token}", headers, body)

        assert (await call.ended()).answered is True


async def test_a_stray_whose_call_turns_up_is_handed_to_the_handlers_once() -> None:
    """Unmatched events of a known call reach handlers once; failed claims are retried."""
    fake_store, seen = FakeStore(), Counter[str | None]()
    receiver = Receiver(new_token(), store=fake_store)
    receiver.on_event(lambda event: seen.update([event.request_id]))
    await fake_store.lay(payload("ringing", ids(0)), record(ids(0)), matched=False)
    fake_store.claimed.append(fake_store.kept[0].key)  # by another process
    async with receiver, FakeTelecmi().service(events=receiver, reference=False) as service:
        call = await place(service)
        await call.ended()
        await anyio.sleep(1)
        await fake_store.lay(payload("gone", ids(0)), matched=False)
        fake_store.broken = True
        await anyio.sleep(20)
        fake_store.broken = False
        await anyio.sleep(20)

    assert seen == {ids(0): 2}
    assert len(set(fake_store.claimed)) == 3


@pytest.mark.parametrize("how", ["answered", "ended", "events"])
async def test_cancelled_in_any_way_a_wait_leaves_nothing(
    how: str, anyio_backend_name: str
) -> None:
    """No waiter, task or channel remains, and the next waiter gets the outcome."""
    fake_store = FakeStore()
    rate = RateLimit(max_live_calls=1)
    async with FakeTelecmi(delay=1).service(events=fake_store, rate=rate) as service:
        channels = service._parts.channels
        assert channels is not None

        async def wait(call: CallHandle) -> None:
            async def deliver() -> None:
                await anyio.sleep(3)
                await fake_store.lay(record(call.result.request_id, **signed(call.reference)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deliver)
                await (anext(call.events()) if how == "events" else getattr(call, how)())

        async def check(call: CallHandle) -> None:
            await call
            await fake_store.lay(record(call.request_id, **signed(call.reference)))
            assert await call.answered()
            assert isinstance(call._call.history, History)
            assert call._call.history.waiters == 0
            assert channels.held == 0
            await anyio.sleep(1)
            assert service._parts.tasks._running == 1  # follows the store

        for edge in {False, anyio_backend_name == "asyncio"}:
            assert (
                await cancel_everywhere(
                    wait, setup=lambda: place(service), check=check, edge=edge
                )
                >= 2
            )


@pytest.mark.parametrize("steps", range(4))
async def test_a_service_closed_at_once_listens_to_nothing(steps: int) -> None:
    """A service that closes at once, even before its first task began, has no listener."""
    fake_store = FakeStore()
    waits: list[Awaitable[Any]] = []
    async with FakeTelecmi().service(events=fake_store) as service:
        waits.append(service.handle_for(ids(0)).ended())
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()

    assert fake_store.listeners == []
    with pytest.raises(ServiceClosed):
        await waits[0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_is_handed_to_a_loop_that_is_over_is_dropped(backend: Any) -> None:
    """Callbacks for a finished loop are dropped: the receiver may run in another thread."""
    loops: list[object] = []
    handed: list[int] = []

    async def main() -> None:
        loops.append(current_loop())
        call_in_loop(loops[0], handed.append, 1)
        await anyio.sleep(1)

    run(main, backend=backend)
    call_in_loop(loops[0], handed.append, 2)

    assert handed == [1]


async def test_what_is_known_is_shown_without_numbers(caplog: pytest.LogCaptureFixture) -> None:
    """Reprs of handle, result and legs, and the logs, show no full number."""
    caplog.set_level(logging.DEBUG)
    fake_store = FakeStore()
    async with FakeTelecmi().service(events=fake_store) as service:
        call = service.handle_for(ids(0))
        await fake_store.lay(record(ids(0), to=TO), payload("ringing", ids(0), to=str(TO)))
        result = await call.ended()

        assert result.to == TO
        for text in (repr(call), repr(result), repr(result.legs), caplog.text):
            assert str(TO) not in text
