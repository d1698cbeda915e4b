"""Campaigns on an in-memory ledger and the simulator, on the virtual clock."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from campaign_scene import (
    FIRST,
    FROM,
    SHORT,
    TOKEN,
    S,
    Scene,
    contacts,
    scene,
    settings,
)
from fake_telecmi import FakeTelecmi, accepted, refused
from memory_ledger import EPOCH, MemoryLedger

from telecmi_async import (
    CallService,
    ConfigurationError,
    Hangup,
    RateLimit,
    Receiver,
    ServiceClosed,
    StoreError,
)
from telecmi_async.campaigns import (
    CallingWindow,
    Campaign,
    CampaignRules,
    CampaignTimeouts,
    CostCap,
    FrequencyCap,
)
from telecmi_async.ledger import NewContact
from telecmi_async.simulator import Fault, Simulator, Webhooks
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.ledger import CampaignState, Claim

pytestmark = pytest.mark.anyio


# --- each contact once -------------------------------------------------------------------


async def test_everybody_is_dialled_once_and_heard_of() -> None:
    """Each contact is dialled once, and the ledger records how its call went."""
    async with scene() as here:
        campaign = here.campaign()
        loaded = await campaign.load(contacts(30))

        state = await campaign.run()

        contact = await here.ledger.find("spring", FIRST)
        assert loaded.added == 30
        assert state.counts[S.FINISHED] == state.total == state.sends == 30
        assert here.simulator.requests == here.simulator.numbers() == 30
        assert contact is not None
        assert contact.answered is True
        assert contact.talk_seconds == 2
        assert contact.cost
        assert state.cost


async def test_a_contact_is_told_what_its_columns_say() -> None:
    """The flow's placeholders are filled from the contact's columns."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))

        await campaign.run()

        (call,) = here.simulator.calls
        assert call.pcmo[0]["text"] == f"Hello N{FIRST}"


async def test_a_campaign_that_is_loaded_and_run_again_dials_nobody_again() -> None:
    """Loading and running a campaign again dials only the new contacts."""
    async with scene() as here:
        await here.campaign().load(contacts(5))
        await here.campaign().run()

        loaded = await here.campaign().load(contacts(6))
        state = await here.campaign().run()

        assert (loaded.added, loaded.known) == (1, 5)
        assert here.simulator.requests == state.total == 6


async def test_without_a_receiver_calls_are_placed_and_no_more_is_known() -> None:
    """Without a receiver, a campaign does not wait for the outcome of calls."""
    async with scene() as here:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(3))

        await campaign.run()

        assert await here.counted() == {"placed": 3}


async def test_outcomes_are_waited_for_no_longer_than_they_can_come() -> None:
    """A campaign stops waiting for a missing call record after the outcomes timeout."""
    async with scene() as here:
        here.simulator.webhooks = Webhooks(Receiver(TOKEN))
        campaign = here.campaign()
        await campaign.load(contacts(1))
        began = anyio.current_time()

        state = await campaign.run()

        assert state.counts[S.PLACED] == 1
        assert 200 <= anyio.current_time() - began < 210


async def test_workers_share_the_contacts() -> None:
    """Two workers of one campaign dial each contact once between them."""
    async with scene() as here, anyio.create_task_group() as tasks:
        config = settings(pace={"max_in_flight": 5})
        one, two = here.campaign(config), here.campaign(config, without_events=True)
        await one.load(contacts(40))

        tasks.start_soon(one.run)
        tasks.start_soon(two.run)

    owners = {p.detail for p in await claims_of(here)}
    assert here.simulator.requests == here.simulator.numbers() == 40
    assert len(owners) == 2


async def claims_of(here: Scene) -> list[Any]:
    """Return all claims of all contacts."""
    found: list[Any] = []
    async for contact in here.ledger.contacts("spring"):
        full = await here.ledger.find("spring", contact.number)
        assert full is not None
        found += [passage for passage in full.history if passage.what == "claim"]
    return found


async def test_what_a_dead_worker_was_sending_is_unknown_and_what_it_had_claimed_is_dialled() -> (
    None
):
    """A dead worker's send becomes unknown and is not redialled; its other claim is dialled."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(3))
        sent, _ = await here.ledger.claim("spring", "dead", most=2, lease=60)
        limits = settings().rules.limits(0.0)
        await here.ledger.intend(sent, "dead", "tcm_x", limits=limits, fence=30, lease=120)

        await campaign.run()

        assert await here.counted() == {"finished": 2, "unknown": 1}
        assert here.simulator.placed(FIRST) == 0


# --- send results ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "attempts", "ends", "sends"),
    [
        ("vendor_502", 2, "finished", 3),
        ("vendor_502", None, "rejected", 3),
        ("missing_property", None, "rejected", 1),
        ("rate_limited", 2, "finished", 3),
        ("unavailable", 1, "finished", 2),
        ("reply_lost", None, "finished", 1),
        ("gateway_502_placed", None, "finished", 1),
        ("no_request_id", None, "finished", 1),
        ("gateway_502", None, "unknown", 1),
        ("reset", None, "unknown", 1),
    ],
)
async def test_a_contact_is_sent_again_only_if_it_was_certainly_not_dialled(
    fault: str, attempts: int | None, ends: str, sends: int
) -> None:
    """A refused send may be retried; a send of unknown outcome is not."""
    async with scene(Fault(fault, attempts=attempts)) as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))

        await campaign.run()

        assert await here.counted() == {ends: 1}
        assert here.simulator.requests == sends


async def test_without_a_network_no_contact_is_used_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While nothing can be connected, few probes are sent; afterwards all are dialled."""
    cut = [True]
    fake = FakeTelecmi(lambda n: httpx.ConnectError("refused") if cut[0] else accepted(n))
    ledger = MemoryLedger()
    async with fake.service() as service, anyio.create_task_group() as tasks:
        campaign = Campaign(ledger, service, "spring", settings())
        await campaign.load(contacts(3))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1_800)
        tries, why = len(fake.starts), campaign.unreached
        cut[0] = False
        await anyio.sleep(300)

        assert (await ledger.state("spring")).counts[S.PLACED] == 3
        assert campaign.unreached == ""

    assert (tries < 30, why) == (True, "ConnectError")
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == [
        "campaign spring: TeleCMI cannot be reached (ConnectError): nothing but probes is sent",
        "campaign spring: a probe was answered: dialling goes on",
    ]


