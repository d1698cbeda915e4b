"""Campaigns that are run again, at the same time, in the wrong place, or by a worker that froze."""

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


# --- again -------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["leave", "cancel"])
async def test_a_campaign_that_was_left_is_run_again(by: str) -> None:
    """It goes on where the last run ended, and does not take the rest for done."""
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
    """A signal may come while contacts are loaded."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))
        campaign.leave()

        first = await campaign.run()
        second = await campaign.run()

        assert first.counts[S.PENDING] == 3
        assert second.counts[S.FINISHED] == 3


# --- what goes wrong ---------------------------------------------------------------------


async def test_a_service_of_another_loop_ends_the_run_and_burns_nobody() -> None:
    """It is told as it is, and not within a group; the contacts are given back."""
    async with scene() as here:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))

        def elsewhere(*_: object) -> None:
            raise WrongEventLoop("the service belongs to another event loop")

        here.service._runner.place_once = elsewhere  # type: ignore[assignment,method-assign]  # as from there
        with pytest.raises(WrongEventLoop):
            await campaign.run()

        assert await here.counted() == {"pending": 3}


class _StrangeError(Exception):
    """What no ledger of ours raises."""


@pytest.mark.parametrize("what", ["claim", "settle", "renew"])
async def test_what_a_strange_ledger_raises_comes_out_as_it_is(what: str) -> None:
    """Whoever catches it need not know that there are tasks."""
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
    """Nobody is burnt, nor dialled; and whoever wonders why finds it in the log."""
    async with scene() as here, anyio.create_task_group() as tasks:
        campaign = here.campaign(settings(10.0))
        await campaign.load(contacts(3))
        real = here.ledger.intend

        async def intend(*_: object, **__: object) -> Any:
            raise error

        here.ledger.intend = intend  # type: ignore[method-assign, assignment]  # it fails
        tasks.start_soon(campaign.run)
        await anyio.sleep(10)
        assert here.simulator.requests == 0
        here.ledger.intend = real  # type: ignore[method-assign]  # it works

    assert await here.counted() == {"finished": 3}
    assert "the ledger fails, nothing is dialled" in caplog.text
    assert here.ledger.jobs < 300


@pytest.mark.parametrize("stall", [3.0, 40.0])
async def test_intents_that_were_stuck_do_not_leave_all_at_once(stall: float) -> None:
    """The starts they had been granted are over: each takes another, or is given back."""
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
    """The start may be minutes away."""
    async with scene() as here:
        campaign = here.campaign(settings(0.01))
        await campaign.load(contacts(1))
        await here.ledger.reserve([("account", 100.0)], longest=1.0)
        real = here.ledger.reserve

        async def reserve(*given: Any, **more: Any) -> list[float]:
            campaign.leave()
            return await real(*given, **more)

        here.ledger.reserve = reserve  # type: ignore[method-assign, assignment]  # the moment
        await campaign.run()

        assert anyio.current_time() < 10
        assert await here.counted() == {"pending": 1}


# --- clocks ------------------------------------------------------------------------------


async def test_a_clock_that_jumps_proves_nothing() -> None:
    """Nor does a machine that slept: events need time to come, and someone to take them."""
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


# --- a worker that froze -----------------------------------------------------------------


async def test_a_worker_that_wakes_up_frees_no_channels_of_others() -> None:
    """What it had claimed is dialled by another, whose calls hold channels of the same name."""
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
    """Both call the same number, and each call has a channel of its own."""
    held: list[int] = []
    with pytest.raises(AssertionError, match="more than once"):  # by two campaigns
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
    """Stop a worker from its next turn on; return what wakes it up."""
    by, awake, renew = campaign._worker, anyio.Event(), here.ledger.renew
    take = by._scheduler.take

    async def take_late(number: int) -> bool:
        await awake.wait()
        return await take(number)

    async def renew_late(worker: str, *, lease: float) -> int:
        if worker == by.owner and not awake.is_set():
            return 0
        return await renew(worker, lease=lease)

    by._scheduler.take = take_late  # type: ignore[method-assign]  # it froze
    here.ledger.renew = renew_late  # type: ignore[method-assign, assignment]  # the same
    return awake
