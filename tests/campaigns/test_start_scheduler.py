"""Start scheduling: how workers share rate limits and channels, also while those fail."""

from __future__ import annotations

import copy
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from attrs import define, field
from campaign_scene import scene
from memory_ledger import MemoryLedger

from telecmi_async import CallService, ConfigurationError, LedgerLost, Receiver, StoreError
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.send_permit import PendingSend
from telecmi_async.campaigns.settings_in_use import SettingsInUse
from telecmi_async.campaigns.start_scheduler import StartScheduler
from telecmi_async.ledger import Claim, ContactState, NewContact
from telecmi_async.pacing.shared_starts import SharedStarts
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.pacing.shared import SharedLimits

pytestmark = pytest.mark.anyio

FROM = 19170000000
FIRST = 19170100000
FLOW = [{"action": "hangup"}]


@define
class Granting:
    """Limits that give prepared answers and record each request.

    Args:
        waits: The waits that `reserve` returns, in order; then 0. ``None`` ends an
            answer early.
        failures: How many requests fail at first.
    """

    waits: list[float | None] = field(factory=list)
    sizes: list[int] = field(factory=list)
    failures: int = 0
    asked: list[list[tuple[str, float]]] = field(factory=list)
    channels: list[str] = field(factory=list)

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts."""
        self._fail()
        self.asked.append(list(keys))
        self.sizes.append(most)
        granted: list[float] = []
        while len(granted) < most:
            wait = self.waits.pop(0) if self.waits else 0.0
            if wait is None:
                break
            granted.append(wait)
        return granted

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Lease a channel if one is free."""
        self._fail()
        if holder not in self.channels and len(self.channels) >= limit:
            return False
        self.channels.append(holder)
        return True

    async def free_channel(self, key: str, holder: str) -> None:
        """Release a channel."""
        self._fail()
        self.channels.remove(holder)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("they are gone")


def scheduler(
    limits: Granting,
    *,
    sleeps: dict[float, float] | None = None,
    stop_after: int = 1000,
    apart: bool = True,
    **more: Any,
) -> StartScheduler:
    """Return a scheduler; sleeps may overrun, and dialling may stop after some pauses."""
    settings = CampaignSettings(
        flow=FLOW, pace=Pace(**{"calls_per_second": 1.0} | more), from_=FROM
    )
    pauses = iter(range(stop_after))

    async def pause(seconds: float) -> bool:
        await anyio.sleep(seconds + (sleeps or {}).get(round(seconds, 3), 0.0))
        return next(pauses, None) is not None

    return StartScheduler(
        limits,
        ChannelLeases(limits, "spring", SettingsInUse(settings)),
        "spring",
        SettingsInUse(settings),
        rate=lambda: settings.pace.calls_per_second,
        pause=pause,
        longest=60.0,
        apart=apart,
    )


def leases(limits: SharedLimits, pace: Pace) -> ChannelLeases:
    """Return the channel leases of a campaign."""
    return ChannelLeases(
        limits, "spring", SettingsInUse(CampaignSettings(flow=FLOW, pace=pace))
    )


async def test_all_limits_are_asked_for_together() -> None:
    """The account, caller id and campaign limits are reserved in one request."""
    limits = Granting()

    await scheduler(
        limits,
        calls_per_second=10.0,
        caller_id_calls_per_second=4.0,
        campaign_calls_per_second=2.0,
        shared="main",
    ).take(FIRST)

    (keys,) = limits.asked
    assert [(key, round(1 / interval)) for key, interval in keys] == [
        ("main", 10),
        (f"main/from/{FROM}", 4),
        ("main/campaign/spring", 2),
    ]


async def test_a_slow_limit_allows_to_wait_for_it() -> None:
    """A slow rate extends the longest wait for a start beyond the usual minute."""

    @define
    class Strict(Granting):
        async def reserve(
            self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
        ) -> list[float]:
            return [longest]

    began = anyio.current_time()
    await scheduler(Strict(), calls_per_second=1 / 600).take(FIRST)

    assert anyio.current_time() - began == pytest.approx(600, rel=0.02)


