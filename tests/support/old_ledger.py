"""A ledger that version 0.1.0 wrote, and what must hold of it once it is migrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faulty_campaign import FIRST, all_contacts
from project_paths import DATA

from telecmi_async.campaigns import Campaign, FrequencyCap
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from faulty_campaign import WritingSimulator

    from telecmi_async import CallService
    from telecmi_async.ledger import Ledger

__all__ = ["OLD_POSTGRES", "OLD_SQLITE", "check_old_ledger", "continue_old_campaign"]

OLD_SQLITE = DATA / "ledger_0_1_0.sqlite.sql"
OLD_POSTGRES = DATA / "ledger_0_1_0.postgres.sql"
#: The contacts of its campaign "spring", in their order.
STATES = [
    "claimed",
    "claimed",
    "sending",
    "sending",
    "placed",
    "placed",
    "finished",
    "finished",
    "rejected",
    "failed",
    "blocked",
    "pending",
    "unknown",
    "pending",
    "pending",
    "pending",
    "pending",
    "pending",
]
#: Those of which a phone may have rung.
REACHED = range(2, 8)


async def check_old_ledger(ledger: Ledger) -> None:
    """Require that all rows of the old ledger are there, with what they hold."""
    spring = await all_contacts(ledger, "spring")
    state = await ledger.state("spring")

    assert await ledger.campaigns() == ["spring", "autumn"]
    assert [str(each.state) for each in spring] == STATES
    assert [each.number for each in spring] == [FIRST + n for n in range(18)]
    assert [each.columns for each in spring] == [{"name": f"N{n} ü"} for n in range(18)]
    assert [each.sends for each in spring] == [0, 0, *[1] * 8, 0, 0, 1, 1, 1, 0, 0, 0]
    assert (spring[6].answered, spring[6].talk_seconds, spring[6].cost) == (True, 30, 1.5)
    assert [spring[n].reason for n in (8, 9, 12)] == [
        "HTTP 404", "three times too many", "ReadTimeout",
    ]  # fmt: skip
    assert {each.what for each in spring[14].history} == {
        "claim", "intend", "mark_unknown", "redial",
    }  # fmt: skip
    assert (state.sends, state.cost, state.unpriced) == (11, 1.5, 6)
    assert (state.ended, state.answered, state.talk_seconds) == (2, 1, 30)
    assert (await ledger.state("autumn")).why == "for lunch"
    assert await ledger.add_do_not_call([FIRST + 100], "again") == 0


async def continue_old_campaign(
    ledger: Ledger, service: CallService, simulator: WritingSimulator
) -> None:
    """Go on with the old campaign, and require that each is called whom no phone may have rung."""
    campaign = await Campaign.attach(ledger, service, "spring")
    assert campaign.settings.rules.per_number == (FrequencyCap(2, per=86400),)

    await campaign.run()
    states = [str(each.state) for each in await all_contacts(ledger, "spring")]

    left = [n for n, state in enumerate(STATES) if state in {"pending", "claimed"}]
    assert sorted(each.number - FIRST for each in simulator.log) == left
    assert [states[n] for n in left] == ["placed"] * len(left)
    assert [states[n] for n in (2, 3, 12)] == ["unknown"] * 3
    assert [states[n] for n in (8, 9, 10)] == ["rejected", "failed", "blocked"]
    assert (await ledger.state("spring")).counts[ContactState.PENDING] == 0
