"""Stored events and a listener, for tests of event stores."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import anyio
from fake_store import REFERENCES

from telecmi_async.events import dedupe_key, parse_event
from telecmi_async.events.store import StoredEvent, event_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["FakeListener", "eventually", "keys", "stored", "unmatched"]

_unique = map(str, itertools.count())


def stored(data: dict[str, Any], *, matched: bool = True) -> StoredEvent:
    """Return an event that is matched to a call of this account."""
    event = parse_event(data)
    ids = event_ids(event, REFERENCES.find(event))
    key = dedupe_key(event) or f"unique.{next(_unique)}"
    return StoredEvent(event, key, ids, matched=matched, payload=json.dumps(data).encode())


def unmatched(data: dict[str, Any]) -> StoredEvent:
    """Return an event that no process has matched to a call yet."""
    return stored(data, matched=False)


def keys(found: list[StoredEvent]) -> list[str]:
    """Return the keys of events."""
    return [event.key for event in found]


class FakeListener:
    """A listener that wants some ids, and records the events that it gets."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.received: list[StoredEvent] = []

    def wants(self, ids: Collection[str]) -> bool:
        """Return whether one of the ids is wanted."""
        return not self.names.isdisjoint(ids)

    def take(self, stored: StoredEvent) -> None:
        """Record an event."""
        self.received.append(stored)

    def waiting(self) -> list[str]:
        """Return all wanted ids."""
        return sorted(self.names)


async def eventually(holds: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait on the real clock until something holds."""
    with anyio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110  # the condition has no event to wait for
            await anyio.sleep(0.01)