async def test_a_start_that_is_too_far_away_is_asked_for_again() -> None:
    """A start that is too far away is requested again until dialling stops."""
    limits = Granting([None, None, 3.0])
    began = anyio.current_time()

    assert await scheduler(limits).take(FIRST) == anyio.current_time()

    assert anyio.current_time() - began == pytest.approx(2 + 3)
    assert await scheduler(Granting([None] * 9), stop_after=3).take(FIRST) is None


async def start(scheduler: StartScheduler, intent: float = 0.0) -> bool:
    """Take a start, put an intent on record, and reach the start; the fence is far away."""
    due = await scheduler.take(FIRST)
    assert due is not None
    began = anyio.current_time()
    await anyio.sleep(intent)
    return await scheduler.starts.reach(due, began=began, until=began + 100.0)


async def test_a_start_that_is_over_is_exchanged_until_one_is_not() -> None:
    """A worker that wakes up too late takes another start, and again, until it is in time."""
    limits = Granting([3.0, 4.0, 5.0])
    late = scheduler(limits, sleeps={3.0: 0.6, 4.0: 0.6})
    began = anyio.current_time()

    assert await start(late) is True

    assert anyio.current_time() - began == pytest.approx(3.6 + 4.6 + 5.0)
    assert len(limits.asked) == 3


@pytest.mark.parametrize(
    ("rate", "late", "starts"),
    [
        (1.0, 0.5, 1),
        (1.0, 0.52, 2),
        (10.0, 0.05, 1),
        (10.0, 0.06, 2),
        (500.0, 0.015, 1),
        (500.0, 0.025, 2),
    ],
)
async def test_an_intent_may_be_late_by_half_an_interval(
    rate: float, late: float, starts: int
) -> None:
    """An intent that is late by up to half an interval, or 20 ms, needs no other start."""
    limits = Granting()
    quick = scheduler(limits, calls_per_second=rate)
    due = await quick.take(FIRST)
    assert due is not None
    before = len(limits.asked)

    await anyio.sleep(late)

    assert await quick.starts.reach(due, began=due, until=due + 100.0) is True
    assert len(limits.asked) == before + starts - 1


async def test_intents_that_are_always_slow_are_begun_earlier() -> None:
    """A steadily slow ledger costs no starts: intents are begun early, and starts are kept."""
    limits = Granting()
    slow = scheduler(limits, calls_per_second=20.0)
    for _ in range(4):
        assert await start(slow, intent=0.3)
    limits.waits, limits.asked = [1.0] * 10, []
    began = anyio.current_time()

    for _ in range(10):
        assert await start(slow, intent=0.3)

    assert len(limits.asked) == 10
    assert anyio.current_time() - began == pytest.approx(10.0, abs=0.2)


async def test_an_intent_is_not_begun_much_too_early() -> None:
    """However slow intents are, none is begun more than a second before its start."""
    limits = Granting()
    slow = scheduler(limits, calls_per_second=20.0)
    assert await start(slow, intent=5.0)
    limits.waits = [4.0]
    began = anyio.current_time()

    due = await slow.take(FIRST)

    assert due == pytest.approx(began + 4.0)
    assert anyio.current_time() - began == pytest.approx(3.0)


async def test_one_intent_that_was_stuck_does_not_hasten_the_next_ones() -> None:
    """What is usual does not follow a single stall, and a quick ledger is asked at the start."""
    limits = Granting()
    quick = scheduler(limits, calls_per_second=20.0)
    for intent in (0.005, 0.005, 0.005, 0.4, 0.005):
        assert await start(quick, intent=intent)
    limits.waits = [1.0]
    began = anyio.current_time()

    await quick.take(FIRST)

    assert anyio.current_time() - began == pytest.approx(1.0)


