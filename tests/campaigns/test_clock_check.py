"""A clock that was ahead and was set back: starts that are held up, and the way out."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from campaign_scene import FIRST, S, Scene, contacts, scene, settings

from telecmi_async.campaigns import Campaign, CampaignRules, DailyCap
from telecmi_async.campaigns.clock_check import go_on, held_up, start_limits

pytestmark = pytest.mark.anyio

HOUR = 3_600.0


async def set_back(here: Scene, ahead: float, config: Any, **more: Any) -> Campaign:
    """Dial some contacts while the clock is ahead, set it back, and return the campaign."""
    here.ledger.ahead = ahead
    await here.campaign(config, **more).load(contacts(20))
    with anyio.move_on_after(2):
        await here.campaign(config, **more).run()
    here.ledger.ahead = 0.0
    return here.campaign(config, **more)


@pytest.mark.parametrize("ahead", [HOUR, 400 * 24 * HOUR])
@pytest.mark.parametrize("pace", [{}, {"campaign_calls_per_second": 2.0}], ids=str)
async def test_a_campaign_says_what_holds_it_up_and_goes_on_when_asked(
    ahead: float, pace: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says until when nothing starts; `go_on` dials the rest, each number once."""
    async with scene() as here:
        config = settings(4.0, pace=pace)
        campaign = await set_back(here, ahead, config)
        before = here.simulator.requests
        with anyio.move_on_after(100):
            await campaign.run()
        waited = here.simulator.requests
        seconds = await held_up(here.ledger, "spring", config)

        await go_on(here.ledger, "spring", config)
        state = await here.campaign(config).run()

    (said,) = [each for each in caplog.records if "was set back" in each.message]
    assert 0 < before == waited < 20
    assert ahead - 400 < seconds <= ahead
    assert said.levelno == logging.WARNING
    assert "no call starts before 20" in said.message
    assert state.counts[S.FINISHED] == here.simulator.numbers() == 20


@pytest.mark.parametrize("ahead", [60.0, 500.0])
async def test_a_clock_that_was_ahead_by_little_is_waited_for(
    ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Some minutes are not mentioned: workers reserve starts, and TeleCMI asks for pauses."""
    async with scene() as here:
        campaign = await set_back(here, ahead, settings(4.0))
        state = await campaign.run()

    assert state.counts[S.FINISHED] == 20
    assert "set back" not in caplog.text


async def test_a_slow_pace_is_no_wrong_clock() -> None:
    """A limit of one call in two hours holds up nothing, and `go_on` leaves it alone."""
    async with scene() as here:
        config = settings(1 / (2 * HOUR))
        await here.campaign(config).load(contacts(2))
        with anyio.move_on_after(10):
            await here.campaign(config).run()

        assert await held_up(here.ledger, "spring", config) == 0.0
        await go_on(here.ledger, "spring", config)
        with anyio.move_on_after(300):
            await here.campaign(config).run()
        assert here.simulator.requests == 1


async def test_going_on_keeps_the_rate_and_the_cap() -> None:
    """Starts go on after a minute and at the rate; calls of the wrong day count for the cap."""
    async with scene() as here:
        config = settings(2.0, rules=CampaignRules(per_day=DailyCap(15)))
        campaign = await set_back(here, 24 * HOUR, config)
        first = here.simulator.requests
        began = anyio.current_time()
        await go_on(here.ledger, "spring", config)
        with anyio.move_on_after(600):
            await campaign.run()

        assert here.simulator.requests == 15
        assert 0 < first < 15
        assert here.simulator.busiest_second() <= 3
        assert min(call.at for call in list(here.simulator.calls)[first:]) >= began + 60


async def test_each_limit_of_a_campaign_is_looked_at() -> None:
    """The names are those under which a worker reserves its starts."""
    async with scene() as here:
        config = settings(
            4.0,
            from_=FIRST,
            pace={"caller_id_calls_per_second": 3.0, "campaign_calls_per_second": 2.0},
        )
        keys = here.campaign(config)._worker._scheduler.starts._keys()

    assert start_limits("spring", config) == keys
    assert len(keys) == 3
