"""Two processes on one limit: the simulator's own log says how fast calls came."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pg_server
import pytest
from paced_processes import Measured, measure
from valkey_server import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real_clock


@pytest.fixture(params=["sqlite", "postgres", "valkey"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the limit is kept."""
    if request.param == "sqlite":
        yield str(tmp_path / "limits.db")
    elif request.param == "postgres":
        yield pg_server.shared().database(f"limits-{secrets.token_hex(4)}")
    else:
        with ValkeyServer() as server:
            yield server.url


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_no_second_has_more_calls_than_the_limit_and_one(where: str, rate: float) -> None:
    """However the two take turns; most of the limit is used, though the machine be busy.

    A limit that did not hold would let twice as many through each time; a busy machine that is
    late with some and not with the next is given another try.

    `benchmarks/shared_limits.py` asks for 98 % of it, at 500 calls a second as well, where a busy
    machine is late by more than starts are apart.
    """
    for _ in range(3):
        found = measure(where, rate, seconds=2.0)
        if found.worst <= rate + 1:
            break

    assert found.worst <= rate + 1
    assert found.reached > 0.5


def test_the_worst_second_is_counted_wherever_it_begins() -> None:
    """Arrivals exactly a second apart are not in one."""
    found = Measured(2.0, [0.0, 0.9, 1.0, 1.1, 1.8, 4.0])

    assert found.worst == 4
    assert found.reached == 5 / 4 / 2