@define
class Late(Granting):
    """Limits whose answers come late, by so many seconds each; then at once."""

    delays: list[float] = field(factory=list)

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, and answer late."""
        waits = await super().reserve(keys, longest=longest, most=most)
        await anyio.sleep(self.delays.pop(0) if self.delays else 0.0)
        return waits


@pytest.mark.parametrize(
    ("delays", "asked"),
    [
        ([0.0, 0.02], 2),
        ([0.0, 0.4], 3),
        ([0.0, 0.4, 0.4], 4),
        ([0.0, 0.4, 0.4, 0.4, 0.0], 4),
        ([0.4, 0.4], 2),
    ],
    ids=["a little", "once", "twice", "from now on", "always"],
)
async def test_a_start_whose_time_is_unclear_is_not_used(
    delays: list[float], asked: int
) -> None:
    """Starts in an answer that came later than usual are left, unless the limits stay slow."""
    limits = Late(delays=[*delays])
    quick = scheduler(limits, calls_per_second=20.0)

    assert await quick.take(FIRST) is not None
    assert await quick.take(FIRST) is not None

    assert len(limits.asked) == asked


async def test_starts_that_are_close_are_reserved_ahead() -> None:
    """Close starts are reserved in advance, and dropped if they pass during a pause."""
    limits = Granting([0.0, 0.01, 0.02, 0.03, 0.0, 0.01, 0.02])
    quick = scheduler(limits, calls_per_second=100.0)
    began = anyio.current_time()

    await quick.take(FIRST)
    first = len(limits.asked)
    await quick.take(FIRST)
    at = anyio.current_time() - began
    await anyio.sleep(1)
    await quick.take(FIRST)

    assert first == 1
    assert limits.sizes == [3, 1, 3]
    assert at == pytest.approx(0.01)
    assert anyio.current_time() - began == pytest.approx(1.01)


async def test_the_closer_starts_are_the_more_are_reserved_at_once() -> None:
    """The higher the rate, the more starts are reserved at once."""
    limits = Granting()
    quick = scheduler(limits, calls_per_second=10_000.0)

    for _ in range(100):
        await quick.take(FIRST)

    assert limits.sizes == [40] + [20] * 4


async def test_none_is_reserved_ahead_that_is_too_far_away() -> None:
    """If a further start is too far away, the one already granted is still used."""
    limits = Granting([0.0, None, None])

    assert await scheduler(limits, calls_per_second=100.0).take(FIRST) is not None

    assert limits.sizes == [3, 2]


@pytest.mark.parametrize(
    ("grants", "more"),
    [
        ({"waits": [5.0]}, {}),
        ({"channels": ["another"]}, {"max_live_calls": 1}),
        ({"failures": 9}, {}),
    ],
    ids=["start", "channel", "failing"],
)
async def test_nobody_waits_when_dialling_stops(
    grants: dict[str, Any], more: dict[str, Any]
) -> None:
    """When dialling stops, a worker stops waiting for a start, a channel, or failing limits."""
    limits = Granting(**copy.deepcopy(grants))

    assert await scheduler(limits, stop_after=0, **more).take(FIRST) is None


async def test_a_channel_that_becomes_free_is_taken() -> None:
    """A waiting worker takes a channel once one is free."""
    limits = Granting(channels=["another"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scheduler(limits, max_live_calls=1).take, FIRST)
        await anyio.sleep(10)
        limits.channels.clear()

    assert limits.channels == [f"spring/{FIRST}"]


async def test_channels_that_nobody_counts_are_not_asked_for() -> None:
    """Without max_live_calls, no channel is leased or released."""
    limits = Granting(failures=1)
    live = leases(limits, Pace())

    assert await live.take(FIRST) is True
    await live.free(FIRST)

    assert limits.failures == 1


async def test_limits_that_fail_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Failing limits are retried, with one warning at the start and one at the end."""
    caplog.set_level(logging.WARNING, "telecmi_async")
    limits = Granting(failures=3)
    began = anyio.current_time()

    assert await scheduler(limits, max_live_calls=1).take(FIRST) is not None

    assert anyio.current_time() - began == pytest.approx(3)
    assert [record.getMessage() for record in caplog.records] == [
        "campaign spring: the shared limits fail, nothing is dialled: they are gone",
        "campaign spring: the shared limits work again, dialling goes on",
    ]


async def test_a_ledger_that_fails_is_the_workers_affair() -> None:
    """If the limits are the ledger itself, its error is raised to the worker."""
    with pytest.raises(StoreError):
        await scheduler(Granting(failures=1), apart=False).take(FIRST)


