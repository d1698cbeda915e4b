"""More connections than a server may keep open, and failures to accept one."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Self

import anyio
import pytest
from anyio.abc import SocketListener
from server_streams import End, body, post

from telecmi_async.http_server import ConnectionLimits, HttpResponse, HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.http_server import HttpConnection, HttpRequest

pytestmark = pytest.mark.anyio


class Listener(SocketListener):
    """A listener without a socket; what is put into it is accepted, or raised."""

    def __init__(self) -> None:
        self._put, self._take = anyio.create_memory_object_stream[Any](1_000)
        self._ends: list[End] = []

    def connect(self) -> End:
        """Return the client's end of a new connection."""
        up = anyio.create_memory_object_stream[bytes](100)
        down = anyio.create_memory_object_stream[bytes](100)
        ends = End(down[0], up[1]), End(up[0], down[1])
        self._ends += ends
        self._put.send_nowait(ends[0])
        return ends[1]

    def fail(self, error: Exception) -> None:
        """Have the next connection fail."""
        self._put.send_nowait(error)

    async def accept(self) -> Any:
        """Return the next connection."""
        found = await self._take.receive()
        if isinstance(found, Exception):
            raise found
        return found

    async def serve(self, handler: Callable[[Any], Any], task_group: Any = None) -> None:
        """Not used: a failure would end it."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close all connections, and the listener."""
        for end in self._ends:
            await end.aclose()
        self._put.close()
        self._take.close()

    @property
    def _raw_socket(self) -> Any:
        raise NotImplementedError


async def answer(request: HttpRequest, connection: HttpConnection) -> None:
    """Answer at once, or after a minute."""
    await anyio.sleep(60 if request.target == "/slow" else 0)
    await connection.send(HttpResponse(204))


async def status_of(client: End, path: str = "/") -> int:
    """Send a request, and return the status of its reply."""
    await client.send(post(body(), path=path))
    return (await client.answer())[0]


class Served:
    """A server of a listener, with room for three connections."""

    def __init__(self, **limits: Any) -> None:
        self.listener = Listener()
        self.server = HttpServer(answer, ConnectionLimits(connections=3, **limits))
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start_soon(self.server.accept, self.listener)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self.listener.aclose()


async def test_the_connection_that_waits_longest_makes_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hundred idle connections leave room for a request, and are mentioned once."""
    async with Served() as here:
        idle = [here.listener.connect() for _ in range(100)]
        await anyio.sleep(1)

        assert await status_of(here.listener.connect()) == 204
        assert await idle[0].closed()
        assert len(here.server._connections) == 3
    (said,) = [each.message for each in caplog.records]
    assert said.startswith("3 connections are open, the most there may be")


async def test_a_connection_that_was_used_stays_before_one_that_never_was() -> None:
    """Connections on which requests came are closed after those that sent none."""
    async with Served() as here:
        used = here.listener.connect()
        assert await status_of(used) == 204
        for _ in range(50):
            here.listener.connect()
            await anyio.sleep(0.1)

        assert await status_of(used) == 204


async def test_used_connections_make_room_for_a_new_one() -> None:
    """If all connections were used, the oldest one is closed, and not the new one."""
    async with Served() as here:
        used = [here.listener.connect() for _ in range(3)]
        for client in used:
            assert await status_of(client) == 204

        assert await status_of(here.listener.connect()) == 204
        assert await used[0].closed()
        assert await status_of(used[1]) == 204


async def test_half_a_request_makes_room() -> None:
    """Connections that send a request slowly are closed for new ones as well."""
    async with Served() as here:
        for _ in range(50):
            client = here.listener.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{")
            await anyio.sleep(0.05)

        assert await status_of(here.listener.connect()) == 204


async def test_requests_that_are_answered_are_never_closed() -> None:
    """While all connections are being answered, new ones wait until one is done."""
    async with Served() as here, anyio.create_task_group() as tasks:
        statuses: list[int] = []

        async def slow() -> None:
            statuses.append(await status_of(here.listener.connect(), "/slow"))

        for _ in range(5):
            tasks.start_soon(slow)
            await anyio.sleep(0.1)
        assert len(here.server._connections) == 4
        await anyio.sleep(70)

        assert statuses == [204] * 4
    assert statuses == [204] * 5


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
        OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)),
        OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED)),
        anyio.BrokenResourceError(),
    ],
    ids=str,
)
async def test_a_failure_to_accept_is_waited_for(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails in accepting a connection, the server goes on, and logs it once."""
    if isinstance(error, anyio.BrokenResourceError):
        error.__cause__ = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    async with Served() as here:
        idle = [here.listener.connect() for _ in range(3)]
        await anyio.sleep(1)
        for _ in range(20):
            here.listener.fail(error)
        with anyio.fail_after(10):
            assert await status_of(here.listener.connect()) == 204
        assert await idle[0].closed()
    assert len([each for each in caplog.records if "cannot be accepted" in each.message]) == 1


async def test_a_failure_without_words_is_named() -> None:
    """A failure of which the system says nothing is named by its kind."""
    async with Served() as here:
        here.listener.fail(anyio.BrokenResourceError())

        assert await status_of(here.listener.connect()) == 204


@pytest.mark.parametrize(
    ("soft", "expected"), [(1_024, 500), (256, 128), (1, 1), (-1, 500), (1_000_000, 500)]
)
def test_half_of_the_files_are_left_for_calls(
    soft: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default connections take at most half of the files a process may open."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, -1))

    assert ConnectionLimits().connections == expected


def test_a_system_without_such_limits_has_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, which has no module for limits, the default number holds."""
    monkeypatch.setitem(sys.modules, "resource", None)

    assert ConnectionLimits().connections == 500
