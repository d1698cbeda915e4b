"""Redis in threads: redis-py's plain client behind the few methods of its asyncio client we use.

redis-py knows asyncio only, so this is how a server is reached from trio, and from any event loop
through a user's plain ``redis.Redis``. A caller that is cancelled does not wait for its thread,
which ends by itself once the client's time-out is over.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

# More than `RedisServer` asks at a time, since threads that were left behind count as well.
_THREADS: Final = 32
# How long a thread waits for a message, in seconds: closing a subscription waits for its thread.
_POLL: Final = 0.1


class ThreadedRedis:
    """A ``redis.Redis`` with awaitable methods. Make it in the event loop that uses it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._threads = anyio.CapacityLimiter(_THREADS)

    def register_script(self, script: str) -> Callable[..., Any]:
        """Return an async function that runs a script with ``args``."""
        run = self._client.register_script(script)

        async def answer(*, args: Sequence[object]) -> Any:
            return await _in_thread(functools.partial(run, args=args), self._threads)

        return answer

    async def mget(self, keys: Sequence[str]) -> Any:
        """Return the values of keys."""
        return await _in_thread(functools.partial(self._client.mget, keys), self._threads)

    def pubsub(self) -> ThreadedSubscription:
        """Return a subscription."""
        return ThreadedSubscription(self._client.pubsub())

    async def aclose(self) -> None:
        """Close the connections."""
        await _in_thread(self._client.close, self._threads)


class ThreadedSubscription:
    """A subscription; its threads run one after another."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._threads = anyio.CapacityLimiter(1)

    async def subscribe(self, name: str) -> None:
        """Subscribe to a channel."""
        await _in_thread(functools.partial(self._channel.subscribe, name), self._threads)

    async def ping(self) -> None:
        """Ask the server for a sign of life."""
        await _in_thread(self._channel.ping, self._threads)

    async def get_message(self, *, timeout: float) -> Any:  # noqa: ASYNC109  # redis-py's name
        """Return the next message, or None if none comes within ``timeout`` seconds."""
        until = anyio.current_time() + timeout
        while True:
            wait = max(min(until - anyio.current_time(), _POLL), 0.0)
            get = functools.partial(self._channel.get_message, timeout=wait)
            message = await _in_thread(get, self._threads)
            if message is not None or anyio.current_time() >= until:
                return message

    async def aclose(self) -> None:
        """End the subscription."""
        await _in_thread(self._channel.close, self._threads)


async def _in_thread(work: Callable[[], _T], threads: anyio.CapacityLimiter) -> _T:
    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=threads)
