"""Events within one process: handed on at once, kept aside if nobody wants them yet."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field, frozen

from telecmi_async import _settings
from telecmi_async._eventloop import current_loop, hand_over
from telecmi_async.store.base import FiledEvent, Listener

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

__all__ = ["MemoryStore"]

_STRAYS_SECONDS: Final = 600.0
_REMEMBERED_SECONDS: Final = 24 * 3600.0


@frozen(eq=False)
class _Kept:
    """An event that nobody wanted so far."""

    filed: FiledEvent
    until: float


@define(eq=False)
class MemoryStore:
    """The default store. It serves one process: a call must be awaited where its events arrive.

    What somebody waits for is handed on and not kept. What nobody wants is kept aside for ten
    minutes, since an event may overtake TeleCMI's reply, and then counted in `dropped`. Two
    memories, so that events that somebody made up never push out what is known of real ones:

    - Which of *our* events were there: 24 hours long, at most ``remember`` of them. One takes
      about 200 bytes.
    - What is kept aside: at most ``strays`` events and ``stray_bytes`` of payload, the oldest
      being dropped for a new one. Decoded, a payload takes up to ten times its bytes.

    Args:
        remember: How many of our events are remembered, so that none is handed on twice.
        strays: How many events are kept aside.
        stray_bytes: How many bytes of payload they may have together.

    Raises:
        ConfigurationError: One is no whole number of 1 or more.
    """

    remember: int = field(default=200_000, kw_only=True, validator=_settings.whole(1))
    strays: int = field(default=2_000, kw_only=True, validator=_settings.whole(1))
    stray_bytes: int = field(default=4 << 20, kw_only=True, validator=_settings.whole(1))
    shared: bool = field(default=False, init=False, repr=False)
    #: How many events were dropped because nobody wanted them in time.
    dropped: int = field(default=0, init=False)
    _listeners: list[tuple[Listener, object]] = field(
        factory=list[tuple[Listener, object]], init=False, repr=False
    )
    _seen: OrderedDict[str, float] = field(
        factory=OrderedDict[str, float], init=False, repr=False
    )
    _aside: OrderedDict[str, _Kept] = field(
        factory=OrderedDict[str, _Kept], init=False, repr=False
    )
    _names: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False, repr=False)
    _bytes: int = field(default=0, init=False, repr=False)
    _claimed: OrderedDict[str, float] = field(
        factory=OrderedDict[str, float], init=False, repr=False
    )

    async def put(self, filed: FiledEvent) -> bool:
        """Hand an event on, or keep it aside; False if it is a repeat."""
        now = anyio.current_time()
        self._forget(now)
        if filed.key in self._seen or filed.key in self._aside:
            return False
        if filed.ours:
            self._remember(self._seen, filed.key, now)
        if not self._hand_on(filed):
            self._keep(filed, now)
        return True

    def _hand_on(self, filed: FiledEvent) -> bool:
        """Give an event to every listener that wants it; tell whether there was one."""
        here = current_loop()
        wanted = False
        for listener, loop in self._listeners:
            if listener.wants(filed.names):
                wanted = True
                if loop is here:
                    listener.take(filed)
                else:
                    hand_over(loop, listener.take, filed)
        return wanted

    def _keep(self, filed: FiledEvent, now: float) -> None:
        self._aside[filed.key] = _Kept(filed, now + _STRAYS_SECONDS)
        self._bytes += filed.size
        for name in filed.names:
            self._names.setdefault(name, []).append(filed.key)
        while len(self._aside) > self.strays or self._bytes > self.stray_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._take(next(iter(self._aside)))
        self.dropped += 1

    def _take(self, key: str) -> FiledEvent:
        """Take an event from those that are kept aside."""
        filed = self._aside.pop(key).filed
        self._bytes -= filed.size
        for name in filed.names:
            keys = self._names[name]
            keys.remove(key)
            if not keys:
                del self._names[name]
        return filed

    def _remember(self, memory: OrderedDict[str, float], key: str, now: float) -> None:
        memory[key] = now + _REMEMBERED_SECONDS
        if len(memory) > self.remember:
            memory.popitem(last=False)

    def _forget(self, now: float) -> None:
        """Let go of what is out of date. Both memories are in the order of their times."""
        while self._aside and next(iter(self._aside.values())).until <= now:
            self._drop_oldest()
        while self._seen and next(iter(self._seen.values())) <= now:
            self._seen.popitem(last=False)

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return what is kept aside under any of these ids; it is kept no longer."""
        now = anyio.current_time()
        self._forget(now)
        wanted = {key for name in names for key in self._names.get(name, ())}
        found = [key for key in self._aside if key in wanted] if wanted else []
        for key in found:
            self._remember(self._seen, key, now)
        return [self._take(key) for key in found]

    async def claim(self, key: str) -> bool:
        """Tell whether an event is claimed for the first time."""
        if key in self._claimed:
            return False
        self._remember(self._claimed, key, anyio.current_time())
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
