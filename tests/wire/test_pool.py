"""Connection pool of a service's own client: who uses which connection, and cancellation."""

from __future__ import annotations

import gc
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import fault_server as fs
import httpx
import pytest

from telecmi_async import CallService, RateLimit, RetryPolicy
from telecmi_async.testing import cancel_everywhere
from telecmi_async.wire import pool
from telecmi_async.wire.pool import ConnectionPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    # A cancelled bare httpx client leaves its own generators half-way, and trio warns about it.
    pytest.mark.filterwarnings("ignore:Async gen:ResourceWarning"),
]

TLS = ssl.create_default_context()
TIMEOUTS = httpx.Timeout(5)


def client_of(connections: ConnectionPool) -> httpx.AsyncClient:
    """Return a client over some connections."""
    return httpx.AsyncClient(transport=connections, trust_env=False, timeout=TIMEOUTS)


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


def stuck(connections: ConnectionPool) -> list[str]:
    """Return the idle lanes whose connection is not idle."""
    return [
        repr(connection)
        for lane in connections._idle
        for connection in lane._pool.connections
        if not connection.is_idle()
    ]


async def hold_until(gate: anyio.Event, peer: fs.Peer) -> None:
    """Answer requests once a gate is open."""
    while await peer.request():
        await gate.wait()
        await peer.send(fs.reply())


async def test_requests_one_after_the_other_share_a_connection() -> None:
    """The lane used last is used next, so one connection is enough."""
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(TLS)
    async with server.running(), client_of(connections) as client:
        for _ in range(20):
            await client.post(server.url, content=b"{}")
        idle = len(connections._idle)

    assert server.connections == idle == 1
    assert server.complete == 20


async def test_every_request_under_way_has_a_connection_of_its_own() -> None:
    """There are as many connections as requests in flight, and they are reused."""
    gate = anyio.Event()
    server = fs.FaultServer(lambda peer: hold_until(gate, peer))
    connections = ConnectionPool(TLS)
    seen: list[int] = []
    async with server.running(), client_of(connections) as client:

        async def job() -> None:
            await client.post(server.url, content=b"{}")

        async with anyio.create_task_group() as tasks:
            for _ in range(7):
                tasks.start_soon(job)
            await settled(lambda: server.complete == 7)
            seen += [server.connections, len(connections._idle)]
            gate.set()
        seen += [server.connections, len(connections._idle)]
        await at_once(job, 7)
        await job()
        seen += [server.connections, len(connections._idle)]

    assert seen == [7, 0, 7, 7, 7, 7]
    assert server.complete == 15


async def test_the_lane_given_back_last_is_taken_first() -> None:
    """The lane returned last is used next, so that the others can expire."""
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(TLS)
    async with server.running(), client_of(connections) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(lambda: client.post(server.url, content=b"{}"))
        resting, last = connections._idle[:-1], connections._idle[-1]
        for _ in range(5):
            async with client.stream("POST", server.url, content=b"{}") as response:
                in_use = list(connections._idle)
                await response.aread()

    assert in_use == resting
    assert connections._idle == []
    assert last not in resting


async def test_a_lane_is_in_use_until_its_reply_is_closed() -> None:
    """A reply whose body is not yet read keeps its connection to itself."""
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(TLS)
    async with server.running(), client_of(connections) as client:
        async with client.stream("POST", server.url, content=b"{}") as first:
            during = len(connections._idle)
            second = await client.post(server.url, content=b"{}")
            await first.aread()
        after = len(connections._idle)

    assert first.status_code == second.status_code == 200
    assert (during, after) == (0, 2)
    assert server.connections == 2


@pytest.mark.parametrize(
    "script",
    [fs.close_after_body, fs.reset_after_body, fs.answering(b"garbage\r\n\r\n")],
    ids=["close", "reset", "garbage"],
)
async def test_a_lane_that_failed_connects_anew(script: fs.Script) -> None:
    """After an error the lane is returned to the pool without its connection."""
    server = fs.FaultServer(script, fs.well_behaved)
    connections = ConnectionPool(TLS)
    async with server.running(), client_of(connections) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(server.url, content=b"{}")
        idle = len(connections._idle)
        response = await client.post(server.url, content=b"{}")
        left = stuck(connections)

    assert response.status_code == 200
    assert idle == 1
    assert left == []
    assert server.connections == 2


async def test_a_lane_that_cannot_connect_serves_later() -> None:
    """A lane whose connection was refused serves a later request."""
    connections = ConnectionPool(TLS)
    port = fs.closed_port()
    url = f"http://127.0.0.1:{port}"
    async with client_of(connections) as client:
        for _ in range(3):
            with pytest.raises(httpx.ConnectError):
                await client.post(url, content=b"{}")
        server = fs.FaultServer(fs.well_behaved, port=port)
        async with server.running():
            response = await client.post(url, content=b"{}")
        idle = len(connections._idle)

    assert response.status_code == 200
    assert idle == 1


