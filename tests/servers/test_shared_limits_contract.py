"""What all shared limits must do, in a PostgreSQL ledger and on a Valkey server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from ledgers import Clock
from pg_ledgers import ClockedLedger
from shared_limits_contract import *  # noqa: F403  # pytest finds its tests by name

from telecmi_async.pacing import RedisLimits
from telecmi_async.testing.shared_limits_rules import LimitsUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from valkey_server import ValkeyServer


@pytest.fixture(params=["postgres-asyncio", "postgres-trio", "valkey-asyncio", "valkey-trio"])
def where(request: pytest.FixtureRequest) -> str:
    """Where the limits are stored, and which event loop uses them."""
    kept: str = request.param
    return kept


@pytest.fixture
def anyio_backend(where: str) -> tuple[str, dict[str, Any]]:
    """The event loop that uses the limits."""
    return "trio" if where.endswith("trio") else "asyncio", {}


@pytest.fixture
async def tested(
    where: str, tmp_path: Path, valkey_server: ValkeyServer
) -> AsyncIterator[LimitsUnderTest]:
    """Limits on PostgreSQL with a clock that the test moves, or on Valkey with its own."""
    if where.startswith("valkey"):
        with valkey_server.client() as client:
            client.flushall()
        async with RedisLimits(valkey_server.url) as limits:
            yield LimitsUnderTest(limits, anyio.sleep, nearly=0.4)
        return
    clock = Clock()

    async def advance(seconds: float) -> None:
        clock.time += seconds

    async with ClockedLedger(tmp_path, clock) as ledger:
        yield LimitsUnderTest(ledger, advance)
