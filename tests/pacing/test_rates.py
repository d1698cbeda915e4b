"""Rate limiting at any rate: reached with late timers, and never exceeded in any second."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field, frozen
from busiest import fullest_second
from hypothesis import example, given, settings
from hypothesis import strategies as st

from telecmi_async import RateLimit
from telecmi_async.pacing.gate import Gate
from telecmi_async.pacing.spacing import Spacing
from telecmi_async.testing import run

if TYPE_CHECKING:
    from collections.abc import Awaitable

RATES = st.one_of(
    st.sampled_from([0.1, 1.0, 2.5, 199.0, 201.0, 999.5, 1000.0, 2000.0, 5000.0]),
    st.floats(-1.0, math.log10(5000)).map(lambda exponent: 10.0**exponent),
)


@frozen
class Timers:
    """How late timers are: rounded up to steps, up to ``late`` more, and now and then stuck."""

    step: float = 0.0
    late: float = 0.0
    stuck: float = 0.0

    def sleep(self, seconds: float, dice: random.Random) -> float:
        """Return how long a sleep of so many seconds really lasts."""
        rounded = math.ceil(seconds / self.step) * self.step if self.step else seconds
        stuck = dice.expovariate(1 / self.stuck) if self.stuck and dice.random() < 0.05 else 0.0
        return rounded + dice.uniform(0, self.late) + stuck


PUNCTUAL = Timers()
#: As asyncio's and trio's, which wait for whole milliseconds.
ROUNDED = Timers(step=0.001)
A_MILLISECOND_LATE = st.sampled_from([PUNCTUAL, ROUNDED, Timers(late=0.001)])
ANY_TIMERS = st.sampled_from(
    [
        PUNCTUAL,
        ROUNDED,
        Timers(late=0.004),
        Timers(0.001, 0.02, 0.05),
        Timers(0.016, 0.001, 0.5),
    ]
)


def pace(
    rate: float, count: int, timers: Timers, dice: random.Random, rest: float
) -> list[float]:
    """Return the starts of callers in line, with some pauses and rests between them."""
    spacing, now, starts = Spacing(rate), dice.uniform(-1e6, 1e6), list[float]()
    ready = now
    while len(starts) < count:
        if dice.random() < rest:
            spacing.pause_until(now + dice.uniform(-0.5, 0.5))
        if dice.random() < rest:
            ready = now = now + dice.expovariate(2.0)
        while (wait := spacing.wait(now)) > 1e-9:
            now += timers.sleep(max(wait, 0.001), dice)
        spacing.start(now, since=ready)
        starts.append(now)
    return starts


@given(RATES, ANY_TIMERS, st.sampled_from([0.0, 0.001, 0.02]), st.integers(0, 2**32))
@example(5000.0, ROUNDED, 0.0, 0)
@example(201.0, Timers(0.001, 0.02, 0.05), 0.02, 1)
@settings(max_examples=60)
def test_no_second_holds_more_than_the_rate(
    rate: float, timers: Timers, rest: float, seed: int
) -> None:
    """The limit holds for any rate, with late timers, pauses and rests."""
    count = math.ceil(2.5 * rate) + 20

    starts = pace(rate, count, timers, random.Random(seed), rest)

    assert fullest_second(starts) <= math.ceil(rate)
    assert starts == sorted(starts)


@given(RATES, A_MILLISECOND_LATE, st.integers(0, 2**32))
@example(5000.0, ROUNDED, 0)
@example(5000.0, Timers(late=0.001), 0)
@example(1000.0, ROUNDED, 0)
@settings(max_examples=40)
def test_timers_a_millisecond_late_reach_the_rate(
    rate: float, timers: Timers, seed: int
) -> None:
    """Timers that are up to 1 ms late reach 97 % of any rate, also after several seconds."""
    count = math.ceil(4 * rate) + 20

    starts = pace(rate, count, timers, random.Random(seed), rest=0.0)

    assert (count - 1) / (starts[-1] - starts[0]) >= 0.97 * rate
    assert fullest_second(starts) <= math.ceil(rate)


def late_starts(rate: float, late: float) -> int:
    """Return how many of those in line may start when the timer of the second start is late."""
    spacing = Spacing(rate)
    spacing.start(0.0, since=0.0)
    now, started = spacing.due + late, 0
    while spacing.wait(now) <= 1e-9:
        spacing.start(now, since=0.0)
        started += 1
    return started


@pytest.mark.parametrize(
    ("rate", "late", "started"),
    [(1000, 0.0, 1), (1000, 0.010, 10), (1000, 1.0, 20), (5000, 1.0, 100), (199, 1.0, 1)],
)
def test_what_came_due_in_a_delay_leaves_together(
    rate: float, late: float, started: int
) -> None:
    """Above 200 a second a delay is made good, up to the starts of 20 ms."""
    assert late_starts(rate, late) == started


def test_nothing_comes_due_in_a_pause() -> None:
    """After a pause, those that waited start evenly, however high the rate."""
    spacing, now, starts = Spacing(5000), 10.0, list[float]()
    spacing.start(9.0, since=9.0)
    spacing.pause_until(20.0)

    for _ in range(50):
        now += max(spacing.wait(now), 0.0)
        spacing.start(now, since=10.0)
        starts.append(now)

    assert starts == pytest.approx([20.0 + 0.0002016 * n for n in range(50)])


@define
class Scene:
    """Tasks at a gate, on timers that are late."""

    limit: RateLimit
    timers: Timers = PUNCTUAL
    gate: Gate = field(init=False)
    starts: list[tuple[float, int]] = field(factory=list[tuple[float, int]], init=False)
    arrived: list[int] = field(factory=list[int], init=False)
    inside: int = field(default=0, init=False)
    most: int = field(default=0, init=False)
    asleep: int = field(default=0, init=False)
    sleepers: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.gate = Gate(self.limit)

    async def late_sleep(self, seconds: float) -> None:
        """Sleep too long, and count those that sleep."""
        self.asleep += 1
        self.sleepers = max(self.sleepers, self.asleep)
        try:
            await SLEEP(self.timers.sleep(seconds, random.Random(len(self.starts))))
        finally:
            self.asleep -= 1

    async def come(
        self, number: int, delay: float, hold: float, patience: float = math.inf
    ) -> None:
        """Pass the gate after a while, unless patience ends before."""
        await anyio.lowlevel.checkpoint()
        await SLEEP(delay)
        with anyio.move_on_after(patience):
            self.arrived.append(number)
            await self.gate.enter()
            try:
                self.starts.append((anyio.current_time(), number))
                self.inside += 1
                self.most = max(self.most, self.inside)
                await SLEEP(hold)
            finally:
                self.inside -= 1
                self.gate.leave()

    async def play(
        self, program: list[tuple[float, float, float]], pauses: list[float]
    ) -> None:
        """Let all come, and pause now and then for half a second."""

        async def pause(delay: float) -> None:
            await SLEEP(delay)
            self.gate.pause(0.5)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(anyio, "sleep", self.late_sleep)
            async with anyio.create_task_group() as tasks:
                for delay in pauses:
                    tasks.start_soon(pause, delay)
                for number, (delay, hold, patience) in enumerate(program):
                    tasks.start_soon(self.come, number, delay, hold, patience)


SLEEP = anyio.sleep
BACKENDS: Any = st.sampled_from(["asyncio", "trio"])
COMERS = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.sampled_from([0.0, 0.0, 0.003, 0.4]),
        st.sampled_from([math.inf, math.inf, 0.0, 0.001, 0.1, 0.5]),
    ),
    max_size=40,
)


@given(
    RATES.filter(lambda rate: rate >= 1) | st.none(),
    st.integers(1, 8),
    COMERS,
    st.lists(st.floats(0, 2), max_size=2),
    ANY_TIMERS,
    BACKENDS,
)
@settings(max_examples=60)
def test_the_gate_keeps_its_promises_in_any_program(
    rate: float | None,
    slots: int,
    program: list[tuple[float, float, float]],
    pauses: list[float],
    timers: Timers,
    backend: Any,
) -> None:
    """Whatever arrives, gives up or pauses: rate, slots, order and pauses are kept."""
    scene = Scene(RateLimit(rate, max_in_flight=slots), timers)

    run(lambda: scene.play(program, pauses), backend=backend)

    starts = [start for start, _ in scene.starts]
    passed = [number for _, number in scene.starts]
    patient = {
        number for number, (_, _, patience) in enumerate(program) if patience == math.inf
    }
    assert rate is None or fullest_second(starts) <= math.ceil(rate)
    assert scene.most <= slots
    assert patient <= set(passed)
    assert passed == [number for number in scene.arrived if number in set(passed)]
    assert scene.sleepers <= 1
    assert not [s for s in starts for p in pauses if p + 1e-9 < s < p + 0.5 - 1e-6]


@given(st.integers(1, 5), COMERS, BACKENDS)
@settings(max_examples=40)
def test_others_start_as_if_those_that_gave_up_had_not_come(
    slots: int, program: list[tuple[float, float, float]], backend: Any
) -> None:
    """A waiter that is cancelled takes neither slot nor turn, and delays no other waiter."""
    # Those that give up do not start: a pause lasts longer than their patience. No two come at
    # once, since that could be in any order.
    comers = [(delay + n / 1000, hold, end) for n, (delay, hold, end) in enumerate(program)]
    impatient = [(delay, hold, min(patience, 0.5)) for delay, hold, patience in comers[::2]]
    patient = [(delay, hold, math.inf) for delay, hold, _ in comers[1::2]]
    together, alone = (Scene(RateLimit(20, max_in_flight=slots)) for _ in range(2))

    async def both(scene: Scene, comers: list[tuple[float, float, float]]) -> None:
        scene.gate.pause(3.0)
        await scene.play(comers, [])

    run(lambda: both(together, patient + impatient), backend=backend)
    run(lambda: both(alone, patient), backend=backend)

    assert [n for _, n in together.starts] == [n for _, n in alone.starts]
    assert [t for t, _ in together.starts] == pytest.approx([t for t, _ in alone.starts])


@pytest.mark.anyio
async def test_five_thousand_a_second_pass_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """On timers of whole milliseconds, 97 % of 5,000 a second start, and never more."""
    gate, starts = Gate(RateLimit(5000, max_in_flight=20)), list[float]()
    sleep, dice = anyio.sleep, random.Random(1)
    asked: list[float] = []

    def late_sleep(seconds: float) -> Awaitable[None]:
        asked.append(seconds)
        return sleep(ROUNDED.sleep(seconds, dice))

    monkeypatch.setattr(anyio, "sleep", late_sleep)

    async def work() -> None:
        for _ in range(140):
            await gate.enter()
            starts.append(anyio.current_time())
            await anyio.lowlevel.checkpoint()
            gate.leave()

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(work)

    assert (len(starts) - 1) / (starts[-1] - starts[0]) >= 0.97 * 5000
    assert fullest_second(starts) <= 5000
    assert min(asked) >= 0.001  # for less, uvloop does not sleep but runs its loop
