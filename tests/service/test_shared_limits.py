"""Services on shared limits: one rate and one number of channels, whatever starts, ends or fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from attrs import define, field
from busiest import fullest_second
from campaign_scene import scene
from fake_store import FakeStore, payload, record, signed
from fake_telecmi import FLOW, TO, FakeTelecmi, accepted, always, in_turn, refused
from memory_ledger import MemoryLedger
from webhook_posts import TOKEN, post

from telecmi_async import (
    CallCancelled,
    CallHandle,
    CallOutcomeUnknown,
    CallService,
    ConfigurationError,
    LedgerLost,
    NotSent,
    RateLimit,
    RateLimited,
    Receiver,
    RetryPolicy,
    StoreError,
    TelecmiError,
)
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.ledger import NewContact
from telecmi_async.pacing.law import SHARED_MARGIN
from telecmi_async.pacing.shared_channels import _WAITS, SharedChannels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from telecmi_async.ledger.idempotency import KeyedCall

pytestmark = pytest.mark.anyio


@define
class Counting:
    """Limits that count what is asked of them."""

    _inner: MemoryLedger = field(factory=MemoryLedger, init=False)
    #: The waits that were granted, and for how many starts each request asked.
    granted: list[float] = field(factory=list)
    sizes: list[int] = field(factory=list)
    #: How long an answer takes; how many answers fail; what they raise.
    slow: float = 0.0
    failures: int = 0
    error: type[StoreError] = StoreError
    #: Whether leases fail.
    without_leases: bool = False
    freed: list[str] = field(factory=list)
    leased: list[tuple[str, float]] = field(factory=list)

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts."""
        await self._answer()
        self.sizes.append(most)
        waits = await self._inner.reserve(keys, longest=longest, most=most)
        self.granted += waits
        return waits

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Lease a channel if one is free."""
        await self._answer()
        if self.without_leases:
            raise StoreError("they are gone")
        self.leased.append((holder, seconds))
        return await self._inner.lease_channel(key, holder, limit=limit, seconds=seconds)

    async def free_channel(self, key: str, holder: str) -> None:
        """Release a channel."""
        await self._answer()
        self.freed.append(holder)
        await self._inner.free_channel(key, holder)

    async def _answer(self) -> None:
        await anyio.sleep(self.slow)
        if self.failures:
            self.failures -= 1
            raise self.error("they are gone")


class SlowKeys:
    """Keys of a ledger whose claims take a while."""

    def __init__(self, delay: Callable[[], Awaitable[None]]) -> None:
        self._keys = MemoryLedger()
        self._delay = delay
        self.settle_key = self._keys.settle_key
        self.find_key = self._keys.find_key

    async def claim_key(self, *args: Any, **more: Any) -> KeyedCall:
        """Claim a key, and answer late."""
        found = await self._keys.claim_key(*args, **more)
        await self._delay()
        return found


def start(service: CallService, count: int, **more: Any) -> list[CallHandle]:
    """Place calls."""
    return [service.make_call(to=TO + n, pcmo=FLOW, **more) for n in range(count)]


async def error_of(handle: CallHandle) -> TelecmiError | None:
    """Return what a handle raises."""
    try:
        await handle
    except TelecmiError as error:
        return error
    return None


# -- the rate


@pytest.mark.parametrize("rate", [5.0, 50.0])
async def test_services_share_one_rate_through_rolling_restarts(rate: float) -> None:
    """Services come and go under load: no second is above the limit and 95 % of it is used.

    Each restart wastes a start that was reserved (of close ones three), so at a low rate services
    live longer.
    """
    limits, telecmi = MemoryLedger(), FakeTelecmi(delay=0.05)
    limit, life = RateLimit(rate, max_in_flight=40), max(2.0, 200 / rate)
    seconds = 4 * life

    async def worker(number: int) -> None:
        await anyio.sleep(number * life / 4)
        while anyio.current_time() < seconds:
            async with telecmi.service(limits=limits, rate=limit) as service:
                calls = start(service, int(0.75 * rate * life))
                await anyio.sleep(life)
            assert any(call.status == "cancelled" for call in calls)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(worker, number)

    while_busy = [at for at in telecmi.starts if at < seconds]
    assert fullest_second(telecmi.starts) <= rate + 1
    assert len(while_busy) >= 0.95 * rate * seconds


async def test_a_campaign_and_a_service_share_one_rate() -> None:
    """Campaigns use the same name, so that web calls and a campaign together keep one rate."""
    async with scene() as here:
        settings = CampaignSettings(
            flow=FLOW, from_=19170000000, pace=Pace(calls_per_second=4.0)
        )
        campaign = here.campaign(settings)
        await campaign.load([NewContact(number=TO + n) for n in range(20)])
        telecmi = FakeTelecmi()
        began = anyio.current_time()
        async with (
            telecmi.service(limits=here.ledger, rate=RateLimit(4)) as service,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(campaign.run)
            for call in start(service, 20):
                await call
        took = anyio.current_time() - began

    assert took + 0.3 >= 39 * SHARED_MARGIN / 4


async def test_names_of_limits_that_differ_have_nothing_to_do_with_each_other() -> None:
    """Each name has a rate of its own."""
    limits, telecmi = MemoryLedger(), FakeTelecmi()
    async with (
        telecmi.service(limits=limits, rate=RateLimit(1)) as one,
        telecmi.service(limits=limits, rate=RateLimit(1, shared="other")) as two,
    ):
        for call in start(one, 3) + start(two, 3):
            await call

    assert telecmi.starts == pytest.approx([0, 0, 1.016, 1.016, 2.032, 2.032], abs=0.01)


async def test_a_service_reserves_no_more_starts_than_it_can_use_soon() -> None:
    """Only the first in line reserves: many that wait, with and without a slot, reserve nothing."""
    limits, telecmi = Counting(), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=RateLimit(1, max_in_flight=9)) as service:
        calls = start(service, 20)
        await anyio.sleep(4.5)
        for call in calls:
            call.cancel()

    assert len(telecmi.starts) == 5
    assert len(limits.granted) == 6


async def test_the_start_of_a_cancelled_call_is_the_next_ones() -> None:
    """A call that is cancelled in front of the line holds nothing, and wastes no start."""
    limits, telecmi = Counting(), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=RateLimit(0.1)) as service:
        first, second, third = start(service, 3)
        await first
        await anyio.sleep(5)
        assert second.cancel() is True
        await third

    assert telecmi.starts == pytest.approx([0, 10.16], abs=0.01)
    assert len(limits.granted) == 2


@pytest.mark.parametrize("bound", ["queue_timeout", "deadline"])
async def test_a_call_waits_no_longer_than_it_may(bound: str) -> None:
    """``queue_timeout`` and ``deadline`` bound the wait for a shared start."""
    limits, telecmi = MemoryLedger(), FakeTelecmi()
    await limits.reserve([("account", 100.0)], longest=1.0)
    timeout, retry = (
        (3.0, None) if bound == "queue_timeout" else (None, RetryPolicy(deadline=3))
    )
    rate = RateLimit(1, queue_timeout=timeout)
    async with telecmi.service(limits=limits, rate=rate, retry=retry) as service:
        error = await error_of(start(service, 1)[0])

    assert isinstance(error, NotSent)
    assert error.late
    assert bound.split("_", maxsplit=1)[0] in str(error)
    assert anyio.current_time() == pytest.approx(3.0)
    assert telecmi.starts == []


async def test_a_start_that_is_far_away_is_asked_for_again() -> None:
    """Nothing is reserved that is more than a minute away; the call goes on waiting."""
    limits, telecmi = Counting(), FakeTelecmi()
    await limits.reserve([("account", 100.0)], longest=1.0)
    async with telecmi.service(limits=limits, rate=RateLimit(1)) as service:
        await start(service, 1)[0]

    assert telecmi.starts == pytest.approx([100.0], abs=0.01)
    assert len(limits.granted) == 2


async def test_starts_that_a_slow_record_made_late_are_exchanged() -> None:
    """Calls whose keys are claimed late do not leave together: each takes another start."""
    limits, telecmi, slow = Counting(), FakeTelecmi(), [0.9, 0.9, 0.9]

    async def delay() -> None:
        await anyio.sleep(slow.pop() if slow else 0.0)

    keys = SlowKeys(delay)
    async with telecmi.service(
        limits=limits, ledger=keys, rate=RateLimit(10, max_in_flight=9)
    ) as service:
        calls = [
            service.make_call(to=TO, pcmo=FLOW, idempotency_key=f"order-{n}") for n in range(9)
        ]
        for call in calls:
            await call

    assert len(telecmi.starts) == 9
    gaps = [b - a for a, b in zip(telecmi.starts, telecmi.starts[1:], strict=False)]
    assert min(gaps) > 0.045
    assert len(limits.granted) > 9


@pytest.mark.parametrize("why", ["fence", "deadline", "limits"])
async def test_a_start_that_is_over_is_not_used_if_there_is_no_other(why: str) -> None:
    """A keyed call whose start is over and that gets no other is not sent, and its key is free."""
    limits, telecmi = Counting(), FakeTelecmi()

    async def delay() -> None:
        pause = 15.0 if why == "deadline" else 100.0
        await limits.reserve([("account", pause)], longest=1.0)
        await anyio.sleep(1)
        limits.failures = 1 if why == "limits" else 0

    keys = SlowKeys(delay)
    retry = RetryPolicy(deadline=5.0) if why == "deadline" else None
    async with telecmi.service(
        limits=limits, ledger=keys, rate=RateLimit(10), retry=retry
    ) as service:
        error = await error_of(service.make_call(to=TO, pcmo=FLOW, idempotency_key="order-1"))
        found = await keys.find_key(key="order-1")

    assert isinstance(error, NotSent)
    assert telecmi.starts == []
    assert found is not None
    assert found.state == "absent"


# -- pauses


async def test_a_pause_that_telecmi_asks_for_holds_for_all() -> None:
    """After a 429 no service on these limits starts a call before its time is over."""
    limits = MemoryLedger()
    telecmi = FakeTelecmi(in_turn(lambda: refused(429, retry_after="30"), accepted))
    async with (
        telecmi.service(limits=limits, rate=RateLimit(1)) as one,
        telecmi.service(limits=limits, rate=RateLimit(1)) as two,
    ):
        first = start(one, 1)[0]
        await anyio.sleep(0.5)
        for call in [first, *start(two, 3)]:
            await call

    assert telecmi.starts[1] >= 30
    assert len(telecmi.starts) == 5


async def test_a_pause_that_begins_during_the_wait_for_a_start_holds() -> None:
    """A start that was reserved before a pause of this service is not used in it."""
    limits = MemoryLedger()
    telecmi = FakeTelecmi(in_turn(lambda: refused(429, retry_after="30"), accepted), delay=0.5)
    async with telecmi.service(limits=limits, rate=RateLimit(1)) as service:
        for call in start(service, 3):
            await call

    assert telecmi.starts[1] >= 30


@pytest.mark.parametrize("kind", [StoreError, LedgerLost])
async def test_a_pause_that_cannot_be_shared_loses_no_call(kind: type[StoreError]) -> None:
    """If the limits fail after a 429, the call ends as TeleCMI answered, or is tried again."""
    limits = Counting(error=kind)

    def answer() -> httpx.Response:
        limits.failures = 1
        return refused(429, retry_after="3")

    telecmi = FakeTelecmi(in_turn(answer, accepted))
    async with telecmi.service(limits=limits, rate=RateLimit(1)) as service:
        error = await error_of(start(service, 1)[0])

    assert error is None if kind is StoreError else isinstance(error, RateLimited)


# -- limits that fail


async def test_without_its_limits_a_call_is_not_sent() -> None:
    """While the limits fail calls are not sent, and say why; then they are sent again."""
    limits, telecmi = Counting(failures=1), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=RateLimit(1)) as service:
        error = await error_of(start(service, 1)[0])
        assert telecmi.starts == []
        await start(service, 1)[0]

    assert isinstance(error, NotSent)
    assert error.safe_to_redial
    assert str(error) == (
        "the call was not sent: the shared limits fail (they are gone); no phone rang"
    )


async def test_calls_that_wait_while_the_limits_hang_fail_together() -> None:
    """Limits that need ten seconds to fail do not make each waiting call wait ten seconds more."""
    limits, telecmi = Counting(failures=99, slow=10.0), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=RateLimit(1, max_in_flight=20)) as service:
        failures = [await error_of(call) for call in start(service, 20)]
        took = anyio.current_time()
        limits.failures, limits.slow = 0, 0.0
        await start(service, 1)[0]

    assert all(isinstance(error, NotSent) for error in failures)
    assert took == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"limits": object()},
            "limits must be shared limits, such as RedisLimits.url. or a le",
        ),
        ({"limits": MemoryLedger}, "limits must be shared limits"),
        ({"rate": None}, "limits need a rate"),
        ({"rate": RateLimit(max_in_flight=3)}, "limits need a rate"),
    ],
)
async def test_limits_that_cannot_work_are_refused(
    options: dict[str, Any], message: str
) -> None:
    """Limits are refused that are none, or that have no rate to keep."""
    given: dict[str, Any] = {"limits": MemoryLedger(), "rate": RateLimit(1)} | options
    with pytest.raises(ConfigurationError, match=message):
        CallService(1, "s", **given)
    with pytest.raises(ConfigurationError, match=r"RateLimit\.shared"):
        RateLimit(1, shared="")


async def test_the_service_of_a_campaign_that_is_run_has_no_limits() -> None:
    """Each call would take two starts; a campaign that only records events takes none."""
    ledger, telecmi = MemoryLedger(), FakeTelecmi()
    async with (
        telecmi.service(limits=ledger, rate=RateLimit(1)) as service,
        Campaign(ledger, service, "spring", CampaignSettings(flow=FLOW)) as campaign,
    ):
        with pytest.raises(ConfigurationError, match="give them to the campaign"):
            await campaign.run()


# -- channels


LIVE = RateLimit(max_live_calls=2)


def live(service: CallService) -> int:
    """Return how many channels a service holds."""
    channels = service._parts.channels
    assert channels is not None
    return channels.held


async def test_services_share_channels_until_calls_end() -> None:
    """A call waits for the end of another service's call, which an event shows."""
    limits, telecmi, store = Counting(), FakeTelecmi(), FakeStore()
    async with (
        telecmi.service(limits=limits, rate=LIVE, events=store) as one,
        telecmi.service(limits=limits, rate=LIVE, events=store) as two,
    ):
        first, second = [await call for call in start(one, 2)]
        third = start(two, 1)[0]
        await anyio.sleep(100)
        before = third.status
        assert first.request_id is not None
        await store.lay(record(first.request_id))
        await third
        at = anyio.current_time()

    assert before == "queued"
    assert at == pytest.approx(100, abs=0.3)
    assert limits.freed == [f"call/{first.reference}"]
    assert second.reference != first.reference


