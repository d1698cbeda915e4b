"""Events as a receiver files them, and a listener, for tests of stores."""

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
    """An event that is certainly about a call of this account."""
    event = parse_event(data)
    ids = event_ids(event, REFERENCES.find(event))
    key = dedupe_key(event) or f"unique.{next(_unique)}"
    return StoredEvent(event, key, ids, matched=matched, size=len(json.dumps(data)))


def unmatched(data: dict[str, Any]) -> StoredEvent:
    """An event of which nobody knows yet whose it is."""
    return stored(data, matched=False)


def keys(found: list[StoredEvent]) -> list[str]:
    """What tells events apart."""
    return [event.key for event in found]


class FakeListener:
    """A listener that waits for some ids, and takes down what it is told."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.received: list[StoredEvent] = []

    def wants(self, ids: Collection[str]) -> bool:
        """Want what it waits for."""
        return not self.names.isdisjoint(ids)

    def take(self, stored: StoredEvent) -> None:
        """Take an event down."""
        self.received.append(stored)

    def waiting(self) -> list[str]:
        """Wait for all of it for ever."""
        return sorted(self.names)


async def eventually(holds: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait until something holds, on a clock that goes."""
    with anyio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110  # what changes knows nothing of a test
            await anyio.sleep(0.01)
