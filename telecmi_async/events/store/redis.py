"""Events that several processes share, through a Redis or Valkey server."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from typing import TYPE_CHECKING, Final, NoReturn, Self

from telecmi_async._internal import validators
from telecmi_async._internal.json_text import encode_json
from telecmi_async._internal.redis_server import RedisServer
from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.tasks import background_task_group
from telecmi_async.events import parse_event
from telecmi_async.events.store.base import KEPT, REMEMBERED, STRAYING, FiledEvent, Listener
from telecmi_async.events.store.redis_scripts import FILE, FIND_LUA
from telecmi_async.events.store.redis_subscriber import RedisSubscriber

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from contextlib import AbstractAsyncContextManager

    from redis.asyncio import Redis

__all__ = ["RedisStore"]

logger = logging.getLogger("telecmi_async")

_AT_ONCE: Final = 500
_TOKEN_BYTES: Final = 8
_MOST_UNANSWERED: Final = 10_000
_whole: Final = validators.whole(1)


class RedisStore:
    """Shares events between processes, through a Redis or Valkey server. On asyncio only.

    Give each process a receiver with such a store, and whichever of them an event reaches, the
    call that awaits it hears of it; functions registered by ``receiver.on_event`` are called
    with it in one process::

        store = RedisStore(os.environ["REDIS_URL"])
        receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"], store=store)

    Events hold phone numbers, and keys that were pressed. They are kept with an expiry: one
    of ours for an hour, another one for ten minutes. That an event of ours was there is
    remembered for 24 hours, by a digest. When there is more than the bounds allow, the oldest
    is dropped. Redis takes about three times an event's payload, and a kilobyte besides.

    Args:
        redis: The server's URL, as ``redis://``, ``rediss://`` or ``unix://``, or a client of
            your own, a `redis.asyncio.Redis`, that is used and never closed. Redis Cluster is
            not supported.
        prefix: What all keys and the channel begin with: one for each TeleCMI account.
        timeout: How long one question to the server may take, in seconds or as a `timedelta`.
        remember: How many of our events are remembered, so that none is handed on twice.
        keep: How many of our events are kept.
        keep_bytes: How many bytes of payload they may have together.
        strays: How many events are kept of which it is not known whose they are.
        stray_bytes: How many bytes of payload those may have together.

    Raises:
        ConfigurationError: A value that cannot work; redis-py is not installed; or the event
            loop that is running is trio's.
    """

    #: Whether other processes see the same events.
    shared = True

    def __init__(
        self,
        redis: str | Redis,
        *,
        prefix: str = "telecmi",
        timeout: validators.Duration = 5.0,
        remember: int = 1_000_000,
        keep: int = 200_000,
        keep_bytes: int = 256 << 20,
        strays: int = 10_000,
        stray_bytes: int = 16 << 20,
    ) -> None:
        given = Secret(redis) if isinstance(redis, str) else redis
        del redis  # a traceback may show locals
        self._prefix = prefix
        bounds = {
            "keep": keep,
            "keep_bytes": keep_bytes,
            "strays": strays,
            "stray_bytes": stray_bytes,
            "remember": remember,
        }
        for name, bound in bounds.items():
            _whole(self, validators.Named(name), bound)
        self._bounds = tuple(bounds.values())
        # By key, the tokens of questions whose answers never came.
        self._unanswered: dict[str, str] = {}
        self._server = RedisServer(
            self,
            given,
            prefix=prefix,
            timeout=timeout,
            task="the store of events",
            on_trio="serve from one process with the default store",
        )

    def __repr__(self) -> str:
        return f"<RedisStore {getattr(self, '_prefix', '?')}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RedisStore is not pickled: make one in every process")

    async def put(self, filed: FiledEvent) -> bool:
        """Keep an event and tell the processes that listen; False if it is a repeat."""
        body = encode_json(filed.event.raw)
        return await self._file(filed.key, int(filed.ours), _head(filed), body)

    async def claim(self, key: str) -> bool:
        """Tell whether an event is claimed for the first time, in any process."""
        return await self._file(key, 1, "", "")

    async def _file(self, key: str, ours: int, head: str, body: str) -> bool:
        # A client may ask twice if its connection broke, and so may we, if the answer did not
        # come: by the token it is told the same.
        token = self._unanswered.pop(key, None) or secrets.token_hex(_TOKEN_BYTES)
        times = [int(seconds * 1000) for seconds in (KEPT, STRAYING, REMEMBERED)]
        try:
            answer = await self._server.run(
                FILE, self._prefix, key, token, ours, head, body, *times, *self._bounds
            )
        except BaseException:
            self._unanswered[key] = token
            if len(self._unanswered) > _MOST_UNANSWERED:
                del self._unanswered[next(iter(self._unanswered))]
            raise
        return bool(answer)

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return what is kept under any of these ids, oldest first, each once."""
        found: dict[int, FiledEvent] = {}
        wanted = tuple(names)
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            answer = await self._server.run(FIND_LUA, self._prefix, *some)
            for order, value in zip(answer[::2], answer[1::2], strict=True):
                for filed in _read(value):
                    found[int(order)] = filed
        return [found[order] for order in sorted(found)]

    async def by_key(self, keys: Collection[str]) -> list[FiledEvent]:
        """Return the events that have these keys, as far as they are kept."""
        values = await self._server.fetch([f"{self._prefix}:event:{key}" for key in keys])
        return [filed for value in values if value is not None for filed in _read(value)]

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Tell ``listener`` of every event it wants, as long as the context is open.

        It may be told of one more than once.

        Raises:
            ConfigurationError: The event loop is trio's.
            WrongEventLoop: It is not the one that the store belongs to.
        """
        self._server.bind()
        return self._followed(listener)

    @contextlib.asynccontextmanager
    async def _followed(self, listener: Listener) -> AsyncGenerator[None]:
        ear = RedisSubscriber(self._server, f"{self._prefix}:events", self, listener)
        async with background_task_group() as tasks:
            tasks.start_soon(ear.listen_always)
            yield

    async def aclose(self) -> None:
        """Close the connections, unless the client is your own."""
        await self._server.close()

    async def __aenter__(self) -> Self:
        self._server.bind()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


def _head(filed: FiledEvent) -> str:
    """Return what is published of an event: its key, its size and its ids."""
    return json.dumps([filed.key, filed.size, *filed.names])


def _read(value: str | bytes) -> list[FiledEvent]:
    """Return the event that was kept: who it belongs to, who wrote it, its head, its payload."""
    text = value.decode() if isinstance(value, bytes) else value
    head, _, body = text[1 + 2 * _TOKEN_BYTES :].partition("\n")
    try:
        key, size, *names = json.loads(head)
        event = parse_event(json.loads(body))
    except (TypeError, ValueError):
        logger.error("the store of events holds what is no event; is its prefix used twice?")  # noqa: TRY400  # its traceback would show the payload
        return []
    return [FiledEvent(event, key, tuple(names), ours=text[0] == "1", size=size)]