async def test_live_calls_outlive_their_service() -> None:
    """A restart frees no channel of a live call: the new service waits for its longest time."""
    limits, telecmi = MemoryLedger(), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        for call in start(service, 2, duration=60):
            await call
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        await start(service, 1)[0]

    assert 100 < telecmi.starts[-1] < 300


async def test_a_call_that_was_not_placed_holds_no_channel() -> None:
    """Refused, cancelled and failed calls free their channels at once."""
    limits, telecmi = Counting(), FakeTelecmi(in_turn(lambda: refused(420), accepted))
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        assert await error_of(start(service, 1)[0]) is not None
        assert live(service) == 0
        await anyio.sleep(1)
        for call in start(service, 2):
            await call
        waits = start(service, 1)[0]
        await anyio.sleep(1)
        assert waits.cancel()
        assert isinstance(await error_of(waits), CallCancelled)
        assert live(service) == 2

    assert len(limits.freed) == 2


async def test_a_killed_process_keeps_the_channels_of_queued_calls_a_minute_at_most() -> None:
    """Leases of calls that wait are short and renewed; what was sent is leased for its length."""
    limits, telecmi = Counting(), FakeTelecmi(delay=5)
    rate = RateLimit(0.005, max_live_calls=2)
    async with telecmi.service(limits=limits, rate=rate) as service:
        first, second = start(service, 2)
        await anyio.sleep(150)
        leases = {
            handle.reference: [
                s for name, s in limits.leased if name.endswith(handle.reference)
            ]
            for handle in (first, second)
        }
        held = live(service)
        await second

    assert leases[first.reference][0] == _WAITS
    assert leases[first.reference][1] > 5400
    assert len(leases[second.reference]) >= 5
    assert max(leases[second.reference]) <= _WAITS
    assert held == 2
    assert len(telecmi.starts) == 2


