"""Idempotency keys: one call for each key, in any number of services on one ledger."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fake_store import FakeStore, payload, signed
from fake_telecmi import FLOW, TO, FakeTelecmi, accepted, always, gateway, in_turn, refused
from memory_ledger import MemoryLedger
from webhook_posts import TOKEN, post

from telecmi_async import (
    CallCancelled,
    CallHandle,
    CallOutcomeUnknown,
    CallRejected,
    CallRequest,
    CallService,
    CallStatus,
    ConfigurationError,
    InvalidCall,
    NotSent,
    Play,
    RateLimit,
    Receiver,
    RetryPolicy,
    Speak,
    StoreError,
    Stream,
    TelecmiError,
)
from telecmi_async.calls.call import Call
from telecmi_async.ledger import KeyState, SqliteLedger
from telecmi_async.service.keyed_calls import fingerprint_of
from telecmi_async.service.keyed_send import keyed_outcome
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telecmi_async.ledger.idempotency import KeyedCall

pytestmark = pytest.mark.anyio

KEY = "order-42"
# The account of the fake TeleCMI's services.
APP_ID = 2222226
LOST = httpx.ReadTimeout("slow")


def click(service: CallService, key: str = KEY, **more: Any) -> CallHandle:
    """Place the call of a key."""
    return service.make_call(to=TO, pcmo=FLOW, idempotency_key=key, **more)


async def error_of(handle: CallHandle) -> Exception | None:
    """Return what a handle raises."""
    try:
        await handle
    except Exception as error:  # noqa: BLE001  # the test looks at it
        return error
    return None


async def state_of(ledger: MemoryLedger, key: str = KEY) -> KeyState | None:
    """Return what the ledger knows of a key."""
    found = await ledger.find_key(key=key)
    return None if found is None else found.state


# -- one call for each key


async def test_clicks_of_one_key_are_one_call() -> None:
    """Clicks in one service and in others, at once and later, get the same accepted call."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=5)
    handles: list[CallHandle] = []
    async with telecmi.service(ledger=ledger) as one, telecmi.service(ledger=ledger) as two:
        handles = [click(one), click(two), click(one), click(two)]
        for handle in handles:
            await handle
        handles.append(await click(one))
    async with telecmi.service(ledger=ledger) as later:
        handles.append(await click(later))
        await click(later, "order-43")

    assert len(telecmi.requests) == 2
    assert {handle.request_id for handle in handles} == {f"{0:043d}"}
    assert len({handle.reference for handle in handles}) == 1
    assert telecmi.requests[0]["extra_params"]["tcm_reference"].startswith(handles[0].reference)
    assert KEY not in str(telecmi.requests)


async def test_a_key_is_free_again_after_a_call_that_was_not_placed() -> None:
    """A refused call's key may be used again, in this service and in another one."""
    ledger = MemoryLedger()
    telecmi = FakeTelecmi(in_turn(lambda: refused(420), lambda: refused(420), accepted))
    async with telecmi.service(ledger=ledger) as service:
        assert isinstance(await error_of(click(service)), CallRejected)
        assert await state_of(ledger) is KeyState.ABSENT
        assert isinstance(await error_of(click(service)), CallRejected)
    async with telecmi.service(ledger=ledger) as service:
        await click(service)

    assert len(telecmi.requests) == 3
    assert await state_of(ledger) is KeyState.PLACED


async def test_retries_are_of_one_key() -> None:
    """The attempts of one call share its key, and a waiting service sees the last one's outcome."""
    ledger = MemoryLedger()
    telecmi = FakeTelecmi(
        in_turn(lambda: refused(502), lambda: refused(429), accepted), delay=3
    )
    async with telecmi.service(ledger=ledger) as one, telecmi.service(ledger=ledger) as two:
        first, second = click(one), click(two)
        await first
        await second

    assert len(telecmi.requests) == 3
    assert first.request_id == second.request_id
    assert sorted([len(first.attempts), len(second.attempts)]) == [0, 3]


async def test_what_may_have_rung_is_not_repeated_under_a_key() -> None:
    """A gateway's 502 ends a keyed call, though the service's policy would repeat it."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(always(gateway))
    policy = RetryPolicy(attempts=4)
    async with telecmi.service(ledger=ledger, retry=policy) as service:
        assert isinstance(await error_of(click(service)), CallOutcomeUnknown)
        assert isinstance(await error_of(click(service, retry=policy)), CallOutcomeUnknown)

    assert len(telecmi.requests) == 1


@pytest.mark.parametrize("same", [True, False], ids=["same service", "another"])
async def test_an_unknown_call_keeps_its_key(same: bool) -> None:
    """A call that may have rung is never sent again, and its error says what is known."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(always(lambda: LOST))
    async with telecmi.service(ledger=ledger) as service, telecmi.service(ledger=ledger) as two:
        first = click(service)
        assert isinstance(await error_of(first), CallOutcomeUnknown)
        error = await error_of(click(service if same else two))

    assert isinstance(error, CallOutcomeUnknown)
    assert error.reference == first.reference
    assert not error.safe_to_redial
    assert str(error).count("a phone may have rung") == 1
    assert len(telecmi.requests) == 1


