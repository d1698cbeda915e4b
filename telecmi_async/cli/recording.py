"""Events that arrive on one machine, for campaigns that dial on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.evidence import record_event
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.events.store import Listener, StoredEvent
    from telecmi_async.ledger import Ledger

__all__ = ["LedgerStore"]


class LedgerStore:
    """Has each event on record in a ledger before TeleCMI gets its answer.

    While the ledger fails, TeleCMI is asked to send events again.

    Args:
        ledger: The ledger; open.
    """

    shared = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._memory = MemoryStore()
        #: How many events were of calls that the ledger knows.
        self.known = 0

    async def put(self, stored: StoredEvent) -> bool:
        """Put an event on record, a repeat too: the first time may have failed half-way."""
        campaign = await record_event(self._ledger, stored.event)
        fresh = await self._memory.put(stored)
        self.known += campaign is not None and fresh
        return fresh

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return what was put lately."""
        return await self._memory.get(ids)

    async def claim(self, key: str) -> bool:
        """Tell whether nobody claimed an event before."""
        return await self._memory.claim(key)

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Tell a listener of events."""
        return self._memory.follow(listener)
