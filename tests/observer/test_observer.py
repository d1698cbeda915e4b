"""Observers: what they are called with, and that they are never in the way."""

from __future__ import annotations

import gc
import logging
import weakref
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from campaign_scene import contacts, settings
from memory_ledger import MemoryLedger

from telecmi_async import CallService, ConfigurationError, Hangup, RateLimit, Receiver
from telecmi_async.attempt import Attempt, Outcome
from telecmi_async.calls.call import Call
from telecmi_async.calls.state import PlacementState
from telecmi_async.calls.verdict import Verdict
from telecmi_async.campaigns import Campaign
from telecmi_async.errors import NotSent
from telecmi_async.ledger import NewContact
from telecmi_async.observer import ObservedCall, Observer
from telecmi_async.observer.notifier import notifier_of
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

FROM = 19170000000
TO = 19170000001
TOKEN = "a-token-of-32-letters-and-digits1"
TRACE = f"00-{1:032x}-{2:016x}-01"
HOOKS = [name for name in vars(Observer) if not name.startswith("_")]


def _noted(name: str) -> Callable[..., Any]:
    def note(self: Everything, *given: Any) -> str | None:
        self.seen.append((name, given))
        return TRACE if name in {"call_queued", "trace_context"} else None

    return note


class Everything(Observer):
    """Notes all that it is called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    for _name in HOOKS:
        vars()[_name] = _noted(_name)

    def names(self) -> list[str]:
        """Return the methods in the order in which they were called."""
        return [name for name, _ in self.seen]

    def given(self, name: str) -> list[Any]:
        """Return the last argument of each call of a method."""
        return [given[-1] for called, given in self.seen if called == name]


class Odd(BaseException):
    """What a test framework, for example, raises."""


class Failing(Observer):
    """Raises in every method."""

    def __init__(self, kind: type[BaseException] = ZeroDivisionError) -> None:
        self.kind = kind

    def _fail(self, *given: Any) -> None:
        raise self.kind

    for _name in HOOKS:
        vars()[_name] = _fail


async def test_a_call_is_observed_from_queue_to_end(telecmi_simulator: Simulator) -> None:
    """Each step comes once, in order, with what is known of the call by then."""
    observer = Everything()
    receiver = Receiver(TOKEN, observer=observer)
    telecmi_simulator.faults.add(Fault("unavailable", to=TO, attempts=1))
    async with telecmi_simulator.service(
        from_=FROM, events=receiver, observer=observer
    ) as service:
        call = await service.make_call(to=TO, pcmo=[Hangup()])
        await call.ended()
        await anyio.sleep(5)

    steps = [name for name in observer.names() if name not in {"delivered", "call_ended"}]
    assert steps == [
        "service_opened",
        "call_queued",
        "attempt_started",
        "attempt_ended",
        "paused",
        "attempt_started",
        "attempt_ended",
        "call_settled",
    ]
    (seen,) = {given[0] for name, given in observer.seen if name.startswith("call_")}
    assert isinstance(seen, ObservedCall)
    assert (seen.reference, seen.request_id) == (call.reference, call.request_id)
    assert (seen.status, seen.attempts, seen.error) == ("progress", 2, None)
    waited, again = observer.given("attempt_started")
    assert waited == 0
    assert again >= 1
    assert observer.given("paused") == [1.0]
    assert [attempt.status for attempt in observer.given("attempt_ended")] == [503, 200]
    end = observer.given("call_ended")[-1]
    assert (end.answered, end.complete) == (True, True)
    assert {each.result for each in observer.given("delivered")} <= {"accepted", "duplicates"}
    assert {each.trace for each in observer.given("delivered")} == {TRACE}
    assert str(TO) not in repr(observer.seen)


@pytest.mark.telecmi(strict=False)
@pytest.mark.parametrize("kind", [ZeroDivisionError, CancelledError, GeneratorExit, Odd])
async def test_an_observer_that_fails_changes_nothing(
    telecmi_simulator: Simulator, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    """Calls, webhooks and campaigns go on, and the first failure of each method is logged.

    A `CancelledError` that a method raises is one that it read, such as that of another future.
    """
    receiver = Receiver(TOKEN, observer=Failing(kind))
    telecmi_simulator.faults.add(Fault("unavailable", to=TO, attempts=1))
    async with telecmi_simulator.service(
        from_=FROM, events=receiver, observer=Failing(kind)
    ) as service:
        results = [
            await (await service.make_call(to=TO + n, pcmo=[Hangup()])).ended()
            for n in range(2)
        ]
        campaign = Campaign(MemoryLedger(), service, "spring", settings())
        await campaign.load(contacts(2))
        state = await campaign.run()

    assert [result.answered for result in results] == [True, True]
    assert state.sends == 2
    errors = [
        record.getMessage() for record in caplog.records if record.levelno == logging.ERROR
    ]
    failed = sorted(text.split("'s ")[1].split(" failed")[0] for text in errors)
    assert failed == sorted(HOOKS)
    assert all(kind.__name__ in text for text in errors)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_the_end_of_the_program_is_raised(
    telecmi_simulator: Simulator, kind: type[BaseException]
) -> None:
    """An interrupt at the moment of a method ends the program, as at any other moment."""

    class Interrupted(Everything):
        """Is interrupted while it notes a new call."""

        def call_queued(self, call: ObservedCall) -> str | None:
            raise kind

    observer = Interrupted()
    async with telecmi_simulator.service(from_=FROM, observer=observer) as service:
        with pytest.raises(kind):
            service.make_call(to=TO, pcmo=[Hangup()])

    assert not telecmi_simulator.calls
    assert [call.status for call in observer.given("call_settled")] == ["not_sent"]


async def test_a_method_may_cancel_all_calls_and_make_others(
    telecmi_simulator: Simulator,
) -> None:
    """The methods that this causes come after it: they do not fill Python's stack."""

    class Breaker(Everything):
        """Cancels all calls when one ends, and makes one more."""

        depth = deepest = 0

        def call_settled(self, call: ObservedCall) -> None:
            super().call_settled(call)
            self.depth += 1
            self.deepest = max(self.depth, self.deepest)
            for each in made[:300]:
                each.cancel()
            if len(made) == 300:
                made.append(service.make_call(to=TO + 300, pcmo=[Hangup()]))
            self.depth -= 1

    observer = Breaker()
    async with telecmi_simulator.service(
        from_=FROM, observer=observer, rate=RateLimit(max_in_flight=1)
    ) as service:
        made = [service.make_call(to=TO + n, pcmo=[Hangup()]) for n in range(300)]
        await made[0]
        await made[300]

    assert [call.status for call in made] == ["progress", *["cancelled"] * 299, "progress"]
    assert (
        observer.names().count("call_settled") == observer.names().count("call_queued") == 301
    )
    assert observer.deepest == 1


