"""Redial: those who did not answer are dialled again, as planned, by all workers as one."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

import anyio
import pytest
from faulty_campaign import FIRST, NAME, contacts, scene, settings
from memory_ledger import MemoryLedger

from telecmi_async import ConfigurationError
from telecmi_async.campaigns import (
    Campaign,
    CampaignRules,
    CampaignSettings,
    FrequencyCap,
    Redial,
)
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Simulator

S = ContactState
pytestmark = pytest.mark.anyio


def calls_of(simulator: Simulator) -> dict[int, list[Any]]:
    """Return the placed calls by number, in the order in which they began."""
    found: dict[int, list[Any]] = defaultdict(list)
    for call in simulator.calls:
        found[call.to].append(call)
    return found


@pytest.mark.parametrize("workers", [1, 3])
async def test_missed_calls_are_dialled_again_as_planned(workers: int) -> None:
    """No contact gets more calls than planned, two at a time, or one more after an answer."""
    redial = Redial(missed=2, after=[timedelta(seconds=40), timedelta(minutes=2)])
    async with scene(answered_share=0.6, seed=3) as at:
        config = settings(redial=redial)
        team = [at.campaign(config) for _ in range(workers)]
        await team[0].load(contacts(100))
        async with anyio.create_task_group() as group:
            for each in team:
                group.start_soon(each.run)
        state = await at.ledger.state(NAME)

    assert (state.status, state.counts[S.FINISHED]) == ("done", 100)
    for calls in calls_of(at.simulator).values():
        assert 1 <= len(calls) <= 3
        assert [call.answered for call in calls[:-1]] == [False] * (len(calls) - 1)
        assert calls[-1].answered or len(calls) == 3
        for wait, before, after in zip(redial.waits, calls, calls[1:], strict=False):
            assert after.at - before.legs[0].ended >= wait
    lengths = Counter(len(calls) for calls in calls_of(at.simulator).values())
    assert lengths[1] > lengths[2] > lengths[3] > 0
    answered = [contact.answered async for contact in at.ledger.contacts(NAME)]
    assert answered.count(True) == sum(
        calls[-1].answered for calls in calls_of(at.simulator).values()
    )
    assert answered.count(True) > 85  # 60 % would be 60


async def test_each_redial_may_have_its_caller_id() -> None:
    """The first call has the campaign's caller id, and redials have theirs in order."""
    redial = Redial(missed=3, after=5, from_=["+1 917 000 0005", 19170000006])
    async with scene(answered_share=0.0) as at:
        campaign = at.campaign(settings(redial=redial, from_=19170000004))
        await campaign.load(contacts(2))
        await campaign.run()

    for calls in calls_of(at.simulator).values():
        assert [call.from_ for call in calls] == [
            19170000004,
            19170000005,
            19170000006,
            19170000006,
        ]


async def test_rules_hold_for_redials() -> None:
    """A number on the do-not-call list is not dialled again, nor one that was called too often."""
    redial = Redial(missed=5, after=5)
    rules = CampaignRules(per_number=[FrequencyCap(count=2, per=timedelta(days=1))])
    async with scene(answered_share=0.0) as at:
        campaign = at.campaign(settings(redial=redial, rules=rules))
        await campaign.load(contacts(2))
        async with anyio.create_task_group() as group:
            group.start_soon(campaign.run)
            await anyio.sleep(64)
            await at.ledger.add_do_not_call([FIRST], "a complaint")
            await anyio.sleep(400)
            await campaign.stop()
        reasons = [contact.reason async for contact in at.ledger.contacts(NAME)]

    lengths = {number: len(calls) for number, calls in calls_of(at.simulator).items()}
    assert lengths == {FIRST: 1, FIRST + 1: 2}
    assert "the number is on the list of a complaint" in reasons[0]
    assert "at most 2 calls to one number" in reasons[1]


