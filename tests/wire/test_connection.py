"""Connections: one exchange at a time on asyncio, uvloop and trio, in plain text and over TLS."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import fault_server as fs
import pytest
import trustme

from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async.wire import asyncio_connection, happy_eyeballs
from telecmi_async.wire.asyncio_connection import AsyncioConnection, open_on_asyncio
from telecmi_async.wire.connection import Origin, ReadTimedOut, WriteTimedOut, watch
from telecmi_async.wire.exchange import ReplyError, encode_head
from telecmi_async.wire.failure_cause import describe
from telecmi_async.wire.happy_eyeballs import addresses_of, first_to_answer
from telecmi_async.wire.trio_connection import open_on_trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from telecmi_async.wire.connection import Connection
    from telecmi_async.wire.exchange import Exchange

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

BACKENDS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows"),
    ),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each test on all three event loops."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    """Run each test in plain text and over TLS."""
    secure: bool = request.param
    return secure


async def open_to(host: str, port: int, context: ssl.SSLContext | None = None) -> Connection:
    """Open a connection on the event loop that runs."""
    loop, origin = current_loop(), Origin(host, port, context)
    return await (open_on_asyncio(loop, origin) if is_asyncio(loop) else open_on_trio(origin))


@asynccontextmanager
async def connected(server: fs.FaultServer) -> AsyncIterator[Connection]:
    """Run a server and open a connection to it."""
    context = None if server.tls is None else fs.tls_contexts()[1]
    async with server.running():
        with anyio.fail_after(5):
            connection = await open_to("127.0.0.1", server.port, context)
        try:
            yield connection
        finally:
            await connection.aclose()


class Request:
    """A request that counts how often it is taken."""

    def __init__(self, body: bytes = b"{}") -> None:
        self.taken = 0
        length = b"%d" % len(body)
        self._bytes = encode_head(b"/", [(b"Host", b"h"), (b"Content-Length", length)]) + body

    async def take(self) -> bytes:
        self.taken += 1
        return self._bytes


async def exchange(
    connection: Connection,
    take: Callable[[], Awaitable[bytes]] | None = None,
    *,
    write: float = 5,
    read: float = 5,
) -> Exchange | None:
    """Make one exchange, within ten seconds."""
    with anyio.fail_after(10):
        return await connection.exchange(take or Request().take, write=write, read=read)


async def arrived() -> None:
    """Give what was sent the time to arrive."""
    await anyio.sleep(0.02)


async def test_exchanges_follow_each_other(tls: bool) -> None:
    """Each request gets its reply, over one connection."""
    server = fs.FaultServer(fs.well_behaved, tls=tls)
    async with connected(server) as connection:
        replies = [await exchange(connection) for _ in range(5)]
        spent = connection.spent

    assert [reply and (reply.status, reply.body) for reply in replies] == [
        (200, fs.ACCEPTED)
    ] * 5
    assert server.complete == 5
    assert server.connections == 1
    assert not spent
    assert connection.spent


@pytest.mark.parametrize("unasked", [b"220 ready\r\n", b"\r\n", fs.reply()])
async def test_bytes_before_a_request_spend_the_connection(unasked: bytes, tls: bool) -> None:
    """If anything came before the first request, the request is not even taken."""

    async def script(peer: fs.Peer) -> None:
        await peer.send(unasked)
        sent.set()
        await fs.well_behaved(peer)

    sent = anyio.Event()
    server, request = fs.FaultServer(script, tls=tls), Request()
    async with connected(server) as connection:
        await sent.wait()
        await arrived()
        reply = await exchange(connection, request.take)

    assert reply is None
    assert request.taken == server.complete == 0
    assert connection.spent


@pytest.mark.parametrize("how", ["closes", "resets", "says more", "says a line end"])
@pytest.mark.parametrize("notice", [True, False], ids=["later", "at once"])
async def test_a_connection_that_ends_while_idle_takes_no_request(
    how: str, notice: bool, tls: bool
) -> None:
    """What happened while a connection was idle is seen before a request is taken.

    Even if the event loop has not turned since.
    """

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        await peer.send(fs.reply())
        await go.wait()
        if how == "resets":
            peer.reset()
        elif how.startswith("says"):
            await peer.send(b"x" if how == "says more" else b"\r\n")
            done.set()
            await peer.gone()

    go, done = anyio.Event(), anyio.Event()
    server, request = fs.FaultServer(script, tls=tls), Request()
    async with connected(server) as connection:
        assert await exchange(connection) is not None
        go.set()
        while server.open and not done.is_set():
            await anyio.lowlevel.checkpoint()
        if notice:
            await arrived()
        reply = await exchange(connection, request.take)

    assert reply is None
    assert request.taken == 0
    assert connection.spent


async def test_a_request_that_cannot_be_taken_leaves_the_connection_as_it_was(
    tls: bool,
) -> None:
    """If taking the request fails, nothing is written, and the next request gets its reply."""

    async def too_late() -> bytes:
        raise ValueError

    server = fs.FaultServer(fs.well_behaved, tls=tls)
    async with connected(server) as connection:
        with pytest.raises(ValueError):  # noqa: PT011  # it is our own
            await exchange(connection, too_late)
        spent = connection.spent
        reply = await exchange(connection)

    assert not spent
    assert reply is not None
    assert server.complete == server.connections == 1


async def test_a_connection_that_ends_while_the_request_is_taken_is_an_error(
    tls: bool,
) -> None:
    """A request whose taking lets the loop turn may have been taken in vain."""

    async def slowly() -> bytes:
        go.set()
        while server.open:
            await anyio.lowlevel.checkpoint()
        await arrived()
        return await Request().take()

    async def script(peer: fs.Peer) -> None:
        await go.wait()
        peer.reset()

    go = anyio.Event()
    server = fs.FaultServer(script, tls=tls)
    async with connected(server) as connection:
        with pytest.raises((OSError, ReplyError, anyio.BrokenResourceError)):
            await exchange(connection, slowly)

    assert connection.spent


async def test_a_server_that_takes_nothing_is_given_up(tls: bool) -> None:
    """A large request that the server does not read times out, and the connection is spent."""
    server = fs.FaultServer(fs.stall_at_once, tls=tls)
    async with connected(server) as connection:
        with pytest.raises(WriteTimedOut):
            await exchange(connection, Request(b"x" * 20_000_000).take, write=0.1, read=9)

    assert connection.spent


async def test_a_server_that_takes_a_large_request_slowly_is_waited_for(tls: bool) -> None:
    """The time for writing does not count as time in which the server is silent."""

    async def script(peer: fs.Peer) -> None:
        await anyio.sleep(0.3)
        await fs.well_behaved(peer)

    server = fs.FaultServer(script, tls=tls)
    async with connected(server) as connection:
        large = Request(b"x" * 8_000_000)
        reply = await exchange(connection, large.take, write=5, read=4)

    assert reply is not None
    assert reply.status == 200
    assert server.complete == 1


async def test_a_reply_before_the_request_was_read_is_the_reply(tls: bool) -> None:
    """A server may refuse a large request without reading it; the connection is spent then."""

    async def script(peer: fs.Peer) -> None:
        await peer.head()
        await peer.send(fs.reply(b"no", status="413 Too Large"))
        await anyio.sleep(0.05)
        await peer.gone()

    server = fs.FaultServer(script, tls=tls)
    async with connected(server) as connection:
        reply = await exchange(connection, Request(b"x" * 8_000_000).take)

    assert reply is not None
    assert (reply.status, reply.body) == (413, b"no")


async def test_a_silent_server_is_given_up(tls: bool) -> None:
    """A server that does not reply in time is given up, and so is one that stops half-way."""

    async def half(peer: fs.Peer) -> None:
        await peer.request()
        await peer.send(fs.reply(length=999))
        await peer.gone()

    for script in (fs.stall_after_body, half):
        server = fs.FaultServer(script, tls=tls)
        async with connected(server) as connection:
            with pytest.raises(ReadTimedOut):
                await exchange(connection, read=0.05)
            assert connection.spent


async def test_a_server_that_replies_slowly_is_waited_for(tls: bool) -> None:
    """The time-out is for each piece of the reply, not for all of it."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        whole = fs.reply()
        for n in range(0, len(whole), 20):
            await peer.send(whole[n : n + 20])
            await anyio.sleep(0.04)
        await peer.gone()

    server = fs.FaultServer(script, tls=tls)
    async with connected(server) as connection:
        reply = await exchange(connection, read=0.15)

    assert reply is not None
    assert reply.body == fs.ACCEPTED


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (fs.close_after_body, ReplyError),
        (fs.reset_after_body, (OSError, anyio.BrokenResourceError)),
        (fs.reset_in_reply, (OSError, anyio.BrokenResourceError)),
        (fs.answering(b"garbage\r\n\r\n"), ReplyError),
        (fs.answering(fs.reply(length=999)), ReplyError),
    ],
    ids=["closes", "resets", "resets in the reply", "garbage", "cut off"],
)
async def test_a_failed_exchange_spends_the_connection(
    script: fs.Script, error: type[Exception], tls: bool
) -> None:
    """Without a whole reply there is an error, and no other request."""
    server = fs.FaultServer(script, tls=tls)
    async with connected(server) as connection:
        with pytest.raises(error):
            await exchange(connection)
        again = await exchange(connection)

    assert again is None
    assert server.complete == 1


