"""Waiting for slots and turns: first come first served, whatever is freed or cancelled at once."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from telecmi_async import RateLimit
from telecmi_async._internal.event_loop import make_signal
from telecmi_async.pacing.gate import Gate
from telecmi_async.pacing.waiting_line import Waiter, WaitingLine
from telecmi_async.testing import run


@pytest.mark.anyio
async def test_slots_that_are_freed_together_go_to_those_that_came_first() -> None:
    """The order holds when several slots are freed in one turn of the event loop."""
    gate = Gate(RateLimit(10, max_in_flight=4))
    order: list[int] = []

    async def one(number: int) -> None:
        await gate.enter()
        order.append(number)

    for _ in range(4):
        await gate.enter()
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(one, number)
            await anyio.wait_all_tasks_blocked()
        for _ in range(10):
            for _ in range(4):
                gate.leave()
            await anyio.sleep(1.0)

    assert order == list(range(40))


@pytest.mark.anyio
async def test_without_a_rate_the_order_holds_too() -> None:
    """Without a rate all that get a slot start at once, and in order."""
    gate = Gate(RateLimit(max_in_flight=4))
    order: list[int] = []

    async def one(number: int) -> None:
        await gate.enter()
        order.append(number)

    for _ in range(4):
        await gate.enter()
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(one, number)
            await anyio.wait_all_tasks_blocked()
        for started in range(4, 44, 4):
            for _ in range(4):
                gate.leave()
            await anyio.wait_all_tasks_blocked()
            assert len(order) == started

    assert order == list(range(40))


@pytest.mark.anyio
@pytest.mark.parametrize("slots", [1, 3])
async def test_a_start_that_waited_for_a_slot_alone_begins_a_new_row(slots: int) -> None:
    """What was not ready when its start was due, for want of a slot or of a call, is not late."""
    gate = Gate(RateLimit(10, max_in_flight=slots))
    began = anyio.current_time()
    starts: list[float] = []

    async def one() -> None:
        await gate.enter()
        starts.append(anyio.current_time() - began)

    await gate.enter()
    async with anyio.create_task_group() as tasks:
        if slots == 1:
            tasks.start_soon(one)
            tasks.start_soon(one)
        await anyio.sleep(0.11)  # the next start was due after 0.1008 s
        if slots == 1:
            gate.leave()
        else:
            tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        if slots == 1:
            gate.leave()
        else:
            tasks.start_soon(one)

    assert starts == pytest.approx([0.11, 0.2108])


def test_without_a_rate_all_that_are_given_a_slot_start_in_one_turn_of_the_loop() -> None:
    """Each call costs no turn of its own."""
    order: list[int] = []

    async def main() -> None:
        gate = Gate(RateLimit(max_in_flight=4))

        async def one(number: int) -> None:
            await gate.enter()
            order.append(number)

        for _ in range(4):
            await gate.enter()
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(one, number)
            await anyio.sleep(1.0)
            for _ in range(4):
                gate.leave()
            await anyio.lowlevel.checkpoint()
            assert order == [0, 1, 2, 3]

    run(main, backend="asyncio")

    assert len(order) == 4


@pytest.mark.anyio
async def test_with_a_rate_a_waiter_is_woken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter behind others is not woken by its slot, only by its turn."""
    signals: list[object] = []

    def counted() -> Any:
        signals.append(None)
        return make_signal()

    monkeypatch.setattr("telecmi_async.pacing.waiting_line.make_signal", counted)
    gate = Gate(RateLimit(10, max_in_flight=3))

    async def one() -> None:
        await gate.enter()
        await anyio.lowlevel.checkpoint()
        gate.leave()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)

    assert len(signals) <= 20


@pytest.mark.anyio
async def test_a_task_that_is_cancelled_as_it_is_given_a_slot_takes_no_turn() -> None:
    """Cancelled in that moment or before it comes, a task leaves slot and turn to the next one."""
    gate = Gate(RateLimit(0.1, max_in_flight=1))
    passed: list[float] = []
    await gate.enter()

    async def one(scope: anyio.CancelScope) -> None:
        with scope:
            await gate.enter()
            passed.append(anyio.current_time())

    late, gone = anyio.CancelScope(), anyio.CancelScope()
    gone.cancel()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, late)
        await anyio.sleep(60.0)
        gate.leave()
        late.cancel()
        await anyio.wait_all_tasks_blocked()
        await one(gone)
        await one(anyio.CancelScope())

    assert passed == [pytest.approx(anyio.current_time())]


@pytest.mark.anyio
async def test_a_newcomer_does_not_overtake() -> None:
    """A slot that becomes free belongs to the task that waited for it, even before it runs."""
    gate = Gate(RateLimit(max_in_flight=2))
    order: list[str] = []

    async def one(name: str) -> None:
        await gate.enter()
        order.append(name)

    await gate.enter()
    await gate.enter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, "first")
        await anyio.wait_all_tasks_blocked()
        gate.leave()
        gate.leave()
        await one("newcomer")

    assert order == ["first", "newcomer"]


class Unequal(Waiter):
    """A waiter that counts how often it is compared with others."""

    compared = 0

    __hash__ = Waiter.__hash__

    def __eq__(self, other: object) -> bool:
        Unequal.compared += 1
        return self is other


def test_leaving_a_line_takes_no_search() -> None:
    """Each of a thousand waiters leaves the line without a look at the others, in any order."""
    line, waiters = WaitingLine(), [Unequal() for _ in range(1000)]
    for waiter in waiters:
        line.join(waiter)
    random.Random(1).shuffle(waiters)

    for waiter in waiters:
        line.leave(waiter)

    assert len(line) == 0
    assert Unequal.compared == 0


@pytest.mark.anyio
async def test_a_slot_is_one_slot_whoever_gave_up_waiting_for_it() -> None:
    """A slot that is released lets one in, also after a waiter for it was cancelled."""
    gate = Gate(RateLimit(max_in_flight=1))
    await gate.enter()
    with anyio.move_on_after(1.0):
        await gate.enter()

    gate.leave()
    with anyio.fail_after(1.0):
        await gate.enter()
    with anyio.move_on_after(1.0) as second:
        await gate.enter()

    assert second.cancelled_caught


@pytest.mark.anyio
async def test_no_sleep_is_shorter_than_timers_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that is due in less than a millisecond is slept for a whole one."""
    asked: list[float] = []
    sleep = anyio.sleep

    async def noted(seconds: float) -> None:
        asked.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(anyio, "sleep", noted)
    gate = Gate(RateLimit(5000))
    for _ in range(3):
        await gate.enter()
        gate.leave()

    assert asked
    assert set(asked) == {0.001}
