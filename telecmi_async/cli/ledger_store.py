"""Ledger store: records events in the ledger, for campaigns that dial from another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.evidence import put_on_record, record_of, release_channel
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.events.store import FiledEvent, Listener
    from telecmi_async.ledger import Ledger

__all__ = ["LedgerStore"]


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

    async def put(self, filed: FiledEvent) -> bool:
        """Record an event, also a repeat: the first time may have failed half-way."""
        campaign = await put_on_record(self._ledger, filed.event)
        record = record_of(filed.event)
        if campaign is not None and record is not None:
            await release_channel(self._ledger, campaign, record)
        fresh = await self._memory.put(filed)
        self.known += campaign is not None and fresh
        return fresh

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return recent events."""
        return await self._memory.get(names)

    async def claim(self, key: str) -> bool:
        """Return whether an event was not claimed before."""
        return await self._memory.claim(key)

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Give new events to a listener."""
        return self._memory.follow(listener)
