"""Stray replies: a second reply that no request asked for, on a connection of a user's client."""

from __future__ import annotations

import ssl
import sys
import types
from socket import SHUT_RDWR
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import fault_server as fs
import httpx
import pytest
from http_clients import CLIENTS

from telecmi_async import Timeouts
from telecmi_async._internal.secrets import RequestBody
from telecmi_async.wire.httpx_transport import HttpxTransport
from telecmi_async.wire.reply import Failure, Reply
from telecmi_async.wire.sending import Sending, StrayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
]

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "trio": ("trio", {}),
}
if sys.platform != "win32":
    LOOPS["uvloop"] = ("asyncio", {"use_uvloop": True})

TIMEOUTS = Timeouts(connect=5, write=5, read=5, total=10)
STRAY = Failure("a reply that had arrived before the request was sent", may_have_left=True)
OTHER = fs.reply(b"of another call")


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each test on every event loop, as each keeps bytes in buffers of its own."""
    return LOOPS[request.param]


async def post(client: Any, url: str, body: bytes) -> Reply | Failure:
    """Send one request over a client."""
    transport = HttpxTransport(client, owned=False)
    transport._reuses = True  # as after a request that the client traced
    deadline = anyio.current_time() + TIMEOUTS.total
    return await transport.post(url, RequestBody(body), TIMEOUTS, deadline=deadline)


def echoing(*more: bytes, together: bool) -> tuple[fs.Script, list[fs.FaultServer]]:
    """Return a script that sends each request's body back, and more after it."""
    servers: list[fs.FaultServer] = []

    async def script(peer: fs.Peer) -> None:
        while await peer.request():
            reply = fs.reply(servers[0].bodies[-1])
            await (peer.send(b"".join([reply, *more])) if together else peer.send(reply, *more))

    return script, servers


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", ["httpx", "httpx2"])
async def test_a_true_reply_is_never_taken_for_a_stray(kind: str, tls: bool) -> None:
    """Quick replies on a connection that is kept open are each the reply to their request."""
    script, servers = echoing(together=False)
    server = fs.FaultServer(script, tls=tls)
    servers.append(server)
    async with server.running(), CLIENTS[kind].make() as client:
        for number in range(100):
            body = b'{"n":%d}' % number
            assert await post(client, server.url, body) == Reply(200, body)

    assert server.connections == 1


@pytest.mark.parametrize("kind", ["in a task", "asyncio.wait_for"])
async def test_a_client_that_sends_in_a_task_of_its_own_has_no_strays(
    kind: str, anyio_backend_name: str
) -> None:
    """Where the waiting cannot be seen, a true reply is not taken for a stray."""
    if CLIENTS[kind].asyncio_only and anyio_backend_name == "trio":
        pytest.skip("asyncio.wait_for runs on asyncio alone")
    script, servers = echoing(together=False)
    server = fs.FaultServer(script)
    servers.append(server)
    async with server.running(), CLIENTS[kind].make() as client:
        for number in range(30):
            body = b'{"n":%d}' % number
            assert await post(client, server.url, body) == Reply(200, body)


