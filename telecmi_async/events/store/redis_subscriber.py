"""Redis subscription: receives published events for one listener, and misses none."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio

from telecmi_async.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from telecmi_async._internal.redis_server import RedisServer
    from telecmi_async.events.store.base import Listener, StoredEvent

    _Find: TypeAlias = Callable[[Collection[str]], Awaitable[list[StoredEvent]]]

logger = logging.getLogger("telecmi_async")

# At least this often, in seconds, all that a listener waits for is looked up.
_LOOK_UP_EVERY: Final = 30.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_AT_ONCE: Final = 500


class RedisSubscriber:
    """Listens for as long as `run` runs.

    Only the ids of an event are published, so the event is looked up if it is wanted. All that
    the listener waits for is looked up whenever something may have been missed: after each
    connection, and every 30 seconds.
    """

    def __init__(
        self,
        server: RedisServer,
        channel: str,
        listener: Listener,
        *,
        get: _Find,
        by_key: _Find,
    ) -> None:
        self._server = server
        self._channel = channel
        self._listener = listener
        self._get = get
        self._by_key = by_key
        self._pause = _FIRST_PAUSE
        self._failed = False

    async def run(self) -> None:
        """Listen, and connect again whenever the connection was lost."""
        while True:
            try:
                await self._listen()
            except StoreError as error:
                if not self._failed:
                    logger.warning("events cannot be received for now: %s", error)
                self._failed = True
            await anyio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _listen(self) -> None:
        channel = self._server.bind().pubsub()
        try:
            await self._server.ask(channel.subscribe(self._channel))
            await self._receive(channel)
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                await self._server.ask(channel.aclose())

    async def _receive(self, channel: Any) -> None:
        """Give the listener the events that are published.

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
                    self._connected()
                    due = 0.0
                elif message["type"] == "message":
                    key, _, *ids = json.loads(message["data"])
                    if self._listener.wants(ids):
                        pending.append(key)
            if pending and (message is None or len(pending) >= _AT_ONCE):
                for stored in await self._by_key(pending):
                    self._listener.take(stored)
                pending.clear()
            if anyio.current_time() >= due:
                if not answered:
                    raise StoreError("the store of events failed (no reply to a ping)")
                answered = False
                await self._server.ask(channel.ping())
                await self._look_up()
                due = anyio.current_time() + _LOOK_UP_EVERY

    def _connected(self) -> None:
        if self._failed:
            logger.warning("events are received again; missed ones are looked up")
        self._failed = False
        self._pause = _FIRST_PAUSE

    async def _look_up(self) -> None:
        """Look up all that the listener waits for."""
        ids = self._listener.waiting()
        for start in range(0, len(ids), _AT_ONCE):
            for stored in await self._get(ids[start : start + _AT_ONCE]):
                self._listener.take(stored)