async def test_redials_are_planned_while_others_are_dialled() -> None:
    """A missed contact becomes pending soon after its record, long before the list is through."""
    async with scene(answered_share=0.0) as at:
        campaign = at.campaign(settings(rate=1.0, redial=Redial(missed=1, after=5)))
        await campaign.load(contacts(100))
        await campaign.run()
        first, last = [await at.ledger.find(NAME, FIRST + n) for n in (0, 99)]

    assert {len(calls) for calls in calls_of(at.simulator).values()} == {2}
    assert first is not None
    assert last is not None
    planned = {step.what: step.at for step in first.history}["redial_missed"]
    assert planned < min(step.at for step in last.history if step.what == "intend") - 20


@pytest.mark.usefixtures("campaigns_poll_seldom")
async def test_nothing_is_dialled_again_without_a_record() -> None:
    """Contacts whose records do not come are never dialled again, and the campaign ends."""
    async with scene(life=None) as at:
        campaign = at.campaign(settings(redial=Redial(missed=2, after=5)))
        await campaign.load(contacts(3))
        state = await campaign.run()

    assert state.counts[S.PLACED] == 3
    assert [len(calls) for calls in calls_of(at.simulator).values()] == [1, 1, 1]


async def test_redials_need_events() -> None:
    """A campaign that cannot learn who answered is refused, unless another process receives."""
    async with Simulator().service(from_=19170000000) as service:
        campaign = Campaign(MemoryLedger(), service, NAME, settings(redial=Redial(missed=1)))
        await campaign.load(contacts(1))
        with pytest.raises(ConfigurationError, match="redials"):
            await campaign.run()


# -- as a value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"missed": 0}, "Redial.missed must be a whole number from 1 to 20"),
        ({"missed": 21}, "Redial.missed"),
        ({"missed": True}, "Redial.missed"),
        ({"missed": "2"}, "Redial.missed"),
        ({"missed": 1, "after": 0}, "Redial.after must be seconds or a timedelta, above 0"),
        ({"missed": 1, "after": []}, "Redial.after"),
        ({"missed": 1, "after": [1, "2h"]}, "Redial.after"),
        ({"missed": 1, "after": float("nan")}, "Redial.after"),
        ({"missed": 1, "from_": 19170000000}, "Redial.from_ must be a list"),
        ({"missed": 1, "from_": "19170000000"}, "Redial.from_ must be a list"),
        ({"missed": 1, "from_": ["no number"]}, "from_"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    """A wrong value is refused when it is made, and its name is in the message."""
    with pytest.raises(ConfigurationError, match=message):
        Redial(**given)


def test_waits_and_caller_ids_go_on_with_the_last() -> None:
    """A list that is shorter than the plan goes on with its last value."""
    redial = Redial(missed=3, after=[60, timedelta(hours=1)], from_=[19170000005])

    assert redial.waits == [60.0, 3600.0, 3600.0]
    assert [redial.caller_id(done) for done in range(4)] == [None, *[19170000005] * 3]
    assert Redial(missed=1).caller_id(1) is None
    assert "19170000005" not in repr(redial)


def test_it_is_stored_with_the_settings() -> None:
    """Any worker reads the plan from the ledger; settings without one are as they were."""
    with_plan = settings(redial=Redial(missed=2, after=[60, 3600], from_=[19170000005]))
    without = settings()

    assert CampaignSettings.parse(json.loads(json.dumps(with_plan.dump()))) == with_plan
    assert "redial" not in without.dump()
    assert CampaignSettings.parse(without.dump()) == without
    with pytest.raises(ConfigurationError, match="redial"):
        CampaignSettings.parse({**without.dump(), "redial": {"missed": 2, "before": 3}})


def test_a_plan_is_one() -> None:
    """Something else than a plan is refused, and so are two ways of naming caller ids."""
    with pytest.raises(ConfigurationError, match="redial must be a Redial"):
        settings(redial=2)
    with pytest.raises(ConfigurationError, match=r"Redial\.from_ cannot name others"):
        settings(
            from_=19170000000,
            pace={"caller_id_calls_per_second": 1.0},
            redial=Redial(missed=1, from_=[19170000005]),
        )