async def test_a_dead_processes_call_becomes_unknown() -> None:
    """A claim without an outcome is waited for until its lease is over, and is unknown then."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    request = CallRequest(to=TO, pcmo=FLOW)
    await ledger.claim_key(
        KEY,
        fingerprint_of(request, APP_ID),
        "tcm_" + "a" * 26,
        region="india",
        lease=40,
        lifetime=900,
    )
    async with telecmi.service(ledger=ledger) as service:
        began = anyio.current_time()
        handle = click(service)
        error = await error_of(handle)

    assert isinstance(error, CallOutcomeUnknown)
    assert 40 <= anyio.current_time() - began <= 42
    assert "its process is gone" in str(error)
    assert error.reference == handle.reference == "tcm_" + "a" * 26
    assert (handle.region, handle.status) == ("india", CallStatus.UNKNOWN)
    assert telecmi.requests == []


@pytest.mark.parametrize("kept", [True, False], ids=["in this service", "by the ledger"])
async def test_another_request_of_a_key_is_refused(kept: bool) -> None:
    """A key of another number, flow or data is refused, and nothing is sent."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    others: list[dict[str, Any]] = [
        {"to": TO + 1},
        {"pcmo": [Play("a.wav")]},
        {"extra_params": {"order": "42"}},
        {"duration": 60},
        {"from_": 19170000009},
    ]
    async with telecmi.service(ledger=ledger) as service, telecmi.service(ledger=ledger) as two:
        handle = await click(service)
        for other in others:
            given: dict[str, Any] = {"to": TO, "pcmo": FLOW, "idempotency_key": KEY} | other
            with pytest.raises(InvalidCall, match="idempotency_key: was used for another"):
                await (service if kept else two).make_call(**given)

    assert len(telecmi.requests) == 1
    assert handle.request_id


def test_addresses_with_encrypted_values_are_the_same_request() -> None:
    """What looks different each time in the query of an address makes no other request."""

    def asked(url: str) -> str:
        flow = [Stream(f"wss://example.com/{url}")]
        return fingerprint_of(
            CallRequest(to=TO, pcmo=flow, extra_params={"a": ["b", {"c": 1}]}), APP_ID
        )

    assert asked("talk?tcm=abc") == asked("talk?tcm=xyz")
    assert asked("talk?tcm=abc") != asked("walk?tcm=abc")


def test_a_question_mark_in_a_text_hides_no_difference() -> None:
    """Only the queries of addresses are left out: what a call says is part of its request."""
    one, two = (
        fingerprint_of(CallRequest(to=TO, pcmo=[Speak(f"Your code?{code}")]), APP_ID)
        for code in (1234, 9876)
    )

    assert one != two


async def test_rows_of_a_list_may_have_keys() -> None:
    """`make_calls` takes a key for each row, and a repeated row is no second call."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    rows = [{"to": TO, "pcmo": FLOW, "idempotency_key": f"row {n % 3}"} for n in range(9)]
    async with telecmi.service(ledger=ledger) as service, service.make_calls(rows) as calls:
        found = [call async for call in calls]

    assert len(telecmi.requests) == 3
    assert len(found) == 9
    assert len({call.request_id for call in found}) == 3


async def test_a_key_of_another_account_is_refused() -> None:
    """Two accounts on one ledger do not get each other's calls."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as service:
        await click(service)
    async with (
        httpx.AsyncClient(transport=telecmi) as client,
        CallService(7, "other", from_=19170000000, http_client=client, ledger=ledger) as other,
    ):
        with pytest.raises(InvalidCall, match="was used for another request"):
            await click(other)

    assert len(telecmi.requests) == 1


async def test_a_lease_of_a_clock_that_was_ahead_is_not_waited_for() -> None:
    """A lease that ends long after any request could is over for those who wait."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    digest = fingerprint_of(CallRequest(to=TO, pcmo=FLOW), APP_ID)
    token = "tcm_" + "a" * 26
    await ledger.claim_key(KEY, digest, token, region="india", lease=86_400, lifetime=90_000)
    async with telecmi.service(ledger=ledger) as service:
        began = anyio.current_time()
        assert isinstance(await error_of(click(service)), CallOutcomeUnknown)

    assert anyio.current_time() - began < 2_000
    assert telecmi.requests == []


# -- events


async def receive(receiver: Receiver, reference: str, request_id: str = "r1") -> None:
    """Have a receiver take an event of a call over."""
    reply = await post(receiver, payload("ringing", request_id, **signed(reference)))
    assert reply.status == 204


async def test_an_event_heals_the_key_of_an_unknown_call() -> None:
    """An event proves the call: its handle, a new one, and those of other services have its id."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(always(lambda: LOST))
    receiver = Receiver(TOKEN)
    async with (
        telecmi.service(ledger=ledger, events=receiver) as service,
        telecmi.service(ledger=ledger) as two,
    ):
        handle = click(service)
        assert isinstance(await error_of(handle), CallOutcomeUnknown)
        await receive(receiver, handle.reference)
        assert (await handle).request_id == "r1"
        await anyio.sleep(1)

        assert (await click(service)).request_id == "r1"
        assert (await click(two)).request_id == "r1"

    assert len(telecmi.requests) == 1
    assert await state_of(ledger) is KeyState.PLACED


