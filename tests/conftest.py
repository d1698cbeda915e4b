"""What all tests share: both event loops, on a clock that does not wait."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import settings

from telecmi_async.events.store import EventStore, MemoryStore
from telecmi_async.ledger import SqliteLedger
from telecmi_async.testing import VirtualClockLoop, virtual_backend

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

# Assertions of the modules that tests share explain themselves, too.
SUPPORT = Path(__file__).with_name("support")
pytest.register_assert_rewrite(*(module.stem for module in SUPPORT.glob("*.py")))

# This package's plugin is tested in runs of real pytest.
pytest_plugins = ["process_environment", "pytester"]

# An example may build thousands of calls, and a busy machine is no reason to fail. In CI the
# examples are the same in every run, so that a change is judged by itself.
settings.register_profile("telecmi_async", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("telecmi_async")


def pytest_configure(config: pytest.Config) -> None:
    """Measure coverage where tests run, and not in processes that they start.

    Some of these are killed, and all would start more slowly.
    """
    if not config.getoption("numprocesses", None):  # else it is pytest's own that are started
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_collection_finish() -> None:
    """Spare what all tests share from garbage collection: some collect after each step."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run an async test on asyncio and on trio, on the virtual clock.

    ``@pytest.mark.real_clock`` gives the plain loops, for tests that need sockets, threads or
    time that passes.
    """
    name: Literal["asyncio", "trio"] = request.param
    if request.node.get_closest_marker("real_clock"):
        return name, {}
    return virtual_backend(name)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests that are asyncio's alone on the virtual clock too."""
    return {"virtual": VirtualClockLoop}


@pytest.fixture
def campaigns_poll_every(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """What sets how often campaigns look at their ledger: seconds pass slowly on a real clock."""

    def every(seconds: float) -> None:
        for module in ("start_scheduler", "supervisor", "worker"):
            monkeypatch.setattr(f"telecmi_async.campaigns.{module}._POLL", seconds)
        monkeypatch.setattr("telecmi_async.campaigns.worker._STORE_PAUSE", 2 * seconds)

    return every


@pytest.fixture
def campaigns_poll_often(campaigns_poll_every: Callable[[float], None]) -> None:
    """Campaigns look at their ledger ten times a second."""
    campaigns_poll_every(0.1)


@pytest.fixture
def open_ledger() -> Callable[[Path, Callable[[], float]], SqliteLedger]:
    """What opens a ledger, for tests of all ledgers: SQLite; PostgreSQL below tests/servers."""
    return lambda folder, clock: SqliteLedger(folder / "ledger.db", clock=clock)


@pytest.fixture
def make_store() -> Callable[..., EventStore]:
    """What makes an event store, for tests of all: in memory; on Valkey below tests/servers."""
    return MemoryStore


@pytest.fixture
def logs_stay_as_they_are() -> Iterator[None]:
    """Frameworks set logging up for the whole process; other tests look at it."""
    root = logging.getLogger()
    loggers = [
        root,
        *(
            each
            for each in root.manager.loggerDict.values()
            if isinstance(each, logging.Logger)
        ),
    ]
    before = [
        (each, each.level, each.disabled, each.propagate, each.handlers[:]) for each in loggers
    ]
    yield
    for each, level, disabled, propagate, handlers in before:
        each.setLevel(level)
        each.disabled, each.propagate = disabled, propagate
        each.handlers[:] = handlers