async def test_a_reply_that_the_end_of_the_connection_ends(tls: bool) -> None:
    """A reply without a length is complete when the server closes."""
    server = fs.FaultServer(fs.answering(b"HTTP/1.1 200 OK\r\n\r\nall of it"), tls=tls)
    async with connected(server) as connection:
        reply = await exchange(connection)

    assert reply is not None
    assert reply.body == b"all of it"
    assert connection.spent


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])
async def test_a_server_that_takes_a_request_in_pieces_is_waited_for(tls: bool) -> None:
    """As long as the server takes some of a request now and then, writing goes on."""

    async def script(peer: fs.Peer) -> None:
        for _ in range(10):
            await anyio.sleep(0.06)
            for _ in range(16):
                await peer._receive()
        await fs.well_behaved(peer)

    server = fs.FaultServer(script, tls=tls)
    async with connected(server) as connection:
        large = Request(b"x" * 16_000_000)
        reply = await exchange(connection, large.take, write=0.5, read=5)

    assert reply is not None
    assert server.complete == 1


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])
async def test_time_passes_for_an_idle_connection_without_harm(tls: bool) -> None:
    """A time-out that is due after its reply came ends nothing."""
    server = fs.FaultServer(fs.well_behaved, tls=tls)
    async with connected(server) as connection:
        first = await exchange(connection, read=0.2)
        await anyio.sleep(0.25)
        second = await exchange(connection, read=9)

    assert first is not None
    assert second is not None
    assert server.connections == 1