async def test_a_channel_that_cannot_be_given_back_is_given_back_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A channel whose release failed is released later, unless it is leased again."""
    caplog.set_level(logging.WARNING, "telecmi_async")
    limits = Granting()
    live = leases(limits, Pace(max_live_calls=9))
    for number in (1, 2, 3):
        await live.take(number)
    limits.failures = 2

    await live.free(1)
    await live.free(2)
    await live.take(1)
    await live.free_owed()

    assert limits.channels == ["spring/1", "spring/3", "spring/1"]
    assert len(caplog.records) == 2
    assert "2 channels are freed later: they are gone" in caplog.records[1].getMessage()


@define
class Slow(Granting):
    """Limits that take a second to release a channel."""

    freed: list[str] = field(factory=list[str])

    async def free_channel(self, key: str, holder: str) -> None:
        """Release a channel."""
        self.freed.append(holder)
        await anyio.sleep(1)
        await super().free_channel(key, holder)


async def test_calls_that_end_together_are_given_back_once_each() -> None:
    """Calls that end together release their channels with one request each."""
    limits = Slow()
    live = leases(limits, Pace(max_live_calls=100))
    for number in range(100):
        await live.take(number)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(live.free, number)

    assert sorted(limits.freed) == sorted(f"spring/{number}" for number in range(100))
    assert limits.channels == []


async def test_a_channel_is_owed_when_giving_it_back_was_cancelled() -> None:
    """A channel whose release was cancelled is released again later."""
    limits = Slow()
    live = leases(limits, Pace(max_live_calls=1))
    await live.take(1)

    with anyio.move_on_after(0.5):
        await live.free(1)
    assert limits.channels == ["spring/1"]
    await live.free_owed()

    assert limits.channels == []


async def test_what_is_owed_stays_owed_while_the_limits_fail() -> None:
    """While the limits fail, pending releases are kept, and one request is made per attempt."""
    limits = Granting()
    live = leases(limits, Pace(max_live_calls=9))
    for number in (1, 2):
        await live.take(number)
    limits.failures = 3
    await live.free(1)
    await live.free(2)

    await live.free_owed()
    assert limits.channels == ["spring/1", "spring/2"]
    await live.free_owed()

    assert (limits.channels, limits.failures) == ([], 0)


async def test_a_channel_that_is_taken_anew_is_not_owed() -> None:
    """A channel that is leased again during a failed release is not released later."""
    limits = Slow()
    live = leases(limits, Pace(max_live_calls=1))
    await live.take(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live.free, 1)
        await anyio.wait_all_tasks_blocked()
        await live.take(1)
        limits.failures = 1
    await live.free_owed()

    assert limits.freed == ["spring/1"]


async def test_a_caller_id_with_a_limit_is_named() -> None:
    """A limit per caller id requires a caller id in the settings."""
    with pytest.raises(ConfigurationError, match="from_"):
        CampaignSettings(flow=FLOW, pace=Pace(caller_id_calls_per_second=1.0))


@pytest.mark.parametrize("name", ["caller_id_calls_per_second", "campaign_calls_per_second"])
@pytest.mark.parametrize("rate", [0, -1.0, 10_001, "fast"])
async def test_rates_that_cannot_be_are_refused(name: str, rate: Any) -> None:
    """An invalid rate is rejected, and the error names the field."""
    with pytest.raises(ConfigurationError, match=name):
        Pace(**{name: rate})


# --- whole campaigns ---------------------------------------------------------------------


def contacts(count: int, first: int = FIRST) -> list[NewContact]:
    """Return contacts."""
    return [NewContact(number=number) for number in range(first, first + count)]


async def run(
    service: CallService,
    limits: MemoryLedger,
    name: str,
    settings: CampaignSettings,
    first: int,
) -> None:
    """Dial ten contacts of a campaign with its own ledger."""
    campaign = Campaign(MemoryLedger(), service, name, settings, limits=limits)
    await campaign.load(contacts(10, first))
    await campaign.run()


async def test_campaigns_of_different_ledgers_share_their_limits() -> None:
    """Two campaigns with shared limits together keep to one rate."""
    simulator, limits = Simulator(life=None, magic=False), MemoryLedger()
    settings = CampaignSettings(flow=FLOW, pace=Pace(calls_per_second=2.0))
    began = anyio.current_time()

    async with simulator.service(from_=FROM) as service, anyio.create_task_group() as tasks:
        tasks.start_soon(run, service, limits, "spring", settings, FIRST)
        tasks.start_soon(run, service, limits, "summer", settings, FIRST + 100)

    assert simulator.requests == 20
    assert simulator.busiest_second() <= 3
    assert 19 / 2 <= anyio.current_time() - began < 12


async def test_a_caller_id_is_shared_and_a_campaign_has_its_own() -> None:
    """Two campaigns with one caller id share the caller id's rate."""
    simulator, limits = Simulator(life=None, magic=False), MemoryLedger()
    pace = Pace(
        calls_per_second=100.0, caller_id_calls_per_second=2.0, campaign_calls_per_second=50.0
    )
    settings = CampaignSettings(flow=FLOW, pace=pace, from_=FROM)
    began = anyio.current_time()

    async with simulator.service(from_=FROM) as service, anyio.create_task_group() as tasks:
        tasks.start_soon(run, service, limits, "spring", settings, FIRST)
        tasks.start_soon(run, service, limits, "summer", settings, FIRST + 100)

    assert simulator.requests == 20
    assert 19 / 2 <= anyio.current_time() - began < 12


