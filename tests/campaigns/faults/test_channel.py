"""Campaigns whose webhooks are lost, doubled, late, out of order, forged, or missing."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest
import sniffio
from faulty_campaign import FIRST, NAME, SHORT, TOKEN, contacts, scene, settings

from telecmi_async import Receiver
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Fault, Webhooks

pytestmark = pytest.mark.anyio

S = ContactState
#: Faults of the requests: some replies are lost though their calls were placed.
FAULTS = [Fault("reply_lost", share=0.1), Fault("missing_property", share=0.1)]
CONFIG = settings(20.0, pace={"max_live_calls": 12})


#: The result with each webhook delivered once and at once, by event loop.
_AT_ONCE: dict[str, dict[int, tuple[Any, ...]]] = {}


async def undisturbed() -> dict[int, tuple[Any, ...]]:
    """Return the result with each webhook delivered once and at once, computed once."""
    loop = sniffio.current_async_library()
    if loop not in _AT_ONCE:
        _AT_ONCE[loop] = await outcome_with(Webhooks())
    return _AT_ONCE[loop]


async def outcome_with(
    webhooks: Webhooks, *, latency: float = 0.1
) -> dict[int, tuple[Any, ...]]:
    """Run a campaign, and return the final result of each contact."""
    async with scene(
        *FAULTS, webhooks=webhooks, latency=latency, answered_share=0.6, seed=7
    ) as here:
        campaign = here.campaign(CONFIG)
        await campaign.load(contacts(40))
        most = 0

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            while (await here.ledger.state(NAME)).counts[S.PENDING]:
                most = max(most, sum(not call.over for call in here.simulator.calls))
                await anyio.sleep(1)

        await here.account(40)
        assert most <= 12
        found = [contact async for contact in here.ledger.contacts(NAME)]
        # Every channel is released in the end.
        (held,) = here.ledger._db.execute("SELECT count(*) FROM channel").fetchone()
        assert held == 0
    return {
        c.number: (c.state, c.answered, bool(c.talk_seconds), c.cost, c.sends, c.request_id)
        for c in found
    }


@pytest.mark.usefixtures("campaigns_poll_seldom")
@pytest.mark.parametrize(
    "webhooks",
    [
        Webhooks(drop_share=0.1),
        Webhooks(double_share=1.0),
        Webhooks(delay=(0.0, 20.0)),
        Webhooks(delay=(600.0, 600.0)),
        Webhooks(drop_share=0.1, double_share=0.3, delay=(0.0, 120.0)),
    ],
    ids=["lost", "doubled", "out of order", "ten minutes late", "all together"],
)
async def test_whatever_becomes_of_webhooks_the_same_is_known_in_the_end(
    webhooks: Webhooks,
) -> None:
    """Lost, doubled, late or reordered webhooks lead to the same states, talk time and cost."""
    assert await outcome_with(webhooks) == await undisturbed()


@pytest.mark.usefixtures("campaigns_poll_seldom")
async def test_webhooks_that_overtake_the_replies_tell_the_same() -> None:
    """Webhooks that arrive before the HTTP reply lead to the same result."""
    assert await outcome_with(Webhooks(), latency=9.0) == await undisturbed()


async def test_forged_webhooks_and_those_of_strangers_move_nobody() -> None:
    """Webhooks with a foreign request id or a forged reference change no contact."""
    async with scene(Fault("reset", to=FIRST), ring=300.0) as here:
        campaign = here.campaign()
        await campaign.load(contacts(2))
        forged = [
            {"type": "event", "status": "answered", "to": FIRST, "request_id": "r" * 43},
            {
                "type": "event", "status": "answered", "to": FIRST,
                "extra_params": {"tcm_reference": f"tcm_{'a' * 26}.{'a' * 26}"},
            },
        ]  # fmt: skip

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(2)
            (intent,) = [
                p.token for c in [await here.ledger.find(NAME, FIRST)] if c
                for p in c.history if p.what == "intend"
            ]  # fmt: skip
            stolen = {"tcm_reference": f"{intent}.{'a' * 26}"}  # its signature is wrong
            for event in [*forged, forged[0] | {"extra_params": stolen}]:
                await here.receiver.handle(
                    "POST", f"/telecmi/{TOKEN}", {}, json.dumps(event).encode()
                )

        assert await here.account(2) == {"unknown": 1, "finished": 1}


@pytest.mark.usefixtures("campaigns_poll_seldom")
@pytest.mark.parametrize("policy", ["hold", "retry_after_proof", "give_up"])
async def test_while_no_webhook_comes_unknown_ones_are_held_and_it_is_said(
    policy: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without webhooks, unknown contacts stay unknown under every policy, with a warning."""
    caplog.set_level(logging.WARNING, "telecmi_async")
    elsewhere = Receiver(TOKEN)
    async with (
        elsewhere,
        scene(
            Fault("reset", to=FIRST), Fault("reply_lost", to=FIRST + 1),
            webhooks=Webhooks(elsewhere),
        ) as here,
    ):  # fmt: skip
        campaign = here.campaign(settings(unknown=policy))
        await campaign.load(contacts(8))
        await campaign.run()
        await anyio.sleep(SHORT.proof)
        await here.campaign(settings(unknown=policy)).run()

        assert await here.account(8) == {"unknown": 2, "placed": 6}
        assert len(here.simulator.log) == 8
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "webhooks" in text]
