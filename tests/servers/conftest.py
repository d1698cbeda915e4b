"""Fixtures that run the shared suites of ledgers and event stores on real servers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from pg_ledgers import ClockedLedger
from valkey_server import ValkeyServer

from telecmi_async.events.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager


@pytest.fixture
def open_ledger() -> type[ClockedLedger]:
    """Opens a ledger on PostgreSQL."""
    return ClockedLedger


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One server for all tests that do not stop it."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def make_store(valkey_server: ValkeyServer) -> AsyncIterator[Callable[..., RedisStore]]:
    """Makes an event store on the server, which is emptied first."""
    with valkey_server.client() as client:
        client.flushall()
    made: list[RedisStore] = []

    def make(**options: Any) -> RedisStore:
        made.append(RedisStore(valkey_server.url, **options))
        return made[-1]

    yield make
    for store in made:
        await store.aclose()


@pytest.fixture
def open_empty_store(
    valkey_server: ValkeyServer,
) -> Callable[[], AbstractAsyncContextManager[RedisStore]]:
    """Opens an event store under a prefix of its own."""
    return lambda: RedisStore(valkey_server.url, prefix=secrets.token_hex(8))