async def test_attempts_that_count_are_used_up_after_a_network_that_failed() -> None:
    """A 502 of TeleCMI counts as an attempt; sends without a connection in between do not."""
    down = iter([True, True, True, False, False, True, False])
    fake = FakeTelecmi(lambda _: httpx.ConnectError("no") if next(down) else refused(502))
    ledger = MemoryLedger()
    async with fake.service() as service:
        campaign = Campaign(ledger, service, "spring", settings())
        await campaign.load(contacts(1))

        state = await campaign.run()

    assert (state.counts[S.REJECTED], len(fake.requests), len(fake.starts)) == (1, 3, 7)


# --- equal refusals ----------------------------------------------------------------------


async def refusals(answer: Callable[[int], httpx.Response], count: int, **more: Any) -> Any:
    """Run a campaign whose sends are answered by number; return its state after a while."""
    fake, ledger = FakeTelecmi(answer), MemoryLedger()
    async with fake.service() as service, anyio.create_task_group() as tasks:
        campaign = Campaign(ledger, service, "spring", settings(5.0, **more))
        await campaign.load(contacts(count))
        tasks.start_soon(campaign.run)
        await anyio.sleep(100)
        state = await campaign.state()
        tasks.cancel_scope.cancel()
    return state


async def test_equal_refusals_pause_the_campaign(caplog: pytest.LogCaptureFixture) -> None:
    """Ten equal refusals in a row pause the campaign, with the reason, logged once."""
    state = await refusals(lambda _: refused(404), 200)

    assert state.counts[S.REJECTED] == 10
    assert state.status == "paused"
    assert state.why == "10 equal refusals in a row (HTTP 404): refused 404"
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        f"campaign spring is paused: {state.why}"
    ]


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (lambda n: refused(404 + n % 2), {}),
        (lambda n: accepted(n) if n % 10 == 9 else refused(404), {}),
        (lambda _: refused(404), {"pause_after_refusals": None}),
        (lambda _: refused(404), {"pause_after_refusals": 31}),
    ],
    ids=["other codes", "an acceptance between", "never", "later"],
)
async def test_other_refusals_pause_nothing(answer: Any, more: dict[str, Any]) -> None:
    """Refusals that differ, or that a call was accepted between, pause no campaign."""
    state = await refusals(answer, 30, **more)

    assert (state.asked, state.left) == ("running", 0)


async def test_what_says_nothing_of_the_next_contact_ends_no_row() -> None:
    """An unknown outcome or a failed connection between equal refusals does not reset the count."""
    between = {3: httpx.ConnectError("no"), 6: httpx.ReadTimeout("no"), 8: refused(429)}
    state = await refusals(lambda n: between.get(n) or refused(404), 50)  # type: ignore[arg-type,return-value]  # errors, too

    assert (state.status, state.counts[S.REJECTED]) == ("paused", 10)


async def test_each_endpoint_has_a_count_of_its_own() -> None:
    """If the account may not call one region, calls that the other accepts hide nothing."""
    fake, ledger = FakeTelecmi(), MemoryLedger()
    fake.script = lambda n: refused(403) if "ind_" in fake.urls[-1] else accepted(n)
    both = zip(contacts(40), contacts(40, 919170000000), strict=True)
    async with fake.service() as service, anyio.create_task_group() as tasks:
        campaign = Campaign(ledger, service, "spring", settings(5.0))
        await campaign.load([each for pair in both for each in pair])
        tasks.start_soon(campaign.run)
        await anyio.sleep(100)
        state = await campaign.state()
        tasks.cancel_scope.cancel()

    assert (state.status, state.counts[S.REJECTED]) == ("paused", 10)


async def test_a_campaign_goes_on_after_equal_refusals_are_put_right() -> None:
    """After the cause is gone, rejected contacts are reopened, and all are placed."""
    wrong = [True]
    fake = FakeTelecmi(lambda n: refused(404) if wrong[0] else accepted(n))
    ledger = MemoryLedger()
    async with fake.service() as service, anyio.create_task_group() as tasks:
        campaign = Campaign(ledger, service, "spring", settings(5.0))
        await campaign.load(contacts(40))
        tasks.start_soon(campaign.run)
        await anyio.sleep(60)
        wrong[0] = False
        assert await ledger.reopen("spring", S.REJECTED, reason="404") == 10
        await campaign.resume()
        await anyio.sleep(60)

        assert (await campaign.state()).counts[S.PLACED] == 40


