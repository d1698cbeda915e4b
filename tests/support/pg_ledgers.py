"""A ledger in PostgreSQL with a clock that the test moves."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

from pg_server import shared

from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.ledger.postgres.pipeline import PostgresPipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ClockedLedger"]

# Without a setting it is the server's own clock.
CLOCK = """
    CREATE OR REPLACE FUNCTION clock() RETURNS double precision LANGUAGE sql VOLATILE AS $$
        SELECT coalesce(nullif(current_setting('test.clock', true), '')::double precision,
            extract(epoch FROM clock_timestamp())::double precision)
    $$"""
SET = "SELECT set_config('test.clock', %s, false)"


class ClockedPipeline(PostgresPipeline):
    """Sets its connection's time before each query."""

    clock: Callable[[], float]

    async def fetch(self, sql: str, *values: object, takes_again: bool = False) -> Any:
        await super().fetch(SET, repr(self.clock()))
        return await super().fetch(sql, *values, takes_again=takes_again)


class ClockedLedger(PostgresLedger):
    """A PostgreSQL ledger whose schema belongs to a folder.

    Args:
        folder: Ledgers of one folder share a schema.
        clock: Returns the time.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:20]
        super().__init__(shared().url(), schema=f"test_{name}")
        for pipeline in (self._moves, self._queries, self._reservations):
            pipeline.__class__ = ClockedPipeline
            pipeline.clock = clock  # type: ignore[attr-defined]  # it is a ClockedPipeline now

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._queries.do(lambda connection: connection.execute(CLOCK.encode()))
        return self
