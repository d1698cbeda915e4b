"""Campaigns that are run again, at the same time, on the wrong loop, or by a frozen worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from campaign_scene import FIRST, SHORT, contacts, scene, settings

from telecmi_async import StoreError, WrongEventLoop
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Fault

if TYPE_CHECKING:
    from campaign_scene import Scene

    from telecmi_async.campaigns import Campaign

pytestmark = pytest.mark.anyio

S = ContactState


# --- running again -----------------------------------------------------------------------


@pytest.mark.parametrize("by", ["leave", "cancel"])
async def test_a_campaign_that_was_left_is_run_again(by: str) -> None:
    """A second run continues where the first one ended, and dials the remaining contacts."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(30))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(campaign.run)
                await anyio.sleep(1)
                campaign.leave() if by == "leave" else scope.cancel()
        before = await here.counted()

        state = await campaign.run()

        assert before["pending"] == 20
        assert state.counts[S.FINISHED] == here.simulator.requests == 30


async def test_whoever_leaves_before_it_is_run_dials_nobody() -> None:
    """leave() before a run ends that run without dialling; the next run dials."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))
        campaign.leave()

        first = await campaign.run()
        second = await campaign.run()

        assert first.counts[S.PENDING] == 3
        assert second.counts[S.FINISHED] == 3


# --- errors ------------------------------------------------------------------------------


async def test_a_service_of_another_loop_ends_the_run_and_burns_nobody() -> None:
    """A service of another event loop raises WrongEventLoop, and contacts stay pending."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))

        def elsewhere(*_: object) -> None:
            raise WrongEventLoop("the service belongs to another event loop")

        here.service._runner.place_once = elsewhere  # type: ignore[assignment,method-assign]  # as a service of another loop
        with pytest.raises(WrongEventLoop):
            await campaign.run()

        assert await here.counted() == {"pending": 3}


class _StrangeError(Exception):
    """An error that no ledger of this package raises."""


@pytest.mark.parametrize("what", ["claim", "settle", "renew"])
async def test_what_a_strange_ledger_raises_comes_out_as_it_is(what: str) -> None:
    """An unexpected ledger error is raised as itself, not in an exception group."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))

        async def strange(*_: object, **__: object) -> Any:
            await anyio.sleep(0.1)
            raise _StrangeError

        setattr(here.ledger, what, strange)
        with pytest.raises(_StrangeError):
            await campaign.run()


@pytest.mark.parametrize("error", [StoreError("a value is out of range"), _StrangeError()])
async def test_a_ledger_that_takes_no_intent_dials_nobody_and_is_spoken_of(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """While intents fail, no contact is dialled or blocked, and a warning is logged."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))
        real = here.ledger.intend

        async def intend(*_: object, **__: object) -> Any:
            raise error

        here.ledger.intend = intend  # type: ignore[method-assign, assignment]  # a failing intent
        tasks.start_soon(campaign.run)
        await anyio.sleep(10)
        assert here.simulator.requests == 0
        here.ledger.intend = real  # type: ignore[method-assign]  # the real one

    assert await here.counted() == {"finished": 3}
    assert "the ledger fails, nothing is dialled" in caplog.text
    assert here.ledger.jobs < 300


