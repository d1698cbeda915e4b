"""Event stores: keep events and carry them to the calls they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = [
    "KEPT_SECONDS",
    "REMEMBERED_SECONDS",
    "UNMATCHED_SECONDS",
    "EventStore",
    "Listener",
    "MemoryStore",
    "RedisStore",
    "StoredEvent",
    "event_ids",
]

_MODULES: Final = {
    "base": (
        "KEPT_SECONDS REMEMBERED_SECONDS UNMATCHED_SECONDS EventStore Listener StoredEvent "
        "event_ids"
    ),
    "memory": "MemoryStore",
    "redis": "RedisStore",
}

if TYPE_CHECKING:
    from telecmi_async.events.store.base import (
        KEPT_SECONDS,
        REMEMBERED_SECONDS,
        UNMATCHED_SECONDS,
        EventStore,
        Listener,
        StoredEvent,
        event_ids,
    )
    from telecmi_async.events.store.memory import MemoryStore
    from telecmi_async.events.store.redis import RedisStore
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