async def test_an_event_heals_the_key_of_a_dead_process() -> None:
    """A receiver's events are put on record for keys that no service here has sent."""
    ledger, telecmi, receiver = MemoryLedger(), FakeTelecmi(), Receiver(TOKEN)
    digest = fingerprint_of(CallRequest(to=TO, pcmo=FLOW), APP_ID)
    tokens = ["tcm_" + letter * 26 for letter in "ab"]
    for key, token in zip((KEY, "order-43"), tokens, strict=True):
        await ledger.claim_key(key, digest, token, region="india", lease=9, lifetime=900)
    async with telecmi.service(ledger=ledger, events=receiver) as service:
        await click(service, "order-44")
        await receive(receiver, tokens[0], "r1")
        await receive(receiver, tokens[0], "r1")
        await receive(receiver, "tcm_" + "c" * 26, "r3")
        await post(receiver, payload("ringing", None, **signed(tokens[1])))
        await anyio.sleep(1)

        assert (await click(service)).request_id == "r1"
        assert isinstance(await error_of(click(service, "order-43")), CallOutcomeUnknown)
        await receive(receiver, tokens[1], "r2")
        await anyio.sleep(1)
        assert (await click(service, "order-43")).request_id == "r2"

    assert len(telecmi.requests) == 1
    await receive(receiver, tokens[1], "r2")  # of no service any more


async def test_events_in_a_shared_store_answer_for_a_dead_process() -> None:
    """Events that another process's receiver stored prove a call when its key is asked for."""
    ledger, telecmi, store = MemoryLedger(), FakeTelecmi(), FakeStore()
    token = "tcm_" + "a" * 26
    digest = fingerprint_of(CallRequest(to=TO, pcmo=FLOW), APP_ID)
    await ledger.claim_key(KEY, digest, token, region="india", lease=0, lifetime=900)
    await store.lay({"leg": "a", "status": "ringing", **signed(token)})
    async with telecmi.service(ledger=ledger, events=store) as service:
        assert isinstance(await error_of(click(service)), CallOutcomeUnknown)
        await store.lay(payload("ringing", "r1", **signed(token)))
        handle = await click(service)

    assert handle.request_id == "r1"
    assert await state_of(ledger) is KeyState.PLACED
    assert telecmi.requests == []


async def test_a_ledger_that_fails_takes_the_next_event_of_a_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A proof that could not be put on record is tried again with the call's next event."""
    ledger, telecmi, receiver = MemoryLedger(), FakeTelecmi(), Receiver(TOKEN)
    token = "tcm_" + "a" * 26
    await ledger.claim_key(KEY, "digest", token, region="india", lease=9, lifetime=900)
    async with telecmi.service(ledger=ledger, events=receiver) as service:
        await click(service, "order-44")
        ledger.gone = True
        await receive(receiver, token)
        await anyio.sleep(1)
        ledger.gone = False
        assert "an event of it is not on record" in caplog.text
        reply = await post(receiver, payload("answered", "r1", **signed(token)))
        await anyio.sleep(1)

    assert reply.status == 204
    assert await state_of(ledger) is KeyState.PLACED


async def test_an_event_before_the_reply_is_put_on_record() -> None:
    """An event that overtakes a reply which is lost proves the call, also to other services."""
    ledger, receiver = MemoryLedger(), Receiver(TOKEN)
    telecmi = FakeTelecmi(always(lambda: LOST), delay=5)
    async with telecmi.service(ledger=ledger, events=receiver) as service:
        handle = click(service)
        await anyio.sleep(1)
        await receive(receiver, handle.reference)
        assert (await handle).request_id == "r1"
    async with telecmi.service(ledger=ledger) as later:
        assert (await click(later)).request_id == "r1"

    assert len(telecmi.requests) == 1


