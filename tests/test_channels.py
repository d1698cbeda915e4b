"""Live calls: never more than there are channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_telecmi import FLOW, TO, FakeTelecmi, always, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import Shelf, payload, record

from telecmi_async import CallRejected, CdrPoller, ConfigurationError, NotSent, RateLimit
from telecmi_async.rate import LONGEST_CALL, RINGING, Channels
from telecmi_async.testing import cancel_everywhere, run

if TYPE_CHECKING:
    from telecmi_async import CallService

pytestmark = pytest.mark.anyio


def ids(n: int) -> str:
    """The ``request_id`` of the n-th call."""
    return f"{n:043d}"


async def test_channels_are_given_out_in_order() -> None:
    """First come, first served, one for each that is given back."""
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
    """Whoever waits finds out, also if the time was set after the wait began."""
    channels = Channels(1)
    await channels.acquire("first")
    began = anyio.current_time()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(channels.acquire, "second")
        await anyio.sleep(1)
        channels.hold_until("first", began + 10)

    assert anyio.current_time() == began + 10
    assert channels.held == 1


async def test_a_hold_that_is_over_stays_over() -> None:
    """A call may have ended before its reply arrived."""
    channels = Channels(1)
    await channels.acquire("call")
    channels.release("call")

    channels.hold_until("call", anyio.current_time() + 10)

    assert channels.held == 0


async def test_cancelled_anywhere_a_wait_for_a_channel_takes_none() -> None:
    """It gives back what it had, and those behind it are served."""

    async def setup() -> Channels:
        channels = Channels(1)
        await channels.acquire("other")
        channels.hold_until("other", anyio.current_time() + 5)
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
    """Whatever takes, gives back, lapses or gives up, in whatever order."""

    async def main() -> tuple[int, int]:
        channels = Channels(limit)
        live: set[int] = set()
        most = served = 0

        async def one(number: int, start: float, hold: float, end: str) -> None:
            nonlocal most, served
            await anyio.sleep(start)
            patience = 1.0 if end == "cancel" else None
            with anyio.move_on_after(patience):
                await channels.acquire(number)
                live.add(number)
                served += 1
                most = max(most, len(live))
                if end == "expire":
                    channels.hold_until(number, anyio.current_time() + hold)
                # A hold that lapses is over a moment later than the call it was for.
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
    """Ask for calls to one number after the other."""
    return [service.make_call(to=TO + n, pcmo=FLOW, **more) for n in range(count)]


async def test_a_call_waits_for_a_channel_until_another_ends() -> None:
    """Its end is an event, or a record: the first of them counts."""
    shelf, telecmi = Shelf(), FakeTelecmi()
    async with telecmi.service(events=shelf, rate=RateLimit(live_calls=2)) as service:
        calls = start(service, 5)
        await anyio.sleep(100)
        assert len(telecmi.requests) == 2
        await shelf.lay(payload("out_hangup", ids(0)))
        await anyio.sleep(1)
        assert len(telecmi.requests) == 3
        await shelf.lay(record(ids(1)), record(ids(0)))
        await anyio.sleep(1)
        assert len(telecmi.requests) == 4
        await shelf.lay(record(ids(2)))
        await calls[4]

    assert telecmi.max_in_flight <= 2


async def test_a_call_keeps_its_channel_though_nobody_holds_its_handle() -> None:
    """The phone goes on ringing; its end is heard of all the same."""
    shelf, telecmi = Shelf(), FakeTelecmi()
    async with telecmi.service(events=shelf, rate=RateLimit(live_calls=1)) as service:
        await start(service, 1)[0]
        second = start(service, 1)[0]
        await anyio.sleep(100)
        assert len(telecmi.requests) == 1
        await shelf.lay(record(ids(0)))
        await second

    assert len(telecmi.requests) == 2


@pytest.mark.parametrize(
    ("more", "held"), [({"duration": 30}, 30 + RINGING), ({}, LONGEST_CALL + RINGING)]
)
async def test_without_events_a_channel_is_held_as_long_as_a_call_may_last(
    more: Any, held: float
) -> None:
    """Its duration, or what TeleCMI's SDK assumes, and the time to ring."""
    telecmi = FakeTelecmi()
    async with telecmi.service(rate=RateLimit(live_calls=1)) as service:
        for call in start(service, 2, **more):
            await call
        with pytest.raises(ConfigurationError, match="source of events"):
            await call.ended()

    assert telecmi.starts[1] - telecmi.starts[0] == held


async def test_a_call_that_was_not_placed_gives_its_channel_back() -> None:
    """No phone rang."""
    telecmi = FakeTelecmi(always(lambda: refused(404)))
    async with telecmi.service(rate=RateLimit(live_calls=1)) as service:
        for call in start(service, 3):
            with pytest.raises(CallRejected):
                await call

    assert telecmi.starts[2] == telecmi.starts[0]


async def test_a_call_that_gets_no_channel_in_time_was_not_sent() -> None:
    """The wait for a channel counts as waiting for a turn."""
    telecmi = FakeTelecmi()
    rate = RateLimit(live_calls=1, queue_timeout=10)
    async with telecmi.service(rate=rate) as service:
        first, second = start(service, 2)
        await first
        with pytest.raises(NotSent, match="queue_timeout"):
            await second

    assert len(telecmi.requests) == 1


async def test_a_queued_call_can_be_cancelled_while_it_waits_for_a_channel() -> None:
    """Closing the service does that for all of them."""
    telecmi = FakeTelecmi()
    async with telecmi.service(rate=RateLimit(live_calls=1)) as service:
        _, second, third = start(service, 3)
        await anyio.sleep(1)
        assert second.cancel()

    assert (second.status, third.status) == ("cancelled", "cancelled")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
def test_a_limit_that_is_none_is_refused(wrong: Any) -> None:
    """A whole number of 1 or more, or None."""
    with pytest.raises(ConfigurationError, match="live_calls"):
        RateLimit(live_calls=wrong)


async def test_a_look_up_gives_the_channel_back_too() -> None:
    """Somebody must wait for the call's end, or nobody looks."""
    rows = {"code": 200, "cdr": [{"leg": "a", "status": "missed", "duration": 0}]}
    telecmi = FakeTelecmi()
    plain = telecmi.script

    def script(number: int) -> Any:
        import httpx  # noqa: PLC0415  # this test alone answers look-ups

        if "requestid_cdr" in telecmi.urls[number]:
            return httpx.Response(200, json=rows)
        return plain(number)

    telecmi.script = script
    rate = RateLimit(live_calls=1)
    async with telecmi.service(rate=rate, events=CdrPoller()) as service:
        first, second = start(service, 2)
        assert (await first.ended()).answered is False
        await second