async def test_an_observed_call_is_freed_with_its_handle(telecmi_simulator: Simulator) -> None:
    """It waits for no garbage collector, which a program may have turned off."""
    observer = Everything()
    async with telecmi_simulator.service(from_=FROM, observer=observer) as service:
        call = await service.make_call(to=TO, pcmo=[Hangup()])
        await anyio.sleep(1)
        alive, kept = weakref.ref(call._call), observer.given("call_settled")[0]
        gc.disable()
        try:
            del call
            assert alive() is None
        finally:
            gc.enable()

    assert (kept.status, kept.region) == ("progress", "global")


@pytest.mark.parametrize("said", ["19170000001", 7, f"{TRACE}\n{TO}", "x" * 55, ""])
async def test_what_is_no_trace_context_is_not_sent(
    telecmi_simulator: Simulator, said: object
) -> None:
    """Whatever an observer returns, only a `traceparent` leaves with a call or is kept."""

    class Wrong(Observer):
        """Returns something else than a trace context."""

        def trace_context(self) -> Any:
            return said

        def call_queued(self, call: ObservedCall) -> Any:
            return said

    ledger = MemoryLedger()
    async with telecmi_simulator.service(
        from_=FROM, observer=Wrong(), reference=True
    ) as service:
        await service.make_call(to=TO, pcmo=[Hangup()])
        campaign = Campaign(ledger, service, "spring", settings())
        await campaign.load(contacts(1))

    (call,) = telecmi_simulator.calls
    assert list(call.extra_params or {}) == ["tcm_reference"]
    kept = [contact.columns async for contact in ledger.contacts("spring")]
    assert [sorted(columns) for columns in kept] == [["name"]]


async def test_a_contact_keeps_its_own_trace(telecmi_simulator: Simulator) -> None:
    """A contact that was given a `traceparent` keeps it; a number in its place is not shown."""
    observer, ledger = Everything(), MemoryLedger()
    own = f"00-{3:032x}-{4:016x}-01"
    async with telecmi_simulator.service(from_=FROM, observer=observer) as service:
        campaign = Campaign(ledger, service, "spring", settings())
        given = [{}, {"traceparent": own}, {"traceparent": str(TO)}]
        await campaign.load(
            NewContact(number=TO + n, columns={"name": "A", **more})
            for n, more in enumerate(given)
        )
        with pytest.raises(ConfigurationError):
            await campaign.load([TO])  # type: ignore[list-item]  # a typical mistake
        await campaign.run()

    queued = observer.given("call_queued")
    assert sorted(call.loaded_in or "" for call in queued) == ["", TRACE, own]
    assert {call.campaign for call in queued} == {"spring"}
    seen = observer.given("campaign_seen")
    assert seen[-1].contacts["pending"] == 0
    assert (seen[-1].slowdown, seen[-1].breaker_open) == (1.0, False)