async def test_a_body_that_is_left_unread_costs_only_its_connection() -> None:
    """Closing a reply early closes its connection and returns the lane."""
    server = fs.FaultServer(fs.answering_and_silent(fs.reply(b"x", length=99)), fs.well_behaved)
    connections = ConnectionPool(TLS)
    async with server.running(), client_of(connections) as client:
        async with client.stream("POST", server.url, content=b"{}") as response:
            pass
        idle = len(connections._idle)
        left = stuck(connections)
        await settled(lambda: server.open == 0)
        again = await client.post(server.url, content=b"{}")

    assert response.status_code == again.status_code == 200
    assert (idle, left) == (1, [])
    assert server.connections == 2


async def test_idle_connections_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for longer than the expiry is not used again."""
    standard = pool.KEEPALIVE_EXPIRY
    monkeypatch.setattr(pool, "KEEPALIVE_EXPIRY", 0.02)
    server = fs.FaultServer(fs.well_behaved)
    async with server.running(), client_of(ConnectionPool(TLS)) as client:
        await client.post(server.url, content=b"{}")
        await anyio.sleep(0.05)
        await client.post(server.url, content=b"{}")

    assert standard == 2.0
    assert server.connections == 2


async def test_lanes_are_made_with_the_expiry() -> None:
    """Every lane's pool has an expiry of two seconds and holds a single connection."""
    lane = ConnectionPool(TLS)._open()
    pool = lane._pool
    await lane.aclose()

    assert pool._keepalive_expiry == 2.0
    assert pool._max_connections == pool._max_keepalive_connections == 1


async def test_closing_closes_every_connection() -> None:
    """After `aclose` the server has no connection left, and no lane is kept."""
    server = fs.FaultServer(fs.well_behaved)
    connections = ConnectionPool(TLS)
    async with server.running():
        async with client_of(connections) as client:
            await at_once(lambda: client.post(server.url, content=b"{}"), 10)
            before = server.open
        await settled(lambda: server.open == 0)

    assert before == server.connections >= 2
    assert connections._idle == []


async def test_bursts_that_are_cancelled_leave_nothing_behind() -> None:
    """After ten cancelled requests, sixty times at any step, the next is served at once."""

    async def slowly(peer: fs.Peer) -> None:
        while await peer.request():
            await anyio.lowlevel.checkpoint()
            await peer.send(fs.reply(length=len(fs.ACCEPTED))[:-5])
            await anyio.lowlevel.checkpoint()
            await peer.send(fs.ACCEPTED[-5:])

    server = fs.FaultServer(slowly)
    connections = ConnectionPool(TLS)
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
        left = stuck(connections)
        await settled(lambda: server.open <= len(connections._idle))
        idle = len(connections._idle)

    assert left == []
    assert idle <= 10


async def test_a_request_cancelled_anywhere_leaves_no_connection_busy() -> None:
    """A request that is cancelled at any suspension point leaves no busy connection."""
    server = fs.FaultServer(fs.well_behaved)

    async def operation(client: httpx.AsyncClient) -> None:
        await client.post(server.url, content=b"{}")

    async def check(client: httpx.AsyncClient) -> None:
        connections = client._transport
        assert isinstance(connections, ConnectionPool)
        assert stuck(connections) == []
        with anyio.fail_after(1):
            await operation(client)
        assert len(connections._idle) == 1
        await client.aclose()
        await settled(lambda: server.open == 0)
        gc.collect()

    async with server.running():
        points = await cancel_everywhere(
            operation, setup=lambda: client_of(ConnectionPool(TLS)), check=check
        )

    assert points >= 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_cancelled_anywhere_leaves_no_connection_busy() -> None:
    """A `task.cancel()`, which comes once and ignores shields, leaves none either."""
    server = fs.FaultServer(fs.well_behaved)

    async def operation(client: httpx.AsyncClient) -> None:
        await client.post(server.url, content=b"{}")

    async def check(client: httpx.AsyncClient) -> None:
        connections = client._transport
        assert isinstance(connections, ConnectionPool)
        assert stuck(connections) == []
        with anyio.fail_after(1):
            await operation(client)
        await client.aclose()
        await settled(lambda: server.open == 0)
        gc.collect()

    async with server.running():
        points = await cancel_everywhere(
            operation, setup=lambda: client_of(ConnectionPool(TLS)), check=check, edge=True
        )

    assert points >= 3


async def test_a_close_of_a_reply_that_is_cut_short_drops_the_lane() -> None:
    """A lane whose reply could not be closed is not used again."""

    class Cut(httpx.AsyncByteStream):
        async def aclose(self) -> None:
            raise RuntimeError("cut")

    idle: list[httpx.AsyncHTTPTransport] = []
    stream = pool._Stream(Cut(), httpx.AsyncHTTPTransport(verify=TLS), idle)
    with pytest.raises(RuntimeError, match="cut"):
        await stream.aclose()

    assert idle == []


@pytest.mark.parametrize("in_flight", [1, 5])
async def test_a_service_opens_as_many_connections_as_it_may_use(in_flight: int) -> None:
    """The gate limits the lanes, and a closed service leaves no connection open."""
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