async def test_an_event_finds_an_unknown_send_after_a_restart() -> None:
    """An event resolves an unknown send in whichever process it arrives."""
    async with scene(Fault("reply_lost"), ring=300.0) as here:
        first = here.campaign(timeouts=CampaignTimeouts(outcomes=1.0), without_events=True)
        await first.load(contacts(2))
        await first.run()
        before = await here.counted()

        async with here.campaign():
            await anyio.sleep(400)

        assert before == {"unknown": 2}
        assert await here.counted() == {"finished": 2}


# --- policies for unknown contacts -------------------------------------------------------


async def test_an_unknown_contact_is_dialled_again_once_its_absence_is_proven() -> None:
    """Under retry_after_proof, an unknown contact is redialled once proven not dialled."""
    async with scene(Fault("reset", to=FIRST, attempts=1), ring=60.0) as here:
        campaign = here.campaign(settings(unknown="retry_after_proof"))
        await campaign.load(contacts(3))
        began = anyio.current_time()

        await campaign.run()

        assert await here.counted() == {"finished": 3}
        assert here.simulator.requests == 4
        assert anyio.current_time() - began > SHORT.proof
        assert "resolve_unknown" in await here.story()


async def test_what_is_never_proven_stays_unknown_and_the_campaign_ends() -> None:
    """Without any events nothing is proven: contacts stay unknown, and the campaign ends."""
    async with scene(Fault("reset")) as here:
        campaign = here.campaign(settings(unknown="retry_after_proof"))
        await campaign.load(contacts(2))

        state = await campaign.run()

        assert state.counts[S.UNKNOWN] == here.simulator.requests == 2


async def test_an_unknown_contact_is_given_up_once_its_absence_is_proven() -> None:
    """Under give_up, an unknown contact fails once proven not dialled, and is not redialled."""
    async with scene(Fault("reset", to=FIRST), ring=60.0) as here:
        campaign = here.campaign(settings(unknown="give_up"))
        await campaign.load(contacts(2))
        late = NewContact(number=FIRST + 9, columns={"name": "late"}, not_before=EPOCH + 900)
        await campaign.load([late])

        await campaign.run()

        assert await here.counted() == {"failed": 1, "finished": 2}
        assert here.simulator.requests == 3


async def test_an_unknown_contact_is_held_however_long_it_takes() -> None:
    """By default, an unknown contact stays unknown and is not redialled."""
    async with scene(Fault("reset", to=FIRST)) as here:
        campaign = here.campaign()
        late = NewContact(number=FIRST + 9, columns={"name": "late"}, not_before=EPOCH + 900)
        await campaign.load([*contacts(2), late])

        await campaign.run()

        assert await here.counted() == {"unknown": 1, "finished": 2}


# --- circuit breaker and rate ------------------------------------------------------------


async def test_too_many_unknown_sends_stop_the_dialling_until_a_probe_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Circuit breaker: unknown sends open it, a successful probe closes it, both are logged."""
    async with scene(Fault("reset")) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(100))
        tasks.start_soon(campaign.run)
        await anyio.sleep(60)
        braked = here.simulator.requests

        here.simulator.faults.clear()
        await anyio.sleep(180)

        assert braked < 20
        assert here.simulator.requests == 100
        assert await here.counted() == {"unknown": braked, "placed": 100 - braked}

    warnings = [
        r.getMessage()
        for r in caplog.records
        if r.levelname == "WARNING" and not hasattr(r, "telecmi_event")
    ]
    assert warnings == [
        "campaign spring: too many of the last sends ended unknown: nothing but probes is sent",
        "campaign spring: a probe was answered: dialling goes on",
    ]


async def test_what_had_its_turn_already_is_braked_too() -> None:
    """Sends that wait in the service when the breaker opens become pending again."""
    async with (
        scene(Fault("reset"), limit=RateLimit(2.0)) as here,
        anyio.create_task_group() as tasks,
    ):
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(40))
        tasks.start_soon(campaign.run)
        await anyio.sleep(20)

        requests = here.simulator.requests
        reasons = [contact.reason async for contact in here.ledger.contacts("spring")]
        tasks.cancel_scope.cancel()

    assert requests < 10
    assert sum(reason.startswith("circuit_breaker") for reason in reasons) > 10


async def test_a_probe_that_was_not_sent_makes_way_for_another() -> None:
    """A rule that blocks the probed contact does not end the probing."""
    async with scene(Fault("reset")) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(5.0), without_events=True)
        await campaign.load(contacts(12))
        await here.ledger.add_do_not_call(range(FIRST + 5, FIRST + 11), "the register")
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)
        here.simulator.faults.clear()

        await anyio.sleep(600)

        assert here.simulator.placed(FIRST + 11) == 1


async def test_a_campaign_slows_down_when_told_to(caplog: pytest.LogCaptureFixture) -> None:
    """TeleCMI's "too many requests" cuts the rate, and each contact is still dialled."""
    async with scene(calls_per_second=5) as here:
        campaign = here.campaign(settings(20.0))
        await campaign.load(contacts(100))

        state = await campaign.run()

        assert state.counts[S.FINISHED] == 100
        assert here.simulator.requests < 150
    assert "19170" not in caplog.text


# --- pause, stop, leave ------------------------------------------------------------------


