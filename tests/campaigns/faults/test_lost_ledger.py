"""A ledger that is damaged, or no longer the one that was opened, ends the campaign."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty_campaign import NAME, contacts, scene, settings

from telecmi_async.cli.exits import Exit, exit_of
from telecmi_async.errors import LedgerLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

DAMAGED = "the ledger failed: it is damaged"


def failing(do: Callable[..., Any], after: int, error: StoreError) -> Callable[..., Any]:
    """Return a method that works a number of times, and then fails once."""
    calls = 0

    async def method(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == after:
            raise error
        return await do(*args, **named)

    return method


@pytest.mark.parametrize(
    ("method", "after"),
    [("claim", 2), ("intend", 5), ("settle", 5), ("state", 3), ("renew", 2), ("release", 1),
     ("record_event", 2), ("reap", 1), ("lease_channel", 4), ("reserve", 4)],
)  # fmt: skip
async def test_a_ledger_that_is_lost_once_ends_the_campaign(
    method: str, after: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One LedgerLost anywhere ends the worker, although the ledger would work afterwards.

    It is said once, never that the ledger works again, and nothing is sent any more.
    """
    async with scene() as here:
        config = settings(20.0, pace={"max_live_calls": 30})
        campaign = here.campaign(config)
        await campaign.load(contacts(300))
        work = getattr(here.ledger, method)
        monkeypatch.setattr(here.ledger, method, failing(work, after, LedgerLost(DAMAGED)))
        if method == "release":
            send = failing(here.ledger.reserve, 3, StoreError("away"))
            monkeypatch.setattr(here.ledger, "reserve", send)

        with pytest.raises(LedgerLost, match="damaged"):
            await campaign.run()
        sent = len(here.simulator.log)
        await anyio.sleep(60)

        assert len(here.simulator.log) == sent < 300
        here.simulator.no_duplicates()
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert said.count(f"campaign {NAME} ends: {DAMAGED}") == 1
    assert not any("works again" in each for each in said)


async def test_after_that_it_may_be_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ledger that was put right, `run` goes on."""
    async with scene() as here:
        campaign = here.campaign()
        await campaign.load(contacts(20))
        with monkeypatch.context() as patch:
            claim = failing(here.ledger.claim, 2, LedgerLost(DAMAGED))
            patch.setattr(here.ledger, "claim", claim)
            with pytest.raises(LedgerLost):
                await campaign.run()

        await campaign.run()

        assert await here.account(20) == {"finished": 20}


def test_a_lost_ledger_has_the_exit_code_of_unknown_calls() -> None:
    """Its exit code says that a phone may have rung; a ledger that is away has another one."""
    assert exit_of(LedgerLost(DAMAGED)) is Exit.UNKNOWN
    assert exit_of(StoreError("away")) is Exit.UNAVAILABLE