async def test_proofs_of_many_calls_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many calls the newest are remembered as proven: a repeated proof does no harm."""
    monkeypatch.setattr("telecmi_async.service.keyed_calls._MOST_PROVEN", 1)
    ledger, telecmi, receiver = MemoryLedger(), FakeTelecmi(), Receiver(TOKEN)
    async with telecmi.service(ledger=ledger, events=receiver) as service:
        handles = [await click(service, f"order {n}") for n in range(3)]
        for handle in handles:
            await receive(receiver, handle.reference, handle.request_id)
        await anyio.sleep(1)

    assert len(telecmi.requests) == 3
    assert await state_of(ledger, "order 0") is KeyState.PLACED


@pytest.mark.real_clock
async def test_events_come_from_any_thread(tmp_path: Path) -> None:
    """A receiver that runs in another thread's event loop heals keys here."""
    telecmi, receiver = FakeTelecmi(), Receiver(TOKEN)
    token = "tcm_" + "a" * 26

    async def until_placed(ledger: SqliteLedger) -> None:
        found = None
        while found is None or found.request_id is None:  # the ledger's threads wake no task
            found = await ledger.find_key(key=KEY)

    def deliver() -> None:
        anyio.run(receive, receiver, token, "r1")

    async with SqliteLedger(tmp_path / "calls.db") as ledger:
        await ledger.claim_key(KEY, "d", token, region="india", lease=9, lifetime=900)
        async with telecmi.service(ledger=ledger, events=receiver) as service:
            await click(service, "order-43")
            await anyio.to_thread.run_sync(deliver)
            with anyio.fail_after(10):
                await until_placed(ledger)


async def test_a_key_that_is_forgotten_while_it_is_waited_for_is_free() -> None:
    """A claim whose lifetime ends before its lease does not block the key for ever."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    digest = fingerprint_of(CallRequest(to=TO, pcmo=FLOW), APP_ID)
    token = "tcm_" + "a" * 26
    await ledger.claim_key(KEY, digest, token, region="india", lease=900, lifetime=9)
    async with telecmi.service(ledger=ledger) as service:
        assert (await click(service)).request_id


# -- cancellation


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (CallOutcomeUnknown("lost", reference="r", cause="lost"), KeyState.UNKNOWN),
        (CallCancelled("cancelled"), KeyState.ABSENT),
    ],
)
async def test_a_call_that_is_settled_already_is_put_on_record_as_it_is(
    error: TelecmiError, state: KeyState
) -> None:
    """What its handle says is what other processes learn."""
    call = Call(None, source=None, region=None)
    call.fail(error)
    call.report()

    assert keyed_outcome(call, None) == (state, None, str(error))


async def test_a_call_of_another_service_cannot_be_cancelled() -> None:
    """Who waits for another service's call and cancels learns that a phone may ring."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=5)
    async with telecmi.service(ledger=ledger) as one, telecmi.service(ledger=ledger) as two:
        first = click(one)
        await anyio.sleep(1)
        second = click(two)
        await anyio.sleep(1)

        assert not second.cancel()
        assert isinstance(await error_of(second), CallOutcomeUnknown)
        assert (await first).request_id

    assert len(telecmi.requests) == 1


async def test_a_service_that_closes_says_that_a_call_elsewhere_may_ring() -> None:
    """Closing a service ends the wait for another one's call with an unknown outcome."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=5)
    async with telecmi.service(ledger=ledger) as one:
        click(one)
        await anyio.sleep(1)
        async with telecmi.service(ledger=ledger) as two:
            second = click(two)
            await anyio.sleep(1)

        assert isinstance(await error_of(second), CallOutcomeUnknown)


async def test_a_cancelled_call_leaves_its_key_free() -> None:
    """A keyed call that is cancelled in the queue was not placed, and its key is free."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as service:
        handle = click(service)
        assert not handle.cancel()  # its key was not looked up yet
        assert isinstance(await error_of(handle), CallCancelled)
        assert (await click(service)).request_id

    assert len(telecmi.requests) == 1


@pytest.mark.parametrize("started", [False, True])
async def test_a_repeated_click_that_is_cancelled_gets_the_call_that_was_placed(
    started: bool,
) -> None:
    """A click of a key whose call was placed earlier never says that no phone rang."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as service:
        first = await click(service)
    async with telecmi.service(ledger=ledger) as service:
        handle = click(service)
        if started:
            await anyio.lowlevel.checkpoint()
        assert not handle.cancel()
        assert (await handle).request_id == first.request_id

    assert len(telecmi.requests) == 1


@pytest.mark.parametrize("end", ["cancelled", "no turn", "closed"])
@pytest.mark.parametrize("delay", [1, 20], ids=["placed", "under way"])
async def test_a_call_that_waited_while_another_process_placed_its_key(
    end: str, delay: float
) -> None:
    """A call that leaves the queue without a request looks its key up before it says that none rang."""
    ledger = MemoryLedger()
    slow, quick = FakeTelecmi(delay=60), FakeTelecmi(delay=delay)
    rate = RateLimit(max_in_flight=1, queue_timeout=5 if end == "no turn" else None)
    async with quick.service(ledger=ledger) as two:
        async with slow.service(ledger=ledger, rate=rate) as one:
            one.make_call(to=TO + 1, pcmo=FLOW)
            first = click(one)
            await anyio.sleep(2)
            second = click(two)
            await anyio.sleep(2)
            if end == "cancelled":
                first.cancel()
            if end == "no turn":
                await anyio.sleep(2)
            if end != "closed":
                error = await error_of(first)
        if end == "closed":
            error = await error_of(first)
        await second

    waits = delay > 5 and end != "no turn"
    assert isinstance(error, CallOutcomeUnknown) if waits else error is None
    assert waits or first.request_id == second.request_id
    assert first.reference == second.reference
    assert len(quick.requests) == 1


@pytest.mark.parametrize("other", [False, True], ids=["free", "taken"])
async def test_a_placement_that_fails_before_its_claim_looks_the_key_up(
    monkeypatch: pytest.MonkeyPatch, *, other: bool
) -> None:
    """A call that a fault keeps from being placed gets the call that has its key, if one has."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as one, telecmi.service(ledger=ledger) as two:

        async def fail(_: object) -> None:
            if other:
                await click(two)
            raise KeyError("a fault")

        monkeypatch.setattr(one._parts.placer, "_make_attempts", fail)
        handle = click(one)
        error = await error_of(handle)

    if other:
        assert handle.request_id
    else:
        assert isinstance(error, NotSent)
        assert "see the log" in str(error)


