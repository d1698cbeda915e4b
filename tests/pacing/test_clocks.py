"""Clocks and signals of event loops, as pacing uses them."""

from __future__ import annotations

import asyncio
import gc
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from telecmi_async import RateLimit
from telecmi_async._internal.event_loop import current_loop, exact_clock_of, make_signal
from telecmi_async.pacing.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.anyio
async def test_the_exact_clock_is_the_loops_own_if_that_is_exact() -> None:
    """On a virtual clock and on trio, time is the event loop's."""
    clock = exact_clock_of(current_loop())

    before = clock()
    await anyio.sleep(1000.0)

    assert clock() - before == pytest.approx(1000.0)


def _of_uvloop() -> Any:
    """Return a loop that, as uvloop's, is not made of asyncio's."""
    return SimpleNamespace(create_task=None, time=lambda: 0.0)


@pytest.mark.parametrize(
    ("make", "resolution", "exact"),
    [
        (asyncio.new_event_loop, 1e-9, None),
        (asyncio.new_event_loop, 0.015625, time.perf_counter),
        (_of_uvloop, 1e-9, time.perf_counter),
    ],
)
def test_a_clock_that_is_coarse_or_stands_still_is_replaced(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], resolution: float, exact: object
) -> None:
    """Uvloop's clock stands still during a turn, and Windows' has steps of 16 ms."""
    info = SimpleNamespace(resolution=resolution)
    monkeypatch.setattr(time, "get_clock_info", lambda name: {"monotonic": info}[name])
    loop = make()

    clock = exact_clock_of(loop)

    assert clock == (loop.time if exact is None else exact)
    if exact is None or make is asyncio.new_event_loop:
        loop.close()


@pytest.mark.anyio
async def test_a_signal_wakes_its_task_once_given_before_or_after() -> None:
    """Giving a signal early, late or twice does the same; a cancelled wait takes it silently."""
    early, give_early = make_signal()
    give_early()
    give_early()
    await early
    late, give_late = make_signal()
    lost, give_lost = make_signal()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_await, late)
        await anyio.sleep(1.0)
        give_late()
        give_late()
    with anyio.move_on_after(1.0) as scope:
        await lost
    give_lost()

    assert scope.cancelled_caught


async def _await(signal: Any) -> None:
    await signal


@pytest.mark.parametrize("rate", [1.0, None])
def test_waiters_of_a_closed_loop_are_dropped_silently(
    rate: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Tasks that are destroyed with their event loop raise nothing in the gate."""
    ends: list[str] = []

    async def one(gate: Gate) -> None:
        try:
            await gate.enter()
        except BaseException as error:
            ends.append(type(error).__name__)
            raise

    async def main() -> None:
        gate = Gate(RateLimit(rate, max_in_flight=2))
        gate.pause(100.0)
        loop = asyncio.get_running_loop()
        tasks.extend(loop.create_task(one(gate)) for _ in range(5))
        await asyncio.sleep(0.01)

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    tasks.clear()
    del loop
    gc.collect()

    assert ends == ["GeneratorExit"] * 5
    assert {record.msg[:30] for record in caplog.records} <= {"Task was destroyed but it is p"}
