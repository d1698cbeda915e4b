"""Where a campaign receives the events of its calls, and caps that only events can measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from campaign_scene import FROM, SHORT, TOKEN, S, contacts, settings
from memory_ledger import MemoryLedger

from telecmi_async import CdrPoller, ConfigurationError, Receiver
from telecmi_async.campaigns import Campaign, CampaignRules, CostCap, DailyCap, FrequencyCap
from telecmi_async.events.store import MemoryStore
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

COST = settings(1.0, rules=CampaignRules(cost=CostCap(0.5)))
LIVE = settings(pace={"max_live_calls": 1})
BOTH = settings(rules=CampaignRules(cost=CostCap(9)), pace={"max_live_calls": 9})
CAPPED = pytest.mark.parametrize(
    ("config", "named"),
    [
        (COST, "a cost cap"),
        (LIVE, "a limit of live calls"),
        (BOTH, "a cost cap and a limit of live calls"),
    ],
    ids=["cost", "live", "both"],
)
DEAF: list[Callable[[], Any]] = [lambda: None, CdrPoller, MemoryStore, lambda: [CdrPoller()]]


def simulator() -> Simulator:
    """Return a simulator of short calls."""
    return Simulator(magic=False, ring=1.0, talk=2.0, latency=0.1)


@pytest.mark.parametrize(
    "sources",
    [
        lambda receiver: receiver,
        lambda receiver: [CdrPoller(), receiver],
        lambda receiver: (receiver,),
    ],
    ids=["alone", "beside a poller", "in a tuple"],
)
async def test_a_campaign_hears_through_its_services_receiver(
    sources: Callable[[Receiver], Any],
) -> None:
    """A receiver that the service was given reports to its campaigns: a cost cap holds."""
    receiver, ledger, telecmi = Receiver(TOKEN), MemoryLedger(), simulator()
    async with receiver, telecmi.service(from_=FROM, events=sources(receiver)) as service:
        campaign = Campaign(ledger, service, "spring", COST, timeouts=SHORT)
        await campaign.load(contacts(30))

        state = await campaign.run()

    assert (state.status, state.asked) == ("stopped", "stopped")
    assert state.cost is not None
    assert state.cost >= 0.5
    assert telecmi.requests < 10


async def test_a_bridged_call_costs_what_its_legs_cost_together() -> None:
    """The costs of phones that were bridged to are the campaign's, too, however often they come."""
    receiver, ledger, telecmi = Receiver(TOKEN), MemoryLedger(), simulator()
    bridging = settings(
        flow=[{"action": "bridge", "connect": [FROM + 9]}, {"action": "hangup"}]
    )
    async with receiver, telecmi.service(from_=FROM, events=receiver) as service:
        campaign = Campaign(ledger, service, "spring", bridging, timeouts=SHORT)
        await campaign.load(contacts(3))

        state = await campaign.run()
        await anyio.sleep(3_600)  # TeleCMI sends records again for half an hour

    cost = float(sum(call.cost for call in telecmi.calls))
    assert cost == pytest.approx(6 * 0.39)
    assert state.cost == pytest.approx(cost)
    assert (await ledger.state("spring")).cost == pytest.approx(cost)


@CAPPED
@pytest.mark.parametrize("sources", DEAF, ids=["none", "poller", "store", "list"])
@pytest.mark.parametrize("attached", [False, True])
async def test_a_cap_that_cannot_be_measured_is_refused(
    config: Any, named: str, sources: Callable[[], Any], *, attached: bool
) -> None:
    """Without a receiver, a campaign with a cap is refused before a call, and says what to give."""
    ledger, telecmi = MemoryLedger(), simulator()
    async with telecmi.service(from_=FROM, events=sources()) as service:
        campaign = Campaign(ledger, service, "spring", config, timeouts=SHORT)
        loaded = await campaign.load(contacts(3))
        await campaign.pause()
        if attached:
            campaign = await Campaign.attach(ledger, service, "spring", timeouts=SHORT)

        for _ in range(2):
            with pytest.raises(ConfigurationError, match=rf"has {named}.*events=Receiver"):
                await campaign.run()
        state = await campaign.state()

    assert loaded.added == state.counts[S.PENDING] == 3
    assert state.asked == "paused"
    assert telecmi.requests == 0


@CAPPED
async def test_a_campaign_dials_without_events_if_that_was_said(
    config: Any, named: str
) -> None:
    """`without_events` dials a campaign with a cap whose events are recorded elsewhere."""
    ledger, telecmi, receiver = MemoryLedger(), simulator(), Receiver(TOKEN)
    telecmi.webhooks = Webhooks(receiver)
    async with (
        receiver,
        telecmi.service(from_=FROM, events=receiver) as hears,
        telecmi.service(from_=FROM) as dials,
        Campaign(ledger, hears, "spring", config, timeouts=SHORT) as elsewhere,
    ):
        await elsewhere.load(contacts(2))
        worker = await Campaign.attach(
            ledger, dials, "spring", without_events=True, timeouts=SHORT
        )
        state = await worker.run()

    assert named
    assert telecmi.requests == state.sends >= 1


@pytest.mark.parametrize(
    "rules",
    [
        {"per_day": DailyCap(2)},
        {"per_number": [FrequencyCap(1, per=3600)]},
        {"not_after": 4e9},
    ],
    ids=str,
)
async def test_a_cap_that_the_ledger_measures_needs_no_receiver(rules: dict[str, Any]) -> None:
    """Caps on the number of calls hold without events, and are not refused."""
    ledger, telecmi = MemoryLedger(), simulator()
    async with telecmi.service(from_=FROM) as service:
        config = settings(rules=CampaignRules(**rules))
        campaign = Campaign(ledger, service, "spring", config, timeouts=SHORT)
        await campaign.load(contacts(2))

        state = await campaign.run()

    assert state.counts[S.PLACED] == telecmi.requests == 2
    assert (state.status, state.cost, state.unpriced) == ("waiting for records", None, 2)
    assert str(state) == "spring, waiting for records: 2 placed; 2 sends, cost unknown"
