"""The suites of all ledgers and event stores run on servers here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pg_ledgers import ClockedLedger
from valkey_server import ValkeyServer

from telecmi_async.events.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture
def open_ledger() -> type[ClockedLedger]:
    """What opens a ledger on PostgreSQL."""
    return ClockedLedger


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One server for all who do it no harm."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def make_store(valkey_server: ValkeyServer) -> AsyncIterator[Callable[..., RedisStore]]:
    """What makes an event store on the server, which is empty."""
    with valkey_server.client() as client:
        client.flushall()
    made: list[RedisStore] = []

    def make(**options: Any) -> RedisStore:
        made.append(RedisStore(valkey_server.url, **options))
        return made[-1]

    yield make
    for store in made:
        await store.aclose()
