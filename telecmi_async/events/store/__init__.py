"""Where events wait for whoever waits for them."""

from __future__ import annotations

from telecmi_async.events.store.base import EventStore, FiledEvent, Listener, names_of
from telecmi_async.events.store.memory import MemoryStore
from telecmi_async.events.store.redis import RedisStore

__all__ = [
    "EventStore",
    "FiledEvent",
    "Listener",
    "MemoryStore",
    "RedisStore",
    "names_of",
]