class DeafWhenAsked(MemoryLedger):
    """A ledger that cannot be read from the second time on."""

    reads = 0

    async def find_key(  # type: ignore[override]  # mypy wants a CoroutineType
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Find a call, or fail."""
        self.reads += 1
        if self.reads > 1:
            raise StoreError("it is gone")
        return await super().find_key(key=key, token=token)


async def test_a_cancelled_call_whose_key_cannot_be_read_may_have_rung() -> None:
    """Another process may have placed the key while this call was queued."""
    ledger, telecmi = DeafWhenAsked(), FakeTelecmi(delay=20)
    async with telecmi.service(ledger=ledger, rate=RateLimit(max_in_flight=1)) as service:
        service.make_call(to=TO + 1, pcmo=FLOW)
        handle = click(service)
        await anyio.sleep(1)
        assert not handle.cancel()
        error = await error_of(handle)

    assert isinstance(error, CallOutcomeUnknown)
    assert "same key" in str(error)


async def test_a_call_that_is_cancelled_at_once_knows_who_has_its_key() -> None:
    """A click that is cancelled before its first step never says that no phone rang."""
    ledger, telecmi = SlowLookUps(), FakeTelecmi(delay=20)
    async with telecmi.service(ledger=ledger) as one, telecmi.service(ledger=ledger) as two:
        handle = click(one)
        handle.cancel()
        await anyio.sleep(1)
        other = click(two)
        error = await error_of(handle)
        await other

    assert isinstance(error, CallOutcomeUnknown)
    assert error.reference == other.reference
    assert len(telecmi.requests) == 1


@pytest.mark.parametrize("fails", [10, 600])
async def test_a_claim_of_unknown_fate_says_that_the_key_may_have_rung(fails: int) -> None:
    """If a claim fails, and another process has the key or nothing can be read, a phone may ring."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=1)
    slow = FakeTelecmi(delay=5)
    async with (
        slow.service(ledger=ledger, rate=RateLimit(max_in_flight=1)) as one,
        telecmi.service(ledger=ledger) as two,
    ):
        one.make_call(to=TO + 1, pcmo=FLOW)
        first = click(one)
        await anyio.sleep(2)
        second = await click(two)
        ledger.gone = True
        await anyio.sleep(fails)
        ledger.gone = False
        error = await error_of(first)

    if fails < 100:
        assert error is None
        assert first.request_id == second.request_id
    else:
        assert isinstance(error, CallOutcomeUnknown)
        assert "same key" in str(error)
    assert len(slow.requests) == 1


@pytest.mark.parametrize("after", [accepted, lambda _: LOST], ids=["accepted", "lost"])
async def test_no_cancellation_makes_a_second_call(
    after: Callable[[int], Any], anyio_backend_name: str
) -> None:
    """Wherever a service's task is cancelled, the same click later makes no second call."""
    counts: list[int] = []

    async def first(state: tuple[MemoryLedger, FakeTelecmi]) -> None:
        ledger, telecmi = state
        async with telecmi.service(ledger=ledger) as service:
            await error_of(click(service))

    async def check(state: tuple[MemoryLedger, FakeTelecmi]) -> None:
        ledger, telecmi = state
        async with telecmi.service(ledger=ledger) as service:
            error = await error_of(click(service))
        assert error is None or isinstance(error, CallOutcomeUnknown)
        assert len(telecmi.requests) == 1
        counts.append(len(telecmi.requests))

    for edge in [False] + [True] * (anyio_backend_name == "asyncio"):
        assert (
            await cancel_everywhere(
                first,
                setup=lambda: (MemoryLedger(), FakeTelecmi(after)),
                check=check,
                edge=edge,
            )
            >= 2
        )
    assert counts


# -- a ledger that fails


async def test_nothing_is_sent_without_a_claim_on_record() -> None:
    """A ledger that fails before the claim prevents the request, and the call can be made later."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as service:
        ledger.gone = True
        error = await error_of(click(service))
        ledger.gone = False
        assert isinstance(error, CallOutcomeUnknown)  # an earlier call may have the key
        assert "same key" in str(error)
        assert (await click(service)).request_id

    assert len(telecmi.requests) == 1


async def test_a_failing_store_of_events_does_not_make_an_unknown_call_safe() -> None:
    """If events cannot be read or put on record, a key whose call may have rung stays unknown."""
    ledger, telecmi, store = MemoryLedger(), FakeTelecmi(), FakeStore()
    token = "tcm_" + "a" * 26
    digest = fingerprint_of(CallRequest(to=TO, pcmo=FLOW), APP_ID)
    await ledger.claim_key(KEY, digest, token, region="india", lease=0, lifetime=900)
    async with telecmi.service(ledger=ledger, events=store) as service:
        store.broken = True
        assert isinstance(await error_of(click(service)), CallOutcomeUnknown)
        store.broken = False
        await store.lay(payload("ringing", "r1", **signed(token)))
        ledger.full = True
        assert (await click(service)).request_id == "r1"

    assert await state_of(ledger) is KeyState.UNKNOWN
    assert telecmi.requests == []


async def test_an_event_heals_a_key_whose_outcome_could_not_be_put_on_record() -> None:
    """An event after the ledger's failure counts, also in the process that placed the call."""
    ledger, telecmi, receiver = MemoryLedger(), FakeTelecmi(delay=5), Receiver(TOKEN)
    async with telecmi.service(ledger=ledger, events=receiver) as service:
        handle = click(service)
        await anyio.sleep(1)
        ledger.gone = True
        await handle
        ledger.gone = False
        await receive(receiver, handle.reference, handle.request_id)
        await anyio.sleep(1)

    assert await state_of(ledger) is KeyState.PLACED


async def test_an_event_at_another_process_heals_a_lost_reply() -> None:
    """A call whose reply was lost is accepted if another process has its event on record."""
    ledger, receiver = MemoryLedger(), Receiver(TOKEN)
    telecmi = FakeTelecmi(always(lambda: LOST), delay=5)
    async with (
        telecmi.service(ledger=ledger) as one,
        telecmi.service(ledger=ledger, events=receiver),
    ):
        handle = click(one)
        await anyio.sleep(1)
        await receive(receiver, handle.reference, "r7")
        await post(receiver, payload("answered", "r7", **signed(handle.reference)))
        assert (await handle).request_id == "r7"

    assert await state_of(ledger) is KeyState.PLACED


async def test_an_event_heals_all_handles_of_an_unknown_call() -> None:
    """A handle that learnt from the ledger that a phone may ring is accepted by an event, too."""
    ledger, receiver = MemoryLedger(), Receiver(TOKEN)
    telecmi = FakeTelecmi(always(lambda: LOST))
    async with (
        telecmi.service(ledger=ledger) as one,
        telecmi.service(ledger=ledger, events=receiver) as two,
    ):
        first = click(one)
        await error_of(first)
        second = click(two)
        assert isinstance(await error_of(second), CallOutcomeUnknown)
        third = two.handle_for(reference=first.reference)
        assert isinstance(await error_of(third), CallOutcomeUnknown)
        await receive(receiver, first.reference, "r7")
        await anyio.sleep(1)
        found = [(handle.status, handle.request_id) for handle in (second, third)]

    assert found == [(CallStatus.PROGRESS, "r7")] * 2


class SlowLookUps(MemoryLedger):
    """A ledger whose first look-up takes five seconds, and shows what was there before."""

    first = True

    async def find_key(  # type: ignore[override]  # mypy wants a CoroutineType
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Find a call."""
        found = await super().find_key(key=key, token=token)
        if self.first:
            self.first = False
            await anyio.sleep(5)
        return found


class ForgottenWhenHealed(MemoryLedger):
    """A ledger that takes no unknown outcome, and finds no call by its token."""

    async def settle_key(  # type: ignore[override]  # mypy wants a CoroutineType
        self, token: str, state: KeyState, **more: Any
    ) -> bool:
        """Put an outcome on record, but no unknown one."""
        return state is not KeyState.UNKNOWN and await super().settle_key(token, state, **more)

    async def find_key(  # type: ignore[override]  # mypy wants a CoroutineType
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Find a call by its key."""
        return None if key is None else await super().find_key(key=key)


async def test_a_call_that_nothing_proves_stays_unknown() -> None:
    """An outcome that the ledger does not take, without a proof, leaves the call unknown."""
    telecmi = FakeTelecmi(always(lambda: LOST))
    async with telecmi.service(ledger=ForgottenWhenHealed()) as service:
        assert isinstance(await error_of(click(service)), CallOutcomeUnknown)


async def test_a_key_that_cannot_be_kept_through_a_pause_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the ledger fails when TeleCMI asks for a pause, the call goes on after it."""
    ledger = MemoryLedger()
    telecmi = FakeTelecmi(in_turn(lambda: refused(429), accepted), delay=5)
    async with telecmi.service(ledger=ledger) as service:
        handle = click(service)
        await anyio.sleep(4.9)
        ledger.gone = True
        await anyio.sleep(0.2)
        ledger.gone = False
        assert (await handle).request_id

    assert "its key may look unknown" in caplog.text
    assert len(telecmi.requests) == 2
    assert await state_of(ledger) is KeyState.PLACED


class HeldUp(MemoryLedger):
    """A ledger that fails to find keys, after five seconds."""

    async def find_key(  # type: ignore[override]  # mypy wants a CoroutineType
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Fail."""
        del key, token
        await anyio.sleep(5)
        raise StoreError("it is gone")


@pytest.mark.parametrize("seconds", [0, 1])
async def test_an_event_that_comes_before_the_request_counts(seconds: int) -> None:
    """A call of which there is an event is not placed again, though its key cannot be read."""
    telecmi, receiver = FakeTelecmi(), Receiver(TOKEN)
    async with telecmi.service(ledger=HeldUp(), events=receiver) as service:
        handle = click(service)
        if seconds:
            await anyio.sleep(seconds)
            await receive(receiver, handle.reference, "r7")
        else:
            handle._call.attach("r7")
        assert (await handle).request_id == "r7"

    assert telecmi.requests == []


async def test_a_key_outlives_its_request() -> None:
    """A lifetime that ends while the request is under way frees no key."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=20)
    async with (
        telecmi.service(ledger=ledger, key_lifetime=5) as one,
        telecmi.service(ledger=ledger, key_lifetime=5) as two,
    ):
        first = click(one)
        await anyio.sleep(10)
        second = click(two)
        assert (await first).request_id == (await second).request_id

    assert len(telecmi.requests) == 1


class SlowClaims(MemoryLedger):
    """A ledger after whose claims the process sleeps for a minute."""

    slow = True

    async def _write(self, work: Any) -> Any:
        result = await super()._write(work)
        if self.slow:
            self.slow = False
            await anyio.sleep(60)
        return result


async def test_a_process_that_slept_after_its_claim_claims_again() -> None:
    """No request leaves when the lease of its claim is over, since its key may be free by then."""
    ledger, telecmi = SlowClaims(), FakeTelecmi()
    async with telecmi.service(ledger=ledger, key_lifetime=5) as service:
        first = click(service)
        await anyio.sleep(50)
        assert (await click(service)).request_id
        assert (await first).request_id

    assert len(telecmi.requests) == 1


class FailingClaims(MemoryLedger):
    """A ledger whose claims are done, and fail."""

    async def claim_key(self, *args: Any, **named: Any) -> Any:  # type: ignore[override]  # mypy wants a CoroutineType
        """Claim a key, and fail."""
        self.mute = True
        try:
            return await super().claim_key(*args, **named)
        finally:
            self.mute = False


async def test_a_claim_of_unknown_fate_is_taken_back() -> None:
    """A claim that may be on record prevents the request, and is then settled as not placed."""
    ledger, telecmi = FailingClaims(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as service:
        error = await error_of(click(service))

    assert isinstance(error, NotSent)
    assert await state_of(ledger) is KeyState.ABSENT
    assert telecmi.requests == []


async def test_an_outcome_that_cannot_be_put_on_record_is_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the ledger fails after the reply, the handle has the call; for others it is unknown."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=5)
    async with telecmi.service(ledger=ledger) as service, telecmi.service(ledger=ledger) as two:
        handle = click(service)
        await anyio.sleep(1)
        ledger.gone = True
        assert (await handle).request_id
        ledger.gone = False
        error = await error_of(click(two))

    assert "could not be put on record" in caplog.text
    assert isinstance(error, CallOutcomeUnknown)
    assert len(telecmi.requests) == 1


async def test_a_short_failure_of_the_ledger_loses_no_outcome() -> None:
    """An outcome is put on record when the ledger works again."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=5)
    async with telecmi.service(ledger=ledger) as service:
        handle = click(service)
        await anyio.sleep(1)
        ledger.gone = True
        await anyio.sleep(6)
        assert handle.status is not CallStatus.PROGRESS
        ledger.gone = False
        await handle

    assert await state_of(ledger) is KeyState.PLACED


async def test_a_foreign_failure_is_logged_and_prevents_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a user's own ledger raises reaches the log only."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(ledger=ledger) as service:

        async def find_key(**_: Any) -> Any:
            raise OSError("disk")

        service._parts.keyed._keys.find_key = find_key  # type: ignore[union-attr, method-assign]  # as a user's own would
        error = await error_of(click(service))

    assert isinstance(error, CallOutcomeUnknown)
    assert "placing it failed" in caplog.text
    assert telecmi.requests == []


# -- by reference


async def test_a_call_is_found_by_its_reference() -> None:
    """`handle_for(reference=…)` gives the call of a key, in this process and in another."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(delay=3)
    async with telecmi.service(ledger=ledger) as one, telecmi.service(ledger=ledger) as two:
        handle = click(one)
        await anyio.sleep(1)
        found = two.handle_for(reference=handle.reference)
        assert (await found).request_id == (await handle).request_id
        again = await one.handle_for(reference=handle.reference)
        assert (again.request_id, again.reference) == (handle.request_id, handle.reference)


@pytest.mark.parametrize(
    ("script", "kind"),
    [(always(lambda: LOST), CallOutcomeUnknown), (always(lambda: refused(420)), NotSent)],
    ids=["unknown", "refused"],
)
async def test_a_reference_shows_what_became_of_its_call(script: Any, kind: Any) -> None:
    """A call that may have rung is unknown by its reference, and a refused one was not placed."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi(script)
    async with telecmi.service(ledger=ledger) as service:
        handle = click(service)
        assert await error_of(handle) is not None

        assert isinstance(await error_of(service.handle_for(reference=handle.reference)), kind)


async def test_an_event_may_come_before_a_reference_is_looked_up() -> None:
    """An event that proves a call settles its handle before the ledger answers."""
    ledger, store = MemoryLedger(), FakeStore()
    token = "tcm_" + "a" * 26
    async with FakeTelecmi().service(ledger=ledger, events=store) as service:
        await click(service)
        handle = service.handle_for(reference=token)
        await store.lay(payload("ringing", "r1", **signed(token)))

        assert (await handle).request_id == "r1"


async def test_a_reference_that_is_not_on_record_proves_nothing() -> None:
    """An unknown reference, or a ledger that fails, is an unknown outcome."""
    ledger = MemoryLedger()
    async with FakeTelecmi().service(ledger=ledger, events=FakeStore()) as service:
        none = await error_of(service.handle_for(reference="tcm_" + "a" * 26))
        ledger.gone = True
        failed = await error_of(service.handle_for(reference="tcm_" + "a" * 26))
        ledger.gone = False
        cancelled = service.handle_for(reference="tcm_" + "a" * 26)
        cancelled.cancel()
        left = await error_of(cancelled)

    assert isinstance(none, CallOutcomeUnknown)
    assert "no call with this reference" in str(none)
    assert isinstance(failed, CallOutcomeUnknown)
    assert isinstance(left, CallOutcomeUnknown)


async def test_what_is_no_reference_is_refused() -> None:
    """`handle_for` wants one id, of its kind, and a ledger to look for a reference."""
    async with FakeTelecmi().service(ledger=MemoryLedger()) as service:
        with pytest.raises(ConfigurationError, match="a request_id or a reference"):
            service.handle_for("r1", reference="tcm_" + "a" * 26)
        for wrong in ("tcm_a", 7):
            with pytest.raises(InvalidCall, match="reference: must be"):
                service.handle_for(reference=wrong)  # type: ignore[arg-type]  # the mistake
    async with FakeTelecmi().service() as service:
        with pytest.raises(ConfigurationError, match="ledger="):
            service.handle_for(reference="tcm_" + "a" * 26)


# -- wrong arguments


@pytest.mark.parametrize("key", ["", "a" * 256, "a\nb", 42, b"order"])
def test_a_key_is_a_short_printable_text(key: Any) -> None:
    """Anything else is refused, and the message says what is right."""
    with pytest.raises(InvalidCall, match="idempotency_key: must be a text of 1 to 255"):
        CallRequest(to=TO, pcmo=FLOW, idempotency_key=key)


async def test_keys_may_be_kept_elsewhere() -> None:
    """What implements `IdempotencyKeys` is enough: it need not be a whole ledger."""
    telecmi, ledger = FakeTelecmi(), MemoryLedger()
    keys: Any = SimpleNamespace(
        claim_key=ledger.claim_key, settle_key=ledger.settle_key, find_key=ledger.find_key
    )
    async with telecmi.service(ledger=keys) as service:
        assert (await click(service)).request_id == (await click(service)).request_id

    assert len(telecmi.requests) == 1


async def test_a_key_needs_a_ledger() -> None:
    """Without a ledger a key is refused: it would promise what nothing keeps."""
    async with FakeTelecmi().service() as service:
        with pytest.raises(InvalidCall, match="idempotency_key: needs a service with a ledger"):
            click(service)


@pytest.mark.parametrize("ledger", [MemoryLedger, "calls.db", 7, {}, object()])
def test_a_ledger_is_one(ledger: Any) -> None:
    """What keeps no keys is refused when the service is made."""
    with pytest.raises(ConfigurationError, match="ledger must be a ledger that is open"):
        CallService(1, "secret", ledger=ledger)


@pytest.mark.parametrize("lifetime", [0, -1, None, "1 day", float("inf")])
def test_a_lifetime_is_a_positive_time(lifetime: Any) -> None:
    """Keys live for some seconds at least."""
    with pytest.raises(ConfigurationError, match="key_lifetime"):
        CallService(1, "secret", key_lifetime=lifetime)


async def test_a_key_may_be_used_anew_after_its_lifetime() -> None:
    """After ``key_lifetime`` a key stands for a new call."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    for _ in range(2):
        async with telecmi.service(ledger=ledger, key_lifetime=timedelta(hours=1)) as service:
            await click(service)
        await anyio.sleep(3601)

    assert len(telecmi.requests) == 2
