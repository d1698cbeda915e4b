"""Campaigns with clock jumps and changing rates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import pytest
from fake_telecmi import FakeTelecmi, accepted, refused
from faulty_campaign import (
    FIRST,
    NAME,
    busiest,
    contacts,
    scene,
    settings,
)
from memory_ledger import EPOCH

from telecmi_async.campaigns import CallingWindow, Campaign, CampaignRules
from telecmi_async.ledger import NewContact

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.anyio


# --- clocks ------------------------------------------------------------------------------


async def test_a_clock_that_is_set_forward_changes_no_pace() -> None:
    """A clock set forward by an hour ends all leases, and no call starts too early."""
    async with scene(latency=2.0) as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(60))
        tasks.start_soon(campaign.run)
        await anyio.sleep(3)
        here.ledger.ahead += 3_600

    assert await here.account(60) == {"finished": 60}
    assert busiest(here.simulator.log) <= 11
    assert max(request.at for request in here.simulator.log) < 12


async def test_a_clock_that_is_set_back_stops_the_dialling_until_it_has_caught_up() -> None:
    """A clock set back stops dialling until it has caught up; then the rate is as before."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(60))
        tasks.start_soon(campaign.run)
        await anyio.sleep(3)
        here.ledger.ahead -= 300
        await anyio.sleep(1)
        before = len(here.simulator.log)
        await anyio.sleep(200)
        during = len(here.simulator.log)

    assert 20 < before == during < 40
    assert await here.account(60) == {"finished": 60}
    assert busiest(here.simulator.log) <= 11


async def test_nobody_is_dialled_after_hours_in_whatever_night_the_clock_is_changed() -> None:
    """The calling window opens at the local hour on days with 23 and with 25 hours."""
    window = CallingWindow("08:00", "09:00", ring_time=60.0)
    # In the first night, clocks are set forward; in the second, back.
    for evening, night in (
        (datetime(2027, 3, 13, 22, tzinfo=UTC), 13.9),
        (datetime(2027, 11, 6, 22, tzinfo=UTC), 14.9),
    ):
        async with scene() as here:
            here.ledger.ahead = evening.timestamp() - EPOCH - anyio.current_time()
            zone = {"name": "x", "timezone": "America/New_York"}
            campaign = here.campaign(settings(rules=CampaignRules(window=window)))
            await campaign.load([NewContact(number=FIRST + n, columns=zone) for n in range(3)])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(campaign.run)
                await anyio.sleep(5)
                here.ledger.ahead += night * 3_600  # until minutes before it opens
            moments = [EPOCH + here.ledger.ahead + request.at for request in here.simulator.log]
            walls = [datetime.fromtimestamp(moment, UTC).isoformat() for moment in moments]
        # New York is five hours behind in winter, else four.
        opens = "T12:00" if evening.month == 3 else "T13:00"
        assert len(walls) == 3
        assert all(opens in wall for wall in walls)


# --- rates -------------------------------------------------------------------------------


async def test_a_pace_that_is_cut_and_grows_again_is_never_passed() -> None:
    """Neither "too many requests" nor a pause makes the campaign exceed its rate."""

    def script(number: int) -> httpx.Response:
        refuses = 1.0 <= anyio.current_time() < 6.0
        return refused(429, retry_after="1") if refuses else accepted(number)

    fake = FakeTelecmi(script, delay=0.2)
    async with fake.service() as service, scene() as here:
        campaign = Campaign(here.ledger, service, NAME, settings(50.0))
        await campaign.load(contacts(500))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(10)
            await campaign.pause()
            await anyio.sleep(2)
            before = len(fake.starts)
            await anyio.sleep(60)
            during = len(fake.starts)
            await campaign.resume()

    starts = fake.starts
    in_a_second = [sum(at <= other < at + 1 for other in starts) for at in starts]
    cut = [at for at in starts if 2.0 <= at < 6.0]
    assert before == during
    assert max(in_a_second) <= 51
    # One or two probes a second are sent.
    assert len(cut) <= 40
    assert starts[-1] < 10 + 62 + 30
