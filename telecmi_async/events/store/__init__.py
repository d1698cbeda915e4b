"""Event stores: keep events and carry them to the calls they are about."""

from __future__ import annotations

from telecmi_async.events.store.base import EventStore, Listener, StoredEvent, event_ids
from telecmi_async.events.store.memory import MemoryStore
from telecmi_async.events.store.redis import RedisStore

__all__ = [
    "EventStore",
    "Listener",
    "MemoryStore",
    "RedisStore",
    "StoredEvent",
    "event_ids",
]