@pytest.mark.parametrize("stall", [3.0, 40.0])
async def test_intents_that_were_stuck_do_not_leave_all_at_once(stall: float) -> None:
    """Calls whose intents were delayed take a new start each, so that the rate holds."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(100))
        real, until = here.ledger.intend, anyio.current_time() + 3 + stall

        async def intend(*given: Any, **more: Any) -> Any:
            if until - stall < anyio.current_time() < until:
                await anyio.sleep(until - anyio.current_time())
            return await real(*given, **more)

        here.ledger.intend = intend  # type: ignore[method-assign, assignment]  # a disk that is stuck
        await campaign.run()

        starts = sorted(call.timeline[0].at for call in here.simulator.calls)
        most = max(sum(at <= other < at + 1 for other in starts) for at in starts)
        assert most <= 16
        assert await here.counted() == {"finished": 100}


# --- leaving -----------------------------------------------------------------------------


async def test_whoever_leaves_as_a_start_is_granted_does_not_wait_for_it() -> None:
    """A worker that leaves does not wait for a start that was just granted."""
    async with scene() as here:
        campaign = here.campaign(settings(0.01))
        await campaign.load(contacts(1))
        await here.ledger.reserve([("account", 100.0)], longest=1.0)
        real = here.ledger.reserve

        async def reserve(*given: Any, **more: Any) -> list[float]:
            campaign.leave()
            return await real(*given, **more)

        here.ledger.reserve = reserve  # type: ignore[method-assign, assignment]  # leave at this moment
        await campaign.run()

        assert anyio.current_time() < 10
        assert await here.counted() == {"pending": 1}


# --- clocks ------------------------------------------------------------------------------


async def test_a_clock_that_jumps_proves_nothing() -> None:
    """A clock that jumps forward does not prove that an unknown call was never placed."""
    config = settings(10.0, unknown="retry_after_proof")
    async with scene(Fault("reset", to=FIRST, attempts=1), ring=60.0) as here:
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            campaign = here.campaign(config)
            await campaign.load(contacts(3))
            tasks.start_soon(campaign.run)
            await anyio.sleep(100)
            here.ledger.ahead += 7200
            await anyio.sleep(100)
            assert await here.counted() == {"finished": 2, "unknown": 1}

        assert await here.counted() == {"finished": 3}
        assert anyio.current_time() - began > SHORT.proof


# --- frozen workers ----------------------------------------------------------------------


async def test_a_worker_that_wakes_up_frees_no_channels_of_others() -> None:
    """A worker that wakes up releases no channels of calls that another worker placed."""
    most = 0
    config = settings(5.0, pace={"max_live_calls": 3})
    async with scene(ring=200.0) as here, anyio.create_task_group() as tasks:
        frozen, other = here.campaign(config), here.campaign(config)
        await frozen.load(contacts(12))
        awake = _freeze(here, frozen)
        tasks.start_soon(frozen.run)
        await anyio.sleep(0.5)
        tasks.start_soon(other.run)
        await anyio.sleep(100)
        awake.set()
        for _ in range(200):
            most = max(most, sum(not call.over for call in here.simulator.calls))
            await anyio.sleep(0.5)
        await other.stop()
        tasks.cancel_scope.cancel()

    assert most == 3
    assert here.simulator.placed(FIRST) == 1


async def test_a_record_of_another_campaign_frees_no_channel() -> None:
    """A call record releases the channel of its own campaign only."""
    held: list[int] = []
    with pytest.raises(AssertionError, match="more than once"):  # each campaign calls it once
        async with scene(ring=40.0) as here, anyio.create_task_group() as tasks:
            for name in ("spring", "autumn"):
                campaign = here.campaign(settings(5.0, pace={"max_live_calls": 2}), name=name)
                await campaign.load(contacts(1))
                tasks.start_soon(campaign.run)
                await anyio.sleep(20)
            for _ in range(3):
                (count,) = here.ledger._db.execute("SELECT count(*) FROM channel").fetchone()
                held.append(count)
                await anyio.sleep(15)

    assert held == [2, 1, 0]


def _freeze(here: Scene, campaign: Campaign) -> anyio.Event:
    """Stop a worker at its next turn; return the event that wakes it up."""
    by, awake, renew = campaign._worker, anyio.Event(), here.ledger.renew
    take = by._scheduler.take

    async def take_late(number: int) -> float | None:
        await awake.wait()
        return await take(number)

    async def renew_late(worker: str, *, lease: float) -> int:
        if worker == by.ledger_health.owner and not awake.is_set():
            return 0
        return await renew(worker, lease=lease)

    by._scheduler.take = take_late  # type: ignore[method-assign]  # a frozen worker
    here.ledger.renew = renew_late  # type: ignore[method-assign, assignment]  # a frozen worker
    return awake
