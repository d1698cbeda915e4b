"""CdrPoller: call outcomes from looking up call detail records."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from fake_store import TALK, FakeStore, answer_others, found, nothing_yet, payload, record, row
from fake_telecmi import FLOW, TO, FakeTelecmi, always

from telecmi_async import (
    CallHandle,
    CallNotPlaced,
    CallOutcomeUnknown,
    CallService,
    CdrPoller,
    ConfigurationError,
    RateLimit,
    Receiver,
    RequestFailed,
    ServiceClosed,
    WaitTimeout,
)
from telecmi_async._internal.event_loop import is_asyncio
from telecmi_async._internal.telecmi import RECORD_PATIENCE
from telecmi_async.events import Stage
from telecmi_async.events.receiver.receiver import intake_of
from telecmi_async.events.store import MemoryStore
from telecmi_async.service.sources import Sources
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_telecmi import Answer

ID = f"{0:043d}"
POLLER = CdrPoller(first=5, factor=2, longest=60)
# When calls are looked up, in seconds from the beginning of the wait.
LOOKS = (5, 15, 35, 75, 135, 195)

pytestmark = pytest.mark.anyio


def place(service: CallService) -> CallHandle:
    """Place a call to the usual number."""
    return service.make_call(to=TO, pcmo=FLOW)


def looks(telecmi: FakeTelecmi) -> list[float]:
    """Return the times of the look-ups."""
    return [
        start
        for start, url in zip(telecmi.starts, telecmi.urls, strict=True)
        if url.endswith("requestid_cdr")
    ]


async def test_a_call_is_looked_up_less_and_less_often() -> None:
    """The intervals grow up to the longest, and look-ups end with the record."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda n, _: found(row()) if n == 5 else nothing_yet())
    async with telecmi.service(events=POLLER) as service:
        call = await place(service)
        began = anyio.current_time()
        result = await call.ended()
        await anyio.sleep(1_000)

    assert [when - began for when in looks(telecmi)] == list(LOOKS)
    assert telecmi.requests[1] == {"appid": 2222226, "secret": "a-secret", "request_id": ID}
    assert (result.answered, result.talk_seconds, str(result.cost)) == (True, TALK, "0.5")
    assert (result.stage, result.complete, result.to) == (Stage.COMPLETED, True, TO)


async def test_nobody_is_looked_up_whom_nobody_waits_for() -> None:
    """A call that is not awaited causes no look-ups."""
    telecmi = FakeTelecmi()
    async with telecmi.service(events=POLLER) as service:
        await place(service)
        await anyio.sleep(1_000)

    assert looks(telecmi) == []


async def test_looking_ends_with_the_last_waiter() -> None:
    """Look-ups stop with the last waiter and start again with the next one."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda _, __: nothing_yet())
    async with telecmi.service(events=POLLER) as service:
        call = await place(service)
        with pytest.raises(WaitTimeout):
            await call.ended(timeout=20)
        await anyio.sleep(1_000)
        assert len(looks(telecmi)) == 2
        with pytest.raises(WaitTimeout):
            await call.ended(timeout=20)

    assert len(looks(telecmi)) == 4


@pytest.mark.parametrize("moment", LOOKS[:3])
@pytest.mark.parametrize("steps", range(6))
async def test_a_wait_that_begins_as_another_ends_is_served(moment: float, steps: int) -> None:
    """A wait that begins when another ends is served, in any order of the two."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda n, _: found(row()) if n > 4 else nothing_yet())
    async with telecmi.service(events=POLLER) as service, anyio.create_task_group() as tasks:
        call = await place(service)

        async def first() -> None:
            with anyio.move_on_after(moment - 0.5):
                await call.ended()

        tasks.start_soon(first)
        await anyio.sleep(moment)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        assert (await call.ended(timeout=3_600)).answered is True


