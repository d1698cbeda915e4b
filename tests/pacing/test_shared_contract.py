"""The contract of shared limits, in process and in a SQLite ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledgers import Clock, open_sqlite
from shared_limits_contract import *  # noqa: F403  # pytest finds its tests by name
from shared_limits_contract import InProcessLimits

from telecmi_async.pacing.law import LOCAL_MARGIN, reserve_starts
from telecmi_async.pacing.spacing import Spacing
from telecmi_async.testing.shared_limits_rules import LimitsUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["in process", "SQLite"])
async def tested(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[LimitsUnderTest]:
    """Yield limits with a clock that the test controls."""
    if request.param == "in process":
        law = InProcessLimits(1e9, {}, {})
        yield LimitsUnderTest(law, law.advance)
        return
    clock = Clock()

    async def advance(seconds: float) -> None:
        clock.time += seconds

    async with open_sqlite(tmp_path, clock) as ledger:
        yield LimitsUnderTest(ledger, advance)


@pytest.mark.parametrize("rate", [0.4, 5, 50])
def test_the_spacing_of_one_service_follows_the_same_law(rate: float) -> None:
    """For one limit, punctual starts are due when `reserve_starts` says."""
    spacing, dues, keys = Spacing(rate), dict[str, float](), [("rate", LOCAL_MARGIN / rate)]
    now = 1_000.0
    for turn in range(200):
        if turn % 50 == 0:
            now += 3.5  # a pause without calls
        waits, changed = reserve_starts(now, dues, keys, longest=60.0, most=1)
        wait = max(spacing.wait(now), 0.0)

        assert wait == pytest.approx(waits[0], abs=1e-3)
        ready, now = now, now + wait
        spacing.start(now, since=ready)
        dues |= changed
