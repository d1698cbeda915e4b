"""Channels: never more live calls than `max_live_calls`."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fake_store import (
    FakeStore,
    answer_others,
    found,
    nothing_yet,
    payload,
    record,
    row,
    signed,
)
from fake_telecmi import FLOW, TO, FakeTelecmi, accepted, always, gateway, in_turn, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from telecmi_async import (
    CallOutcomeUnknown,
    CallRejected,
    CdrPoller,
    ConfigurationError,
    NotSent,
    RateLimit,
    RetryPolicy,
)
from telecmi_async._internal.telecmi import LONGEST_CALL, RINGING
from telecmi_async.pacing.channels import Channels
from telecmi_async.testing import cancel_everywhere, run

if TYPE_CHECKING:
    from telecmi_async import CallService

pytestmark = pytest.mark.anyio


def ids(n: int) -> str:
    """Return the ``request_id`` of the n-th call."""
    return f"{n:043d}"


async def test_channels_are_given_out_in_order() -> None:
    """Waiters get channels in order of arrival, one for each that is released."""
    channels = Channels(2)
    order: list[int] = []

    async def take(number: int) -> None:
        await channels.acquire(number)
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(take, number)
            await anyio.sleep(1)
        assert (order, channels.held) == ([0, 1], 2)
        channels.release(1)
        channels.release(1)
        await anyio.sleep(1)
        assert order == [0, 1, 2]
        channels.release(0)
        channels.release(2)

    assert order == [0, 1, 2, 3, 4]


async def test_a_hold_ends_by_itself() -> None:
    """A hold expires at its time, also if the time was set after the wait began."""
    channels = Channels(1)
    await channels.acquire("first")
    began = anyio.current_time()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channels.acquire, "second")
        await anyio.sleep(1)
        channels.hold("first", until=began + 10)

    assert anyio.current_time() == began + 10
    assert channels.held == 1


async def test_what_is_live_holds_a_channel_even_if_there_is_none() -> None:
    """Live calls may hold more channels than the limit; no other call starts until they end."""
    channels = Channels(1)
    await channels.acquire("first")
    now = anyio.current_time()
    channels.hold("second", until=now + 20)
    channels.hold("first", until=now + 10)

    await channels.acquire("third")

    assert anyio.current_time() == now + 20
    assert channels.held == 1
    assert not channels.holds("first")
    assert channels.holds("third")


async def test_cancelled_anywhere_a_wait_for_a_channel_takes_none() -> None:
    """A cancelled waiter holds no channel, and the next waiters are served."""

    async def setup() -> Channels:
        channels = Channels(1)
        await channels.acquire("other")
        channels.hold("other", until=anyio.current_time() + 5)
        return channels

    async def take_two(channels: Channels) -> None:
        await channels.acquire("mine")
        channels.release("mine")

    async def check(channels: Channels) -> None:
        channels.release("other")
        assert channels.held == 0
        with anyio.fail_after(1):
            await channels.acquire("next")

    assert await cancel_everywhere(take_two, setup=setup, check=check) >= 1


@settings(max_examples=50)
@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.floats(0, 5), st.floats(0.1, 5), st.sampled_from(["release", "expire", "cancel"])
        ),
        max_size=15,
    ),
    st.sampled_from(["asyncio", "trio"]),
)
def test_never_more_are_held_than_there_are(
    limit: int, program: list[tuple[float, float, str]], backend: Any
) -> None:
    """The limit holds for any order of acquiring, releasing, expiring and cancelling."""

    async def main() -> tuple[int, int]:
        channels = Channels(limit)
        live: set[int] = set()
        most = served = 0

        async def one(number: int, start: float, hold: float, end: str) -> None:
            nonlocal most, served
            await anyio.sleep(start)
            time_limit = 1.0 if end == "cancel" else None
            with anyio.move_on_after(time_limit):
                await channels.acquire(number)
                live.add(number)
                served += 1
                most = max(most, len(live))
                if end == "expire":
                    channels.hold(number, until=anyio.current_time() + hold)
                # A hold expires a moment later than the call it was for.
                await anyio.sleep({"release": hold, "expire": hold - 0.01, "cancel": 0.5}[end])
            live.discard(number)
            if end != "expire":
                channels.release(number)

        async with anyio.create_task_group() as tasks:
            for number, step in enumerate(program):
                tasks.start_soon(one, number, *step)
        await anyio.sleep(10)
        await channels.acquire("last")
        assert channels.held <= limit
        return most, served

    most, served = run(main, backend=backend)

    assert most <= limit
    assert served >= sum(step[2] != "cancel" for step in program)


def start(service: CallService, count: int, **more: Any) -> list[Any]:
    """Start calls to consecutive numbers."""
    return [service.make_call(to=TO + n, pcmo=FLOW, **more) for n in range(count)]


async def test_a_call_waits_for_a_channel_until_another_ends() -> None:
    """A call's first end, an event or a record, releases its channel."""
    fake_store, telecmi = FakeStore(), FakeTelecmi()
    async with telecmi.service(events=fake_store, rate=RateLimit(max_live_calls=2)) as service:
        calls = start(service, 5)
        await anyio.sleep(100)
        assert len(telecmi.requests) == 2
        await fake_store.lay(payload("out_hangup", ids(0)))
        await anyio.sleep(1)
        assert len(telecmi.requests) == 3
        await fake_store.lay(record(ids(1)), record(ids(0)))
        await anyio.sleep(1)
        assert len(telecmi.requests) == 4
        await fake_store.lay(record(ids(2)))
        await calls[4]

    assert telecmi.max_in_flight <= 2


