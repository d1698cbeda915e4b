"""A ledger that is damaged, or no longer the one that was opened, ends the campaign."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty_campaign import FIRST, NAME, contacts, scene, settings
from memory_ledger import MemoryLedger

from telecmi_async.cli.exits import Exit, exit_of
from telecmi_async.errors import LedgerLost, StoreError
from telecmi_async.ledger import NewContact
from telecmi_async.simulator import Fault

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


#: What a worker asks of its ledger, and at which of these calls it learns that it is lost.
LOST_AT = [
    ("claim", 2), ("intend", 5), ("settle", 5), ("state", 3), ("renew", 2), ("release", 1),
    ("block", 1), ("record_event", 2), ("reap", 2), ("resolve_unknown", 2), ("set_status", 1),
    ("lease_channel", 4), ("free_channel", 2), ("reserve", 4), ("now", 9),
]  # fmt: skip


def lost_at(monkeypatch: pytest.MonkeyPatch, ledger: Any, lost: str, after: int) -> None:
    """Have one method say once that the ledger is lost; all methods just fail from then on."""
    is_lost = False
    calls = 0

    def patched(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        async def method(*args: Any, **named: Any) -> Any:
            nonlocal is_lost, calls
            calls += name == lost
            if name == lost and calls == after and not is_lost:
                is_lost = True
                raise LedgerLost(DAMAGED)
            if is_lost:
                raise StoreError("the ledger failed: it could not be used")
            return await do(*args, **named)

        return method

    for name in {each for each, _ in LOST_AT}:
        monkeypatch.setattr(ledger, name, patched(name, getattr(ledger, name)))


@pytest.mark.parametrize(("method", "after"), LOST_AT)
async def test_one_task_that_learns_of_the_loss_ends_all(
    method: str, after: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loss that one task learns of ends the campaign while all others see failures that pass.

    None goes on writing an outcome, and the receiver's handlers end as well.
    """
    faults = [Fault("credentials", to=FIRST + 20)] if method == "set_status" else []
    people = [NewContact(number=FIRST - 1), *contacts(80)]
    async with scene(*faults, ring=1.0, talk=1.0) as here:
        campaign = here.campaign(settings(7.0, pace={"max_live_calls": 50}))
        await campaign.load(people if method == "block" else contacts(80))
        if method == "release":
            send = failing(here.ledger.reserve, 3, StoreError("away"))
            monkeypatch.setattr(here.ledger, "reserve", send)
        lost_at(monkeypatch, here.ledger, method, after)

        with anyio.fail_after(30), pytest.raises(LedgerLost, match="damaged"):
            await campaign.run()
        sent = len(here.simulator.log)
        await anyio.sleep(10)
        began = anyio.current_time()

    assert anyio.current_time() - began < 5
    assert len(here.simulator.log) == sent < 80
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert said.count(f"campaign {NAME} ends: {DAMAGED}") == 1
    assert not any("works again" in each for each in said)


@pytest.mark.parametrize("method", ["reserve", "lease_channel", "free_channel"])
async def test_limits_in_a_ledger_that_is_lost_end_the_campaign(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another ledger that grants starts and channels does not come back either."""
    async with scene(ring=1.0, talk=1.0) as here:
        limits = MemoryLedger()
        campaign = here.campaign(settings(20.0, pace={"max_live_calls": 50}), limits=limits)
        await campaign.load(contacts(80))
        lost_at(monkeypatch, limits, method, 3)

        with anyio.fail_after(30), pytest.raises(LedgerLost, match="damaged"):
            await campaign.run()

        assert len(here.simulator.log) < 80


@pytest.mark.parametrize("kind", ["rate_limited", "late"])
async def test_a_loss_is_learnt_by_a_call_that_is_under_way(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits that are lost when a pause is shared, or a late start replaced, end the campaign."""
    faults = [Fault("rate_limited", attempts=1)] if kind == "rate_limited" else []
    async with scene(*faults) as here:
        limits = MemoryLedger()
        campaign = here.campaign(settings(1.0), limits=limits)
        await campaign.load(contacts(3))
        lost_at(monkeypatch, limits, "reserve", 2)
        intend = here.ledger.intend

        async def late(*args: Any, **named: Any) -> Any:
            await anyio.sleep(5 if kind == "late" else 0)
            return await intend(*args, **named)

        monkeypatch.setattr(here.ledger, "intend", late)

        with anyio.fail_after(60), pytest.raises(LedgerLost, match="damaged"):
            await campaign.run()


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
