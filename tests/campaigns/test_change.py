"""Changing a campaign while it runs: every worker follows within seconds, and none goes by both."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve
from faulty_campaign import NAME, contacts, scene, settings

from telecmi_async import ConfigurationError, Hangup, StoreError
from telecmi_async.campaigns import (
    Campaign,
    CampaignRules,
    CampaignSettings,
    CostCap,
    DailyCap,
    Pace,
    Redial,
    Retries,
    change_settings,
)
from telecmi_async.campaigns.change import revise_settings
from telecmi_async.campaigns.window import CallingWindow
from telecmi_async.ledger import ContactState, Withdrawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telecmi_async.ledger import Ledger

S = ContactState
pytestmark = pytest.mark.anyio

# In India, which has one time zone.
FIRST = 919000000000
# How soon every worker must follow, in seconds.
SOON = 3.0


@asynccontextmanager
async def running(at: Any, count: int, workers: int = 3, **config: Any) -> AsyncIterator[Any]:
    """Run a campaign with several workers; when it is left, they leave."""
    given = settings(**config)
    team = [at.campaign(given) for _ in range(workers)]
    await team[0].load(contacts(count, FIRST))
    async with anyio.create_task_group() as group:
        for each in team:
            group.start_soon(each.run)
        await anyio.sleep(0.5)
        yield team
        for each in team:
            each.leave()


async def began_in(at: Any, seconds: float) -> int:
    """Return how many calls begin in the next seconds."""
    before = len(at.simulator.calls)
    await anyio.sleep(seconds)
    return len(at.simulator.calls) - before


async def test_every_change_is_obeyed_within_seconds_by_all_workers() -> None:
    """Three workers follow pace, channels, window, cost cap and do-not-call, each within 3 s."""
    async with scene() as at, running(at, 1000, rate=2.0) as team:
        first, name = team[0], NAME
        await anyio.sleep(5)
        await first.change(pace=Pace(calls_per_second=20), by="asha")
        await anyio.sleep(SOON)
        fast = await began_in(at, 4)
        await change_settings(at.ledger, name, pace=Pace(calls_per_second=1), by="ravi")
        await anyio.sleep(SOON)
        slow = await began_in(at, 5)

        await first.change(pace=Pace(calls_per_second=20, max_live_calls=2))
        await anyio.sleep(SOON + 9)
        channels = await began_in(at, 12)

        hour = 2 if (await at.ledger.now() / 3600 + 5.5) % 24 >= 12 else 20
        night = CallingWindow(f"{hour:02}:00", f"{hour + 1:02}:00")
        await first.change(pace=Pace(calls_per_second=20), rules=CampaignRules(window=night))
        await anyio.sleep(SOON)
        closed = await began_in(at, 10)
        await first.change(rules=CampaignRules())
        await anyio.sleep(SOON)
        opened = await began_in(at, 3)

        left = [c.number async for c in at.ledger.contacts(name, states=[S.PENDING])]
        await at.ledger.add_do_not_call(left[:10], "asked", by="asha")
        assert await first.withdraw(left[10:20], by="asha") == Withdrawn(blocked=10)
        await anyio.sleep(SOON)
        await first.change(rules=CampaignRules(cost=CostCap(0.01)))
        await anyio.sleep(SOON)
        capped = await began_in(at, 5)
        state = await at.ledger.state(name)
        called = {call.to for call in at.simulator.calls}

    assert 60 <= fast <= 84
    assert 4 <= slow <= 6
    assert 1 <= channels <= 2 * 12 / 6.0 + 2
    assert (closed, capped) == (0, 0)
    assert opened > 40
    assert (state.asked, state.revision) == ("stopped", 6)
    assert called.isdisjoint(left[:20])
    said = [str(each) async for each in at.ledger.changes(name)]
    assert said[1] == "asha changed: pace.calls_per_second 2 → 20"
    assert said[2] == "ravi changed: pace.calls_per_second 20 → 1"
    assert any("rules.cost" in each for each in said)
    assert any(each.startswith("worker ") and "stopped it" in each for each in said)


async def test_no_start_of_the_earlier_rate_is_used() -> None:
    """While workers have different revisions, no second after the change has more than its rate."""
    async with scene() as at, running(at, 300, rate=40.0) as team:
        await anyio.sleep(2)
        await team[1].change(pace=Pace(calls_per_second=2))
        changed_at = len(at.simulator.calls)
        await anyio.sleep(10)
        after = [call.at for call in at.simulator.calls[changed_at:]]

    # Requests whose intent was on record go on: as many as leave within a few milliseconds.
    assert len(after) <= 2 * 10 + 3
    late = [when for when in after if when > after[0] + 1.0]
    assert all(b - a > 0.45 for a, b in pairwise(late))


async def test_redials_begin_and_end_with_a_change() -> None:
    """Workers that wait for records redial by a new plan, and stop when it is taken back."""
    async with scene(answered_share=0.0) as at, running(at, 10, rate=50.0) as team:
        await anyio.sleep(2)
        once = len(at.simulator.calls)
        await team[0].change(redial=Redial(missed=5, after=timedelta(seconds=30)))
        redialled = await began_in(at, 100)
        await team[0].change(redial=None)
        waiting = (await team[0].state()).left
        await began_in(at, 100)
        stopped = await began_in(at, 300)

    # Those that the earlier plan made pending are dialled, and no others.
    assert (once, stopped) == (10, 0)
    assert redialled >= 10
    assert len(at.simulator.calls) <= once + redialled + waiting


async def test_contacts_that_are_added_are_taken_by_workers_that_wait_for_records() -> None:
    """A list that is loaded while the last call is live is dialled by the same workers."""
    async with scene() as at, running(at, 3, rate=50.0) as team:
        await anyio.sleep(4)
        await at.campaign(settings(rate=50.0)).load(contacts(20, FIRST)[3:], by="asha")
        added = await began_in(at, SOON)
        assert (await team[0].state()).status == "waiting for records"

    assert added == 17


async def test_a_limit_of_live_calls_counts_those_that_began_without_one() -> None:
    """No call starts before fewer are live than the new limit."""
    async with scene(ring=30.0) as at, running(at, 40, rate=10.0) as team:
        await anyio.sleep(2)
        live = len(at.simulator.calls)
        await team[0].change(pace=Pace(calls_per_second=10, max_live_calls=5))
        more = await began_in(at, 20)
        await anyio.sleep(25)
        later = len(at.simulator.calls)

    assert live > 10
    assert more <= 1  # its intent was on record
    assert live < later <= live + 6


@pytest.mark.parametrize("earlier", [0, 1])
async def test_calls_are_counted_though_the_ledger_failed_meanwhile(
    earlier: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that could not count the live calls does so before it starts another one."""
    failures: list[str] = []
    async with scene(ring=30.0) as at, running(at, 40, workers=1, rate=10.0) as team:
        lease = type(at.ledger).lease_channel

        async def failing(ledger: Any, name: str, holder: str, **options: Any) -> bool:
            if len(failures) < 3:
                failures.append(holder)
                raise StoreError("the limits are gone for a moment")
            return await lease(ledger, name, holder, **options)

        for _ in range(earlier):
            await team[0].change(unknown="give_up")
        await anyio.sleep(2)
        live = len(at.simulator.calls)
        monkeypatch.setattr(type(at.ledger), "lease_channel", failing)
        await team[0].change(pace=Pace(calls_per_second=10, max_live_calls=5))
        more = await began_in(at, 20)

    assert len(failures) == 3
    assert live > 10
    assert more <= 1  # its intent was on record


