"""Whole campaigns with redials, kills, windows and a clock change; `redial_run` explains them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import redial_run

pytestmark = pytest.mark.anyio
#: On the day on which New York's clocks were set back: ten minutes before its window opens,
#: and 100 before Kolkata's closes.
BEGIN = datetime(2026, 11, 1, 13, 50, tzinfo=UTC)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_killed_workers_redial_as_planned(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever step workers die at, the server sees each contact called as planned."""
    caplog.set_level("CRITICAL", "telecmi_async")
    kills = len(redial_run.STEPS)

    found = await redial_run.redial(
        200, kills=kills, seed=1, rate=1.0, begin=BEGIN, waits=(120.0, 400.0)
    )

    assert found["kills"] == kills
    assert 0.8 < found["answered share"] < 0.96
    assert found["as computed"] > 140
    assert found["do not call"] == 10
    assert found["calls"] > found["answered share"] * 200