async def test_nothing_is_dialled_while_the_limits_are_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the shared limits fail nothing is dialled; then the campaign continues."""
    caplog.set_level(logging.WARNING, "telecmi_async")
    simulator, ledger, limits = (
        Simulator(life=None, magic=False),
        MemoryLedger(),
        MemoryLedger(),
    )
    settings = CampaignSettings(flow=FLOW, pace=Pace(calls_per_second=2.0, max_live_calls=50))
    limits.gone = True
    async with simulator.service(from_=FROM) as service, anyio.create_task_group() as tasks:
        campaign = Campaign(
            ledger, service, "spring", settings, limits=limits, without_events=True
        )
        await campaign.load(contacts(10))
        tasks.start_soon(campaign.run)
        await anyio.sleep(100)
        meanwhile = simulator.requests
        limits.gone = False

    state = await ledger.state("spring")
    assert meanwhile == 0
    assert simulator.requests == state.sends == 10
    assert len(caplog.records) == 2
    assert not any("the ledger fails" in record.getMessage() for record in caplog.records)


async def test_a_campaign_gives_channels_back_once_the_limits_are_there_again() -> None:
    """A channel whose release failed is released soon after the limits work again."""

    @define
    class Forgetful(Granting):
        tries: int = 0

        async def free_channel(self, key: str, holder: str) -> None:
            self.tries += 1
            if self.tries == 1:
                raise StoreError("they are gone")
            self.channels.remove(holder)

    simulator, limits = Simulator(life=None, magic=False), Forgetful()
    simulator.faults.add(Fault("missing_property", to=FIRST))
    settings = CampaignSettings(flow=FLOW, pace=Pace(max_live_calls=1))
    began = anyio.current_time()
    async with simulator.service(from_=FROM) as service:
        campaign = Campaign(
            MemoryLedger(), service, "spring", settings, limits=limits, without_events=True
        )
        await campaign.load(contacts(2))
        await campaign.run()

    assert simulator.requests == 2
    assert limits.channels == [f"spring/{FIRST + 1}"]
    assert anyio.current_time() - began < 30


async def test_a_campaign_that_is_taken_up_takes_other_limits_too() -> None:
    """An attached campaign uses the shared limits that it is given."""
    simulator, ledger, limits = (
        Simulator(life=None, magic=False),
        MemoryLedger(),
        MemoryLedger(),
    )
    async with simulator.service(from_=FROM) as service:
        settings = CampaignSettings(flow=FLOW)
        await Campaign(ledger, service, "spring", settings).load(contacts(3))
        campaign = await Campaign.attach(ledger, service, "spring", limits=limits)
        before = limits.jobs
        await campaign.run()

    assert limits.jobs - before == simulator.requests == 3


async def test_who_was_too_late_waits_for_another_start() -> None:
    """A replacement start is reserved once, and waited for through early wake-ups."""
    limits = Granting(waits=[0.0, 2.0])
    starts = scheduler(limits)
    woken = starts.starts._pause

    async def pause(seconds: float) -> bool:
        return await woken(min(seconds, 0.5))

    starts.starts._pause = pause
    began = anyio.current_time()

    assert await start(starts, intent=1.0) is True
    assert anyio.current_time() - began == pytest.approx(3.0)
    assert len(limits.asked) == 2


@pytest.mark.parametrize(
    ("limits", "stop_after"),
    [(Granting(waits=[None]), 9), (Granting(failures=1), 9), (Granting(waits=[2.0]), 0)],
    ids=["too far away", "limits fail", "dialling stops"],
)
async def test_where_there_is_no_other_start_there_is_none(
    limits: Granting, stop_after: int
) -> None:
    """No replacement start is granted if it is too far away, limits fail, or dialling stops."""
    starts = scheduler(copy.deepcopy(limits), stop_after=stop_after)

    assert (
        await starts.starts.reach(-1.0, began=0.0, until=anyio.current_time() + 30.0) is False
    )


async def test_no_start_is_taken_that_is_beyond_the_fence() -> None:
    """A replacement start must be early enough for the fence; at the fence none is asked for."""
    asked: list[float] = []

    @define
    class Strict(Granting):
        async def reserve(
            self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
        ) -> list[float]:
            asked.append(longest)
            return []

    starts = scheduler(Strict())
    await anyio.sleep(10.0)

    assert await starts.starts.reach(0.0, began=0.0, until=anyio.current_time() + 20.0) is False
    assert asked == [pytest.approx(20.0)]

    await anyio.sleep(20.0)

    assert await starts.starts.reach(0.0, began=0.0, until=anyio.current_time()) is True
    assert len(asked) == 1


@pytest.mark.parametrize("max_live_calls", [2, None])
@pytest.mark.parametrize("apart", [False, True], ids=["ledger", "limits"])
async def test_who_only_hears_gives_back_the_channels_of_all_campaigns(
    apart: bool, max_live_calls: int | None
) -> None:
    """A process that only receives webhooks releases the channels of all campaigns."""
    receiver, ledger = Receiver("t" * 43), MemoryLedger()
    limits = MemoryLedger() if apart else None
    simulator = Simulator(magic=False, ring=1.0, talk=2.0)
    began = anyio.current_time()
    async with receiver, simulator.service(from_=FROM, events=receiver) as service:
        await Campaign(ledger, service, "autumn", CampaignSettings(flow=FLOW)).load(contacts(6))
        await Campaign.attach(ledger, service, "autumn", limits=limits)
        settings = CampaignSettings(
            flow=FLOW, pace=Pace(calls_per_second=10.0, max_live_calls=max_live_calls)
        )
        campaign = Campaign(ledger, service, "spring", settings, limits=limits)
        await campaign.load(contacts(6))
        await campaign.run()
        took = anyio.current_time() - began
        await anyio.sleep(60)
        state = await campaign.state()

    assert simulator.requests == state.counts[ContactState.FINISHED] == 6
    assert took < 60


@pytest.mark.parametrize("lost", [False, True])
async def test_a_pause_that_cannot_be_shared_is_no_failure_unless_the_ledger_is_lost(
    monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    """While limits fail, no worker starts calls anyway; a ledger that is lost ends the worker."""
    limits = Granting()
    starts = scheduler(limits)

    async def fails(*_: object, **__: object) -> None:
        raise (LedgerLost if lost else StoreError)("the limits fail")

    monkeypatch.setattr(Granting, "reserve", fails)

    with pytest.raises(LedgerLost) if lost else nullcontext():
        await starts.starts.hold("account", 5.0)


async def test_a_ledger_that_is_lost_while_a_start_is_replaced_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No other start is taken then: the scheduler raises, and the worker notes the loss."""

    async def lost(*_: object, **__: object) -> None:
        raise LedgerLost("the ledger is damaged")

    monkeypatch.setattr(Granting, "reserve", lost)
    with pytest.raises(LedgerLost, match="damaged"):
        await scheduler(Granting()).starts.reach(
            -1.0, began=0.0, until=anyio.current_time() + 30.0
        )

    async with scene() as here:
        monkeypatch.setattr(SharedStarts, "reach", lost)
        worker = here.campaign()._worker
        send = PendingSend(cast("Claim", None), "worker", worker.settings, 0)

        assert await worker._reach_start(send, 0.0) is False
        assert worker.ledger_health.lost is not None