@pytest.mark.telecmi(latency=1.0)
async def test_a_service_can_be_read_until_it_is_closed(telecmi_simulator: Simulator) -> None:
    """`service_opened` hands over what reads how many calls wait and are in flight."""
    observer = Everything()
    async with telecmi_simulator.service(
        from_=FROM, observer=observer, rate=RateLimit(max_in_flight=2, max_live_calls=9)
    ) as service:
        for number in range(5):
            service.make_call(to=TO + number, pcmo=[Hangup()])
        await anyio.sleep(0.5)
        (read,) = observer.given("service_opened")
        reading = read()

    assert (reading.in_flight, reading.waiting) == (2, 3)
    assert (reading.live, reading.live_limit) == (5, 9)
    assert reading.retries_left > 0
    assert read() is None


@pytest.mark.parametrize("wrong", [Observer, object(), lambda: None])
def test_what_is_no_observer_is_rejected(wrong: Any) -> None:
    """A class, or an object of another kind, is a mistake that is named."""
    with pytest.raises(ConfigurationError, match=r"observer must be an object of a subclass"):
        CallService(2222226, "a-secret", observer=wrong)
    with pytest.raises(ConfigurationError, match=r"observer must be an object of a subclass"):
        Receiver(TOKEN, observer=wrong)


def test_an_asynchronous_method_is_rejected() -> None:
    """It would never be awaited."""

    class Asynchronous(Observer):
        """Has an async method."""

        async def call_settled(self, call: ObservedCall) -> None:  # type: ignore[override]  # the mistake
            """Do nothing."""

    with pytest.raises(ConfigurationError, match=r"observer\.call_settled must be a plain"):
        CallService(2222226, "a-secret", observer=Asynchronous())


async def test_an_observer_that_does_nothing_changes_nothing(
    telecmi_simulator: Simulator,
) -> None:
    """The base class is an observer, and gives neither calls nor contacts a trace."""
    ledger = MemoryLedger()
    async with telecmi_simulator.service(
        from_=FROM, observer=Observer(), reference=True
    ) as service:
        campaign = Campaign(ledger, service, "spring", settings())
        await campaign.load(contacts(1))
        state = await campaign.run()

    assert state.sends == 1
    (call,) = telecmi_simulator.calls
    assert list(call.extra_params or {}) == ["tcm_reference"]
    assert [sorted(each.columns) async for each in ledger.contacts("spring")] == [["name"]]


def test_an_observer_keeps_no_service_alive(telecmi_simulator: Simulator) -> None:
    """A service that was never closed is warned of, and collected, with an observer as well."""
    observer = Everything()

    async def forget() -> None:
        client = httpx.AsyncClient(transport=telecmi_simulator.transport())
        service = CallService(
            2222226, telecmi_simulator.secret, from_=FROM, http_client=client, observer=observer
        )
        await service.make_call(to=TO, pcmo=[Hangup()])
        await client.aclose()

    with pytest.warns(ResourceWarning, match="was never closed"):
        anyio.run(forget)
        gc.collect()
    (read,) = observer.given("service_opened")

    assert read() is None


def test_an_id_that_is_a_number_is_masked() -> None:
    """TeleCMI's ids are shown as in logs: one that could be a number is not shown."""
    placement = PlacementState()
    call = ObservedCall(placement, address="https://example.com")
    assert call.request_id is None

    placement.accept(str(TO))
    assert call.request_id == "•••••••0001"


async def test_a_verdict_after_the_end_is_not_shown() -> None:
    """A call that was settled without attempts shows an observer none that come later."""
    seen: list[str] = []

    class Noting(Observer):
        """Notes which of a call's methods are called."""

        def attempt_ended(self, call: ObservedCall, attempt: Attempt) -> None:
            seen.append(f"attempt {attempt.outcome}")

        def call_settled(self, call: ObservedCall) -> None:
            seen.append(call.status)

    notify = notifier_of(Noting())
    assert notify is not None
    call = Call(None, source=None, region=None)
    call.observe(notify, ObservedCall(call.placement, address=""))
    call.fail(NotSent("no phone rang"))
    call.record(Verdict(Outcome.UNKNOWN, "too late"), 0.1)
    assert call.seen().attempts == ()

    assert seen == ["not_sent"]