@pytest.mark.parametrize("together", [True, False], ids=["one record", "two records"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", ["httpx", "httpx2"])
async def test_a_stray_reply_is_no_answer_to_the_next_call(
    kind: str, tls: bool, together: bool
) -> None:
    """A second reply in one segment is not the next call's, and its connection is closed."""
    script, servers = echoing(OTHER, together=together)
    server = fs.FaultServer(script, tls=tls)
    servers.append(server)
    bodies = [b'{"n":%d}' % number for number in range(6)]
    async with server.running(), CLIENTS[kind].make() as client:
        answers = [await post(client, server.url, body) for body in bodies]

    own = [Reply(200, body) for body in bodies]
    if tls and not together:  # seen before the connection is used again
        assert answers == own
        assert server.connections == 6
    else:
        assert answers == [own[0], STRAY, own[2], STRAY, own[4], STRAY]
        assert server.connections == 3


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.parametrize("together", [True, False], ids=["one record", "two records"])
async def test_aiohttp_leaves_a_connection_with_a_stray(
    together: bool, anyio_backend_name: str
) -> None:
    """A client over aiohttp needs no help: aiohttp closes such a connection by itself."""
    if anyio_backend_name == "trio":
        pytest.skip("aiohttp runs on asyncio alone")
    script, servers = echoing(OTHER, together=together)
    server = fs.FaultServer(script)
    servers.append(server)
    bodies = [b'{"n":%d}' % number for number in range(6)]
    async with server.running(), CLIENTS["httpx-aiohttp"].make() as client:
        answers = [await post(client, server.url, body) for body in bodies]

    assert answers == [Reply(200, body) for body in bodies]


@pytest.mark.parametrize("kind", ["httpx", "httpx2"])
async def test_a_stray_that_a_hook_raises_is_no_answer(kind: str) -> None:
    """A stray refusal that an exception carries is not judged as this call's."""

    async def raise_for_status(response: Any) -> None:
        response.raise_for_status()

    script, servers = echoing(fs.reply(b"{}", status="420 No"), together=True)
    server = fs.FaultServer(script)
    servers.append(server)
    hooks = {"response": [raise_for_status]}
    async with server.running(), CLIENTS[kind].make(event_hooks=hooks) as client:
        answers = [await post(client, server.url, b"{}") for _ in range(2)]

    assert answers == [Reply(200, b"{}"), Failure("HTTPStatusError", may_have_left=True)]


async def test_a_server_that_ends_tls_is_left() -> None:
    """A connection on which the server has said goodbye is not used again."""
    script, servers = echoing(together=False)

    async def goodbye(peer: fs.Peer) -> None:
        await peer.request()
        tls = peer._tls
        assert tls is not None
        tls.write(fs.reply(b"{}"))
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        await peer.send()
        await peer.gone()

    server = fs.FaultServer(goodbye, script, tls=True)
    servers.append(server)
    async with server.running(), CLIENTS["httpx"].make() as client:
        answers = [await post(client, server.url, b"{}") for _ in range(2)]

    assert answers == [Reply(200, b"{}")] * 2
    assert server.connections == 2


class NetworkStream:
    """The network stream of a response, with what it tells of itself."""

    def __init__(self, tls: object, socket: object) -> None:
        self.known = {"ssl_object": tls, "socket": socket}
        self.closed = False

    def get_extra_info(self, name: str) -> object:
        return self.known[name]

    async def aclose(self) -> None:
        self.closed = True


class Socket:
    """A socket that notes how it is shut down."""

    def __init__(self) -> None:
        self.shut: list[int] = []

    def shutdown(self, how: int) -> None:
        self.shut.append(how)


class Tls:
    """TLS of which one more byte is read, or which raises an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def read(self, _: int) -> bytes:
        if self._error is not None:
            raise self._error
        return b"x"


async def answered(**extensions: Any) -> Reply | Failure:
    """Return the answer to a call whose response has the given extensions."""

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body(), extensions=extensions)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        return await post(client, "https://rest.example/", b"{}")


async def test_a_reply_over_http2_is_left_alone() -> None:
    """The bytes that follow a reply of HTTP/2 belong to other replies."""
    socket = Socket()
    stream = NetworkStream(Tls(), socket)

    assert await answered(network_stream=stream, http_version=b"HTTP/2") == Reply(200, b"{}")
    assert await answered(network_stream=NetworkStream(None, socket)) == Reply(200, b"{}")
    assert socket.shut == []


@pytest.mark.parametrize("error", [None, ssl.SSLEOFError(), ssl.SSLError()])
async def test_a_connection_whose_tls_is_not_silent_is_shut_down(
    error: Exception | None,
) -> None:
    """A byte or an error after a reply ends its connection, and httpcore sees that."""
    socket = Socket()

    assert await answered(network_stream=NetworkStream(Tls(error), socket)) == Reply(200, b"{}")
    assert socket.shut == [SHUT_RDWR]


@pytest.mark.parametrize("broken", [None, SimpleNamespace()])
async def test_a_connection_that_cannot_be_closed_costs_no_reply(
    broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A reply that was read counts, whatever happens to its connection."""
    answer = await answered(network_stream=NetworkStream(Tls(), broken))

    assert answer == Reply(200, b"{}")
    assert "a connection could not be closed; no call is affected" in caplog.text


# --- how waiting is watched ----------------------------------------------------------------


class Pausing:
    """An awaitable that is no coroutine: it suspends once, and is written by hand."""

    def __await__(self) -> Any:
        yield from anyio.sleep(0.001).__await__()
        return 7


async def test_any_awaitable_is_watched() -> None:
    """The result of what is awaited is passed on."""
    sending = Sending(RequestBody(b"{}"), None)

    assert await sending.watch(Pausing()) == 7
    assert await sending.watch(Pausing()) == 7


async def test_a_cancellation_is_raised_inside() -> None:
    """What is watched is cancelled at the point where it waits, and may clean up."""
    cleaned = []

    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            cleaned.append("up")

    with anyio.move_on_after(0.01) as scope:
        await Sending(RequestBody(b"{}"), None).watch(forever())

    assert scope.cancelled_caught
    assert cleaned == ["up"]


async def test_an_exception_that_is_handled_inside_goes_no_further() -> None:
    """A time-out inside is the inner code's own, as in httpcore."""

    async def patient() -> str:
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return "went on"

    assert await Sending(RequestBody(b"{}"), None).watch(patient()) == "went on"


def test_what_is_abandoned_is_closed() -> None:
    """When an event loop drops a request, what is watched cleans up at once."""
    cleaned = []

    @types.coroutine
    def suspend() -> Generator[None]:
        yield

    async def forever() -> None:
        try:
            await suspend()
        finally:
            cleaned.append("up")

    async def outer() -> None:
        await Sending(RequestBody(b"{}"), None).watch(forever())

    coroutine = outer()
    coroutine.send(None)
    coroutine.close()

    assert cleaned == ["up"]


class Shaken:
    """A network stream after its TLS handshake."""

    def __init__(self, waiting: bytes) -> None:
        self.waiting = waiting
        self.closed = False

    def get_extra_info(self, _: str) -> Shaken:
        return self

    def read(self, _: int) -> bytes:
        if not self.waiting:
            raise ssl.SSLWantReadError
        return self.waiting

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("waiting", [b"", b"H"])
async def test_a_stray_that_comes_along_with_the_handshake_ends_the_connection(
    waiting: bytes,
) -> None:
    """A reply that follows the server's last message of a handshake answers no request."""
    stream, sending = Shaken(waiting), Sending(RequestBody(b"{}"), None)
    try:
        await sending.trace("connection.start_tls.complete", {"return_value": stream})
    except StrayError:
        assert waiting

    assert stream.closed == bool(waiting)
    assert not sending.may_have_left