async def test_a_campaign_is_paused_and_resumed_from_elsewhere() -> None:
    """A pause lets sent calls go on and starts no more until the campaign is resumed."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign, elsewhere = here.campaign(settings(5.0)), here.campaign(settings(5.0))
        await campaign.load(contacts(30))
        tasks.start_soon(campaign.run)
        await anyio.sleep(2)

        await elsewhere.pause("lunch")
        await anyio.sleep(1.5)
        paused = here.simulator.requests
        await anyio.sleep(60)
        still, state = here.simulator.requests, await campaign.state()
        await elsewhere.resume()

    assert 5 < paused < 20
    assert still == paused
    assert (state.status, state.why) == ("paused", "lunch")
    assert state.counts[S.CLAIMED] == 0
    assert await here.counted() == {"finished": 30}


@pytest.mark.parametrize("pace", [{}, {"max_live_calls": 1}], ids=["turn", "channel"])
async def test_a_campaign_is_stopped_from_elsewhere(pace: dict[str, int]) -> None:
    """Workers of a stopped campaign end their run, wherever they wait, and hold no claim."""
    config = settings(0.05, pace=pace)
    async with scene(ring=5_000.0) as here:
        campaign = here.campaign(config)
        await campaign.load(contacts(3))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(30)
            await here.campaign(config).stop("enough")

        state = await here.campaign(config).run()

        assert state.status == "stopped"
        assert here.simulator.requests in {1, 2}
        assert state.counts[S.CLAIMED] == state.counts[S.SENDING] == 0


async def test_a_worker_stops_waiting_for_the_brake_when_the_campaign_is_stopped() -> None:
    """A worker that waits for the circuit breaker ends soon after the campaign is stopped."""
    async with scene(Fault("reset")) as here:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(20))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(1.5)
            began = anyio.current_time()
            await campaign.stop()

        assert anyio.current_time() - began < 2
        assert (await campaign.state()).counts[S.PENDING] > 0


async def test_a_worker_that_leaves_starts_nothing_more_and_settles_what_was_sent() -> None:
    """After leave(), waiting calls become pending again, and sent calls are awaited."""
    async with scene(latency=5.0, limit=RateLimit(2.0)) as here:
        campaign = here.campaign()
        await campaign.load(contacts(20))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(2)
            campaign.leave()

        requests = here.simulator.requests
        counts = await here.counted()
        assert 2 < requests < 8
        assert counts == {"pending": 20 - requests, "finished": requests}


async def test_a_worker_that_leaves_as_a_call_is_placed_does_not_send_it() -> None:
    """A worker that leaves between a contact's turn and its call does not send the call."""
    async with scene(limit=RateLimit(1.0)) as here:
        campaign = here.campaign()
        await campaign.load(contacts(5))
        real = here.service._runner.place_once

        def place(*given: Any) -> Any:
            if given[0].to == FIRST + 2:
                campaign.leave()
            return real(*given)

        here.service._runner.place_once = place  # type: ignore[assignment,method-assign]  # leave at this moment

        await campaign.run()

        assert here.simulator.placed(FIRST + 2) == 0
        assert (await campaign.state()).counts[S.PENDING] >= 3


@pytest.mark.parametrize("how", ["leave", "cancel", "stop"])
async def test_a_campaign_that_left_may_be_run_again(how: str) -> None:
    """A campaign can be run again after leave, stop or cancellation."""
    async with scene() as here:
        campaign = here.campaign(settings(5.0))
        await campaign.load(contacts(20))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(2)
            match how:
                case "leave":
                    campaign.leave()
                case "stop":
                    await campaign.stop()
                case _:
                    tasks.cancel_scope.cancel()
        assert (await here.counted())["pending"] > 0

        await campaign.resume()
        await campaign.run()

        assert await here.counted() == {"finished": 20}


async def test_a_campaign_that_runs_is_not_run_beside_itself() -> None:
    """Running a campaign object that is already running is an error."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(5))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(0.05)
            with pytest.raises(ConfigurationError, match="is running already"):
                await campaign.run()
            assert repr(campaign) == "<Campaign 'spring', running here>"

        assert repr(campaign) == "<Campaign 'spring'>"
        assert await here.counted() == {"finished": 5}


async def test_a_worker_that_was_to_leave_before_it_began_does_not_begin() -> None:
    """After leave(), a run that starts later dials no contact."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(5))
        campaign.leave()

        await campaign.run()

        assert await here.counted() == {"pending": 5}


