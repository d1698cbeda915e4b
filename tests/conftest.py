"""Fixtures of all tests: both event loops, on a virtual clock."""

from __future__ import annotations

import gc
import logging
import os
from contextlib import nullcontext
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
    from contextlib import AbstractAsyncContextManager

# pytest rewrites the assertions of shared test modules, so that failures explain themselves.
SUPPORT = Path(__file__).with_name("support")
pytest.register_assert_rewrite(*(module.stem for module in SUPPORT.glob("*.py")))

# This package's plugin is tested in runs of real pytest.
pytest_plugins = ["process_environment", "pytester"]

# Examples have no deadline, because one may build thousands of calls on a busy machine. CI uses
# the same examples in every run, so that two versions are compared with equal inputs.
#
# The everyday suite tries a quarter of hypothesis' usual number of examples, since it runs on each
# Python in turn; ``nox -s full`` tries twice as many, once, with the second profile.
settings.register_profile(
    "everyday", deadline=None, derandomize="CI" in os.environ, max_examples=25
)
settings.register_profile("full", settings.get_profile("everyday"), max_examples=50)
settings.load_profile("everyday")


def pytest_configure(config: pytest.Config) -> None:
    """Measure coverage in test processes, and not in processes that tests start.

    Some of these are killed, and all would start more slowly.
    """
    if not config.getoption("numprocesses", None):  # with it, pytest starts test processes
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_collection_finish() -> None:
    """Freeze shared objects: some tests run the garbage collector after each step."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Freeze what a finished module left, mostly reports: each run of the collector searches it."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run an async test on asyncio and on trio, on the virtual clock.

    ``@pytest.mark.real_clock`` gives the plain event loops, for tests that need sockets,
    threads or real time.
    """
    name: Literal["asyncio", "trio"] = request.param
    if request.node.get_closest_marker("real_clock"):
        return name, {}
    return virtual_backend(name)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests that need asyncio on the virtual clock, too."""
    return {"virtual": VirtualClockLoop}


@pytest.fixture
def campaigns_poll_every(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the campaigns' poll interval, for tests on a real clock."""

    def every(seconds: float) -> None:
        for module in ("start_scheduler", "supervisor", "worker"):
            monkeypatch.setattr(f"telecmi_async.campaigns.{module}._POLL", seconds)
        monkeypatch.setattr("telecmi_async.pacing.shared_starts._POLL", seconds)
        monkeypatch.setattr("telecmi_async.campaigns.ledger_health._STORE_PAUSE", 2 * seconds)

    return every


@pytest.fixture
def campaigns_poll_often(campaigns_poll_every: Callable[[float], None]) -> None:
    """Make campaigns poll their ledger ten times a second."""
    campaigns_poll_every(0.1)


@pytest.fixture
def campaigns_poll_seldom(campaigns_poll_every: Callable[[float], None]) -> None:
    """Make campaigns poll every ten seconds, for tests that wait for an hour of virtual time."""
    campaigns_poll_every(10.0)


@pytest.fixture
def open_ledger() -> Callable[[Path, Callable[[], float]], SqliteLedger]:
    """Return a function that opens a SQLite ledger; in tests/servers it is PostgreSQL."""
    return lambda folder, clock: SqliteLedger(folder / "ledger.db", clock=clock)


@pytest.fixture
def make_store() -> Callable[..., EventStore]:
    """Return a function that makes an event store in memory; in tests/servers on Valkey."""
    return MemoryStore


@pytest.fixture
def open_empty_store() -> Callable[[], AbstractAsyncContextManager[EventStore]]:
    """Return a function that opens an empty event store; in tests/servers on Valkey."""
    return lambda: nullcontext(MemoryStore())


@pytest.fixture
def logs_stay_as_they_are() -> Iterator[None]:
    """Restore the logging setup of the process, which frameworks change."""
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
