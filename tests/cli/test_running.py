"""What a command says and returns when outcomes of its campaign are not on record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from campaign_scene import contacts, scene
from consoles import console

from telecmi_async import StoreError
from telecmi_async.cli import Exit
from telecmi_async.cli.exits import Stop
from telecmi_async.cli.running import run_campaign

if TYPE_CHECKING:
    from telecmi_async.campaigns import Campaign
    from telecmi_async.ledger import CampaignState

pytestmark = pytest.mark.anyio


async def finished() -> CampaignState:
    """Return the state of a campaign that is done."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(2))
        return await campaign.run()


@pytest.mark.parametrize("fails", [False, True])
async def test_sends_that_are_not_on_record_are_said_and_make_the_outcome_unknown(
    *, fails: bool
) -> None:
    """Such sends are counted in a sentence, and the exit code says that a phone may have rung."""
    state = await finished()

    async def run(**_: object) -> CampaignState:
        if fails:
            raise StoreError("the ledger failed")
        return state

    campaign = cast("Campaign", SimpleNamespace(run=run, unrecorded=2, settings=None))
    terminal = console({})
    ledger = cast("Any", None)

    if fails:
        with pytest.raises(Stop, match="the ledger failed") as stopped:
            await run_campaign(terminal, campaign, ledger, patient=True, receives=True)
        code = stopped.value.code
    else:
        _, code = await run_campaign(terminal, campaign, ledger, patient=True, receives=True)

    assert code is Exit.UNKNOWN
    assert "2 sends is not on record" in terminal.err