async def test_a_call_keeps_its_channel_though_nobody_holds_its_handle() -> None:
    """A call without a handle keeps its channel until an event says that it ended."""
    fake_store, telecmi = FakeStore(), FakeTelecmi()
    async with telecmi.service(events=fake_store, rate=RateLimit(max_live_calls=1)) as service:
        await start(service, 1)[0]
        second = start(service, 1)[0]
        await anyio.sleep(100)
        assert len(telecmi.requests) == 1
        await fake_store.lay(record(ids(0)))
        await second

    assert len(telecmi.requests) == 2


@pytest.mark.parametrize(
    ("more", "held"), [({"duration": 30}, 30 + RINGING), ({}, LONGEST_CALL + RINGING)]
)
async def test_without_events_a_channel_is_held_as_long_as_a_call_may_last(
    more: Any, held: float
) -> None:
    """A channel is held for the call's duration, or the longest call, plus ringing time."""
    telecmi = FakeTelecmi()
    async with telecmi.service(rate=RateLimit(max_live_calls=1)) as service:
        for call in start(service, 2, **more):
            await call
        with pytest.raises(ConfigurationError, match="source of events"):
            await call.ended()

    assert telecmi.starts[1] - telecmi.starts[0] == held


async def test_a_call_that_was_not_placed_gives_its_channel_back() -> None:
    """A rejected call releases its channel at once."""
    telecmi = FakeTelecmi(always(lambda: refused(404)))
    async with telecmi.service(rate=RateLimit(max_live_calls=1)) as service:
        for call in start(service, 3):
            with pytest.raises(CallRejected):
                await call

    assert telecmi.starts[2] == telecmi.starts[0]


async def test_a_call_that_gets_no_channel_in_time_was_not_sent() -> None:
    """Waiting for a channel counts towards `queue_timeout`."""
    telecmi = FakeTelecmi()
    rate = RateLimit(max_live_calls=1, queue_timeout=10)
    async with telecmi.service(rate=rate) as service:
        first, second = start(service, 2)
        await first
        with pytest.raises(NotSent, match="queue_timeout"):
            await second

    assert len(telecmi.requests) == 1


async def test_a_queued_call_can_be_cancelled_while_it_waits_for_a_channel() -> None:
    """A call that waits for a channel can be cancelled, by itself or by closing the service."""
    telecmi = FakeTelecmi()
    async with telecmi.service(rate=RateLimit(max_live_calls=1)) as service:
        _, second, third = start(service, 3)
        await anyio.sleep(1)
        assert second.cancel()

    assert (second.status, third.status) == ("cancelled", "cancelled")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
