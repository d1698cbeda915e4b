"""Limits on a Redis or Valkey server: the law of all shared limits, and the server's absence."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import redis.asyncio
from stored_events import eventually
from valkey_server import ValkeyServer

from telecmi_async import ConfigurationError, StoreError
from telecmi_async.ledger import SqliteLedger
from telecmi_async.pacing.redis import RedisLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from telecmi_async.pacing.shared import SharedLimits

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

PASSWORD = "a-password-of-its-own"
# The server's clock runs on while a busy machine runs the test.
NEARLY = 0.4


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """One server for the tests that do not stop it."""
    with ValkeyServer(password=PASSWORD) as server:
        yield server


@pytest.fixture
async def limits(server: ValkeyServer) -> AsyncIterator[RedisLimits]:
    """Limits on an empty server."""
    with server.client() as client:
        client.flushall()
    async with RedisLimits(server.url) as limits:
        yield limits


async def test_a_short_interval_is_not_rounded(
    limits: RedisLimits, server: ValkeyServer
) -> None:
    """Intervals keep fractions of a microsecond."""
    dues: list[float] = []
    with server.client() as client:
        for interval in (60.0, 100.5e-6):
            await limits.reserve([("account", interval)], longest=100)
            found: Any = client.get("telecmi:pace:account")
            dues.append(float(found))

    assert dues[1] - dues[0] == pytest.approx(100.5, abs=0.25)


async def test_nothing_is_left_behind(limits: RedisLimits, server: ValkeyServer) -> None:
    """All keys have the prefix, and expire when they are no longer needed."""
    await limits.reserve([("account", 0.2)], longest=1)
    await limits.lease_channel("account", "a", limit=1, seconds=0.2)
    with server.client() as client:
        found: Any = client.keys("*")

        assert sorted(found) == [b"telecmi:channels:account", b"telecmi:pace:account"]

        await eventually(lambda: not client.keys("*"))


async def test_other_prefixes_are_other_accounts(
    limits: RedisLimits, server: ValkeyServer
) -> None:
    """Different prefixes share no limits."""
    async with RedisLimits(server.url, prefix="second") as second:
        assert await limits.reserve([("account", 60.0)], longest=0) == [0.0]
        assert await second.reserve([("account", 60.0)], longest=0) == [0.0]


async def test_a_server_that_forgot_the_scripts_is_told_them_again(
    limits: RedisLimits, server: ValkeyServer
) -> None:
    """Scripts that the server lost are loaded again."""
    await limits.reserve([("account", 60.0)], longest=0)
    with server.client() as client:
        client.script_flush()

    assert await limits.reserve([("account", 60.0)], longest=0) == []


async def test_a_server_that_is_gone_grants_nothing_until_it_is_back() -> None:
    """Without the server every query fails with a reason, and without the password."""
    with ValkeyServer(password=PASSWORD) as server:
        async with RedisLimits(server.url, timeout=2) as limits:
            await limits.reserve([("account", 1.0)], longest=1)
            server.kill()

            for ask in (
                lambda: limits.reserve([("account", 1.0)], longest=1),
                lambda: limits.lease_channel(
                    "account", "spring/19170100000", limit=1, seconds=1
                ),
                lambda: limits.free_channel("account", "spring/19170100000"),
            ):
                with pytest.raises(StoreError, match="asking for the shared limits") as caught:
                    await ask()
                assert caught.value.__context__ is None
                assert PASSWORD not in str(caught.value)
                assert "19170100000" not in str(caught.value)

            server.start()

            assert await limits.reserve([("account", 1.0)], longest=0) == [0.0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_client_of_your_own_is_used_and_not_closed(server: ValkeyServer) -> None:
    """A client that was passed in is not closed, and may decode its replies."""
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        async with RedisLimits(client, prefix="own") as limits:
            assert await limits.reserve([("account", 1.0)], longest=0) == [0.0]
            assert await limits.lease_channel("account", "a", limit=1, seconds=1) is True
        assert await client.ping() is True


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("http://localhost", {}),
        (7, {}),
        ("redis://localhost", {"prefix": "a\nb"}),
        ("redis://localhost", {"prefix": 7}),
        ("redis://localhost", {"timeout": 0}),
    ],
)
async def test_what_cannot_work_is_refused(url: Any, more: dict[str, Any]) -> None:
    """Wrong arguments raise a ConfigurationError at once."""
    with pytest.raises(ConfigurationError):
        RedisLimits(url, **more)


async def test_without_redis_py_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the class and the extra."""
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ConfigurationError, match=r"RedisLimits needs .*\[redis\]"):
        RedisLimits("redis://localhost")


def test_a_client_for_asyncio_is_refused_on_trio() -> None:
    """On trio the error says which clients work."""
    limits = RedisLimits(redis.asyncio.Redis.from_url("redis://localhost"))

    async def use() -> None:
        with pytest.raises(ConfigurationError, match=r"RedisLimits .* a redis\.Redis"):
            await limits.reserve([("account", 1.0)], longest=0)

    anyio.run(use, backend="trio")


async def test_they_show_no_password_and_are_not_pickled() -> None:
    """The repr shows the prefix only, and pickling is refused."""
    limits = RedisLimits(f"redis://:{PASSWORD}@localhost", prefix="shop")

    assert repr(limits) == "<RedisLimits shop>"
    with pytest.raises(TypeError, match="every process"):
        pickle.dumps(limits)


def test_a_ledger_is_one_of_the_shared_limits() -> None:
    """A ledger implements `SharedLimits`, which campaigns use by default."""
    ledger: SharedLimits = SqliteLedger("it is not opened")

    assert ledger.reserve is not None
