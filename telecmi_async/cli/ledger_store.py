"""Ledger store: records events in the ledger, for campaigns that dial from another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.evidence import record_call_event
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.events.store import Listener, StoredEvent
    from telecmi_async.ledger import Ledger


class LedgerStore:
    """Records each event in a ledger before TeleCMI gets its answer.

    While the ledger fails, the answer makes TeleCMI send the event again.

    Args:
        ledger: The ledger; open.
    """

    shared = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._memory = MemoryStore()
        #: The number of events of calls in the ledger.
        self.known = 0

    async def put(self, stored: StoredEvent) -> bool:
        """Record an event, also a repeat: the first time may have failed half-way."""
        campaign = await record_call_event(self._ledger, stored.event)
        fresh = await self._memory.put(stored)
        self.known += campaign is not None and fresh
        return fresh

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return recent events."""
        return await self._memory.get(ids)

    async def claim(self, key: str) -> bool:
        """Return whether an event was not claimed before."""
        return await self._memory.claim(key)

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Give new events to a listener."""
        return self._memory.follow(listener)
