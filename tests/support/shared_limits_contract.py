"""The contract of all shared limits, wherever the law of pacing is computed.

A test module imports these tests and has a fixture `tested` with the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import define, field

from telecmi_async.pacing.channels import Channels
from telecmi_async.pacing.law import reserve_starts
from telecmi_async.testing.shared_limits_rules import SHARED_LIMITS_RULES, LimitsUnderTest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


@define
class InProcessLimits:
    """The law itself, and the channels of one process, on a clock that the test moves."""

    now: float
    dues: dict[str, float]
    channels: dict[str, Channels]
    holders: dict[str, set[str]] = field(factory=dict)

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        waits, dues = reserve_starts(self.now, self.dues, keys, longest=longest, most=most)
        self.dues.update(dues)
        return waits

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        channels = self.channels.setdefault(key, Channels(limit))
        channels.now = lambda: self.now
        holders = self.holders.setdefault(key, set())
        holders.add(holder)
        if sum(map(channels.holds, holders - {holder})) >= limit:
            return False
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
        if key in self.channels:
            self.channels[key].release(holder)

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.mark.parametrize("rule", SHARED_LIMITS_RULES, ids=lambda rule: rule.__name__)
async def test_the_contract_is_kept(
    tested: LimitsUnderTest, rule: Callable[[LimitsUnderTest], Awaitable[None]]
) -> None:
    """The limits keep each rule of the contract that users' limits are checked by."""
    await rule(tested)
