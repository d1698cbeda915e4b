"""Connection pool of a service's own client: who uses which connection, and cancellation."""

from __future__ import annotations

import gc
import socket
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import fault_server as fs
import httpx
import pytest

from telecmi_async import CallService, RateLimit, RetryPolicy
from telecmi_async.testing import cancel_everywhere
from telecmi_async.wire import connection_pool
from telecmi_async.wire.connection_pool import ConnectionPool

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from telecmi_async.wire.connection import Connection

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

TIMEOUTS = httpx.Timeout(5)


@pytest.fixture(scope="module")
def trusting() -> ssl.SSLContext:
    """Return TLS settings that trust the fault server."""
    return fs.tls_contexts()[1]


def client_of(connections: ConnectionPool) -> httpx.AsyncClient:
    """Return a client over some connections."""
    return httpx.AsyncClient(transport=connections, trust_env=False, timeout=TIMEOUTS)


def idle_in(connections: ConnectionPool) -> list[Connection]:
    """Return the idle connections, the one that was used last at the end."""
    return [connection for idle in connections._idle.values() for connection in idle]


async def at_once(job: Callable[[], Coroutine[Any, Any, object]], times: int) -> None:
    """Run a job several times concurrently."""
    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(job)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110  # a socket on the other side gives no event
            await anyio.sleep(0.001)


async def hold_until(gate: anyio.Event, peer: fs.Peer) -> None:
    """Answer requests once a gate is open."""
    while await peer.request():
        await gate.wait()
        await peer.send(fs.reply())