async def test_many_who_wait_for_one_call_look_once() -> None:
    """Several waiters for one call share its look-ups."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda n, _: found(row()) if n == 1 else nothing_yet())
    async with telecmi.service(events=POLLER) as service:
        call = await place(service)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(call.ended)
                tasks.start_soon(call.answered)

    assert len(looks(telecmi)) == 2


async def test_no_more_than_some_calls_are_looked_up_at_a_time() -> None:
    """`at_once` limits concurrent look-ups, however many calls are awaited."""
    telecmi = FakeTelecmi(delay=1)
    answer_others(telecmi, lambda _, __: found(row()))
    async with telecmi.service(events=CdrPoller(first=5, at_once=3)) as service:
        calls = [place(service) for _ in range(20)]
        for call in calls:
            await call
        telecmi.max_in_flight = 0
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(call.ended)

    assert telecmi.max_in_flight == 3


async def test_both_legs_make_the_same_outcome_as_webhooks_do() -> None:
    """Looked-up records give the same outcome as records from webhooks."""
    fake_store = FakeStore()
    rows = found(row(leg="b", answered=False), row())
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda _, __: rows)
    results = []
    for events in (POLLER, fake_store):
        async with telecmi.service(events=events) as service:
            call = await place(service)
            await fake_store.lay(record(call.request_id))
            await fake_store.lay(record(call.request_id, leg="b", answered=False))
            results.append(await call.ended())

    looked_up, delivered = (
        (r.stage, r.answered, r.talk_seconds, r.cost, r.complete, [leg.leg for leg in r.legs])
        for r in results
    )
    assert looked_up == delivered
    assert looked_up[-1] == ["a", "b"]


async def test_a_record_that_was_sent_is_not_given_a_second_time() -> None:
    """A looked-up record that a webhook has already delivered is ignored."""
    fake_store, telecmi = FakeStore(), FakeTelecmi()
    answer_others(telecmi, lambda _, __: found(row()))
    async with telecmi.service(events=[fake_store, POLLER]) as service:
        call = await place(service)
        await fake_store.lay(payload("out_bridged", ID, leg="b"), record(ID))
        with pytest.raises(WaitTimeout):
            await call.ended(timeout=100)

        assert [event.leg for event in call._call.history.events] == ["b", "a"]
        assert str(call.result.cost) == "0.5"
    assert len(looks(telecmi)) > 2


@pytest.mark.parametrize("legs", [1, 2])
async def test_a_look_up_stands_in_for_a_record_that_was_lost(legs: int) -> None:
    """It stands in if the leg's events name one leg, but not if they name several."""
    telecmi, fake_store = FakeTelecmi(), FakeStore()
    answer_others(telecmi, lambda _, __: found(row(leg="b"), row()))
    async with telecmi.service(events=[fake_store, POLLER]) as service:
        call = await place(service)
        for n in range(legs):
            await fake_store.lay(payload("started", ID, leg="b", cmiuuid=f"leg-{n}"))
        await fake_store.lay(record(ID))
        began = anyio.current_time()
        result = await call.ended()
        waited = anyio.current_time() - began

    assert result.cost == 1
    assert result.complete is (legs == 1)
    assert round(waited) == (LOOKS[0] if legs == 1 else RECORD_PATIENCE)


async def test_looking_goes_on_after_failures(caplog: pytest.LogCaptureFixture) -> None:
    """Look-ups go on after failures, and the log mentions the first."""
    telecmi = FakeTelecmi()
    answers: list[Answer] = [
        httpx.ReadTimeout("slow"),
        httpx.Response(500),
        nothing_yet(),
        found(row()),
    ]
    answer_others(telecmi, lambda n, _: answers[n])
    async with telecmi.service(events=POLLER) as service:
        call = await place(service)
        assert await call.answered()

    assert caplog.text.count("could not be looked up, trying again") == 1


async def test_a_refused_look_up_is_told_and_says_nothing_about_the_call() -> None:
    """A refused look-up raises RequestFailed, which does not say that redialling is safe."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda _, __: httpx.Response(200, json={"code": 420}))
    async with telecmi.service(events=POLLER) as service:
        call = await place(service)
        for _ in range(2):
            with pytest.raises(RequestFailed, match="app id or the secret") as caught:
                await call.ended()

    assert not isinstance(caught.value, CallNotPlaced)
    assert not caught.value.safe_to_redial
    assert caught.value.code == 420
    assert len(looks(telecmi)) == 1
    assert call.accepted


async def test_a_refused_look_up_leaves_the_webhooks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Webhooks need no credentials and go on; look-ups stop, and the log says why."""
    fake_store, telecmi = FakeStore(), FakeTelecmi()
    answer_others(telecmi, lambda _, __: httpx.Response(200, json={"code": 420}))
    async with (
        telecmi.service(events=[fake_store, POLLER]) as service,
        anyio.create_task_group() as tasks,
    ):
        calls = [await place(service) for _ in range(3)]
        for call in calls:
            tasks.start_soon(call.ended)
        await anyio.sleep(1_000)
        for call in calls:
            await fake_store.lay(record(call.request_id))

    assert len(looks(telecmi)) <= 3
    assert "records are no longer looked up, events still arrive" in caplog.text


async def test_an_unknown_call_has_nothing_to_be_looked_up_by() -> None:
    """An unknown call has no request id, so waiting raises at once."""
    telecmi = FakeTelecmi(always(lambda: httpx.ReadTimeout("slow")))
    async with telecmi.service(events=POLLER) as service:
        call = place(service)
        with pytest.raises(CallOutcomeUnknown):
            await call.ended()


async def test_a_call_is_taken_up_again_and_looked_up() -> None:
    """After a restart the request id is enough to look a call up."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda _, __: found(row(to=TO, answered=False)))
    async with telecmi.service(events=POLLER) as service:
        result = await service.handle_for(ID).ended()

    assert (result.answered, result.to, result.talk_seconds) == (False, TO, 0)


@pytest.mark.parametrize("steps", [*range(5), None])
async def test_closing_ends_the_looking(steps: int | None) -> None:
    """Closing ends look-ups and waiters at once, even if a look-up was about to begin."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda _, __: nothing_yet())
    errors: list[ServiceClosed] = []

    async def wait(call: CallHandle) -> None:
        with pytest.raises(ServiceClosed) as caught:
            await call.ended()
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        async with telecmi.service(events=POLLER) as service:
            call = await place(service)
            tasks.start_soon(wait, call)
            if steps is None:
                await anyio.sleep(50)
            for _ in range(steps or 0):
                await anyio.lowlevel.checkpoint()
            before = anyio.current_time()
        assert anyio.current_time() == before

    assert [error.safe_to_redial for error in errors] == [False]
    assert service._parts.tasks._running == 0


