"""Hears what is published on a server, for one listener, and misses nothing."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from telecmi_async.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection

    from telecmi_async._internal.redis_server import RedisServer
    from telecmi_async.events.store.base import FiledEvent, Listener

__all__ = ["EventLookup", "RedisSubscriber"]

logger = logging.getLogger("telecmi_async")

# At least this often, in seconds, all that a listener waits for is looked up.
_FLOOR: Final = 30.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_AT_ONCE: Final = 500


class EventLookup(Protocol):
    """Where events can be looked up."""

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return what is kept under any of these ids."""
        ...

    async def by_key(self, keys: Collection[str]) -> list[FiledEvent]:
        """Return the events that have these keys, as far as they are kept."""
        ...


class RedisSubscriber:
    """Listens for as long as `listen_always` runs.

    Published is only what an event is found by. So an event is looked up if it is wanted, and
    all that the listener waits for is looked up whenever something may have been missed: after
    each connection, and now and then.

    Args:
        server: The server.
        channel: Where it is published.
        shelf: Where it is looked up.
        listener: Who wants it.
    """

    def __init__(
        self, server: RedisServer, channel: str, shelf: EventLookup, listener: Listener
    ) -> None:
        self._server = server
        self._channel = channel
        self._shelf = shelf
        self._listener = listener
        self._pause = _FIRST_PAUSE
        self._failed = False

    async def listen_always(self) -> None:
        """Listen, and connect again whenever the connection was lost."""
        while True:
            try:
                await self._listen()
            except StoreError as error:
                if not self._failed:
                    logger.warning("no events are heard for now: %s", error)
                self._failed = True
            await anyio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _listen(self) -> None:
        channel = self._server.bind().pubsub()
        try:
            await self._server.ask(channel.subscribe(self._channel))
            await self._hand_on(channel)
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                await self._server.ask(channel.aclose())

    async def _hand_on(self, channel: Any) -> None:
        """Hand on what is heard.

        Raises:
            StoreError: The connection was lost.
        """
        pending: list[str] = []
        due = anyio.current_time() + self._server.timeout
        answered = True
        while True:
            wait = 0.0 if pending else max(due - anyio.current_time(), 0.001)
            message: Any = await self._server.ask(channel.get_message(timeout=wait))
            if message is not None:
                answered = True
                # The client may have connected again by itself.
                if message["type"] == "subscribe":
                    self._begin()
                    due = 0.0
                elif message["type"] == "message":
                    pending += self._wanted(message["data"])
            if pending and (message is None or len(pending) >= _AT_ONCE):
                for filed in await self._shelf.by_key(pending):
                    self._listener.take(filed)
                pending.clear()
            if anyio.current_time() >= due:
                if not answered:
                    raise StoreError("the store of events failed (no sign of life)")
                answered = False
                await self._server.ask(channel.ping())
                await self._look_up()
                due = anyio.current_time() + _FLOOR

    def _begin(self) -> None:
        if self._failed:
            logger.warning("events are heard again, and what was missed is looked up")
        self._failed = False
        self._pause = _FIRST_PAUSE

    def _wanted(self, head: str | bytes) -> list[str]:
        key, _, *names = json.loads(head)
        return [key] if self._listener.wants(names) else []

    async def _look_up(self) -> None:
        """Look up all that the listener waits for."""
        names = self._listener.waiting()
        for start in range(0, len(names), _AT_ONCE):
            for filed in await self._shelf.get(names[start : start + _AT_ONCE]):
                self._listener.take(filed)
