"""The contract of all shared limits, wherever the law of pacing is computed.

A test module imports these tests and has a fixture `tested` with the limits.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import define, frozen

from telecmi_async.pacing.channels import Channels
from telecmi_async.pacing.law import reserve_starts
from telecmi_async.pacing.shared import SharedLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

ACCOUNT, CALLER, CAMPAIGN = ("account", 1.0), ("from", 2.0), ("campaign", 5.0)


@frozen
class LimitsUnderTest:
    """Unused limits and their clock.

    Args:
        limits: The limits.
        advance: Lets seconds pass on their clock.
        nearly: By how much a wait may be shorter than the law says: the clock of a server runs
            on while a test runs.
    """

    limits: SharedLimits
    advance: Callable[[float], Awaitable[None]]
    nearly: float = 1e-6

    def waits(self, *seconds: float) -> list[object]:
        """Return waits with the tolerance of these limits."""
        return [pytest.approx(wait, abs=self.nearly) for wait in seconds]


@define
class InProcessLimits:
    """The law itself, and the channels of one process, on a clock that the test moves."""

    now: float
    dues: dict[str, float]
    channels: dict[str, Channels]

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        waits, dues = reserve_starts(self.now, self.dues, keys, longest=longest, most=most)
        self.dues.update(dues)
        return waits

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        channels = self.channels.setdefault(key, Channels(limit))
        channels.now = lambda: self.now
        if not channels.holds(holder):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(channels.acquire, holder)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            if not channels.holds(holder):
                return False
        channels.hold(holder, until=self.now + seconds)
        return True

    async def free_channel(self, key: str, holder: str) -> None:
        self.channels[key].release(holder)

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


async def test_starts_are_spaced(tested: LimitsUnderTest) -> None:
    """Starts of each limit are spaced by the law; one beyond ``longest`` is refused."""
    limits = tested.limits

    waits = [await limits.reserve([ACCOUNT], longest=2.5) for _ in range(5)]
    another = await limits.reserve([("another", 1.0)], longest=0.0)
    further = await limits.reserve([ACCOUNT], longest=10.0)

    assert waits[0] == another == [0.0]
    assert waits[1:] == [tested.waits(1.0), tested.waits(2.0), [], []]
    assert further == tested.waits(3.0)


async def test_time_that_passed_is_not_waited_for(tested: LimitsUnderTest) -> None:
    """Time that passed shortens a wait, and is not saved up for a burst."""
    limits, keys = tested.limits, [("account", 0.05)]
    await limits.reserve(keys, longest=1.0)

    await tested.advance(0.06)
    idle = await limits.reserve(keys, longest=1.0)
    after = await limits.reserve([("account", 60.0)], longest=1.0)

    assert idle == [0.0]
    assert after == [pytest.approx(0.05, abs=max(tested.nearly, 1e-6))]


async def test_several_starts_are_reserved_at_once(tested: LimitsUnderTest) -> None:
    """``most`` starts are reserved as if one after another, within ``longest``."""
    limits = tested.limits

    waits = await limits.reserve([ACCOUNT, CALLER], longest=7.0, most=3)
    rest = await limits.reserve([ACCOUNT, CALLER], longest=9.0, most=3)
    none = await limits.reserve([ACCOUNT, CALLER], longest=9.0, most=3)
    account = await limits.reserve([ACCOUNT], longest=100, most=2)

    assert waits == tested.waits(0.0, 2.0, 4.0)
    assert rest == tested.waits(6.0, 8.0)
    assert none == []
    assert account == tested.waits(9.0, 10.0)


async def test_several_limits_are_granted_together_or_not_at_all(
    tested: LimitsUnderTest,
) -> None:
    """A start waits for its last limit, and counts for each limit from that moment."""
    limits, all_three = tested.limits, [ACCOUNT, CALLER, CAMPAIGN]

    first = await limits.reserve(all_three, longest=100)
    refused = await limits.reserve(all_three, longest=3.0)
    alone = await limits.reserve([ACCOUNT], longest=100)
    together = await limits.reserve(all_three, longest=100)
    after = await limits.reserve([ACCOUNT], longest=100)

    assert (first, refused) == ([0.0], [])
    assert alone == tested.waits(1.0)
    assert together == tested.waits(5.0)
    assert after == tested.waits(6.0)


@pytest.mark.parametrize("seed", range(5))
async def test_a_random_run_follows_the_law(tested: LimitsUnderTest, seed: int) -> None:
    """The waits of any sequence are those of `reserve_starts`."""
    dice, dues = random.Random(seed), dict[str, float]()
    for _ in range(30):
        keys = dice.sample([ACCOUNT, CALLER, CAMPAIGN], dice.randint(1, 3))
        longest, most = dice.choice([0.5, 8.5, 100.5]), dice.randint(1, 3)
        expected, changed = reserve_starts(0.0, dues, keys, longest=longest, most=most)

        waits = await tested.limits.reserve(keys, longest=longest, most=most)

        assert waits == tested.waits(*expected)
        dues |= changed


async def test_no_two_starts_are_one(tested: LimitsUnderTest) -> None:
    """Concurrent requests get different starts."""
    waits: list[float] = []

    async def ask() -> None:
        waits.extend(await tested.limits.reserve([("account", 10.0)], longest=10_000))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    waits.sort()

    assert len(waits) == 100
    assert min(b - a for a, b in itertools.pairwise(waits)) > 10.0 - tested.nearly


async def test_channels_are_leased(tested: LimitsUnderTest) -> None:
    """At most ``limit`` channels are leased; a holder keeps its own; a freed one is reused."""
    limits = tested.limits

    async def lease(holder: str, key: str = "account") -> bool:
        return await limits.lease_channel(key, holder, limit=2, seconds=60)

    assert [await lease(holder) for holder in ("a", "b", "c", "a")] == [True, True, False, True]
    assert await lease("c", "another") is True

    await limits.free_channel("account", "a")
    await limits.free_channel("account", "nobody")

    assert [await lease("c"), await lease("d")] == [True, False]


async def test_a_channel_comes_back_when_its_lease_is_over(tested: LimitsUnderTest) -> None:
    """A channel whose lease is over is free; renewed leases last longer."""
    limits = tested.limits
    assert await limits.lease_channel("account", "lasting", limit=2, seconds=60)
    assert await limits.lease_channel("account", "short", limit=2, seconds=0.05)
    assert not await limits.lease_channel("account", "next", limit=2, seconds=60)

    await tested.advance(0.06)

    assert await limits.lease_channel("account", "next", limit=2, seconds=0.05)
    assert await limits.lease_channel("account", "next", limit=2, seconds=60)

    await tested.advance(0.06)

    assert not await limits.lease_channel("account", "short", limit=2, seconds=60)