async def test_how_a_campaign_stands_is_read_at_a_glance() -> None:
    """The repr and str of a state and a contact show only values that are set."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(2))

        state = await campaign.run()
        contact = await here.ledger.find("spring", FIRST)

        assert "counts={'finished': 2}, sends=2, cost=0.78, unpriced=0" in repr(state)
        assert str(state) == "spring, done: 2 finished; 2 sends, cost 0.78"
        await campaign.pause("lunch")
        await here.ledger.create("autumn", {})
        assert str(await campaign.state()).startswith("spring, done: ")
        await campaign.load(contacts(3))
        assert str(await campaign.state()).startswith("spring, paused (lunch): 1 pending, ")
        assert "autumn, done: no contacts; 0 sends" in str(await here.ledger.state("autumn"))
        assert "state=finished" in repr(contact)
        assert repr(contact).endswith("history=<7 passages>)")


async def test_outcomes_are_not_waited_for_once_it_leaves() -> None:
    """A worker that leaves does not wait for the outcomes of live calls."""
    async with scene(ring=100.0) as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(20)
            campaign.leave()

        assert anyio.current_time() < 30


async def test_a_closed_service_ends_the_run_and_burns_nobody() -> None:
    """Closing the service ends the run; contacts that were not sent stay pending."""
    async with scene(limit=RateLimit(5.0)) as here:
        campaign = here.campaign()
        await campaign.load(contacts(20))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close_later, here.service)
            with pytest.raises(ServiceClosed):
                await campaign.run()

        counts = await here.counted()
        assert counts["pending"] == 20 - here.simulator.requests
        assert set(counts) <= {"pending", "placed", "finished"}


async def close_later(service: CallService) -> None:
    """Close a service in the middle of a campaign."""
    await anyio.sleep(1)
    await service.aclose()


async def test_cancelled_anywhere_nobody_is_dialled_twice_or_forgotten() -> None:
    """Cancelled at any await, each send is on record, and another run dials the rest once."""

    async def setup() -> Scene:
        simulator = Simulator(magic=False, latency=0.05, life=None)
        simulator.faults.add(Fault("vendor_502", to=FIRST, attempts=1))
        fake = httpx.AsyncClient(transport=simulator.transport())
        service = CallService(2222226, simulator.secret, from_=FROM, http_client=fake)
        here = Scene(MemoryLedger(), simulator, service, Receiver(TOKEN))
        await here.campaign(without_events=True).load(contacts(3))
        return here

    config = settings(10.0, pace={"max_live_calls": 5})

    async def run(here: Scene) -> None:
        async with here.service:
            await Campaign(here.ledger, here.service, "spring", settings()).run()

    async def check(here: Scene) -> None:
        state = await here.ledger.state("spring")
        assert state.counts[S.SENDING] == state.counts[S.CLAIMED] == 0
        client = httpx.AsyncClient(transport=here.simulator.transport())
        async with (
            client,
            CallService(
                2222226, here.simulator.secret, from_=FROM, http_client=client
            ) as service,
        ):
            await Campaign(here.ledger, service, "spring", settings()).run()
        here.simulator.no_duplicates()
        state = await here.ledger.state("spring")
        assert state.counts[S.PLACED] + state.counts[S.UNKNOWN] == state.total == 3
        assert here.simulator.numbers() == 3

    assert config.pace.max_live_calls == 5
    assert await cancel_everywhere(run, setup=setup, check=check) > 5


# --- rules at the moment of sending ------------------------------------------------------


async def test_a_number_that_is_forbidden_after_its_claim_is_not_dialled() -> None:
    """The do-not-call list is checked just before the request leaves."""
    async with scene(limit=RateLimit(0.5)) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(5))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)
        claimed = await here.counted()

        await here.ledger.add_do_not_call([FIRST + 4], "the register")

    assert claimed["claimed"] == 4
    assert await here.counted() == {"blocked": 1, "finished": 4}
    assert here.simulator.placed(FIRST + 4) == 0


async def test_a_window_that_closes_while_a_contact_waits_keeps_it_for_the_next_day() -> None:
    """A contact still queued when its calling window closes is dialled the next day."""
    opens = datetime.fromtimestamp(EPOCH, UTC)
    closes = datetime.fromtimestamp(EPOCH + 300, UTC)
    window = CallingWindow(opens.strftime("%H:%M"), closes.strftime("%H:%M"), ring_time=60.0)
    config = settings(rules=CampaignRules(window=window))
    zone = {"name": "x", "timezone": "UTC"}
    async with scene(limit=RateLimit(0.01)) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(config)
        rows = [NewContact(number=FIRST + row, columns=zone) for row in range(4)]
        await campaign.load(rows)
        tasks.start_soon(campaign.run)
        await anyio.sleep(1_000)

        dialled, contact = here.simulator.requests, await here.ledger.find("spring", FIRST + 3)
        late = NewContact(number=FIRST + 9, columns=zone)
        await campaign.load([late])
        await anyio.sleep(10)
        refused_at_once = await here.ledger.find("spring", FIRST + 9)
        here.ledger.ahead = 24 * 3600 - 1_200

    assert 1 < dialled < 4
    assert contact is not None
    assert contact.reason.startswith("calling_window")
    assert refused_at_once is not None
    assert [p.what for p in refused_at_once.history] == ["claim", "postpone"]
    assert here.simulator.requests == 5


async def test_a_number_that_another_campaign_dialled_meanwhile_waits_for_its_cap() -> None:
    """The cap on calls to one number holds across all campaigns of a ledger."""
    config = settings(rules=CampaignRules(per_number=FrequencyCap(1, per=600)))
    async with scene(life=None, once=False) as here:
        spring = here.campaign(config, without_events=True)
        autumn = here.campaign(config, without_events=True, name="autumn")
        for campaign in (spring, autumn):
            await campaign.load(contacts(1))
        began = anyio.current_time()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spring.run)
            tasks.start_soon(autumn.run)

        assert here.simulator.placed(FIRST) == 2
        assert anyio.current_time() - began > 600


@pytest.mark.parametrize("rate", [1.0, 20.0])
async def test_a_campaign_stops_when_it_has_cost_enough(
    caplog: pytest.LogCaptureFixture, rate: float
) -> None:
    """A campaign that reaches its cost cap is stopped, which is logged once, as a warning."""
    async with scene() as here:
        campaign = here.campaign(settings(rate, rules=CampaignRules(cost=CostCap(0.5))))
        await campaign.load(contacts(200))

        state = await campaign.run()

        assert state.status == "stopped"
        assert "cost" in state.why
        assert state.counts[S.PENDING] > 20

    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.levelname for record in loud] == ["WARNING"]


async def test_a_contact_that_cannot_be_called_is_blocked_alone() -> None:
    """A contact that lacks a column of the flow is blocked, and the others are dialled."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load([NewContact(number=FIRST), *contacts(3, FIRST + 1)])

        await campaign.run()

        contact = await here.ledger.find("spring", FIRST)
        assert await here.counted() == {"blocked": 1, "finished": 3}
        assert contact is not None
        assert contact.reason.startswith('invalid: pcmo[0].text: needs the column "name"')


