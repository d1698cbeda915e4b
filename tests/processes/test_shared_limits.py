"""Processes share one limit: the simulator's log shows how fast calls came."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pg_server
import pytest
from paced_processes import Measured, measure
from rolling_restarts import Rolling
from valkey_server import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real_clock


@pytest.fixture(params=["sqlite", "postgres", "valkey"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the limit is stored."""
    if request.param == "sqlite":
        yield str(tmp_path / "limits.db")
    elif request.param == "postgres":
        yield pg_server.shared().database(f"limits-{secrets.token_hex(4)}")
    else:
        with ValkeyServer() as server:
            yield server.url


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_no_second_has_more_calls_than_the_limit_and_one(where: str, rate: float) -> None:
    """No window of a second has more calls than the rate and one, and half the rate is used.

    Without a shared limit twice as many calls would come each time. A busy machine may delay
    some calls and not the next ones, so the test tries up to five times.

    `benchmarks/shared_limits.py` requires 98 % of the rate, also at 500 calls per second, where
    the delays of a busy machine are longer than the interval between starts.
    """
    for _ in range(5):
        found = measure(where, rate, seconds=2.0)
        if found.worst <= rate + 1:
            break

    assert found.worst <= rate + 1
    assert found.reached > 0.5


def test_web_workers_share_one_rate_through_restarts(where: str) -> None:
    """Four workers in uvicorn are killed and restarted under demand: the rate holds.

    ``nox -s crash`` runs it for longer, requires 95 % of the rate, and counts live calls.
    """
    for seed in range(3):
        rolling = Rolling(where, 10.0, None, seconds=9.0, every=2.0, kill_share=0.5, seed=seed)
        found = asyncio.run(rolling.run())
        if found.worst <= 11:
            break

    assert found.restarts + found.kills == 4
    assert found.worst <= 11
    assert found.reached > 0.8


def test_the_worst_second_is_counted_wherever_it_begins() -> None:
    """Arrivals exactly a second apart are not in the same second."""
    found = Measured(2.0, [0.0, 0.9, 1.0, 1.1, 1.8, 4.0])

    assert found.worst == 4
    assert found.reached == 5 / 4 / 2
