"""Rate limiting: spacing as arithmetic, and the gate that applies it."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import anyio
import pytest
from busiest import fullest_second
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import ConfigurationError, RateLimit
from telecmi_async.pacing.gate import Gate
from telecmi_async.pacing.spacing import Spacing
from telecmi_async.testing import cancel_everywhere


def saturated(spacing: Spacing, seconds: float, late: Any) -> list[float]:
    """Return the starts of constantly waiting callers, each woken ``late()`` seconds late."""
    now, starts = 0.0, []
    while now < seconds:
        ready = now
        now += max(spacing.wait(now), 0.0) + late()
        spacing.start(now, since=ready)
        starts.append(now)
    return starts


@pytest.mark.parametrize("rate", [5, 50, 500])
def test_saturated_starts_reach_the_rate_and_never_pass_it(rate: int) -> None:
    """With punctual timers, starts reach 99 % of the rate and never exceed it in any second."""
    starts = saturated(Spacing(rate), 20.0, lambda: 0.0)

    assert fullest_second(starts) <= rate
    assert len(starts) >= 0.99 * rate * 20


@pytest.mark.parametrize("rate", [5, 50, 500])
def test_no_second_is_too_full_in_a_thousand_random_schedules(rate: int) -> None:
    """The rate holds in any second, with bursts, gaps, late timers and pauses."""
    for seed in range(1000):
        rng = random.Random(seed)
        spacing, now, starts = Spacing(rate), rng.uniform(-1e6, 1e6), []
        for _ in range(3 * rate if rate < 500 else 700):
            if rng.random() < 0.02:
                now += rng.expovariate(2.0)
            if rng.random() < 0.01:
                spacing.pause_until(now + rng.uniform(-0.5, 0.5))
            ready = now
            now += max(spacing.wait(now), 0.0)
            if rng.random() < 0.3:
                now += rng.expovariate(1 / 0.004)
            spacing.start(now, since=ready)
            starts.append(now)

        assert fullest_second(starts) <= rate, seed


def test_late_timers_do_not_slow_the_rate_down() -> None:
    """Timers that are up to 1 ms late still reach 99 % of 50 per second."""
    rng = random.Random(1)

    starts = saturated(Spacing(50), 60.0, lambda: rng.uniform(0, 0.001))

    assert len(starts) >= 0.99 * 50 * 60
    assert fullest_second(starts) <= 50


@given(st.floats(0.05, 40.0), st.integers(1, 60))
def test_starts_are_even_for_any_rate(rate: float, count: int) -> None:
    """With punctual timers, each start is exactly one interval after the one before."""
    spacing, now, starts = Spacing(rate), 0.0, []
    for _ in range(count):
        ready = now
        now += max(spacing.wait(now), 0.0)
        spacing.start(now, since=ready)
        starts.append(now)

    assert all(b - a == pytest.approx(1 / rate, rel=0.009) for a, b in pairwise(starts))


def test_a_pause_only_moves_forward() -> None:
    """A pause that ends earlier does not shorten the current one."""
    spacing = Spacing(None)

    spacing.pause_until(10.0)
    spacing.pause_until(5.0)

    assert spacing.not_before == 10.0
    assert spacing.wait(4.0) == 6.0
    assert spacing.wait(11.0) < 0
    assert not spacing.paced


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calls_per_second": 0}, "RateLimit.calls_per_second must be a number above 0"),
        ({"calls_per_second": -1}, "calls_per_second"),
        ({"calls_per_second": True}, "calls_per_second"),
        ({"calls_per_second": "5"}, "calls_per_second"),
        ({"calls_per_second": float("nan")}, "calls_per_second"),
        ({"calls_per_second": 1e9}, "at most 10000"),
        ({"max_in_flight": 0}, "RateLimit.max_in_flight must be a whole number, 1 or more"),
        ({"max_in_flight": 2.5}, "max_in_flight"),
        ({"max_in_flight": True}, "max_in_flight"),
        ({"queue_timeout": 0}, "RateLimit.queue_timeout must be a positive number of seconds"),
        ({"queue_timeout": "1"}, "queue_timeout"),
    ],
)
def test_a_limit_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    """The error names the field and a valid value."""
    with pytest.raises(ConfigurationError, match=message):
        RateLimit(**options)


async def pass_through(gate: Gate, starts: list[float], hold: float = 0.0) -> None:
    """Pass through the gate once and note the time."""
    await gate.enter()
    try:
        starts.append(anyio.current_time())
        await anyio.sleep(hold)
    finally:
        gate.leave()


@pytest.mark.anyio
@pytest.mark.parametrize("rate", [5, 50, 500])
async def test_the_gate_keeps_the_rate_under_any_load(rate: int) -> None:
    """Tasks that arrive and hold slots at random never exceed the rate in a second."""
    gate = Gate(RateLimit(rate, max_in_flight=rate))
    starts: list[float] = []
    rng = random.Random(rate)
    count = 4 * rate
    delays = [(rng.uniform(0, 1.0), rng.uniform(0, 0.3)) for _ in range(count)]

    async def arrive(delay: float, hold: float) -> None:
        await anyio.sleep(delay)
        await pass_through(gate, starts, hold)

    async with anyio.create_task_group() as tasks:
        for delay, hold in delays:
            tasks.start_soon(arrive, delay, hold)

    assert len(starts) == count
    assert fullest_second(starts) <= rate
    assert count / (starts[-1] - starts[0] + 1 / rate) >= 0.97 * rate


@pytest.mark.anyio
async def test_waiters_pass_in_the_order_of_arrival() -> None:
    """Waiters pass in the order of arrival, for any order of releasing slots."""
    gate = Gate(RateLimit(10, max_in_flight=3))
    order: list[int] = []

    async def one(number: int) -> None:
        await gate.enter()
        order.append(number)
        await anyio.sleep(0.5)
        gate.leave()

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.001)

    assert order == list(range(20))


@pytest.mark.anyio
async def test_cancelled_waiters_delay_nobody() -> None:
    """When 60 of 100 waiters leave, the other 40 pass as if they were alone."""
    gate = Gate(RateLimit(100, max_in_flight=100))
    starts: list[float] = []
    began = anyio.current_time()
    gate.pause(0.002)

    async with anyio.create_task_group() as tasks:
        scopes = []
        for number in range(100):
            scope = anyio.CancelScope()
            if number % 5 > 1:
                scopes.append(scope)

            async def one(scope: anyio.CancelScope = scope) -> None:
                with scope:
                    await pass_through(gate, starts)

            tasks.start_soon(one)
        await anyio.sleep(0.001)
        for scope in scopes:
            scope.cancel()

    assert len(starts) == 40
    assert starts[-1] - began == pytest.approx(0.4, abs=0.02)


@pytest.mark.anyio
async def test_a_pause_holds_everyone_and_another_success_does_not_end_it() -> None:
    """Callers wait for the pause's end, also if it is extended meanwhile."""
    gate = Gate(RateLimit(max_in_flight=5))
    starts: list[float] = []
    began = anyio.current_time()

    async with anyio.create_task_group() as tasks:
        gate.pause(2.0)
        for _ in range(3):
            tasks.start_soon(pass_through, gate, starts)
        await anyio.sleep(1.0)
        gate.pause(3.0)
        gate.pause(0.1)
        tasks.start_soon(pass_through, gate, starts)

    assert [start - began for start in starts] == pytest.approx([4.0] * 4)