@pytest.mark.parametrize("cell", ["", " ", "\u200b", "\u00a0\n", "\u201c\u201d"])
async def test_a_contact_without_text_is_never_dialled(cell: str) -> None:
    """A contact loaded by hand with an empty cell is blocked, and says what would be right."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(
            [NewContact(number=FIRST, columns={"name": cell}), *contacts(2, FIRST + 1)]
        )

        await campaign.run()

        contact = await here.ledger.find("spring", FIRST)
        assert await here.counted() == {"blocked": 1, "finished": 2}
        assert here.simulator.placed(FIRST) == 0
        assert contact is not None
        assert contact.reason.startswith(
            'invalid: pcmo[0].text: needs text in the column "name", which is empty: fill it in'
        )


async def test_without_a_caller_id_nobody_is_burnt() -> None:
    """A missing caller id is an error of the campaign, and blocks no contact."""
    fake = FakeTelecmi()
    ledger = MemoryLedger()
    async with fake.service(from_=None) as service:
        campaign = Campaign(ledger, service, "spring", settings())
        await campaign.load(contacts(3))

        with pytest.raises(ConfigurationError, match="from: is missing"):
            await campaign.run()

    state = await ledger.state("spring")
    assert state.counts[S.PENDING] == 3
    assert fake.requests == []


async def test_credentials_that_are_refused_pause_the_campaign(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Refused credentials pause the campaign; its contacts stay pending until it is resumed."""
    async with scene(Fault("credentials")) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(80))
        tasks.start_soon(campaign.run)
        await anyio.sleep(30)
        state, requests = await campaign.state(), here.simulator.requests

        here.simulator.faults.clear()
        await campaign.resume()

    assert (state.status, state.counts[S.PENDING]) == ("paused", 80)
    assert "credentials" in state.why
    assert requests < 40
    assert await here.counted() == {"finished": 80}
    assert sum("refused the credentials" in r.message for r in caplog.records) == 1


# --- pace and channels, shared -----------------------------------------------------------


async def test_workers_share_the_pace() -> None:
    """Two workers together start no more calls per second than one."""
    async with scene() as here, anyio.create_task_group() as tasks:
        one, two = here.campaign(settings(10.0)), here.campaign(settings(10.0))
        await one.load(contacts(60))

        tasks.start_soon(one.run)
        tasks.start_soon(two.run)

    assert here.simulator.busiest_second() <= 11
    requests = here.simulator.recent_requests
    assert (len(requests) - 1) / (requests[-1].at - requests[0].at) > 9.5


async def test_starts_keep_their_distance_when_many_replies_come_at_once() -> None:
    """Starts keep their interval when many requests in flight end at once."""

    class Stalling(FakeTelecmi):
        """Replies to all waiting requests every ten seconds."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.delay = 10 - anyio.current_time() % 10
            return await super().handle_async_request(request)

    fake, ledger = Stalling(), MemoryLedger()
    async with fake.service(rate=RateLimit(max_in_flight=5)) as service:
        campaign = Campaign(ledger, service, "spring", settings(10.0))
        await campaign.load(contacts(20))

        await campaign.run()

    gaps = [after - before for before, after in zip(fake.starts, fake.starts[1:], strict=False)]
    assert fake.max_in_flight == 5
    assert min(gaps) > 0.099


async def test_workers_share_the_channels() -> None:
    """The calls of two workers together never exceed the number of channels."""
    most = 0
    config = settings(pace={"max_live_calls": 4})
    async with scene() as here:
        one, two = here.campaign(config), here.campaign(config)
        await one.load(contacts(40))

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, sum(not call.over for call in here.simulator.calls))
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as observers:
            observers.start_soon(look)
            async with anyio.create_task_group() as runs:
                runs.start_soon(one.run)
                runs.start_soon(two.run)
            observers.cancel_scope.cancel()

        assert anyio.current_time() < 120

    assert most == 4
    assert await here.counted() == {"finished": 40}


async def test_a_channel_is_free_again_when_nothing_was_placed() -> None:
    """A rejected call releases its channel."""
    config = settings(pace={"max_live_calls": 1})
    async with scene(Fault("missing_property", share=0.7)) as here:
        campaign = here.campaign(config)
        await campaign.load(contacts(10))

        state = await campaign.run()

        assert state.counts[S.REJECTED] > 2
        assert state.counts[S.REJECTED] + state.counts[S.FINISHED] == 10


async def test_a_pace_slower_than_leases_works() -> None:
    """One call in two minutes is kept to by four workers, and no claim is lost."""
    async with scene() as here, anyio.create_task_group() as tasks:
        config = settings(1 / 120, pace={"max_in_flight": 1})
        workers = [here.campaign(config) for _ in range(4)]
        await workers[0].load(contacts(12))
        began = anyio.current_time()
        for worker in workers:
            tasks.start_soon(worker.run)
        await anyio.sleep(5 * 120 + 10)
        dialled = here.simulator.requests
        await workers[0].stop()
        stopped = anyio.current_time()

    assert dialled == 6
    assert anyio.current_time() - stopped < 2
    assert anyio.current_time() - began > 600
    assert here.ledger.jobs < 20_000


# --- ledger failures ---------------------------------------------------------------------


async def test_a_ledger_that_is_gone_stops_the_dialling_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Dialling stops while the ledger fails, with one warning, and then continues."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(60))
        tasks.start_soon(campaign.run)
        await anyio.sleep(2)

        here.ledger.gone = True
        await anyio.sleep(0.5)
        before = here.simulator.requests
        await anyio.sleep(10)
        after, here.ledger.gone = here.simulator.requests, False

    assert before == after
    assert await here.counted() == {"finished": 60}
    said = [r.message for r in caplog.records if r.name == "telecmi_async"]
    assert len([text for text in said if "the ledger fails" in text]) == 1
    assert len([text for text in said if "goes on" in text]) == 1


async def test_a_ledger_that_was_not_asked_is_not_said_to_be_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The ledger is not logged as working again before an operation on it succeeded."""
    caplog.set_level(logging.WARNING, "telecmi_async")
    async with scene(latency=20.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)
        await campaign.pause()
        await anyio.sleep(2)
        here.ledger.gone = True
        await anyio.sleep(10)
        said = [record.getMessage() for record in caplog.records]
        here.ledger.gone = False
        await campaign.resume()

    assert len(said) == 1
    assert "the ledger fails" in said[0]


