"""Event store on a Redis or Valkey server: shares events between processes."""

from __future__ import annotations

import json
import logging
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from telecmi_async._internal import validators
from telecmi_async._internal.redis_server import RedisBacked, RedisServer, read_lua
from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.tasks import background_task_group
from telecmi_async.errors import WebhookError
from telecmi_async.events import parse_event
from telecmi_async.events.payload import text_of
from telecmi_async.events.store.base import (
    KEPT_SECONDS,
    REMEMBERED_SECONDS,
    UNMATCHED_SECONDS,
    Listener,
    StoredEvent,
)
from telecmi_async.events.store.redis_subscriber import RedisSubscriber

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from contextlib import AbstractAsyncContextManager

    import redis as redis_py
    from redis.asyncio import Redis

logger = logging.getLogger("telecmi_async")

_AT_ONCE: Final = 500
_TOKEN_BYTES: Final = 8
_MOST_UNANSWERED: Final = 10_000
_whole: Final = validators.whole(1)

_PUT, _GET = (read_lua("telecmi_async.events.store", name) for name in ("put", "get"))


class RedisStore(RedisBacked):
    """Shares events between processes, through a Redis or Valkey server.

    Give each process a receiver with such a store. An event may then reach any process: the
    handle that awaits it gets it; functions registered by ``receiver.on_event`` are called in
    one process.

    Events hold phone numbers, and keys that were pressed. They have an expiry: an hour for
    matched ones, ten minutes for unmatched ones. The deduplication key of a matched event is
    remembered for 24 hours. Beyond the limits the oldest is dropped. Redis takes about three
    times an event's payload, and a kilobyte besides.

    Example:
        Each web worker has a receiver on the same server::

            from telecmi_async.events.receiver import new_token
            from telecmi_async.events.store import RedisStore

            store = RedisStore("redis://localhost:6379")
            receiver = Receiver(new_token(), store=store)

    Args:
        redis: The server's URL, as ``redis://``, ``rediss://`` or ``unix://``, or your own
            client, which is used and never closed: a ``redis.asyncio.Redis`` on asyncio, or a
            ``redis.Redis``, which runs in threads. Redis Cluster is not supported.
        prefix: The beginning of all keys and of the channel: one for each TeleCMI account.
        timeout: How long one request to the server may take, in seconds or as a `timedelta`.
        remember: How many matched events are remembered, so that handlers get none twice.
        keep: How many matched events are kept.
        keep_bytes: How many bytes of payload they may have together.
        unmatched: How many unmatched events are kept.
        unmatched_bytes: How many bytes of payload they may have together.

    Raises:
        ConfigurationError: An invalid argument; redis-py is not installed; or a client for
            asyncio on trio.
    """

    #: Whether other processes see the same events.
    shared = True

    def __init__(
        self,
        redis: str | Secret | Redis | redis_py.Redis,
        *,
        prefix: str = "telecmi",
        timeout: validators.Duration = 5.0,
        remember: int = 1_000_000,
        keep: int = 200_000,
        keep_bytes: int = 256 << 20,
        unmatched: int = 10_000,
        unmatched_bytes: int = 16 << 20,
    ) -> None:
        # A traceback may show locals.
        redis = Secret(redis) if isinstance(redis, str) else redis
        self._prefix = prefix
        limits = {
            "keep": keep,
            "keep_bytes": keep_bytes,
            "unmatched": unmatched,
            "unmatched_bytes": unmatched_bytes,
            "remember": remember,
        }
        for name, limit in limits.items():
            _whole(self, validators.Named(name), limit)
        self._limits = tuple(limits.values())
        # By key, the tokens of requests whose replies never came.
        self._unanswered: dict[str, str] = {}
        self._server = RedisServer(
            self, redis, prefix=prefix, timeout=timeout, task="the store of events"
        )

    async def put(self, stored: StoredEvent) -> bool:
        """Keep an event and publish its ids; return False if it is a repeat."""
        # The head is what is published of an event.
        head = json.dumps([stored.key, stored.size, *stored.ids])
        body = text_of(stored.payload)
        return await self._put(stored.key, int(stored.matched), head, body)

    async def claim(self, key: str) -> bool:
        """Return whether this is the first claim of an event, in any process."""
        return await self._put(key, 1, "", "")

    async def _put(self, key: str, matched: int, head: str, body: str) -> bool:
        # The client repeats a request if its connection broke, and TeleCMI sends an event
        # again if the reply did not come in time: with the same token the answer is the same.
        token = self._unanswered.pop(key, None) or secrets.token_hex(_TOKEN_BYTES)
        seconds = (KEPT_SECONDS, UNMATCHED_SECONDS, REMEMBERED_SECONDS)
        times = [int(1000 * each) for each in seconds]
        try:
            answer = await self._server.run(
                _PUT, self._prefix, key, token, matched, head, body, *times, *self._limits
            )
        except BaseException:
            self._unanswered[key] = token
            if len(self._unanswered) > _MOST_UNANSWERED:
                del self._unanswered[next(iter(self._unanswered))]
            raise
        return bool(answer)

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return the events that are kept under any of these ids, oldest first, each once."""
        found: dict[int, StoredEvent] = {}
        wanted = tuple(ids)
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            answer = await self._server.run(_GET, self._prefix, *some)
            for order, value in zip(answer[::2], answer[1::2], strict=True):
                for stored in _read(value):
                    found[int(order)] = stored
        return [found[order] for order in sorted(found)]

    async def _by_key(self, keys: Collection[str]) -> list[StoredEvent]:
        """Return the events with these deduplication keys, as far as they are kept."""
        values = await self._server.fetch([f"{self._prefix}:event:{key}" for key in keys])
        return [stored for value in values if value is not None for stored in _read(value)]

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Give ``listener`` every event it wants, as long as the context is open.

        It may get one more than once.
        """
        self._server.bind()
        return self._followed(listener)

    @asynccontextmanager
    async def _followed(self, listener: Listener) -> AsyncGenerator[None]:
        subscriber = RedisSubscriber(
            self._server, f"{self._prefix}:events", listener, get=self.get, by_key=self._by_key
        )
        async with background_task_group() as tasks:
            tasks.start_soon(subscriber.run)
            yield


def _read(value: str | bytes) -> list[StoredEvent]:
    """Return the event of a key's value: whether it is matched, its token, head and payload."""
    text = value.decode() if isinstance(value, bytes) else value
    head, _, body = text[1 + 2 * _TOKEN_BYTES :].partition("\n")
    try:
        key, _size, *ids = json.loads(head)
        event = parse_event(body)
    except (TypeError, ValueError, WebhookError):
        logger.error("a key of the store is not an event; is its prefix used twice?")  # noqa: TRY400  # its traceback would show the payload
        return []
    return [StoredEvent(event, key, tuple(ids), matched=text[0] == "1", payload=body.encode())]
