"""A campaign records events while it runs or is open, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import threading
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from campaign_scene import FIRST, FROM, SHORT, TOKEN, S, Scene, contacts, scene, settings
from memory_ledger import MemoryLedger

from telecmi_async import (
    CallService,
    ConfigurationError,
    LedgerLost,
    Receiver,
    StoreError,
    Timeouts,
)
from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async.campaigns import Campaign, CampaignTimeouts, event_recorder
from telecmi_async.events import parse_event
from telecmi_async.events.store import MemoryStore
from telecmi_async.ledger import SqliteLedger
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from telecmi_async.events import Event
    from telecmi_async.ledger import CampaignState

pytestmark = pytest.mark.anyio

#: The campaigns that `run_one` made.
MADE: list[weakref.ref[Campaign]] = []


def quick() -> Simulator:
    """Return a simulator whose calls are over at once."""
    return Simulator(life="immediate", magic=False, latency=0.001)


def handlers_of(receiver: Receiver) -> int:
    """Return how many functions get the events of a receiver."""
    return len(receiver._intake.handlers.of_events)


def left_over() -> list[object]:
    """Return campaigns that are still in memory, and threads of ledgers."""
    gc.collect()
    threads = [each for each in threading.enumerate() if "telecmi-ledger" in each.name]
    for thread in threads:  # it has served its last job
        thread.join(10)
    threads = [thread for thread in threads if thread.is_alive()]
    return [*(each() for each in MADE if each() is not None), *threads]


def tasks_here() -> int:
    """Return how many tasks the event loop has; trio has no such list, but checks at its end."""
    return len(asyncio.all_tasks()) if is_asyncio(current_loop()) else 0


async def run_one(path: Path, service: CallService, name: str, first: int) -> CampaignState:
    """Dial four contacts of a ledger of its own, with few channels, and close the ledger."""
    async with SqliteLedger(path / f"{name}.db") as ledger:
        config = settings(200.0, pace={"max_live_calls": 2})
        campaign = Campaign(ledger, service, name, config)
        MADE.append(weakref.ref(campaign))
        await campaign.load(contacts(4, first))
        return await campaign.run()


# --- several campaigns on one receiver ---------------------------------------------------


@pytest.mark.real_clock
@pytest.mark.usefixtures("campaigns_poll_often")
async def test_ten_campaigns_one_after_the_other_and_five_side_by_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of fifteen campaigns on one receiver records its ends; the user gets every event."""
    receiver, telecmi = Receiver(TOKEN), quick()
    heard: list[Event] = []
    receiver.on_event(heard.append)
    async with receiver, telecmi.service(from_=FROM, events=receiver) as service:
        await run_one(tmp_path, service, "first", FIRST)
        before = (handlers_of(receiver), tasks_here(), left_over())

        with anyio.fail_after(60):
            for n in range(10):
                state = await run_one(tmp_path, service, f"row-{n}", FIRST + 10 + 4 * n)
                assert state.counts[S.FINISHED] == state.total == 4
            async with anyio.create_task_group() as tasks:
                for n in range(5):
                    name, first = f"beside-{n}", FIRST + 100 + 4 * n
                    tasks.start_soon(run_one, tmp_path, service, name, first)
        for n in range(5):
            async with SqliteLedger(tmp_path / f"beside-{n}.db") as ledger:
                assert (await ledger.state(f"beside-{n}")).counts[S.FINISHED] == 4

        assert (handlers_of(receiver), tasks_here(), left_over()) == before
        assert (before[0], before[2]) == (1, [])
        assert len(MADE) >= 16
    telecmi.no_duplicates()
    assert len(heard) == receiver.counts.accepted >= 16 * 4
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_campaigns_of_one_ledger_side_by_side() -> None:
    """Five campaigns that share a ledger and a receiver each record their ends."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaigns = [here.campaign(name=f"c{n}") for n in range(5)]
        for n, campaign in enumerate(campaigns):
            await campaign.load(contacts(6, FIRST + 10 * n))
            tasks.start_soon(campaign.run)

    for n in range(5):
        assert await here.counted(f"c{n}") == {"finished": 6}
    assert handlers_of(here.receiver) == 0


async def test_a_slow_handler_of_the_users_delays_no_campaign() -> None:
    """A handler that never returns, registered first, keeps no end from being recorded."""
    async with scene() as here:
        here.receiver.on_event(lambda _: anyio.sleep(math.inf))
        campaign = here.campaign()
        await campaign.load(contacts(3))

        with anyio.fail_after(100):
            state = await campaign.run()

        assert state.counts[S.FINISHED] == 3


async def test_a_ledger_that_fails_delays_no_other_campaign() -> None:
    """A campaign whose ledger fails keeps no event from another campaign or the user."""
    heard: list[Event] = []
    async with scene() as here, anyio.create_task_group() as tasks:
        here.receiver.on_event(heard.append)
        broken = MemoryLedger()
        failing = Campaign(broken, here.service, "broken", settings(), timeouts=SHORT)
        await failing.load(contacts(1, FIRST + 50))
        tasks.start_soon(failing.run)
        await anyio.sleep(0.5)
        broken.gone = True
        campaign = here.campaign()
        await campaign.load(contacts(3))

        with anyio.fail_after(100):
            state = await campaign.run()
        broken.gone = False

    assert state.counts[S.FINISHED] == 3
    assert (await broken.state("broken")).counts[S.FINISHED] == 1
    assert len(heard) == here.receiver.counts.accepted


# --- how long it records -----------------------------------------------------------------


async def test_a_campaign_that_is_open_records_after_it_was_left() -> None:
    """In its context a campaign records the ends of calls after `leave`, and no longer."""
    async with scene(ring=60.0) as here:
        async with here.campaign() as campaign, anyio.create_task_group() as tasks:
            await campaign.load(contacts(3))
            tasks.start_soon(campaign.run)
            await anyio.sleep(5)
            campaign.leave()
            await anyio.sleep(1)
            left = await here.counted()
            await anyio.sleep(100)

        assert left == {"placed": 3}
        assert await here.counted() == {"finished": 3}
        assert handlers_of(here.receiver) == 0


async def test_a_run_records_what_came_since_the_last_one() -> None:
    """Events that came while no campaign was open are recorded by the next run."""
    async with scene(Fault("reply_lost", to=FIRST), ring=60.0) as here:
        first = here.campaign()
        await first.load(contacts(3))
        with anyio.move_on_after(5):
            await first.run()
        left = await here.counted()
        await anyio.sleep(100)
        between = await here.counted()

        state = await here.campaign(timeouts=CampaignTimeouts(outcomes=1.0)).run()

        assert left == between
        assert left["placed"] == 3 or (left["placed"], left["unknown"]) == (2, 1)
        assert state.counts[S.FINISHED] == 3


async def test_a_context_that_ends_before_the_run_does_not_deafen_it() -> None:
    """A run goes on recording if the campaign's context ends meanwhile, and the reverse."""
    async with scene(ring=30.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(5))
        async with campaign:
            tasks.start_soon(campaign.run)
            await anyio.sleep(3)

    assert await here.counted() == {"finished": 5}