async def test_a_call_whose_channel_was_lost_is_not_sent() -> None:
    """If a lease could not be renewed, another process may have the channel: nothing is sent."""
    limits, telecmi = Counting(), FakeTelecmi()
    rate = RateLimit(0.005, max_live_calls=2)
    async with telecmi.service(limits=limits, rate=rate) as service:
        first, second = start(service, 2)
        await first
        limits.without_leases = True
        error = await error_of(second)
        limits.without_leases = False

    assert isinstance(error, NotSent)
    assert "lost its channel" in str(error)
    assert len(telecmi.starts) == 1


async def test_a_channel_that_cannot_be_asked_for_ends_the_call() -> None:
    """Without the limits no call is sent, and other calls go on when they are back."""
    limits, telecmi = Counting(failures=1), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        failed, placed = start(service, 2)
        error = await error_of(failed)
        await placed

    assert isinstance(error, NotSent)
    assert "the shared limits fail" in str(error)


async def test_a_channel_that_cannot_be_freed_is_freed_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Limits that fail are tried again until the channel is free."""
    caplog.set_level(logging.WARNING, "telecmi_async")
    limits, telecmi, store = Counting(), FakeTelecmi(), FakeStore()
    async with telecmi.service(limits=limits, rate=LIVE, events=store) as service:
        call = await start(service, 1)[0]
        await anyio.sleep(1)
        limits.failures = 2
        assert call.request_id is not None
        await store.lay(record(call.request_id))
        await anyio.sleep(10)

    assert limits.freed == [f"call/{call.reference}"]
    assert [r.getMessage() for r in caplog.records] == [
        "1 channels are freed or leased later: the shared limits fail: they are gone"
    ] * 2


async def test_closing_does_not_wait_for_limits_that_fail() -> None:
    """A service that closes while its limits fail tries once more, and ends."""
    limits, telecmi = Counting(), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        await start(service, 1)[0]
        await anyio.sleep(1)
        waits = start(service, 2)[1]
        await anyio.sleep(1)
        limits.failures = 10**6
        began = anyio.current_time()
    took = anyio.current_time() - began

    assert isinstance(await error_of(waits), CallCancelled)
    assert took < 5


async def test_the_process_that_gets_the_event_frees_the_channel() -> None:
    """A call of a process that is gone frees its channel in the one that receives its webhook."""
    limits, telecmi, receiver = Counting(), FakeTelecmi(), Receiver(TOKEN)
    async with telecmi.service(limits=limits, rate=LIVE, reference=True) as service:
        first, second = [await call for call in start(service, 2)]
    async with (
        receiver,
        telecmi.service(limits=limits, rate=LIVE, events=receiver) as service,
    ):
        third = start(service, 1)[0]
        await anyio.sleep(10)
        mine = signed(first.reference)
        await post(receiver, payload("answered", first.request_id, **mine))
        await post(receiver, record(None, cmiuuid="leg-other"))
        await anyio.sleep(10)
        before = third.status
        await post(receiver, record(first.request_id, **mine))
        await third

    assert before == "queued"
    assert limits.freed == [f"call/{first.reference}"]
    assert second.reference not in str(limits.freed)


async def test_an_event_that_another_process_gets_frees_no_channel_of_this_one() -> None:
    """The channel of a call that this service placed is freed by its own look at the call's end."""
    limits, telecmi = Counting(), FakeTelecmi()
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        call = await start(service, 1)[0]
        channels = service._parts.channels
        assert isinstance(channels, SharedChannels)
        channels.release_other(call.reference)
        channels.release_other("tcm_of_another")
        await anyio.sleep(20)
        held = live(service)

    assert held == 1
    assert limits.freed == ["call/tcm_of_another"]