async def test_an_encoded_host_name_is_looked_up_as_it_is(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded and encoded again, ``xn--fa-hia.de`` would become ``fass.de``, another host."""
    asked: list[str] = []

    def look_up(host: str | bytes, *_: object, **__: object) -> None:
        asked.append(host.decode("ascii") if isinstance(host, bytes) else host)
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with client_of(ConnectionPool(trusting)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post("https://xn--fa-hia.de/v2", content=b"{}")

    assert set(asked) == {"xn--fa-hia.de"}  # trio asks twice


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_requests_one_after_the_other_share_a_connection(
    tls: bool, trusting: ssl.SSLContext
) -> None:
    """The connection used last is used next, so one is enough."""
    server = fs.FaultServer(fs.well_behaved, tls=tls)
    connections = ConnectionPool(trusting)
    async with server.running(), client_of(connections) as client:
        for _ in range(20):
            response = await client.post(server.url, content=b"{}")
        idle = len(idle_in(connections))

    assert server.connections == idle == 1
    assert server.complete == 20
    assert response.content == fs.ACCEPTED


async def test_every_request_under_way_has_a_connection_of_its_own(
    trusting: ssl.SSLContext,
) -> None:
    """There are as many connections as requests in flight, and they are reused."""
    gate = anyio.Event()
    server = fs.FaultServer(lambda peer: hold_until(gate, peer))
    connections = ConnectionPool(trusting)
    seen: list[int] = []
    async with server.running(), client_of(connections) as client:

        async def job() -> None:
            await client.post(server.url, content=b"{}")

        async with anyio.create_task_group() as tasks:
            for _ in range(7):
                tasks.start_soon(job)
            await settled(lambda: server.complete == 7)
            seen += [server.connections, len(idle_in(connections))]
            gate.set()
        seen += [server.connections, len(idle_in(connections))]
        await at_once(job, 7)
        await job()
        seen += [server.connections, len(idle_in(connections))]

    assert seen == [7, 0, 7, 7, 7, 7]
    assert server.complete == 15


async def test_the_connection_used_last_is_used_next(trusting: ssl.SSLContext) -> None:
    """Connections that are not needed rest, so that they can expire."""
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(trusting)
    async with server.running(), client_of(connections) as client:
        await at_once(lambda: client.post(server.url, content=b"{}"), 3)
        before = idle_in(connections)
        for _ in range(5):
            await client.post(server.url, content=b"{}")
        after = idle_in(connections)

    assert before == after
    assert len(after) >= 2


@pytest.mark.parametrize(
    "script",
    [fs.close_after_body, fs.reset_after_body, fs.answering(b"garbage\r\n\r\n")],
    ids=["close", "reset", "garbage"],
)
async def test_a_connection_that_failed_is_not_kept(
    script: fs.Script, trusting: ssl.SSLContext
) -> None:
    """After an error the next request has a new connection."""
    server = fs.FaultServer(script, fs.well_behaved)
    connections = ConnectionPool(trusting)
    async with server.running(), client_of(connections) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(server.url, content=b"{}")
        idle = len(idle_in(connections))
        response = await client.post(server.url, content=b"{}")

    assert response.status_code == 200
    assert idle == 0
    assert server.connections == 2


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (fs.stall_after_body, httpx.ReadTimeout),
        (fs.close_after_body, httpx.RemoteProtocolError),
        (fs.reset_after_body, httpx.ReadError),
    ],
    ids=["silence", "close", "reset"],
)
async def test_failures_are_those_of_httpx(
    script: fs.Script, error: type[Exception], trusting: ssl.SSLContext
) -> None:
    """What a user of httpx would catch is what is raised."""
    server = fs.FaultServer(script)
    async with server.running(), client_of(ConnectionPool(trusting)) as client:
        with pytest.raises(error):
            await client.post(server.url, content=b"{}", timeout=httpx.Timeout(5, read=0.05))


async def test_a_request_that_is_not_taken_is_a_write_timeout(
    trusting: ssl.SSLContext,
) -> None:
    """A server that reads nothing of a large request gives httpx's error."""
    server = fs.FaultServer(fs.stall_at_once)
    async with server.running(), client_of(ConnectionPool(trusting)) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post(
                server.url, content=b"x" * 20_000_000, timeout=httpx.Timeout(5, write=0.05)
            )


async def test_opening_a_connection_has_a_time_limit(trusting: ssl.SSLContext) -> None:
    """A server that does not shake hands in time is given up, and its socket closed."""
    server = fs.FaultServer(lambda peer: peer.gone())
    url = server.url.replace("http", "https")
    async with server.running(), client_of(ConnectionPool(trusting)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.post(url, content=b"{}", timeout=httpx.Timeout(5, connect=0.05))
        await settled(lambda: server.open == 0)


async def test_a_refused_port_serves_later(trusting: ssl.SSLContext) -> None:
    """After connections were refused, the next request connects as usual."""
    connections = ConnectionPool(trusting)
    port = fs.closed_port()
    url = f"http://127.0.0.1:{port}"
    async with client_of(connections) as client:
        for _ in range(3):
            with pytest.raises(httpx.ConnectError):
                await client.post(url, content=b"{}")
        server = fs.FaultServer(fs.well_behaved, port=port)
        async with server.running():
            response = await client.post(url, content=b"{}")
        idle = len(idle_in(connections))

    assert response.status_code == 200
    assert idle == 1


async def test_a_new_connection_that_ended_at_once_is_not_written_to(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ended before its first request is one that could not be opened."""
    server = fs.FaultServer(fs.close_at_once)
    connections = ConnectionPool(trusting)
    connect = connections._connect

    async def and_wait(*args: Any) -> Connection:
        connection = await connect(*args)
        await settled(lambda: server.connections == 1 and server.open == 0)
        await anyio.sleep(0.05)  # the end travels, too
        return connection

    monkeypatch.setattr(connections, "_connect", and_wait)
    async with server.running(), client_of(connections) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(server.url, content=b"{}")

    assert server.heads == 0
    assert idle_in(connections) == []


async def test_idle_connections_expire(
    monkeypatch: pytest.MonkeyPatch, trusting: ssl.SSLContext
) -> None:
    """A connection that was idle for longer than the expiry is closed by the next request."""
    standard = connection_pool.KEEPALIVE_EXPIRY
    monkeypatch.setattr(connection_pool, "KEEPALIVE_EXPIRY", 0.02)
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(trusting)
    async with server.running(), client_of(connections) as client:
        await at_once(lambda: client.post(server.url, content=b"{}"), 3)
        first = server.connections
        await anyio.sleep(0.05)
        await client.post(server.url, content=b"{}")
        await settled(lambda: server.open == 1)
        idle = len(idle_in(connections))

    assert standard == 2.0
    assert (server.connections, idle) == (first + 1, 1)


async def test_old_connections_are_replaced(
    monkeypatch: pytest.MonkeyPatch, trusting: ssl.SSLContext
) -> None:
    """A connection that is always busy is closed some day, so that its host can move."""
    standard = connection_pool.LONGEST_USE
    monkeypatch.setattr(connection_pool, "LONGEST_USE", 0.05)
    server = fs.FaultServer(fs.well_behaved)
    async with server.running(), client_of(ConnectionPool(trusting)) as client:
        while server.connections < 3:
            await client.post(server.url, content=b"{}")
        await settled(lambda: server.open <= 1)

    assert standard == 300.0


async def test_connections_belong_to_their_host(trusting: ssl.SSLContext) -> None:
    """Two servers, and two ways to one, do not share connections."""
    one, other = fs.FaultServer(fs.well_behaved), fs.FaultServer(fs.well_behaved, tls=True)
    async with (
        one.running(),
        other.running(),
        client_of(ConnectionPool(trusting)) as client,
    ):
        for server in (one, other, one, other):
            await client.post(server.url, content=b"{}")
        await client.post(one.url.replace("127.0.0.1", "localhost"), content=b"{}")

    assert (one.connections, other.connections) == (2, 1)
    assert (one.complete, other.complete) == (3, 2)


async def test_closing_closes_every_connection(trusting: ssl.SSLContext) -> None:
    """After `aclose` the server has no connection left, and none is kept."""
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(trusting)
    async with server.running():
        async with client_of(connections) as client:
            await at_once(lambda: client.post(server.url, content=b"{}"), 10)
            before = server.open
        await settled(lambda: server.open == 0)

    assert before == server.connections >= 2
    assert idle_in(connections) == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_closing_that_is_cancelled_closes_every_connection(
    tls: bool, trusting: ssl.SSLContext
) -> None:
    """Asyncio's own cancellation passes through shields, as `asyncio.timeout` uses it."""
    server = fs.FaultServer(fs.well_behaved, tls=tls)
    connections = ConnectionPool(trusting)
    async with server.running():
        client = client_of(connections)
        await at_once(lambda: client.post(server.url, content=b"{}"), 10)
        before = server.open
        with anyio.CancelScope() as scope:
            scope.cancel()
            await connections.aclose()
        await settled(lambda: server.open == 0)
        await client.aclose()

    assert before >= 2
    assert idle_in(connections) == []


async def test_bursts_that_are_cancelled_leave_nothing_behind(trusting: ssl.SSLContext) -> None:
    """After ten cancelled requests, sixty times at any step, the next is served at once."""

    async def slowly(peer: fs.Peer) -> None:
        while await peer.request():
            await anyio.lowlevel.checkpoint()
            await peer.send(fs.reply(length=len(fs.ACCEPTED))[:-5])
            await anyio.lowlevel.checkpoint()
            await peer.send(fs.ACCEPTED[-5:])

    server = fs.FaultServer(slowly)
    connections = ConnectionPool(trusting)
    async with server.running(), client_of(connections) as client:

        async def job() -> None:
            await client.post(server.url, content=b"{}")

        for step in range(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(job)
                for _ in range(step):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(1):
                await job()
        idle = idle_in(connections)
        await settled(lambda: server.open <= len(idle))

    assert 1 <= len(idle) <= 10


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("edge", [False, True], ids=["cancelled", "task cancelled"])
async def test_a_request_cancelled_anywhere_leaves_no_connection_behind(
    edge: bool, tls: bool, trusting: ssl.SSLContext, anyio_backend_name: str
) -> None:
    """A request that is cancelled at any suspension point leaves nothing open.

    Nor does a `task.cancel()`, which comes once and ignores shields.
    """
    if edge and anyio_backend_name == "trio":
        return  # trio has scopes only
    server = fs.FaultServer(fs.well_behaved, tls=tls)

    async def operation(client: httpx.AsyncClient) -> None:
        await client.post(server.url, content=b"{}")

    async def check(client: httpx.AsyncClient) -> None:
        connections = client._transport
        assert isinstance(connections, ConnectionPool)
        kept = len(idle_in(connections))
        await settled(lambda: server.open == kept)
        with anyio.fail_after(1):
            await operation(client)
        assert len(idle_in(connections)) == 1
        await client.aclose()
        await settled(lambda: server.open == 0)
        gc.collect()

    async with server.running():
        points = await cancel_everywhere(
            operation,
            setup=lambda: client_of(ConnectionPool(trusting)),
            check=check,
            edge=edge,
        )

    assert points >= 2


@pytest.mark.parametrize("in_flight", [1, 5])
async def test_a_service_opens_as_many_connections_as_it_may_use(in_flight: int) -> None:
    """The gate limits the connections, and a closed service leaves none open."""
    server = fs.FaultServer(fs.well_behaved)
    async with server.running():
        async with CallService(
            2222226,
            "a-secret",
            from_=19170000000,
            base_url=server.url,
            rate=RateLimit(max_in_flight=in_flight),
            retry=RetryPolicy(attempts=1),
        ) as service:
            for handle in [
                service.make_call(to=19170000001, pcmo=[{"action": "hangup"}])
                for _ in range(50)
            ]:
                await handle
        await settled(lambda: server.open == 0)
        gc.collect()

    assert server.complete == 50
    assert 1 <= server.connections <= in_flight
