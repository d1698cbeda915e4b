"""Event store in memory: for one process, which keeps events for a while and passes them on."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from telecmi_async._internal import validators
from telecmi_async._internal.event_loop import call_in_loop, clock_of, current_loop
from telecmi_async.events import Event, parse_event
from telecmi_async.events.store.base import (
    KEPT_SECONDS,
    REMEMBERED_SECONDS,
    UNMATCHED_SECONDS,
    Listener,
    StoredEvent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

_whole: Final = validators.whole(1)


@define(eq=False)
class _Kept:
    """An event that is kept: as it came, which takes a fraction of the memory."""

    order: int
    ids: tuple[str, ...]
    payload: bytes
    until: float
    #: The event itself, as long as the history of a call holds it anyway.
    event: weakref.ref[Event]

    def stored(self, key: str, *, matched: bool) -> StoredEvent:
        """Return the event as it was stored."""
        event = self.event() or parse_event(self.payload)
        return StoredEvent(event, key, self.ids, matched=matched, payload=self.payload)


@define(eq=False)
class _Pool:
    """Events in the order of arrival, limited in number and bytes."""

    seconds: float
    most: int
    most_bytes: int
    #: By id, the keys of the events in all pools of a store.
    by_id: dict[str, dict[str, None]]
    kept: OrderedDict[str, _Kept] = field(factory=OrderedDict[str, _Kept])
    bytes: int = 0
    dropped: int = 0

    def add(self, stored: StoredEvent, order: int, now: float) -> None:
        """Keep an event; drop the oldest ones if there is no room."""
        key, ids, payload = stored.key, stored.ids, stored.payload
        until, event = now + self.seconds, weakref.ref(stored.event)
        self.kept[key] = _Kept(order, ids, payload, until, event)
        self.bytes += len(payload)
        by_id = self.by_id
        for name in ids:
            by_id.setdefault(name, {})[key] = None
        while len(self.kept) > self.most or self.bytes > self.most_bytes:
            self._drop_oldest()

    def pop(self, key: str) -> _Kept | None:
        """Remove an event; return it if it was there."""
        kept = self.kept.pop(key, None)
        if kept is not None:
            self.bytes -= len(kept.payload)
            for name in kept.ids:
                keys = self.by_id[name]
                del keys[key]
                if not keys:
                    del self.by_id[name]
        return kept

    def _drop_oldest(self) -> None:
        self.pop(next(iter(self.kept)))
        self.dropped += 1

    def expire(self, now: float) -> float:
        """Drop expired events; return when the next one expires."""
        while self.kept:
            until = next(iter(self.kept.values())).until
            if until > now:
                return until
            self._drop_oldest()
        return math.inf


@define(eq=False)
class MemoryStore:
    """The default store. It serves one process: a call must be awaited where its events arrive.

    Events are passed on at once, and kept: matched ones for an hour, so that
    ``service.handle_for(request_id)`` finds what happened to a call without a handle; unmatched
    ones for ten minutes, since an event may overtake TeleCMI's reply. There are three memories,
    each with separate limits, so that forged events never push out genuine ones:

    - The deduplication keys of matched events: for 24 hours, at most ``remember`` of them. One
      takes about 200 bytes.
    - Matched events: at most ``keep`` of them, and ``keep_bytes`` of payload.
    - Unmatched events: at most ``unmatched`` and ``unmatched_bytes``.

    The oldest is dropped for a new one. An event takes its payload's bytes and about two
    kilobytes besides. With the default limits forged events take at most 20 MB, and all
    memories together at most 100 MB.

    Example:
        A receiver that keeps few events::

            from telecmi_async.events.receiver import new_token
            from telecmi_async.events.store import MemoryStore

            receiver = Receiver(new_token(), store=MemoryStore(keep=1_000, unmatched=200))

    Args:
        remember: How many matched events are remembered, so that handlers get none twice.
        keep: How many matched events are kept.
        keep_bytes: How many bytes of payload they may have together.
        unmatched: How many unmatched events are kept.
        unmatched_bytes: How many bytes of payload they may have together.

    Raises:
        ConfigurationError: One is not a whole number of 1 or more.
    """

    shared = False

    remember: int = field(default=200_000, kw_only=True, validator=_whole)
    keep: int = field(default=10_000, kw_only=True, validator=_whole)
    keep_bytes: int = field(default=8 << 20, kw_only=True, validator=_whole)
    unmatched: int = field(default=2_000, kw_only=True, validator=_whole)
    unmatched_bytes: int = field(default=4 << 20, kw_only=True, validator=_whole)
    _listeners: list[tuple[Listener, object]] = field(init=False, repr=False)
    _seen: OrderedDict[str, float] = field(init=False, repr=False)
    _matched: _Pool = field(init=False, repr=False)
    _unmatched: _Pool = field(init=False, repr=False)
    #: Before this time nothing expires.
    _due: float = field(default=-math.inf, init=False, repr=False)
    _order: itertools.count[int] = field(factory=itertools.count, init=False, repr=False)
    # Receiver and service may run in threads of their own.
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._listeners, self._seen = [], OrderedDict()
        by_id: dict[str, dict[str, None]] = {}
        self._matched = _Pool(KEPT_SECONDS, self.keep, self.keep_bytes, by_id)
        self._unmatched = _Pool(UNMATCHED_SECONDS, self.unmatched, self.unmatched_bytes, by_id)

    @property
    def dropped(self) -> int:
        """How many events were dropped because their call never turned up."""
        return self._unmatched.dropped

    async def put(self, stored: StoredEvent) -> bool:
        """Keep an event and pass it on; return False if it is a repeat."""
        here = current_loop()
        now = clock_of(here)()
        with self._lock:
            if not self._add(stored, now):
                return False
        for listener, loop in tuple(self._listeners):
            if listener.wants(stored.ids):
                if loop is here:
                    listener.take(stored)
                else:
                    call_in_loop(loop, listener.take, stored)
        return True

    def _add(self, stored: StoredEvent, now: float) -> bool:
        self._expire(now)
        if stored.key in self._seen:
            return False
        if not stored.matched:
            if stored.key in self._unmatched.kept:
                return False
            self._unmatched.add(stored, next(self._order), now)
            return True
        self._unmatched.pop(stored.key)
        self._matched.pop(stored.key)
        self._remember(stored.key, now)
        self._matched.add(stored, next(self._order), now)
        return True

    def _remember(self, key: str, now: float) -> None:
        self._seen[key] = now + REMEMBERED_SECONDS
        if len(self._seen) > self.remember:
            self._seen.popitem(last=False)

    def _expire(self, now: float) -> None:
        """Drop what expired. All memories are in the order of their times."""
        if now < self._due:
            return
        while (seen := next(iter(self._seen.values()), math.inf)) <= now:
            self._seen.popitem(last=False)
        # What is added from now on is kept for ten minutes at least.
        self._due = min(
            self._matched.expire(now),
            self._unmatched.expire(now),
            seen,
            now + UNMATCHED_SECONDS,
        )

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return the events that are kept under any of these ids."""
        by_id = self._matched.by_id
        with self._lock:
            self._expire(anyio.current_time())
            found = [
                (kept, key, pool is self._matched)
                for key in {key for name in ids for key in by_id.get(name, ())}
                for pool in (self._matched, self._unmatched)
                if (kept := pool.kept.get(key)) is not None
            ]
        found.sort(key=lambda entry: entry[0].order)
        return [kept.stored(key, matched=matched) for kept, key, matched in found]

    async def claim(self, key: str) -> bool:
        """Return whether this is the first claim of an event, which is matched from now on."""
        with self._lock:
            now = anyio.current_time()
            self._expire(now)
            if key in self._seen:
                return False
            self._remember(key, now)
            kept = self._unmatched.pop(key)
            if kept is not None:
                self._matched.add(kept.stored(key, matched=True), kept.order, now)
        return True

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncGenerator[None]:
        """Give a listener what it wants, in the event loop that called this."""
        entry = (listener, current_loop())
        self._listeners.append(entry)
        try:
            yield
        finally:
            self._listeners.remove(entry)