@pytest.mark.parametrize("anyio_backend", BACKENDS[:1])
async def test_a_connection_that_is_never_read_empty_is_not_used() -> None:
    """Where something always waits to be read, no request is taken."""
    server, request = fs.FaultServer(fs.well_behaved), Request()
    async with connected(server) as connection:
        cast("Any", connection)._has_more = lambda: True
        reply = await exchange(connection, request.take)

    assert reply is None
    assert request.taken == 0


async def test_a_cancelled_exchange_closes_the_connection(tls: bool) -> None:
    """After a cancellation the server sees the end, and the connection is not used again."""
    server = fs.FaultServer(fs.stall_after_body, tls=tls)
    async with connected(server) as connection:
        with anyio.move_on_after(0.05):
            await exchange(connection)
        spent = connection.spent
        await connection.aclose()
        with anyio.fail_after(5):
            while server.open:
                await anyio.lowlevel.checkpoint()

    assert spent
    assert server.complete == 1


# --- opening -------------------------------------------------------------------------------


async def test_a_refused_port_is_an_error() -> None:
    """A port on which nothing listens refuses the connection."""
    with pytest.raises(OSError):  # noqa: PT011  # trio's has a group in it
        await open_to("127.0.0.1", fs.closed_port())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".invalid"])
async def test_an_unknown_host_is_an_error(host: str) -> None:
    """A host without an address is an `OSError`, even if its name cannot exist."""
    with pytest.raises(OSError):  # noqa: PT011  # each resolver has words of its own
        await open_to(host, 9)