async def test_a_program_that_only_records_frees_the_channels_of_a_later_limit() -> None:
    """Channels that other workers took since a change are freed when records come."""
    async with scene() as at:
        listener = at.campaign(settings(rate=50.0))
        await listener.load(contacts(6))
        await listener.change(pace=Pace(calls_per_second=50, max_live_calls=2))
        async with listener, at.simulator.service(from_=19170000000) as service:
            deaf = at.campaign(settings(rate=50.0), service=service, without_events=True)
            with anyio.move_on_after(120):
                await deaf.run()
            await anyio.sleep(20)  # the last calls end
            counts = (await at.ledger.state(NAME)).counts

    assert counts[S.FINISHED] == 6


async def test_changes_apply_at_the_next_run() -> None:
    """A program with the settings it began with goes on by those that were changed since."""
    async with scene() as at:
        await at.campaign(settings(rate=50.0)).load(contacts(5))
        attached = await Campaign.attach(at.ledger, at.service, NAME)
        await attached.pause("lunch", by="asha")
        new = await attached.change(
            pace=Pace(calls_per_second=1), retries=Retries(attempts=1), unknown="give_up",
            pause_after_refusals=None,
        )  # fmt: skip
        assert (new.pace.calls_per_second, new.pause_after_refusals) == (1, None)
        await attached.resume()
        first = at.campaign(settings(rate=50.0))
        began = anyio.current_time()
        await first.run()
        assert first.settings == new
        assert anyio.current_time() - began > 3.9
        await at.campaign(new).run()
        await attached.run()

        for other in (settings(rate=7.0), evolve(settings(rate=50.0), flow=[Hangup()])):
            with pytest.raises(ConfigurationError, match=r"other settings \((pace|flow)\)"):
                await at.campaign(other).run()