async def test_events_of_a_context_are_taken_over_by_the_run() -> None:
    """Events that wait for a failing ledger when a context ends are recorded by the run."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(90))
        tasks.start_soon(campaign.run)
        await anyio.sleep(0.5)
        async with campaign:
            await anyio.sleep(1.5)
            here.ledger.gone = True
            await anyio.sleep(20)
            tasks.start_soon(recover, here.ledger)
        assert here.ledger.gone

    assert await here.counted() == {"finished": 90}


async def recover(ledger: MemoryLedger) -> None:
    """Have a ledger work again in ten seconds."""
    await anyio.sleep(10)
    ledger.gone = False


async def test_a_campaign_is_opened_once_at_a_time() -> None:
    """A campaign that is open is not opened again, and may be opened after it was closed."""
    async with scene() as here:
        campaign = here.campaign()
        async with campaign:
            with pytest.raises(ConfigurationError, match="open already"):
                await campaign.__aenter__()
        async with campaign:
            assert handlers_of(here.receiver) == 1
        await campaign.__aexit__(None, None, None)

        assert handlers_of(here.receiver) == 0


async def test_of_two_tasks_that_open_a_campaign_one_is_refused() -> None:
    """A campaign that is being opened is open already for another task."""
    async with scene() as here:
        campaign = here.campaign()
        entered: list[bool] = []

        async def enter() -> None:
            try:
                async with campaign:
                    entered.append(True)
                    await anyio.sleep(1)
            except ConfigurationError:
                entered.append(False)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
            tasks.start_soon(enter)

        assert sorted(entered) == [False, True]
        assert handlers_of(here.receiver) == 0


async def test_a_campaign_that_could_not_be_opened_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be opened again."""

    def fail(*_: object) -> None:
        raise StoreError("it is gone")

    async with scene() as here:
        campaign = here.campaign()
        with monkeypatch.context() as patch:
            patch.setattr(event_recorder.EventRecorder, "open", fail)
            with pytest.raises(StoreError):
                await campaign.__aenter__()
        async with campaign:
            assert handlers_of(here.receiver) == 1