def test_a_limit_that_is_none_is_refused(wrong: Any) -> None:
    """The limit must be a whole number of 1 or more, or None."""
    with pytest.raises(ConfigurationError, match="max_live_calls"):
        RateLimit(max_live_calls=wrong)


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_look_up_gives_the_channel_back_too(*, awaited: bool) -> None:
    """Records are looked up to release channels, even if no task waits for the end."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda n, _: found(row(answered=False)) if n == 2 else nothing_yet())
    rate = RateLimit(max_live_calls=1)
    poller = CdrPoller(first=5, factor=2)
    async with telecmi.service(rate=rate, events=poller) as service:
        first, second = start(service, 2)
        if awaited:
            assert (await first.ended()).answered is False
        await second
        placed = [url.endswith("pcmo_make_call") for url in telecmi.urls]

    assert placed == [True, False, False, False, True]
    assert telecmi.starts[4] - telecmi.starts[0] == 5 + 10 + 20


async def test_nobody_looks_on_once_a_hold_has_lapsed() -> None:
    """Look-ups of a call without an end stop when its hold expires."""
    telecmi = FakeTelecmi()
    answer_others(telecmi, lambda _, __: nothing_yet())
    async with telecmi.service(rate=RateLimit(max_live_calls=1), events=CdrPoller()) as service:
        (call,) = start(service, 1, duration=600)
        await call
        await anyio.sleep(10 * LONGEST_CALL)

        assert telecmi.starts[-1] - telecmi.starts[0] < 600 + RINGING + 60
        assert service._parts.tracker is not None
        assert service._parts.tracker._polling is not None
        assert service._parts.tracker._polling._calls == set()


async def test_a_call_proven_after_its_refusal_holds_a_channel() -> None:
    """A rejected call that an event proves to be live holds a channel."""
    fake_store, telecmi = FakeStore(), FakeTelecmi(in_turn(lambda: refused(404), accepted))
    async with telecmi.service(events=fake_store, rate=RateLimit(max_live_calls=1)) as service:
        (first,) = start(service, 1)
        with pytest.raises(CallRejected):
            await first
        await fake_store.lay(payload("out_started", ids(9), **signed(first.reference)))
        (second,) = start(service, 1)
        await anyio.sleep(100)
        assert second.status == "queued"
        await fake_store.lay(record(ids(9)))
        await second


async def test_a_call_that_ended_before_its_reply_holds_no_channel() -> None:
    """A call whose end arrives before its reply holds no channel."""
    fake_store, telecmi = FakeStore(), FakeTelecmi(delay=5)
    async with telecmi.service(events=fake_store, rate=RateLimit(max_live_calls=1)) as service:
        first, second = start(service, 2)
        await anyio.sleep(1)
        await fake_store.lay(record(ids(0), **signed(first.reference)))
        await second
        channels = service._parts.channels
        assert channels is not None
        assert (channels.holds(first._call), channels.holds(second._call)) == (False, True)

    assert telecmi.starts[1] - telecmi.starts[0] == 1


async def test_a_call_that_is_taken_up_again_holds_no_channel() -> None:
    """A handle from `handle_for` holds no channel, because its call may be over."""
    fake_store = FakeStore()
    async with FakeTelecmi().service(
        events=fake_store, rate=RateLimit(max_live_calls=1)
    ) as service:
        attached = [service.handle_for(ids(n)) for n in range(5, 9)]
        (call,) = start(service, 1)
        with anyio.fail_after(1):
            await call

    assert len(attached) == 4


async def test_a_handle_that_is_dropped_gives_no_channel_back() -> None:
    """A call without a handle holds its channel until an event says that it ended."""
    fake_store, telecmi = FakeStore(), FakeTelecmi()
    async with telecmi.service(events=fake_store, rate=RateLimit(max_live_calls=1)) as service:
        (call,) = start(service, 1)
        await call
        gone = weakref.ref(call)
        del call
        gc.collect()
        assert gone() is None
        (second,) = start(service, 1)
        await anyio.sleep(10)
        assert second.status == "queued"
        await fake_store.lay(record(ids(0)))
        await second


async def test_a_call_of_unknown_fate_holds_its_channel() -> None:
    """An unknown call may ring, so it holds its channel as long as a call may last."""
    lost = httpx.ReadTimeout("slow")
    telecmi = FakeTelecmi(always(lambda: lost))
    async with telecmi.service(rate=RateLimit(max_live_calls=1)) as service:
        for call in start(service, 2, duration=120):
            with pytest.raises(CallOutcomeUnknown):
                await call

    assert telecmi.starts[1] - telecmi.starts[0] == 120 + RINGING


async def test_a_channel_belongs_to_the_call_and_not_to_an_attempt() -> None:
    """A call keeps its channel between attempts."""
    telecmi = FakeTelecmi(in_turn(gateway, accepted))
    policy = RetryPolicy(wait_initial=10, wait_max=10)
    async with telecmi.service(
        retry=policy, rate=RateLimit(max_live_calls=1), reference=True
    ) as service:
        first, second = start(service, 2, duration=100)
        await first
        await second

    assert telecmi.requests[0] == telecmi.requests[1] != telecmi.requests[2]


@pytest.mark.parametrize("when", ["late", "while sending"])
async def test_the_end_of_an_earlier_attempt_gives_no_channel_back(when: str) -> None:
    """After a 502 that hid a placed call, the accepted attempt still holds the channel."""
    fake_store, telecmi = (
        FakeStore(),
        FakeTelecmi(in_turn(gateway, lambda: accepted(1), accepted)),
    )
    policy = RetryPolicy(wait_initial=0.001)
    limit = RateLimit(max_live_calls=1)
    async with telecmi.service(events=fake_store, retry=policy, rate=limit) as service:
        telecmi.delay = 5
        first, second = start(service, 2)
        await anyio.sleep(8 if when == "while sending" else 20)
        await fake_store.lay(record(ids(7), cmiuuid="leg-1", **signed(first.reference)))
        await anyio.sleep(20)
        waiting = second.status
        assert (first.request_id, first.may_be_duplicate) == (ids(1), True)
        await fake_store.lay(record(ids(1), cmiuuid="leg-2", **signed(first.reference)))
        await second

    assert waiting == "queued"


async def test_cancelled_at_the_moment_of_its_turn_a_call_leaves_no_channel_held() -> None:
    """Whether the channel or the cancellation comes first, the next call is served."""
    for turn in range(6):
        telecmi = FakeTelecmi()
        async with telecmi.service(rate=RateLimit(max_live_calls=1)) as service:
            channels = service._parts.channels
            assert channels is not None
            await channels.acquire("other")
            first, second = start(service, 2)
            await anyio.sleep(1)
            channels.release("other")
            for _ in range(turn):
                await anyio.lowlevel.checkpoint()
            if not first.cancel():
                await first
                channels.release(first._call)
            with anyio.fail_after(5):
                await second
            assert set(channels._holds) == {second._call}


async def test_cancelled_anywhere_whoever_waits_for_calls_leaves_no_channel_held(
    anyio_backend_name: str,
) -> None:
    """Calls that were not placed release their channels; placed calls keep them."""

    class Run:
        def __init__(self) -> None:
            self.telecmi = FakeTelecmi(delay=1)
            self.service: CallService | None = None

        async def dial(self) -> None:
            async with self.telecmi.service(
                rate=RateLimit(max_live_calls=2), events=CdrPoller(first=1)
            ) as self.service:
                answer_others(self.telecmi, lambda _, __: found(row()))
                calls = start(self.service, 5)
                for call in calls:
                    await call
                await calls[4].ended()

        def check(self) -> None:
            service = self.service
            if service is None:
                return
            assert service._parts.tasks._running == 0
            assert service._runner.calls == {}
            assert service._parts.tracker is not None
            assert service._parts.tracker._polling is not None
            assert service._parts.tracker._polling._calls == set()
            assert service._parts.tracker._polling._scopes == set()
            channels = service._parts.channels
            assert channels is not None
            assert channels.held <= 2
            assert all(call.placement.status == "progress" for call in channels._holds)  # type: ignore[attr-defined]  # they are calls

    for edge in {False, anyio_backend_name == "asyncio"}:
        assert await cancel_everywhere(Run.dial, setup=Run, check=Run.check, edge=edge) >= 3
