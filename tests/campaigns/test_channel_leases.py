"""Channel leases: which calls hold a channel once live calls are limited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from faulty_campaign import settings
from memory_ledger import MemoryLedger

from telecmi_async.campaigns.channel_leases import ChannelLeases, holder_of
from telecmi_async.campaigns.settings_in_use import SettingsInUse
from telecmi_async.ledger import Contact, ContactState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

NOW = 1_000_000.0
DAY = 86_400.0


class Listed:
    """A ledger whose live contacts are listed, one list for each look."""

    def __init__(self, *looks: dict[int, float]) -> None:
        self._looks = list(looks)

    async def now(self) -> float:
        """Return the time."""
        return NOW

    async def contacts(
        self, _: str, *, states: tuple[ContactState, ...]
    ) -> AsyncGenerator[Contact]:
        """Iterate over the contacts of the next look."""
        assert ContactState.PENDING not in states
        for number, sent_at in self._looks.pop(0).items():
            yield Contact(
                number=number, state="placed", reason="", sends=1, columns={}, sent_at=sent_at
            )


async def free_ones(limits: MemoryLedger, limit: int) -> int:
    """Return how many channels of a limit are free."""
    return sum(
        [
            await limits.lease_channel("account", f"x/{n}", limit=limit, seconds=9)
            for n in range(9)
        ]
    )


async def test_live_calls_get_channels_and_those_that_end_meanwhile_lose_them() -> None:
    """A call of yesterday is over, and one that ended while channels were taken frees its own."""
    first, second, old = 19170000001, 19170000002, 19170000003
    limits, in_use = MemoryLedger(), SettingsInUse(settings(pace={"max_live_calls": 3}))
    leases = ChannelLeases(limits, "spring", in_use)
    ledger: Any = Listed(
        {first: NOW - 60, second: NOW - 5, old: NOW - DAY}, {first: NOW - 60, old: NOW - DAY}
    )
    await leases.take_for_live(ledger)
    await leases.take_for_live(ledger)  # they have theirs: it looks no more

    assert await free_ones(limits, 3) == 2
    assert not await limits.lease_channel(
        "account", holder_of("spring", second), limit=3, seconds=9
    )
    assert await limits.lease_channel("account", holder_of("spring", first), limit=3, seconds=9)