async def test_cancelled_anywhere_a_wait_leaves_no_look_up_behind(
    anyio_backend_name: str,
) -> None:
    """After a cancellation no waiter, task or slot is left."""
    telecmi = FakeTelecmi(delay=1)
    answer_others(telecmi, lambda n, _: found(row()) if n % 3 == 2 else nothing_yet())
    async with telecmi.service(events=POLLER) as service:
        assert service._parts.tracker is not None
        polling = service._parts.tracker._polling
        assert polling is not None

        async def setup() -> CallHandle:
            return await place(service)

        async def wait(call: CallHandle) -> None:
            await call.answered()
            await call.ended()
            assert len([event async for event in call.events()]) == 1

        async def check(call: CallHandle) -> None:
            assert call._call.history.waiters == 0
            await anyio.sleep(100)
            assert (polling._calls, polling._scopes) == (set(), set())
            assert polling._slots.borrowed_tokens == 0

        for edge in {False, anyio_backend_name == "asyncio"}:
            assert await cancel_everywhere(wait, setup=setup, check=check, edge=edge) >= 1


async def test_where_all_is_cancelled_no_look_begins_anew() -> None:
    """In a cancelled scope no look-up begins, though a channel waits for the call's end."""
    telecmi = FakeTelecmi()
    limit = RateLimit(max_live_calls=1)
    with anyio.CancelScope() as scope:
        async with telecmi.service(events=POLLER, rate=limit) as service:
            await place(service)
            assert service._parts.tracker is not None
            polling = service._parts.tracker._polling
            assert polling is not None
            await anyio.sleep(1)
            scope.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
            left = len(polling._calls)

    # On asyncio the service's tasks are not in the scope.
    assert left == int(is_asyncio(service._parts.tasks.loop))


def test_the_intervals_never_end() -> None:
    """The intervals grow by the factor up to the longest."""
    steady = itertools.islice(CdrPoller(first=90, longest=60).intervals(), 3)
    growing = itertools.islice(CdrPoller(first=1, factor=3, longest=10).intervals(), 5)

    assert list(steady) == [60, 60, 60]
    assert list(growing) == [1, 3, 9, 10, 10]


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0},
        {"first": "soon"},
        {"factor": 0.5},
        {"factor": 11},
        {"factor": True},
        {"factor": float("nan")},
        {"longest": -1},
        {"at_once": 0},
        {"at_once": 1.5},
    ],
)
def test_a_setting_that_cannot_work_is_refused(wrong: Any) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match=f"CdrPoller.{next(iter(wrong))}"):
        CdrPoller(**wrong)


TOKEN = "t" * 43


@pytest.mark.parametrize(
    "events",
    [
        lambda: 7,
        lambda: "receiver",
        lambda: CdrPoller,
        lambda: [CdrPoller(), None],
        lambda: iter([CdrPoller()]),
        lambda: {"receiver": Receiver(TOKEN)},
    ],
)
def test_what_is_no_source_of_events_is_refused(events: Callable[[], Any]) -> None:
    """The error names the valid sources of events."""
    with pytest.raises(ConfigurationError, match="events must be a Receiver"):
        Sources.of(events())


@pytest.mark.parametrize(
    "events",
    [
        lambda: [CdrPoller(), CdrPoller()],
        lambda: [Receiver(TOKEN), Receiver(TOKEN)],
        lambda: [Receiver(TOKEN), MemoryStore()],
        lambda: (MemoryStore(), Receiver(TOKEN)),
        lambda: [FakeStore(), MemoryStore()],
    ],
)
def test_two_sources_of_a_kind_are_refused(events: Callable[[], Any]) -> None:
    """A receiver has a store, so the two count as one kind."""
    with pytest.raises(ConfigurationError, match="one CdrPoller, and one receiver or store"):
        Sources.of(events())


def test_sources_are_told_apart() -> None:
    """There may be one source of each kind."""
    receiver, store, poller = Receiver(TOKEN), MemoryStore(), CdrPoller()

    assert Sources.of(None) == Sources() == Sources.of([])
    assert Sources.of([poller, receiver]) == Sources(
        intake=intake_of(receiver), store=receiver.store, poller=poller
    )
    assert Sources.of((store, poller)) == Sources(store=store, poller=poller)
    assert [Sources.of(source).has_any for source in (None, receiver, store, poller)] == [
        False,
        True,
        True,
        True,
    ]
    assert Sources.of(store).dispatch is None
    assert Sources.of(receiver).dispatch == intake_of(receiver).runner.dispatch