@pytest.mark.parametrize("at", [0.01, 0.02, 0.05, 0.11, 0.5, 1.0, 1.01])
async def test_what_a_failing_ledger_did_unseen_does_no_harm(at: float) -> None:
    """A write that succeeded but raised causes no second call and no forgotten contact."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(10.0, pace={"max_live_calls": 30}))
        await campaign.load(contacts(40))
        tasks.start_soon(campaign.run)
        for _ in range(5):
            await anyio.sleep(at)
            here.ledger.mute = True
            await anyio.sleep(1.0)
            here.ledger.mute = False
            await anyio.sleep(5.0)

    state = await here.ledger.state("spring")
    assert state.counts[S.FINISHED] == state.total == 40


async def test_an_answer_is_put_on_record_though_the_ledger_failed_meanwhile() -> None:
    """A reply received while the ledger fails is recorded once the ledger works again."""
    async with scene(latency=5.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(3))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)
        sending = await here.counted()

        here.ledger.gone = True
        await anyio.sleep(30)
        here.ledger.gone = False

    assert sending == {"sending": 3}
    assert await here.counted() == {"placed": 3}


async def test_an_answer_that_cannot_be_put_on_record_for_long_is_given_up() -> None:
    """A reply that cannot be recorded before its lease ends leaves the send unknown."""
    async with scene(latency=5.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(1))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)

        here.ledger.gone = True
        await anyio.sleep(200)
        here.ledger.gone = False

    assert await here.counted() == {"unknown": 1}


async def test_an_event_is_kept_until_the_ledger_is_back() -> None:
    """An event received while the ledger fails is recorded once the ledger works again."""
    async with scene(ring=5.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(2))
        tasks.start_soon(campaign.run)
        await anyio.sleep(3)

        here.ledger.gone = True
        await anyio.sleep(60)
        here.ledger.gone = False

    assert await here.counted() == {"finished": 2}


async def test_an_event_is_given_up_when_the_ledger_stays_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An event is dropped, with a log entry, if the ledger fails for too long."""
    async with scene(ring=5.0) as here:
        campaign = here.campaign(timeouts=CampaignTimeouts(outcomes=20.0))
        await campaign.load(contacts(1))
        async with campaign:
            with anyio.move_on_after(3):
                await campaign.run()

            here.ledger.gone = True
            await anyio.sleep(60)

        assert "events could not be recorded" in caplog.text


async def test_a_ledger_that_fails_at_the_beginning_is_said_at_once() -> None:
    """A ledger that fails at the start of a run raises StoreError."""
    async with scene() as here:
        campaign = here.campaign()
        here.ledger.gone = True

        with pytest.raises(StoreError):
            await campaign.run()


async def test_a_ledger_that_fails_at_the_end_is_waited_for() -> None:
    """A ledger failure while a campaign waits for outcomes does not end the waiting."""
    async with scene(talk=20.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        tasks.start_soon(campaign.run)
        await anyio.sleep(5)

        here.ledger.gone = True
        await anyio.sleep(8)
        here.ledger.gone = False

    assert await here.counted() == {"finished": 1}


async def test_cancelled_while_the_ledger_fails_it_ends_when_sends_are_no_longer_its_own() -> (
    None
):
    """A run cancelled while the ledger fails ends at the latest when its send leases end."""
    async with scene() as here:
        campaign = here.campaign(settings(2.0))
        await campaign.load(contacts(20))
        with anyio.move_on_after(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(campaign.run)
                await anyio.sleep(2)
                here.ledger.gone = True
                await anyio.sleep(60)

        assert anyio.current_time() < 3 + SHORT.send + 10
        here.ledger.gone = False
        state = await here.campaign(settings(2.0)).run()
        assert state.counts[S.FINISHED] == 20


# --- lost claims -------------------------------------------------------------------------


async def test_a_claim_that_was_lost_is_not_sent() -> None:
    """A worker sends no contact whose claim another worker has taken over."""
    async with scene(limit=RateLimit(0.1)) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(3))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)

        taken = await steal(here)
        await anyio.sleep(60)
        requests = here.simulator.requests
        for claim in taken:
            await here.ledger.release(claim, "thief")

    assert len(taken) == 2
    assert requests == 1
    assert here.simulator.requests == 3