async def test_channels_that_change_while_others_are_changed_are_kept() -> None:
    """Channels that are taken while slow limits answer for others are leased right after."""
    limits, telecmi = Counting(slow=0.4), FakeTelecmi()
    rate = RateLimit(50, max_live_calls=20)
    async with telecmi.service(limits=limits, rate=rate) as service:
        calls: list[CallHandle] = []
        for _ in range(8):
            calls += start(service, 1)
            await anyio.sleep(0.3)
        for call in calls:
            await call
        await anyio.sleep(20)
        held = live(service)

    assert held == 8
    assert {f"call/{call.reference}" for call in calls} <= {
        holder for holder, seconds in limits.leased if seconds > 60
    }


async def test_the_call_of_a_key_has_one_channel() -> None:
    """The service that waits for another one's call of the same key holds no channel for it."""
    limits, ledger, telecmi = Counting(), MemoryLedger(), FakeTelecmi(delay=5)
    async with (
        telecmi.service(limits=limits, ledger=ledger, rate=LIVE) as one,
        telecmi.service(limits=limits, ledger=ledger, rate=LIVE) as two,
    ):
        calls = [
            service.make_call(to=TO, pcmo=FLOW, idempotency_key="order-1")
            for service in (one, two)
        ]
        for call in calls:
            await call
        await anyio.sleep(1)
        held = live(one) + live(two)

    assert len(telecmi.requests) == 1
    assert held == 1


async def test_an_unknown_call_keeps_its_channel() -> None:
    """A phone may be ringing, so the channel is leased as for a call that was placed."""
    limits, telecmi = MemoryLedger(), FakeTelecmi(always(lambda: httpx.ReadTimeout("slow")))
    async with telecmi.service(limits=limits, rate=LIVE) as service:
        error = await error_of(start(service, 1)[0])
        held = live(service)
        await anyio.sleep(6000)
        start(service, 1)
        await anyio.sleep(100)
        later = live(service)

    assert isinstance(error, CallOutcomeUnknown)
    assert held == 1
    assert later == 1
