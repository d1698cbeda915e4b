"""Send health: what pauses a campaign, and why the circuit breaker is open."""

from __future__ import annotations

import pytest
from campaign_scene import contacts, scene

from telecmi_async import Hangup
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.campaigns.send_health import SendHealth
from telecmi_async.campaigns.settings_in_use import SettingsInUse
from telecmi_async.errors import CallOutcomeUnknown, NotSent
from telecmi_async.ledger import ContactState


@pytest.fixture
def health() -> SendHealth:
    """The health of a campaign that pauses after two equal refusals."""
    return SendHealth(
        "spring", SettingsInUse(CampaignSettings(flow=[Hangup()], pause_after_refusals=2))
    )


def test_contacts_that_fail_for_the_same_reason_pause_the_campaign(health: SendHealth) -> None:
    """Sends that fail for good before they leave count as refusals, by their words."""
    whys = [
        health.reason_to_pause(NotSent(text), ContactState.FAILED, 19170000001)
        for text in ("one", "other", "other", "other")
    ]

    assert whys == ["", "", "2 equal refusals in a row (other)", ""]


def test_the_breaker_says_what_the_last_probe_met(health: SendHealth) -> None:
    """An unknown outcome of a probe shows that TeleCMI was reached."""
    cut, lost = NotSent("no"), CallOutcomeUnknown("no", reference="r", cause="ReadTimeout")
    cut.unreached = "ConnectError"
    for _ in range(5):
        health.record(cut, 0.0, began=0.0)
    before = health.why
    health.record(NotSent("it had no turn"), 1.0, began=1.0)
    unchanged = health.why
    health.record(lost, 2.0, began=2.0)

    assert before == unchanged == "TeleCMI cannot be reached (ConnectError)"
    assert (health.unreached, health.why) == ("", "too many of the last sends ended unknown")


@pytest.mark.anyio
async def test_a_campaign_that_is_paused_already_keeps_its_reason() -> None:
    """A worker that has a reason to pause leaves one that another worker or a person gave."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(1))
        await here.ledger.set_status("spring", "paused", "by hand")
        worker = campaign._worker
        worker.status = "running"

        await worker._set_status("paused", "ten equal refusals")

        assert (await here.ledger.state("spring")).why == "by hand"
        assert worker.status == "paused"