async def test_what_contacts_hear_is_not_changed() -> None:
    """The name of the limits stays; a campaign that does not exist is not changed."""
    async with scene() as at:
        campaign = at.campaign(settings(redial=Redial(missed=1, from_=[19170000005])))
        with pytest.raises(ConfigurationError, match="there is no campaign"):
            await campaign.change(unknown="give_up")
        await campaign.load(contacts(1))
        with pytest.raises(ConfigurationError, match="load another campaign"):
            await campaign.change(pace=Pace(shared="other"))
        before = await at.ledger.state(NAME)
        await campaign.change(unknown="hold")
        await campaign.change(redial=None, by="asha")
        said = [str(each) async for each in campaign.changes()]

    assert before.revision == 0
    assert len(said) == 2
    assert "19170000005" not in said[1]
    assert said[1].startswith("asha changed: redial.missed 1 → none")


async def refuse_after(ledger: Ledger, count: int) -> None:
    """Change one setting."""
    await change_settings(ledger, NAME, pause_after_refusals=count, by=str(count))


async def test_two_changes_at_once_are_both_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operators who change different settings at once lose neither."""
    async with scene() as at:
        await at.campaign().load(contacts(1))
        async with anyio.create_task_group() as group:
            for number in range(19):
                group.start_soon(refuse_after, at.ledger, number + 50)
            group.start_soon(lambda: change_settings(at.ledger, NAME, unknown="give_up"))
        found = await at.ledger.settings_revision(NAME)
        assert found is not None
        assert (found.number, found.settings["unknown"]) == (20, "give_up")

        async def late(*_: Any, **__: Any) -> bool:
            return False

        monkeypatch.setattr(type(at.ledger), "change_settings", late)
        with pytest.raises(StoreError, match="try again"):
            await change_settings(at.ledger, NAME, unknown="hold")


async def test_two_rules_that_are_changed_at_once_are_both_changed() -> None:
    """A change of one rule is made from the rules as they are by then."""
    rules: list[dict[str, Any]] = [
        {"per_day": DailyCap(7, timezone="UTC")},
        {"do_not_call": False},
        {"cost": CostCap(most=5)},
    ]
    async with scene() as at:
        await at.campaign(settings()).load(contacts(1))

        async def change(**rule: Any) -> None:
            def revise(before: CampaignSettings) -> CampaignSettings:
                return evolve(before, rules=evolve(before.rules, **rule))

            await revise_settings(at.ledger, NAME, revise, "asha")

        async with anyio.create_task_group() as group:
            for rule in rules:
                group.start_soon(partial(change, **rule))
        found = CampaignSettings.parse(await at.ledger.settings(NAME)).rules

    assert found == evolve(settings().rules, **rules[0], **rules[1], **rules[2])


async def test_a_worker_that_cannot_read_new_settings_stops() -> None:
    """Settings of a later version end the worker with what to do, and it dials no more."""
    async with scene() as at:
        campaign = at.campaign(settings(rate=5.0))
        await campaign.load(contacts(100))

        async def change() -> None:
            await anyio.sleep(3)
            kept = await at.ledger.settings_revision(NAME)
            assert kept is not None
            await at.ledger.change_settings(NAME, {**kept.settings, "format": 99}, revision=0)

        async with anyio.create_task_group() as group:
            group.start_soon(change)
            with pytest.raises(ConfigurationError, match="newer version"):
                await campaign.run()
        assert 14 <= len(at.simulator.calls) <= 17


async def test_a_cap_that_cannot_be_measured_ends_the_worker() -> None:
    """A worker without a receiver does not dial on when a cost cap is set."""
    async with scene() as at:
        blind = at.simulator.service(from_=19170000000)
        async with blind as service:
            campaign = Campaign(at.ledger, service, NAME, settings(rate=5.0))
            await campaign.load(contacts(100))
            await campaign.change(rules=CampaignRules(cost=CostCap(5)))
            with pytest.raises(
                ConfigurationError, match="a cost cap, which cannot be measured"
            ):
                await campaign.run()
