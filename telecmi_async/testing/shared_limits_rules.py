"""Contract of shared limits: what `telecmi_async.pacing.SharedLimits` demands, rule by rule.

Each rule is a function of the `LimitsUnderTest`; its docstring is the rule.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio
from attrs import frozen

from telecmi_async.pacing import SharedLimits
from telecmi_async.pacing.law import reserve_starts
from telecmi_async.testing.contract import check_rules, expect, rules_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

_ACCOUNT, _CALLER, _CAMPAIGN = ("account", 1.0), ("from", 2.0), ("campaign", 5.0)
_SEEDS: Final = 5


@frozen
class LimitsUnderTest:
    """Limits that nothing was reserved from, and their clock.

    Args:
        limits: The limits.
        advance: Lets seconds pass on their clock.
        nearly: By how many seconds a wait may be shorter than the law says: the clock of a
            server runs on meanwhile.
    """

    limits: SharedLimits
    advance: Callable[[float], Awaitable[object]]
    nearly: float = 1e-6

    def expect_waits(self, found: Sequence[float], right: Sequence[float], what: str) -> None:
        """Require waits, within the tolerance of these limits."""
        near = len(found) == len(right) and all(
            abs(one - other) <= self.nearly for one, other in zip(found, right, strict=True)
        )
        if not near:
            expect(list(found), list(right), what)


async def check_shared_limits(
    make: Callable[[], AbstractAsyncContextManager[SharedLimits]],
    *,
    advance: Callable[[float], Awaitable[object]] = anyio.sleep,
    nearly: float = 0.4,
) -> None:
    """Check that limits of your own keep the contract of `SharedLimits`.

    Await it in a test, on asyncio, trio or both. It runs on the real clock, and takes a few
    seconds at most::

        async def test_my_limits(tmp_path):
            @asynccontextmanager
            async def make():
                yield MyLimits(tmp_path / secrets.token_hex(8))

            await check_shared_limits(make)

    It cannot see everything: that processes share the limits, and that nothing is granted while
    these cannot be reached, need tests of your own.

    Args:
        make: Returns an asynchronous context manager that opens limits of which nothing is
            reserved. It is used once for each rule, one after another.
        advance: Lets so many seconds pass on their clock, if that is not the real one.
        nearly: By how many seconds a wait may be shorter than the law says, since their clock
            runs on meanwhile. If a slow machine or server fails the check, make it larger: a
            rule asks up to a hundred questions, and they may take as long together.

    Raises:
        AssertionError: The limits break rules; the message names each of them, and the cause
            has their tracebacks.
    """

    async def check(rule: Callable[[LimitsUnderTest], Awaitable[None]]) -> None:
        async with make() as limits:
            await rule(LimitsUnderTest(limits, advance, nearly))

    await check_rules("SharedLimits", SHARED_LIMITS_RULES, check)


async def spaces_starts(tested: LimitsUnderTest) -> None:
    """Starts of a limit are an interval apart; one beyond ``longest`` is refused."""
    limits = tested.limits
    waits = [await limits.reserve([_ACCOUNT], longest=2.5) for _ in range(5)]
    another = await limits.reserve([("another", 1.0)], longest=0.0)
    further = await limits.reserve([_ACCOUNT], longest=10.0)

    expect(waits[0], [0.0], "the first wait")
    expect(another, [0.0], "the first wait of another limit")
    tested.expect_waits(waits[1], [1.0], "the second wait")
    tested.expect_waits(waits[2], [2.0], "the third wait")
    expect(waits[3:], [[], []], "waits beyond `longest`")
    tested.expect_waits(further, [3.0], "the next wait: what was refused does not count")


async def saves_nothing_up(tested: LimitsUnderTest) -> None:
    """Time that passed shortens a wait, and is not saved up for a burst."""
    interval = max(0.05, 2 * tested.nearly)
    limits, keys = tested.limits, [("account", interval)]
    await limits.reserve(keys, longest=interval)
    await tested.advance(1.2 * interval)
    idle = await limits.reserve(keys, longest=interval)
    after = await limits.reserve([("account", 60.0)], longest=interval)

    expect(idle, [0.0], "the wait after an idle time")
    tested.expect_waits(after, [interval], "the wait after that")


async def reserves_several_at_once(tested: LimitsUnderTest) -> None:
    """``most`` starts are reserved as if one after another, as far as ``longest`` allows."""
    limits, both = tested.limits, [_ACCOUNT, _CALLER]
    waits = await limits.reserve(both, longest=7.0, most=3)
    rest = await limits.reserve(both, longest=9.0, most=3)
    none = await limits.reserve(both, longest=9.0, most=3)
    account = await limits.reserve([_ACCOUNT], longest=100, most=2)

    tested.expect_waits(waits, [0.0, 2.0, 4.0], "three starts")
    tested.expect_waits(rest, [6.0, 8.0], "two of three starts")
    expect(none, [], "starts beyond `longest`")
    tested.expect_waits(account, [9.0, 10.0], "starts of one limit after those of both")


async def grants_under_all_limits_or_none(tested: LimitsUnderTest) -> None:
    """A start waits for its last limit, and counts for each limit from that moment."""
    limits, all_three = tested.limits, [_ACCOUNT, _CALLER, _CAMPAIGN]
    first = await limits.reserve(all_three, longest=100)
    refused = await limits.reserve(all_three, longest=3.0)
    alone = await limits.reserve([_ACCOUNT], longest=100)
    together = await limits.reserve(all_three, longest=100)
    after = await limits.reserve([_ACCOUNT], longest=100)

    expect((first, refused), ([0.0], []), "the first start, and one that is too far away")
    tested.expect_waits(alone, [1.0], "a start of one limit: the refused one does not count")
    tested.expect_waits(together, [5.0], "a start of all limits")
    tested.expect_waits(after, [6.0], "a start of one limit after it")


async def follows_the_law(tested: LimitsUnderTest) -> None:
    """The waits of any sequence are those that the law computes."""
    for seed in range(_SEEDS):
        dice, dues = random.Random(seed), dict[str, float]()  # noqa: S311  # it decides nothing
        for step in range(30):
            keys = dice.sample([_ACCOUNT, _CALLER, _CAMPAIGN], dice.randint(1, 3))
            keys = [(f"{name}-{seed}", interval) for name, interval in keys]
            longest, most = dice.choice([0.5, 8.5, 100.5]), dice.randint(1, 3)
            right, changed = reserve_starts(0.0, dues, keys, longest=longest, most=most)
            waits = await tested.limits.reserve(keys, longest=longest, most=most)
            what = f"seed {seed}, step {step}: reserve({keys}, {longest=}, {most=})"
            tested.expect_waits(waits, right, what)
            dues |= changed


async def gives_no_start_twice(tested: LimitsUnderTest) -> None:
    """Concurrent questions get different starts, an interval apart."""
    waits: list[float] = []

    async def ask() -> None:
        waits.extend(await tested.limits.reserve([("account", 10.0)], longest=10_000))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    waits.sort()
    closest = min((b - a for a, b in itertools.pairwise(waits)), default=0.0)

    expect(len(waits), 100, "how many starts were granted")
    tested.expect_waits(
        [min(closest, 10.0)], [10.0], "the smallest distance between two starts"
    )


async def leases_channels(tested: LimitsUnderTest) -> None:
    """At most ``limit`` channels are leased; a holder's own does not count; a freed one is free."""
    limits = tested.limits

    async def lease(holder: str, key: str = "account") -> bool:
        return await limits.lease_channel(key, holder, limit=2, seconds=60)

    await limits.reserve([("account", 60.0)], longest=0.0)  # of starts, not of channels
    leased = [await lease(holder) for holder in ("a", "b", "c", "a")]
    another = await lease("c", "another")
    await limits.free_channel("account", "a")
    await limits.free_channel("account", "no holder")
    await limits.free_channel("no key", "no holder")
    freed = [await lease("c"), await lease("d")]
    fewer = [
        await limits.lease_channel("account", holder, limit=1, seconds=60) for holder in "bc"
    ]
    still_taken = await lease("d")
    await limits.free_channel("account", "b")
    last = await limits.lease_channel("account", "c", limit=1, seconds=60)
    waits = await limits.reserve([("account", 60.0)], longest=0.0)

    expect(
        leased, [True, True, False, True], "four leases of two channels, the last a holder's"
    )
    expect([another], [True], "a lease of another limit")
    expect(freed, [True, False], "two leases after one channel was freed")
    expect(fewer, [False, False], "leases by both holders, for a limit of one")
    expect([still_taken], [False], "a lease after that: both holders keep their channels")
    expect([last], [True], "a lease by the last holder, for a limit of one")
    expect(waits, [], "a start of the limit that has the same name as the channels")


async def ends_leases_in_time(tested: LimitsUnderTest) -> None:
    """A channel is free once its lease is over; one that is leased again lasts longer."""
    limits, short = tested.limits, max(0.05, 2 * tested.nearly)

    async def lease(holder: str, seconds: float) -> bool:
        return await limits.lease_channel("account", holder, limit=2, seconds=seconds)

    first = [await lease("lasting", 60), await lease("short", short), await lease("next", 60)]
    await tested.advance(1.2 * short)
    second = [await lease("next", short), await lease("next", 60)]
    await tested.advance(1.2 * short)
    third = await lease("short", 60)

    expect(first, [True, True, False], "three leases of two channels")
    expect(second, [True, True], "a lease once another is over, and the same again for longer")
    expect([third], [False], "a lease while the longer ones last")


#: The rules, in the order in which they are checked.
SHARED_LIMITS_RULES: Final = rules_in(globals())