@pytest.mark.anyio
@pytest.mark.parametrize("rate", [None, 5])
@pytest.mark.parametrize("seconds", [0.4, 1.0, 7.0])
async def test_a_pause_is_not_a_second_shorter(rate: float | None, seconds: float) -> None:
    """With and without a rate, the first start after a pause is at its very end."""
    gate = Gate(RateLimit(rate))
    began = anyio.current_time()
    starts: list[float] = []

    gate.pause(seconds)
    await pass_through(gate, starts)

    assert starts == [pytest.approx(began + seconds, abs=0.001)]


@pytest.mark.anyio
async def test_no_more_are_inside_than_there_are_slots() -> None:
    """At most max_in_flight tasks are past the gate at any time."""
    gate = Gate(RateLimit(max_in_flight=4))
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        await gate.enter()
        inside += 1
        most = max(most, inside)
        await anyio.sleep(0.1)
        inside -= 1
        gate.leave()

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)

    assert most == 4


@pytest.mark.anyio
async def test_cancelling_at_any_await_leaves_the_gate_whole() -> None:
    """Wherever a task is cancelled, the next one passes at once or in its turn."""

    async def check(gate: Gate) -> None:
        began = anyio.current_time()
        await pass_through(gate, [])
        assert anyio.current_time() - began <= 0.6

    points = await cancel_everywhere(
        lambda gate: pass_through(gate, [], 0.01),
        setup=_busy_gate,
        check=check,
    )

    assert points >= 2


async def _busy_gate() -> Gate:
    gate = Gate(RateLimit(2, max_in_flight=1))
    await pass_through(gate, [])
    return gate


def test_a_start_that_did_not_wait_begins_a_new_row() -> None:
    """After a rest of any length, the next start is a whole interval later."""
    spacing = Spacing(10)
    spacing.start(0.0, since=0.0)

    spacing.start(0.11, since=0.11)

    assert spacing.wait(0.11) == pytest.approx(0.1008)


def test_a_start_that_woke_far_too_late_begins_a_new_row() -> None:
    """Only a short delay is caught up; a long block of the event loop is not."""
    spacing = Spacing(10)
    spacing.start(0.0, since=0.0)
    spacing.start(0.1008 + 0.019, since=0.0)
    made_good = spacing.wait(0.1008 + 0.019)

    spacing.start(0.2016 + 0.05, since=0.0)

    assert made_good == pytest.approx(0.1008 - 0.019)
    assert spacing.wait(0.2016 + 0.05) == pytest.approx(0.1008)


def test_a_delay_longer_than_the_interval_is_never_made_good() -> None:
    """At 200 a second, a start that is 15 ms late is not caught up by three at once."""
    spacing = Spacing(200)
    spacing.start(0.0, since=0.0)
    spacing.start(0.020, since=0.0)

    assert spacing.wait(0.020) == pytest.approx(0.00504)
