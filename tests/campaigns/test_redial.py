"""Redial: those who did not answer are dialled again, as planned, by all workers as one."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty_campaign import FIRST, NAME, SHORT, account, contacts, scene, settings
from memory_ledger import MemoryLedger

from telecmi_async import ConfigurationError, Receiver
from telecmi_async.campaigns import (
    Campaign,
    CampaignRules,
    CampaignSettings,
    Pace,
    Redial,
)
from telecmi_async.ledger import ContactState, SendLimits
from telecmi_async.simulator import Callee, Simulator

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
    redial = Redial(missed=2, after=[timedelta(minutes=10), timedelta(hours=2)])
    async with scene(answered_share=0.6, seed=3) as at:
        config = settings(redial=redial)
        team = [at.campaign(config) for _ in range(workers)]
        await team[0].load(contacts(200))
        async with anyio.create_task_group() as group:
            for each in team:
                group.start_soon(each.run)
        state = await at.ledger.state(NAME)

    assert (state.status, state.counts[S.FINISHED]) == ("done", 200)
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
    assert answered.count(True) > 170  # 60 % would be 120
