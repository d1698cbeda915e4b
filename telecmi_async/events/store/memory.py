"""Events within one process: kept for a while, and handed on at once."""

from __future__ import annotations

import itertools
import json
import threading
import weakref
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.event_loop import call_in_loop, current_loop
from telecmi_async._internal.json_text import encode_json
from telecmi_async.events import Event, parse_event
from telecmi_async.events.store.base import KEPT, REMEMBERED, STRAYING, FiledEvent, Listener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

__all__ = ["MemoryStore"]

_whole: Final = validators.whole(1)


@frozen(eq=False)
class _Kept:
    """An event that is kept: encoded, which takes a fraction of the memory."""

    order: int
    names: tuple[str, ...]
    payload: bytes
    size: int
    until: float
    #: The event itself, as long as the history of a call holds it anyway.
    event: weakref.ref[Event]

    def filed(self, key: str, *, ours: bool) -> FiledEvent:
        """Return the event as it was filed."""
        event = self.event() or parse_event(json.loads(self.payload))
        return FiledEvent(event, key, self.names, ours=ours, size=self.size)


@define(eq=False)
class _Pool:
    """Events in the order in which they came, no more of them than there is room for."""

    seconds: float
    most: int
    most_bytes: int
    #: By name, the keys of the events of all pools of a store.
    by_name: dict[str, dict[str, None]]
    kept: OrderedDict[str, _Kept] = field(factory=OrderedDict[str, _Kept])
    bytes: int = 0
    dropped: int = 0

    def add(self, filed: FiledEvent, order: int, now: float) -> None:
        """Keep an event, at the cost of the oldest."""
        self.kept[filed.key] = _Kept(
            order,
            filed.names,
            encode_json(filed.event.raw).encode(),
            filed.size,
            now + self.seconds,
            weakref.ref(filed.event),
        )
        self.bytes += filed.size
        for name in filed.names:
            self.by_name.setdefault(name, {})[filed.key] = None
        while len(self.kept) > self.most or self.bytes > self.most_bytes:
            self._drop_oldest()

    def take(self, key: str) -> _Kept | None:
        """Keep an event no longer; return it if it was there."""
        kept = self.kept.pop(key, None)
        if kept is not None:
            self.bytes -= kept.size
            for name in kept.names:
                keys = self.by_name[name]
                del keys[key]
                if not keys:
                    del self.by_name[name]
        return kept

    def _drop_oldest(self) -> None:
        self.take(next(iter(self.kept)))
        self.dropped += 1

    def expire(self, now: float) -> None:
        """Let go of what is out of date."""
        while self.kept and next(iter(self.kept.values())).until <= now:
            self._drop_oldest()


@define(eq=False)
class MemoryStore:
    """The default store. It serves one process: a call must be awaited where its events arrive.

    Every event is handed on to whoever waits for it, and kept: one of ours for an hour, so that
    ``service.handle_for(request_id)`` takes up a call that nobody held; another one for ten
    minutes, since an event may overtake TeleCMI's reply. There are three memories, each with a
    bound of its own, so that events that somebody made up never push out what is known of
    real ones:

    - Which of *our* events were there: 24 hours long, at most ``remember`` of them. One takes
      about 200 bytes.
    - Our events themselves: at most ``keep`` of them, and ``keep_bytes`` of payload.
    - Those of which it is not known whose they are: at most ``strays`` and ``stray_bytes``.

    The oldest is dropped for a new one. An event that is kept takes its payload's bytes and
    about two kilobytes besides. With the bounds as they are, events that somebody made up take
    at most 20 MB, and all memories together at most 100 MB.

    Args:
        remember: How many of our events are remembered, so that none is handed on twice.
        keep: How many of our events are kept.
        keep_bytes: How many bytes of payload they may have together.
        strays: How many other events are kept.
        stray_bytes: How many bytes of payload those may have together.

    Raises:
        ConfigurationError: One is no whole number of 1 or more.
    """

    remember: int = field(default=200_000, kw_only=True, validator=_whole)
    keep: int = field(default=10_000, kw_only=True, validator=_whole)
    keep_bytes: int = field(default=8 << 20, kw_only=True, validator=_whole)
    strays: int = field(default=2_000, kw_only=True, validator=_whole)
    stray_bytes: int = field(default=4 << 20, kw_only=True, validator=_whole)
    shared: bool = field(default=False, init=False, repr=False)
    _listeners: list[tuple[Listener, object]] = field(
        factory=list[tuple[Listener, object]], init=False, repr=False
    )
    _seen: OrderedDict[str, float] = field(
        factory=OrderedDict[str, float], init=False, repr=False
    )
    _ours: _Pool = field(init=False, repr=False)
    _strays: _Pool = field(init=False, repr=False)
    _by_name: dict[str, dict[str, None]] = field(
        factory=dict[str, dict[str, None]], init=False, repr=False
    )
    _order: itertools.count[int] = field(factory=itertools.count, init=False, repr=False)
    # Receiver and service may run in threads of their own.
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._ours = _Pool(KEPT, self.keep, self.keep_bytes, self._by_name)
        self._strays = _Pool(STRAYING, self.strays, self.stray_bytes, self._by_name)

    @property
    def dropped(self) -> int:
        """How many events were dropped because nobody was known to have placed their call."""
        return self._strays.dropped

    async def put(self, filed: FiledEvent) -> bool:
        """Keep an event and hand it on; False if it is a repeat."""
        with self._lock:
            if not self._file(filed, anyio.current_time()):
                return False
        here = current_loop()
        for listener, loop in tuple(self._listeners):
            if listener.wants(filed.names):
                if loop is here:
                    listener.take(filed)
                else:
                    call_in_loop(loop, listener.take, filed)
        return True

    def _file(self, filed: FiledEvent, now: float) -> bool:
        self._forget(now)
        if filed.key in self._seen:
            return False
        if not filed.ours:
            if filed.key in self._strays.kept:
                return False
            self._strays.add(filed, next(self._order), now)
            return True
        self._strays.take(filed.key)  # now it is certain whose it is
        self._ours.take(filed.key)
        self._remember(filed.key, now)
        self._ours.add(filed, next(self._order), now)
        return True

    def _remember(self, key: str, now: float) -> None:
        self._seen[key] = now + REMEMBERED
        if len(self._seen) > self.remember:
            self._seen.popitem(last=False)

    def _forget(self, now: float) -> None:
        """Let go of what is out of date. All memories are in the order of their times."""
        self._ours.expire(now)
        self._strays.expire(now)
        while self._seen and next(iter(self._seen.values())) <= now:
            self._seen.popitem(last=False)

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return what is kept under any of these ids."""
        with self._lock:
            self._forget(anyio.current_time())
            found = [
                (kept, key, pool is self._ours)
                for key in {key for name in names for key in self._by_name.get(name, ())}
                for pool in (self._ours, self._strays)
                if (kept := pool.kept.get(key)) is not None
            ]
        found.sort(key=lambda entry: entry[0].order)
        return [kept.filed(key, ours=ours) for kept, key, ours in found]

    async def claim(self, key: str) -> bool:
        """Tell whether an event is claimed for the first time; it is one of ours from now on."""
        with self._lock:
            now = anyio.current_time()
            self._forget(now)
            if key in self._seen:
                return False
            self._remember(key, now)
            kept = self._strays.take(key)
            if kept is not None:
                self._ours.add(kept.filed(key, ours=True), kept.order, now)
        return True

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncGenerator[None]:
        """Hand a listener what it wants, in the event loop that asked for it."""
        entry = (listener, current_loop())
        self._listeners.append(entry)
        try:
            yield
        finally:
            self._listeners.remove(entry)