async def test_a_certificate_of_somebody_else_is_refused() -> None:
    """A server whose certificate is not trusted is sent nothing."""
    server = fs.FaultServer(fs.well_behaved, tls=True)
    async with server.running():
        with pytest.raises(ssl.SSLCertVerificationError):
            await open_to("127.0.0.1", server.port, ssl.create_default_context())

    assert server.heads == 0


@pytest.mark.parametrize("anyio_backend", [BACKENDS[0], BACKENDS[2]])  # uvloop asks libuv
async def test_a_certificate_for_another_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trusted certificate must be for the host that was asked for."""
    server = fs.FaultServer(fs.well_behaved, tls=True)
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: elsewhere)
    async with server.running():
        with pytest.raises(ssl.SSLCertVerificationError):
            await open_to("example.com", server.port, fs.tls_contexts()[1])

    assert server.heads == 0


class Contested(ssl.SSLContext):
    """TLS settings that another client changes whenever they are set."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(["h2", *alpn_protocols])


def http2_contexts(kind: type[ssl.SSLContext]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the settings of a server that prefers HTTP/2, and of a client that offers it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), kind(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    for context in (server, client):
        ssl.SSLContext.set_alpn_protocols(context, ["h2", "http/1.1"])
    return server, client


async def test_settings_of_an_http2_client_can_be_shared() -> None:
    """A client of HTTP/2 adds it to the settings it is given; here HTTP/1.1 is spoken."""
    server = fs.FaultServer(fs.well_behaved, tls=True)
    server.tls, shared = http2_contexts(ssl.SSLContext)
    async with server.running():
        connection = await open_to("127.0.0.1", server.port, shared)
        reply = await exchange(connection)
        await connection.aclose()

    assert reply is not None
    assert reply.status == 200


async def test_a_server_that_chose_another_protocol_is_sent_nothing() -> None:
    """A request of HTTP/1.1 on a connection of HTTP/2 would be of unknown outcome."""
    server = fs.FaultServer(fs.well_behaved, tls=True)
    server.tls, contested = http2_contexts(Contested)
    async with server.running():
        with pytest.raises(ssl.SSLError) as raised:
            await open_to("127.0.0.1", server.port, contested)

    assert (
        describe(raised.value, "h:1") == "SSLError (TLS failed: no application protocol) at h:1"
    )
    assert server.heads == 0


@pytest.mark.parametrize("script", [fs.close_at_once, fs.reset_at_once])
async def test_an_end_during_the_handshake_is_an_error(script: fs.Script) -> None:
    """A server that ends the connection instead of shaking hands is sent nothing."""
    server = fs.FaultServer(script)
    async with server.running():
        with pytest.raises((OSError, anyio.EndOfStream, anyio.BrokenResourceError)):
            await open_to("127.0.0.1", server.port, fs.tls_contexts()[1])

    assert server.heads == 0


async def test_opening_that_is_cancelled_leaves_no_socket() -> None:
    """A handshake that is cancelled closes its socket: the server sees the end."""
    server = fs.FaultServer(lambda peer: peer.gone())
    async with server.running():
        with anyio.move_on_after(0.05):
            await open_to("127.0.0.1", server.port, fs.tls_contexts()[1])
        with anyio.fail_after(5):
            while server.open or not server.connections:  # noqa: ASYNC110  # a socket gives no event
                await anyio.sleep(0.001)

    assert server.connections == 1


@pytest.mark.parametrize("anyio_backend", [BACKENDS[0], BACKENDS[2]])  # as above
async def test_the_next_address_is_tried_if_one_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a host with an address that refuses and one that answers, the latter is used."""
    server = fs.FaultServer(fs.well_behaved)
    closed = fs.closed_port()
    assert closed != server.port
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port))
        for address in ("127.0.0.9", "127.0.0.1")  # the server listens on the second alone
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    async with server.running():
        connection = await open_to("two.addresses", server.port)
        reply = await exchange(connection)
        await connection.aclose()

    assert reply is not None
    assert server.connections == 1


async def race(
    loop: asyncio.AbstractEventLoop, addresses: list[str], port: int
) -> AsyncioConnection:
    """Connect to the first of several addresses that answers."""
    return await first_to_answer(
        addresses,
        lambda address: asyncio_connection._connect(loop, address, port),
        AsyncioConnection._abort,
    )


@pytest.mark.parametrize("anyio_backend", BACKENDS[:1])
class TestRace:
    """Which of several addresses is used, on asyncio; trio shares the choice."""

    async def test_a_silent_address_holds_up_no_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An address that does not answer is not waited for alone."""
        monkeypatch.setattr(happy_eyeballs, "_NEXT_ADDRESS", 0.01)
        server = fs.FaultServer(fs.well_behaved)
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def create(factory: Any, host: str, port: int) -> Any:
            if host == "192.0.2.1":
                await anyio.sleep_forever()
            return await connect(factory, host, port)

        monkeypatch.setattr(loop, "create_connection", create)
        async with server.running():
            connection = await race(loop, ["192.0.2.1", "127.0.0.1"], server.port)
            reply = await exchange(connection)
            await connection.aclose()

        assert reply is not None

    async def test_the_second_winner_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of two addresses that answer at the same moment, one connection is kept."""
        monkeypatch.setattr(happy_eyeballs, "_NEXT_ADDRESS", 0)
        server = fs.FaultServer(lambda peer: peer.gone())
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        ready: list[str] = []

        async def create(factory: Any, host: str, port: int) -> Any:
            made = await connect(factory, host, port)
            ready.append(host)
            with anyio.CancelScope(shield=True):
                while len(ready) < 2:
                    await anyio.lowlevel.checkpoint()
            return made

        monkeypatch.setattr(loop, "create_connection", create)
        async with server.running():
            connection = await race(loop, ["127.0.0.1", "127.0.0.1"], server.port)
            with anyio.fail_after(5):
                while server.open != 1 or server.connections != 2:  # noqa: ASYNC110  # a socket gives no event
                    await anyio.sleep(0.001)
            spent = connection.spent
            await connection.aclose()

        assert not spent

    async def test_a_race_that_is_interrupted_leaves_no_connection(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If something unforeseen ends the race, the winner is closed as well."""
        monkeypatch.setattr(happy_eyeballs, "_NEXT_ADDRESS", 0)
        server = fs.FaultServer(lambda peer: peer.gone())
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        won = anyio.Event()

        async def create(factory: Any, host: str, port: int) -> Any:
            if host == "127.0.0.2":
                with anyio.CancelScope(shield=True):
                    await won.wait()
                raise RuntimeError("unforeseen")
            made = await connect(factory, host, port)
            won.set()
            return made

        monkeypatch.setattr(loop, "create_connection", create)
        async with server.running():
            with pytest.raises(ExceptionGroup):
                await race(loop, ["127.0.0.2", "127.0.0.1"], server.port)
            with anyio.fail_after(5):
                while server.open or not server.connections:  # noqa: ASYNC110  # a socket gives no event
                    await anyio.sleep(0.001)

        assert server.connections == 1

    async def test_the_first_failure_is_the_one_that_is_reported(self) -> None:
        """If no address answers, the error is the first one's."""
        port = fs.closed_port()
        with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.3"):
            await race(asyncio.get_running_loop(), ["127.0.0.3", "127.0.0.4"], port)

    async def test_addresses_of_both_families_take_turns(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Addresses are tried by turns of their families, in the resolver's order."""
        loop = asyncio.get_running_loop()
        found = [
            (family, socket.SOCK_STREAM, 6, "", (address, 9))
            for family, address in [
                (socket.AF_INET6, "2001:db8::1"),
                (socket.AF_INET6, "2001:db8::2"),
                (socket.AF_INET6, "2001:db8::3"),
                (socket.AF_INET, "192.0.2.1"),
            ]
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        assert await addresses_of(Origin("h", 9, None), loop.getaddrinfo) == [
            "2001:db8::1",
            "192.0.2.1",
            "2001:db8::2",
            "2001:db8::3",
        ]


async def test_a_socket_that_cannot_be_used_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If anyio does not take a connected socket, the socket is closed, and the error is raised."""
    server = fs.FaultServer(lambda peer: peer.gone())
    taken: list[socket.socket] = []

    async def refuse(found: socket.socket) -> Any:
        taken.append(found)
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("anyio.abc.SocketStream.from_socket", refuse)
    async with server.running():
        with pytest.raises(RuntimeError, match="unforeseen"):
            await open_on_trio(Origin("127.0.0.1", server.port, None))

    assert [each.fileno() for each in taken] == [-1]


async def test_a_refused_address_is_named() -> None:
    """The error of a port without a server has its number and its address."""
    port = fs.closed_port()

    with pytest.raises(ConnectionRefusedError, match=rf"127\.0\.0\.1 port {port}"):
        await open_on_trio(Origin("127.0.0.1", port, None))


@pytest.mark.parametrize("anyio_backend", BACKENDS[:1])
@pytest.mark.parametrize("poll", [True, False], ids=["poll", "select"])
async def test_a_socket_is_readable_when_something_came(
    poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes and the end of the connection make a socket readable, with and without `poll`."""
    if not poll:
        monkeypatch.delattr(select, "poll")
    one, other = socket.socketpair()
    with one, other:
        readable = watch(one)
        before = readable()
        other.send(b"x")
        with_bytes = readable()
        one.recv(1)
        drained = readable()
        other.close()
        at_the_end = readable()

    assert [before, with_bytes, drained, at_the_end] == [False, True, False, True]


@pytest.mark.parametrize("anyio_backend", BACKENDS[:1])
async def test_a_connection_that_never_was_can_be_closed() -> None:
    """A connection without a transport takes no request, and closing it does not wait."""
    connection = asyncio_connection.AsyncioConnection(asyncio.get_running_loop())
    reply = await exchange(cast("Connection", connection))
    await connection.aclose()

    assert reply is None


@pytest.mark.parametrize(("spent", "closing"), [(True, False), (False, True)])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_connection_that_ends_before_tls_is_a_failure_to_connect(
    monkeypatch: pytest.MonkeyPatch, *, spent: bool, closing: bool
) -> None:
    """Asyncio would wait for ever to set up TLS on it; its transport is given up."""
    given_up: list[bool] = []
    raw = SimpleNamespace(is_closing=lambda: closing, abort=lambda: given_up.append(True))

    async def addresses(*_: object) -> list[object]:
        return []

    async def first(*_: object) -> object:
        return SimpleNamespace(_transport=raw, spent=spent)

    monkeypatch.setattr(asyncio_connection, "addresses_of", addresses)
    monkeypatch.setattr(asyncio_connection, "first_to_answer", first)
    origin = Origin("example.com", 443, ssl.create_default_context())

    with pytest.raises(ConnectionResetError, match="before TLS"):
        await open_on_asyncio(asyncio.get_running_loop(), origin)

    assert given_up
