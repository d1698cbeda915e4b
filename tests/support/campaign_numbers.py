"""Campaigns with duplicate numbers and opt-outs, on any ledger.

The fixture `open_ledger` is SQLite's, and PostgreSQL's below tests/servers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from faulty_campaign import FIRST, FROM, NAME, WritingSimulator, account, contacts, settings

from telecmi_async import CallService
from telecmi_async.campaigns import Campaign, CampaignRules, FrequencyCap
from telecmi_async.campaigns.contacts.files import ContactsFile

if TYPE_CHECKING:
    from pathlib import Path

    from ledgers import OpenLedger

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("campaigns_poll_often"),
]

# --- duplicate numbers -------------------------------------------------------------------


async def test_a_number_is_dialled_once_however_often_it_is_written(
    open_ledger: OpenLedger, tmp_path: Path
) -> None:
    """A duplicate number is dialled once: other spellings, a second load, a second campaign."""
    path = tmp_path / "people.csv"
    path.write_text(
        "number,name\n+91 98765 43210,Ada\n919876543210,Ada\n(+91) 98765-43210,Ada\n"
        "+1 212 555 0123,Grace\n+1-212-555-0123,Grace\n"
    )
    simulator = WritingSimulator(magic=False, life=None, latency=0.01)
    simulator.log = []
    once = settings(rules=CampaignRules(per_number=[FrequencyCap(1, per=86_400.0)]))
    async with (
        open_ledger(tmp_path, time.time) as ledger,
        httpx.AsyncClient(transport=simulator.transport()) as client,
        CallService(2222226, simulator.secret, from_=FROM, http_client=client) as service,
    ):
        campaigns = [Campaign(ledger, service, name, once) for name in (NAME, "summer")]
        for campaign in campaigns:
            for _ in range(2):
                await campaign.load(ContactsFile(path, country="91").contacts())
        async with anyio.create_task_group() as tasks:
            for campaign in campaigns:
                tasks.start_soon(campaign.run)
            await anyio.sleep(0.8)
            tasks.cancel_scope.cancel()

        states = [await ledger.state(name) for name in (NAME, "summer")]
    simulator.no_duplicates()
    assert len(simulator.log) == simulator.numbers() == 2
    assert [state.total for state in states] == [2, 2]
    assert sum(state.sends for state in states) == 2


# --- opt-outs ----------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["claimed", "at its turn"])
async def test_who_opts_out_while_a_call_is_on_its_way_is_not_dialled(
    open_ledger: OpenLedger, when: str, tmp_path: Path
) -> None:
    """A contact that opts out after its claim, or just before its intent, is not dialled."""
    simulator = WritingSimulator(magic=False, life=None, latency=0.01)
    simulator.log = []
    async with (
        open_ledger(tmp_path, time.time) as ledger,
        httpx.AsyncClient(transport=simulator.transport()) as client,
        CallService(2222226, simulator.secret, from_=FROM, http_client=client) as service,
    ):
        claim, intend = ledger.claim, ledger.intend

        async def claiming(*args: Any, **more: Any) -> Any:
            found = await claim(*args, **more)
            if found and when == "claimed":
                await ledger.add_do_not_call([FIRST], "himself")
            return found

        async def intending(held: Any, *args: Any, **more: Any) -> Any:
            if held.number == FIRST and when != "claimed":
                await ledger.add_do_not_call([FIRST], "himself")
            return await intend(held, *args, **more)

        here: Any = ledger
        here.claim, here.intend = claiming, intending
        campaign = Campaign(ledger, service, NAME, settings())
        await campaign.load(contacts(3))

        await campaign.run()

        assert await account(ledger, simulator.log, 3) == {"blocked": 1, "placed": 2}