async def steal(here: Scene) -> list[Claim]:
    """Claim what another worker has claimed, as if its lease were over."""
    here.ledger._db.execute("UPDATE contact SET lease_until = 0 WHERE state = 'claimed'")
    await here.ledger.reap("spring")
    return await here.ledger.claim("spring", "thief", most=10, lease=1000)


async def test_a_contact_that_was_lost_is_not_blocked_either() -> None:
    """A worker does not block a contact whose claim another worker has taken over."""
    async with scene(limit=RateLimit(0.1)) as here, anyio.create_task_group() as tasks:
        end = EPOCH + anyio.current_time() + 5
        campaign = here.campaign(
            settings(rules=CampaignRules(not_after=end)), without_events=True
        )
        await campaign.load(contacts(2))
        tasks.start_soon(campaign.run)
        await anyio.sleep(1)

        (claim,) = await steal(here)
        await anyio.sleep(30)
        state = await campaign.state()
        await here.ledger.release(claim, "thief")

    assert state.counts[S.BLOCKED] == 0
    assert await here.counted() == {"placed": 1, "blocked": 1}


async def test_a_request_that_leaves_too_late_is_not_sent() -> None:
    """A worker that froze after its intent for longer than the fence sends nothing.

    However often that happens, the contact is dialled in the end: TeleCMI was not asked.
    """
    async with scene() as here:
        campaign = here.campaign(timeouts=CampaignTimeouts(fence=0.5, proof=300.0))
        await campaign.load(contacts(1))
        real, seen = here.ledger.intend, list[int]()

        async def frozen(*args: Any, **more: Any) -> Any:
            found = await real(*args, **more)
            seen.append(here.simulator.requests)
            await anyio.sleep(1 if len(seen) <= 9 else 0)
            return found

        here.ledger.intend = frozen  # type: ignore[method-assign, assignment]  # a process that froze

        await campaign.run()

        assert await here.counted() == {"finished": 1}
        assert seen == [0] * 10
        assert here.simulator.requests == 1


async def test_a_worker_that_leaves_while_an_intent_is_put_on_record_takes_it_back() -> None:
    """A worker that leaves while its intent is written makes the contact pending again."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        real = here.ledger.intend

        async def slow(*args: Any, **more: Any) -> Any:
            await anyio.sleep(5)
            return await real(*args, **more)

        here.ledger.intend = slow  # type: ignore[method-assign, assignment]  # a disk that is busy
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(2)
            campaign.leave()

        assert await here.counted() == {"pending": 1}
        assert await here.story() == ["claim", "intend", "retry"]
        assert here.simulator.requests == 0


async def test_workers_left_behind_are_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    """A run logs the sends that a dead worker left behind."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        (claim,) = await here.ledger.claim("spring", "dead", most=1, lease=60)
        limits = settings().rules.limits(0.0)
        await here.ledger.intend(claim, "dead", "tcm_x", limits=limits, fence=30, lease=5)

        await campaign.run()

    assert "1 sends were left behind" in caplog.text


# --- settings, attach, progress ----------------------------------------------------------


async def test_a_campaign_is_taken_up_with_the_settings_it_was_begun_with() -> None:
    """A campaign is attached by its name alone, with the settings it was created with."""
    config = settings(7.0, unknown="give_up", from_=FROM)
    async with scene() as here:
        await here.campaign(config).load(contacts(1))

        again = await Campaign.attach(here.ledger, here.service, "spring")

        assert again.settings == config


async def test_other_settings_for_the_same_campaign_are_refused() -> None:
    """A campaign rejects settings that differ from those it was created with."""
    async with scene() as here:
        await here.campaign(settings(7.0)).load(contacts(1))

        with pytest.raises(ConfigurationError, match=r"with other settings \(pace, unknown\)"):
            await here.campaign(settings(8.0, unknown="give_up")).run()


async def test_a_campaign_that_is_not_there_is_not_taken_up() -> None:
    """Attaching a campaign that does not exist raises an error that suggests existing names."""
    async with scene() as here:
        with pytest.raises(ConfigurationError, match=r"no campaign 'sprig' .*: it has none"):
            await Campaign.attach(here.ledger, here.service, "sprig")
        await here.campaign().load(contacts(1))
        with pytest.raises(ConfigurationError, match='did you mean "spring"'):
            await Campaign.attach(here.ledger, here.service, "sprig")


async def test_progress_is_told_and_what_it_raises_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The callback gets each state, the final one too; an error in it is logged, and stops no call."""
    reported: list[CampaignState] = []

    def show(state: CampaignState) -> None:
        reported.append(state)
        raise RuntimeError("no terminal")

    async with scene() as here:
        campaign = here.campaign(settings(5.0))
        await campaign.load(contacts(10))

        final = await campaign.run(on_progress=show)

    assert len(reported) > 3
    assert reported[-1] == final
    assert all(state.total == 10 for state in reported)
    assert "on_progress failed" in caplog.text
    assert await here.counted() == {"finished": 10}


async def test_events_of_strangers_are_none_of_its_business() -> None:
    """Events of inbound calls and of other outbound calls change no contact."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await here.service.make_call(to=FIRST + 50, pcmo=[Hangup()])
            here.simulator.call_in(from_=FIRST, to=FROM)

        assert await here.counted() == {"finished": 1}


async def test_no_number_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Log messages contain no phone number."""
    caplog.set_level(logging.DEBUG)
    async with scene(Fault("reset", share=0.3), Fault("missing_property", share=0.5)) as here:
        campaign = here.campaign()
        await campaign.load(contacts(10))

        await campaign.run()

    assert "191701" not in "".join(r.getMessage() for r in caplog.records)