async def test_a_context_without_events_does_nothing() -> None:
    """A campaign that receives no events can be opened all the same."""
    async with scene() as here, here.campaign(without_events=True):
        assert handlers_of(here.receiver) == 0


async def test_an_error_in_the_context_is_raised_as_it_is() -> None:
    """An exception of the context's body passes, and recording ends."""
    async with scene() as here:
        with pytest.raises(KeyError):
            async with here.campaign():
                raise KeyError("x")

        assert handlers_of(here.receiver) == 0


# --- failures ----------------------------------------------------------------------------


async def test_events_that_a_failing_ledger_misses_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A campaign that closes while its ledger fails says how many events are not on record."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(2))
        with anyio.move_on_after(30):
            async with campaign:
                with anyio.move_on_after(0.5):
                    await campaign.run()
                here.ledger.gone = True
                await anyio.sleep(10)
        here.ledger.gone = False

    (said,) = [
        each.message for each in caplog.records if "could not be recorded" in each.message
    ]
    assert int(said.split()[2]) >= 2


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two events wait, for one task that writes; look up a few calls at a time."""
    monkeypatch.setattr(event_recorder, "_MOST_WAITING", 2)
    monkeypatch.setattr(event_recorder, "_MOST_TASKS", 1)
    monkeypatch.setattr(event_recorder, "_BATCH", 1)


@asynccontextmanager
async def crowded(count: int = 2) -> AsyncGenerator[tuple[Scene, Campaign]]:
    """A campaign that is open, its calls over, and its ledger failing since they were placed."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(count))
        async with campaign:
            with anyio.move_on_after(0.5):
                await campaign.run()
            here.ledger.gone = True
            await anyio.sleep(10)
            yield here, campaign
        here.ledger.gone = False


