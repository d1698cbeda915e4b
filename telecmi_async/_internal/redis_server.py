"""Redis: connections to a Redis or Valkey server. All errors of redis-py are mapped here."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar, cast

import anyio

from telecmi_async._internal import validators
from telecmi_async._internal.event_loop import current_loop, has_ended, is_asyncio, is_failure
from telecmi_async._internal.redis_threads import ThreadedRedis
from telecmi_async._internal.secrets import Redactor, Secret
from telecmi_async.errors import ConfigurationError, StoreError, WrongEventLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_T = TypeVar("_T")

# Requests at the same time: each takes a connection.
_AT_ONCE: Final = 16


def read_lua(package: str, name: str) -> str:
    """Return a script of a package's ``lua``; `importlib.resources` would load slower."""
    return cast("bytes", pkgutil.get_data(package, f"lua/{name}.lua")).decode()


class RedisServer:
    """A client of redis-py's, in the event loop that uses it first.

    ``redis`` is a URL as a `Secret`, or a client of the user's own, which is never closed. On
    trio, and for a plain ``redis.Redis``, requests run in threads. Errors name the class of the
    ``owner`` and the ``task`` that failed.
    """

    def __init__(
        self,
        owner: object,
        redis: object,
        *,
        prefix: str,
        timeout: validators.Duration,
        task: str,
    ) -> None:
        if not isinstance(cast("object", prefix), str) or not prefix.isprintable():
            raise ConfigurationError("prefix must be a text without control characters")
        self._owner, self._task = type(owner).__name__, task
        self._url = redis if isinstance(redis, Secret) else None
        self._given: Any = redis
        self.timeout = validators.to_seconds(timeout)
        validators.positive(owner, validators.Named("timeout"), self.timeout)
        if self._url is None and not callable(getattr(self._given, "register_script", None)):
            raise ConfigurationError(
                f"{self._owner} needs a URL such as redis://localhost:6379, or a client: a "
                "redis.asyncio.Redis, or a redis.Redis, which runs in threads"
            )
        # A URL is checked now. A client for asyncio must not be made outside of asyncio.
        self._client: Any = self._given if self._url is None else self._connect(plain=True)
        self._redact = Redactor(Secret(_password_of(self._client)))
        self._loop: object = None
        self._slots = anyio.Semaphore(_AT_ONCE)
        with contextlib.suppress(WrongEventLoop):  # none may be running yet
            self.bind()

    def bind(self) -> Any:
        """Bind to the running event loop, and return the client to use in it."""
        loop = current_loop()
        if self._loop is not loop:
            if self._loop is not None and not has_ended(self._loop):
                raise WrongEventLoop(
                    f"a {self._owner} belongs to the event loop it was first used in; make "
                    "one for every event loop"
                )
            self._client = self._client_for(loop)
            self._slots = anyio.Semaphore(_AT_ONCE)
            self._loop = loop
        return self._client

    def _client_for(self, loop: object) -> Any:
        if self._url is not None:
            if is_asyncio(loop):
                return self._connect(plain=False)
            return ThreadedRedis(self._connect(plain=True))
        if _is_plain(self._given):
            return ThreadedRedis(self._given)
        if not is_asyncio(loop):
            raise ConfigurationError(
                f"{self._owner} was given a client that works on asyncio only: on trio, give "
                "it a URL, or a redis.Redis, which runs in threads"
            )
        return self._given

    def _connect(self, *, plain: bool) -> Any:
        assert self._url is not None  # noqa: S101  # a client of the user's own is used as it is
        return _client(self._url, self.timeout, self._owner, plain=plain)

    async def run(self, script: str, *arguments: str | int) -> Any:
        """Run a script on the server, in one round trip."""
        work = self.bind().register_script(script)
        return await self.ask(self._in_time(lambda: work(args=arguments)))

    async def fetch(self, keys: Sequence[str]) -> list[str | bytes | None]:
        """Return the values of these keys."""
        client = self.bind()
        found: list[str | bytes | None] = await self.ask(
            self._in_time(lambda: client.mget(keys))
        )
        return found

    async def _in_time(self, work: Callable[[], Awaitable[_T]]) -> _T:
        with anyio.fail_after(self.timeout):
            async with self._slots:
                return await work()

    async def ask(self, work: Awaitable[_T]) -> _T:
        """Await a call of redis-py; all its errors become a `StoreError`."""
        try:
            return await work
        except BaseException as error:  # a client may raise anything
            # A time-out of the client's in the same moment as ours leaves its cancellation behind.
            if not is_failure(error):
                raise
            text = self._redact.text(str(error)[:200])
            failure = f"{type(error).__name__}: {text}" if text else type(error).__name__
        # Raised outside of the handler it carries no foreign error, whose frames hold the password.
        raise StoreError(f"{self._task} failed ({failure})")

    async def close(self) -> None:
        """Close the connections, unless the client is the user's own."""
        if self._url is not None:
            await self.ask(self.bind().aclose())


class RedisBacked:
    """Base of what keeps its data on a server: an async context manager that is not pickled."""

    _server: RedisServer
    _prefix: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, '_prefix', '?')}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not pickled: make one in every process")

    async def aclose(self) -> None:
        """Close the connections, unless the client is your own."""
        await self._server.close()

    async def __aenter__(self) -> Self:
        self._server.bind()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


def _client(url: Secret, timeout: float, owner: str, *, plain: bool) -> Any:
    """Return a client for a URL: for asyncio, or a plain one, which blocks."""
    try:
        package = importlib.import_module("redis" if plain else "redis.asyncio")
        retry = importlib.import_module("redis.retry" if plain else "redis.asyncio.retry")
        backoff = importlib.import_module("redis.backoff")
        errors = importlib.import_module("redis.exceptions")
    except ImportError:
        raise ConfigurationError(
            f"{owner} needs redis-py: pip install 'telecmi-async[redis]'"
        ) from None
    client: Any = None
    try:
        client = package.Redis.from_url(
            url.reveal(),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=retry.Retry(backoff.ExponentialBackoff(cap=1.0, base=0.05), 3),
            # A thread cannot be stopped, so it does not begin anew when its time is over.
            retry_on_error=[errors.ConnectionError, *([] if plain else [errors.TimeoutError])],
            protocol=2,  # with version 3 redis-py sets up another log
        )
    except Exception as error:  # noqa: BLE001  # it is not shown: the URL may be in it
        del error
    if client is None:
        raise ConfigurationError(
            "redis must be the URL of a server, such as redis://localhost:6379/0 or "
            "rediss://user:password@host:6379/0; letters such as / or @ in a password are "
            "written in percent-encoding"
        )
    return client


def _is_plain(client: object) -> bool:
    """Return whether a client of the user's own blocks: asyncio's has coroutine functions."""
    execute = getattr(client, "execute_command", None)
    return callable(execute) and not inspect.iscoroutinefunction(execute)


def _password_of(client: object) -> str:
    """Return the password that a client sends, if it can be known."""
    pool = getattr(client, "connection_pool", None)
    known = cast("dict[str, object]", getattr(pool, "connection_kwargs", {}))
    return str(known.get("password") or "")
