"""Limits that processes share through a Redis or Valkey server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.redis_server import RedisBacked, RedisServer, read_lua
from telecmi_async._internal.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis as redis_py
    from redis.asyncio import Redis

    from telecmi_async._internal import validators

_MICRO: Final = 1_000_000
_RESERVE, _LEASE, _FREE = (
    read_lua("telecmi_async.pacing", name)
    for name in ("reserve", "lease_channel", "free_channel")
)


class RedisLimits(RedisBacked):
    """Shares limits between processes, through a Redis or Valkey server.

    A campaign takes the limits of its ledger unless it is given others. These are for
    campaigns whose ledgers are different databases, or for high rates: a grant is one script,
    which is one round trip, by the server's own clock.

    While the server is down nothing is granted: each request raises a `StoreError`. A server that
    comes back without its data has forgotten the starts that it granted for the next moment, and
    the holders of channels.

    Example:
        A campaign whose limits are on Redis::

            from telecmi_async.campaigns import Campaign, CampaignSettings
            from telecmi_async.ledger import SqliteLedger
            from telecmi_async.pacing import RedisLimits

            settings = CampaignSettings(flow=[Speak("Hello!"), Hangup()])
            limits = RedisLimits("redis://localhost:6379")
            async with SqliteLedger("campaigns.db") as ledger:
                campaign = Campaign(ledger, service, "spring", settings, limits=limits)

    Args:
        redis: The server's URL, as ``redis://``, ``rediss://`` or ``unix://``, or your own
            client, which is used and never closed: a ``redis.asyncio.Redis`` on asyncio, or a
            ``redis.Redis``, which runs in threads. Redis Cluster is not supported.
        prefix: The beginning of all keys: one for each TeleCMI account.
        timeout: How long one request to the server may take, in seconds or as a `timedelta`.

    Raises:
        ConfigurationError: A value is invalid; redis-py is not installed; or a client
            for asyncio on trio.
    """

    def __init__(
        self,
        redis: str | Secret | Redis | redis_py.Redis,
        *,
        prefix: str = "telecmi",
        timeout: validators.Duration = 5.0,
    ) -> None:
        # A traceback may show locals.
        redis = Secret(redis) if isinstance(redis, str) else redis
        self._prefix = prefix
        self._server = RedisServer(
            self,
            redis,
            prefix=prefix,
            timeout=timeout,
            task="asking for the shared limits",
        )

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of these limits or under none of them.

        Args:
            keys: Pairs of a limit's name and its interval in seconds.
            longest: The longest wait that is of use, in seconds.
            most: How many starts to reserve, as far as none of them is further away than that.

        Returns:
            How many seconds to wait for each start, the shortest wait first; empty if even the
            first start is too far away.

        Raises:
            StoreError: The server cannot be reached, or it refuses. Starts may have been reserved
                all the same; they are lost.
        """
        pairs: list[str] = []
        for key, interval in keys:
            pairs += (key, repr(interval * _MICRO))
        wait, count = await self._server.run(
            _RESERVE, self._prefix, repr(longest * _MICRO), most, *pairs
        )
        apart = max(interval for _, interval in keys)
        return [int(wait) / _MICRO + apart * n for n in range(int(count))]

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Take one of a number of channels for so many seconds; False if all are taken.

        Raises:
            StoreError: The server cannot be reached, or it refuses.
        """
        micros = repr(seconds * _MICRO)
        return bool(await self._server.run(_LEASE, self._prefix, key, holder, limit, micros))

    async def free_channel(self, key: str, holder: str) -> None:
        """Give a channel back.

        Raises:
            StoreError: The server cannot be reached, or it refuses.
        """
        await self._server.run(_FREE, self._prefix, key, holder)