@pytest.mark.usefixtures("small_queue")
@pytest.mark.parametrize("tasks", [1, 4])
async def test_events_beyond_the_queue_are_recorded_later(
    tasks: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the ledger fails few events wait, and no end is lost once it works again.

    Of several tasks that write, one at a time takes more from the store.
    """
    get = MemoryStore.get

    async def slow(store: MemoryStore, ids: Any) -> Any:
        await anyio.sleep(0.1)
        return await get(store, ids)

    monkeypatch.setattr(MemoryStore, "get", slow)
    monkeypatch.setattr(event_recorder, "_MOST_TASKS", tasks)
    monkeypatch.setattr(event_recorder, "_MOST_WAITING", 8)
    async with crowded(8) as (here, campaign):
        assert len(campaign._recorder._events) == 8
        here.ledger.gone = False
        await anyio.sleep(10)

        assert await here.counted() == {"finished": 8}
        assert not campaign._recorder._deferred
    assert len([each for each in caplog.records if "later ones" in each.message]) == 1
    assert "could not be recorded" not in caplog.text


@pytest.mark.usefixtures("small_queue")
async def test_events_beyond_the_queue_are_recorded_before_the_context_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A context whose ledger works again ends when all is on record that came."""
    monkeypatch.setattr(event_recorder, "_MOST_WAITING", 8)
    async with crowded(8) as (here, _):
        here.ledger.gone = False

    assert await here.counted() == {"finished": 8}
    assert "could not be recorded" not in caplog.text


@pytest.mark.usefixtures("small_queue")
async def test_a_store_that_fails_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the queue had no room for is looked up as soon as the store works, too."""
    async with crowded() as (here, campaign):
        get = MemoryStore.get
        monkeypatch.setattr(MemoryStore, "get", unreachable)
        here.ledger.gone = False
        await anyio.sleep(20)
        without = await here.counted()
        monkeypatch.setattr(MemoryStore, "get", get)
        await anyio.sleep(20)

        assert without != {"finished": 2}
        assert await here.counted() == {"finished": 2}
        assert not campaign._recorder._deferred
    assert "could not be recorded" not in caplog.text


@pytest.mark.usefixtures("small_queue")
async def test_what_the_store_no_longer_has_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A campaign that closes says how many events it found nowhere, and why."""
    async with crowded() as (here, _):
        monkeypatch.setattr(MemoryStore, "get", unreachable)
        here.ledger.gone = False

    assert "the store of events fails: it cannot be reached" in caplog.text
    assert "events could not be recorded" in caplog.text


async def unreachable(*_: Any) -> None:
    """Fail as a store does."""
    raise StoreError("it cannot be reached")


@pytest.mark.usefixtures("small_queue")
async def test_what_waits_in_the_store_is_given_up_with_the_ledger(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the ledger fails to the end, or is lost, events beyond the queue are counted as well."""
    async with crowded(8) as (here, campaign):
        campaign._recorder.put(parse_event(b'{"type": "event", "status": "answered"}'))
        deferred = campaign._recorder._deferred
        assert len(deferred) == 2  # as many calls as events
        assert 2 + deferred.total() + campaign._recorder._missed < here.receiver.counts.accepted
    assert not deferred

    assert "events could not be recorded" in caplog.text
    assert "lost" not in caplog.text


@pytest.mark.usefixtures("small_queue")
async def test_nothing_is_looked_up_for_a_ledger_that_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A ledger that is lost ends all waiting, though the campaign is still open."""

    async def lose(*_: Any, **__: Any) -> None:
        raise LedgerLost("the file is gone")

    async with crowded() as (_, campaign):
        monkeypatch.setattr(event_recorder, "record_call_event", lose)
        await anyio.sleep(10)

        assert not campaign._recorder._events
        assert not campaign._recorder._deferred
        assert campaign._recorder._missed
    assert "events could not be recorded" in caplog.text


async def test_events_before_the_context_are_recorded_when_the_ledger_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Earlier events that cannot be looked up at first are looked up later; that is logged once."""
    async with scene(ring=60.0) as here:
        campaign = here.campaign()
        await campaign.load(contacts(3))
        with anyio.move_on_after(5):
            await campaign.run()
        await anyio.sleep(100)
        here.ledger.gone = True
        async with campaign:
            await anyio.sleep(10)
            here.ledger.gone = False
            await anyio.sleep(10)

            assert await here.counted() == {"finished": 3}
    assert len([each for each in caplog.records if "came before" in each.message]) == 1


@pytest.mark.parametrize(("patience", "given_up"), [(1800.0, False), (1.0, True)])
async def test_a_short_wait_for_ends_misses_no_event(
    patience: float, given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing ledger is tried again for half an hour, however short a run waits for ends."""
    monkeypatch.setattr(event_recorder, "RECORD_PATIENCE", patience)
    async with scene() as here:
        campaign = here.campaign(timeouts=CampaignTimeouts(outcomes=1.0))
        await campaign.load(contacts(2))
        async with campaign:
            with anyio.move_on_after(0.5):
                await campaign.run()
            here.ledger.gone = True
            await anyio.sleep(60)
            here.ledger.gone = False
            await anyio.sleep(10)

            assert bool(campaign._recorder._missed) is given_up
            assert (await here.counted() == {"finished": 2}) is not given_up


async def test_an_event_of_unreadable_settings_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that can never be recorded is logged, and the next ones are recorded."""

    async def refuse(*_: Any, **__: Any) -> None:
        raise ConfigurationError("settings of a later version")

    async with scene() as here:
        campaign = here.campaign(timeouts=CampaignTimeouts(outcomes=5.0))
        await campaign.load(contacts(1))
        monkeypatch.setattr(event_recorder, "record_call_event", refuse)

        state = await campaign.run()

    assert state.counts[S.PLACED] == 1
    assert "is not recorded: settings of a later version" in caplog.text


@pytest.mark.real_clock
@pytest.mark.usefixtures("campaigns_poll_often")
async def test_a_receiver_in_another_threads_loop(tmp_path: Path) -> None:
    """A receiver may work in another event loop than the campaign, as in a web server's thread."""
    receiver, telecmi = Receiver(TOKEN), quick()
    async with (
        receiver,
        SqliteLedger(tmp_path / "ledger.db") as ledger,
        telecmi.service(from_=FROM, events=receiver) as service,
    ):
        campaign = Campaign(ledger, service, "spring", settings())
        await campaign.load(contacts(1))
        await Campaign(ledger, service, "spring", settings(), without_events=True).run()
        events = [
            each.event for each in await receiver.store.get([telecmi.calls[0].request_id])
        ]
        receiver._intake.store = MemoryStore()  # what came before is found nowhere
        async with campaign:
            for event in events:
                await anyio.to_thread.run_sync(
                    asyncio.run, later(campaign._recorder.put, event)
                )
        assert (await campaign.state()).counts[S.FINISHED] == 1


async def later(put: Callable[[Event], None], event: Event) -> None:
    """Pass an event on from another event loop."""
    put(event)


@pytest.mark.real_clock
@pytest.mark.usefixtures("campaigns_poll_often")
async def test_a_campaign_ends_if_its_ledger_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A ledger that is closed under a campaign does not come back: the run ends and says so."""
    receiver, telecmi = Receiver(TOKEN), Simulator(magic=False, latency=0.01)
    ended: list[Exception] = []

    async def run(campaign: Campaign) -> None:
        try:
            await campaign.run()
        except LedgerLost as error:
            ended.append(error)

    async with receiver, telecmi.service(from_=FROM, events=receiver) as service:
        with anyio.fail_after(20):
            async with (
                anyio.create_task_group() as tasks,
                SqliteLedger(tmp_path / "ledger.db") as ledger,
            ):
                campaign = Campaign(ledger, service, "spring", settings(5.0))
                await campaign.load(contacts(50))
                tasks.start_soon(run, campaign)
                await anyio.sleep(0.5)
        assert handlers_of(receiver) == 0

    assert "closed" in str(ended[0])
    assert "the ledger fails" not in caplog.text


# --- the service's own time-outs ---------------------------------------------------------


async def test_a_campaign_takes_the_time_outs_of_its_service() -> None:
    """A campaign's requests take as long as the service's may, unless the campaign says."""
    telecmi = Simulator(magic=False, latency=20.0)
    async with telecmi.service(from_=FROM, timeout=Timeouts(read=5.0)) as service:
        for timeouts, expected in (
            (CampaignTimeouts(), S.UNKNOWN),
            (CampaignTimeouts(timeouts=Timeouts(read=30.0)), S.PLACED),
        ):
            ledger = MemoryLedger()
            campaign = Campaign(ledger, service, "spring", settings(), timeouts=timeouts)
            await campaign.load(contacts(1, FIRST + int(expected is S.PLACED)))
            state = await campaign.run()

            assert state.counts[expected] == 1


def test_the_lease_of_a_send_covers_the_services_time_out() -> None:
    """A send's lease is as long as the service's time-outs allow."""
    service = CallService(1, "secret-secret", timeout=Timeouts(total=500.0))
    campaign = Campaign(MemoryLedger(), service, "spring", settings())

    assert campaign._worker.timeouts.send == 560.0


async def test_earlier_events_are_looked_up_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many contacts some at a time are looked up, until the context ends."""
    monkeypatch.setattr(event_recorder, "_BATCH", 2)
    asked: list[int] = []
    get = MemoryStore.get

    async def counting(store: MemoryStore, ids: Any) -> Any:
        asked.append(len(ids))
        await anyio.sleep(1.0)
        return await get(store, ids)

    async with scene(ring=60.0) as here:
        campaign = here.campaign()
        await campaign.load(contacts(9))
        with anyio.move_on_after(5):
            await campaign.run()
        await anyio.sleep(100)
        monkeypatch.setattr(MemoryStore, "get", counting)
        async with campaign:
            await anyio.sleep(1.5)
        first = list(asked)
        async with campaign:
            await anyio.sleep(20)

        assert await here.counted() == {"finished": 9}
    assert first == [2, 2]
    assert max(asked) == 2
