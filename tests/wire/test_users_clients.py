"""Clients that users hand in, of every kind: what each of them proves over real connections.

The promise: a request that a server has in full is never said to be unsent, and one that it has
twice is never said to have been sent once.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import fault_server as fs
import httpx
import pytest
from http_clients import CLIENTS, Wrapper, over_httpx
from left_generators import left_generators
from wire_faults import ENDED, FAULTS

from telecmi_async import CallOutcomeUnknown, CallService, NotSent, RetryPolicy, Timeouts
from telecmi_async._internal.secrets import RequestBody
from telecmi_async.wire.httpx_transport import HttpxTransport
from telecmi_async.wire.reply import Failure, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    # A client that reads the request first puts a generator of httpx's in the place of our body, and
    # leaves it half-way when the server goes away in the middle.
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._content.Byte:ResourceWarning"),
    # aiohttp's transports are closed by the event loop, after their client.
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]

WIRE = RequestBody(b'{"appid":1,"secret":"not-to-be-seen"}')
PATIENT = Timeouts(connect=5, write=5, read=5, total=10)
IMPATIENT = Timeouts(connect=5, write=5, read=0.05, total=10)
CALL: dict[str, Any] = {
    "to": 19170000001,
    "from_": 19170000000,
    "pcmo": [{"action": "hangup"}],
}


@contextlib.asynccontextmanager
async def client_of(kind: str, backend: str, **options: Any) -> AsyncIterator[Any]:
    """Yield a client of a kind, or skip the test if it does not run here."""
    if CLIENTS[kind].asyncio_only and backend == "trio":
        pytest.skip("aiohttp and asyncio.wait_for run on asyncio alone")
    async with CLIENTS[kind].make(**options) as client:
        yield client


async def post(client: Any, url: str, timeouts: Timeouts = PATIENT) -> Reply | Failure:
    """Send one request over a client."""
    transport = HttpxTransport(client, owned=False)
    transport._reuses = True  # as after a request that the client traced
    deadline = anyio.current_time() + timeouts.total
    return await transport.post(url, WIRE, timeouts, deadline=deadline)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_client_of_any_kind_sends_a_call(
    kind: str, tls: bool, anyio_backend_name: str
) -> None:
    """Calls over one connection are accepted, and each is sent once, as it was encoded."""
    server = fs.FaultServer(fs.well_behaved, tls=tls)
    async with server.running(), client_of(kind, anyio_backend_name) as client:
        answers = [await post(client, server.url) for _ in range(5)]

    assert answers == [Reply(200, fs.ACCEPTED)] * 5
    assert server.bodies == [WIRE.reveal()] * 5
    assert server.connections == 1


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_client_of_any_kind_keeps_the_promise(
    kind: str, anyio_backend_name: str
) -> None:
    """Whatever a server does, a request that it has is not unsent, nor are two of them one."""
    scripts = {name: (fault.script, fault.impatient) for name, fault in FAULTS.items()}
    scripts |= {name: (script, IMPATIENT) for name, script in ENDED.items()}
    servers = {name: fs.FaultServer(script) for name, (script, _) in scripts.items()}
    answers: dict[str, Reply | Failure] = {}

    async def one(name: str) -> None:
        answers[name] = await post(client, servers[name].url, scripts[name][1])

    async with contextlib.AsyncExitStack() as running:
        for server in servers.values():
            await running.enter_async_context(server.running())
        client = await running.enter_async_context(client_of(kind, anyio_backend_name))
        async with anyio.create_task_group() as tasks:
            for name in scripts:
                tasks.start_soon(one, name)

    for name, answer in answers.items():
        complete = servers[name].complete
        assert complete == 0 or isinstance(answer, Reply) or answer.may_have_left, name
        assert answer.resent or complete <= 1, name
        assert complete <= CLIENTS[kind].resends, name
    assert any(servers[name].complete == CLIENTS[kind].resends for name in FAULTS)
    for name, fault in FAULTS.items():
        # A client that retries may have had something else at last.
        if not fault.failure and CLIENTS[kind].resends == 1:
            assert isinstance(answers[name], Reply), name


@pytest.mark.parametrize("name", ["more than 1 MiB", "bad gzip", "cut gzip"])
@pytest.mark.parametrize("kind", CLIENTS)
async def test_no_generator_is_left_to_the_collector(
    kind: str, name: str, anyio_backend_name: str
) -> None:
    """A reply that is not read to its end leaves no generator of the client's half-way."""
    assert name in FAULTS
    server = fs.FaultServer(FAULTS[name].script)
    with left_generators() as left:
        async with server.running(), client_of(kind, anyio_backend_name) as client:
            answer = await post(client, server.url)

    assert isinstance(answer, Failure)
    assert answer.may_have_left
    assert left == []


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_refused_connection_is_proof_for_a_client_that_reads_late(
    kind: str, anyio_backend_name: str
) -> None:
    """What could not connect is not sent, unless the client read the request before."""
    peer = f"127.0.0.1:{fs.closed_port()}"
    async with client_of(kind, anyio_backend_name) as client:
        answer = await post(client, f"http://{peer}/")

    assert isinstance(answer, Failure)
    assert answer.may_have_left is CLIENTS[kind].reads_early
    assert answer.may_have_left or answer.reason.endswith(f"(connection refused) at {peer}")


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_certificate_that_is_not_trusted_is_named(
    kind: str, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure to connect says why, in place of "ConnectError"."""
    server = fs.FaultServer(fs.well_behaved, tls=True)
    trusting_none = httpx.create_ssl_context()
    monkeypatch.setattr(fs, "tls_contexts", lambda: (None, trusting_none))
    async with server.running(), client_of(kind, anyio_backend_name) as client:
        answer = await post(client, server.url)

    assert isinstance(answer, Failure)
    if not CLIENTS[kind].reads_early:
        assert not answer.may_have_left
        assert "(certificate verify failed: " in answer.reason
        assert answer.reason.endswith(f") at 127.0.0.1:{server.port}")


@pytest.mark.parametrize("kind", [kind for kind in CLIENTS if CLIENTS[kind].resends > 1])
async def test_a_client_that_resends_is_seen(kind: str, anyio_backend_name: str) -> None:
    """An accepted call that the client sent twice says so."""
    server = fs.FaultServer(fs.close_after_body, fs.well_behaved)
    async with server.running(), client_of(kind, anyio_backend_name) as client:
        answer = await post(client, server.url)

    assert answer == Reply(200, fs.ACCEPTED, resent=True)
    assert server.complete == 2


async def test_a_retry_of_what_was_never_sent_is_no_resend() -> None:
    """A client that connects at its second try sent the call once."""

    class SecondTry(Wrapper):
        """Tries a dead port first."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            dead = httpx.Request(
                request.method,
                request.url.copy_with(port=fs.closed_port()),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
            with contextlib.suppress(httpx.ConnectError):
                await self.inner.handle_async_request(dead)
            return await self.inner.handle_async_request(request)

    server = fs.FaultServer(fs.well_behaved)
    async with server.running(), over_httpx(SecondTry)() as client:
        answer = await post(client, server.url)

    assert answer == Reply(200, fs.ACCEPTED)
    assert server.complete == 1


# --- authentication -----------------------------------------------------------------------


async def test_digest_authentication_sends_twice() -> None:
    """A server that asks for a digest has the call twice, though it placed the second one."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
        await peer.send(fs.reply(b"", status="401 Who", headers=challenge))
        await fs.well_behaved(peer)

    server = fs.FaultServer(script)
    auth = httpx.DigestAuth("user", "password")
    async with server.running(), httpx.AsyncClient(auth=auth) as client:
        answer = await post(client, server.url)

    assert answer == Reply(200, fs.ACCEPTED, resent=True)
    assert server.bodies == [WIRE.reveal()] * 2


class Login(httpx.Auth):
    """Makes a request of its own, before or after the call."""

    def __init__(self, url: str, *, before: bool, extensions: bool = False) -> None:
        self.url = url
        self.before = before
        self.extensions = extensions

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        extensions = request.extensions if self.extensions else None
        login = httpx.Request("POST", self.url, content=b"{}", extensions=extensions)
        for each in [login, request] if self.before else [request, login]:
            yield each


@pytest.mark.parametrize("extensions", [False, True])
async def test_a_login_that_fails_before_the_call(extensions: bool) -> None:
    """If the client's own login fails, the call is not sent, whatever was sent to log in."""
    login, server = fs.FaultServer(fs.close_after_body), fs.FaultServer(fs.well_behaved)
    auth = Login(login.url, before=True, extensions=extensions)
    async with login.running(), server.running(), httpx.AsyncClient(auth=auth) as client:
        answer = await post(client, server.url)

    assert isinstance(answer, Failure)
    assert not answer.may_have_left
    assert (login.complete, server.complete) == (1, 0)


@pytest.mark.parametrize("extensions", [False, True])
async def test_a_login_is_no_resend(extensions: bool) -> None:
    """A login that has the call's trace is not taken for the call."""
    login, server = fs.FaultServer(fs.well_behaved), fs.FaultServer(fs.well_behaved)
    auth = Login(login.url, before=True, extensions=extensions)
    async with login.running(), server.running(), httpx.AsyncClient(auth=auth) as client:
        answer = await post(client, server.url)

    assert answer == Reply(200, fs.ACCEPTED)
    assert (login.complete, server.complete) == (1, 1)


async def test_a_request_that_fails_after_the_call() -> None:
    """A call that was sent is not unsent because the client could not reach another server."""
    server = fs.FaultServer(fs.well_behaved)
    auth = Login(f"http://127.0.0.1:{fs.closed_port()}/", before=False)
    async with server.running(), httpx.AsyncClient(auth=auth) as client:
        answer = await post(client, server.url)

    assert answer == Failure("ConnectError", may_have_left=True)
    assert server.complete == 1


async def test_a_hook_that_raises_an_error_of_connecting() -> None:
    """A response hook's ConnectError says nothing of the call."""

    async def hook(_: object) -> None:
        raise httpx.ConnectError("cannot write my log")

    server = fs.FaultServer(fs.well_behaved)
    hooks = {"response": [hook]}
    async with server.running():
        for kind in ("httpx", "untraced"):
            async with CLIENTS[kind].make(event_hooks=hooks) as client:
                assert await post(client, server.url) == Failure(
                    "ConnectError", may_have_left=True
                )


# --- responses that exceptions carry -------------------------------------------------------


async def raise_for_status(response: Any) -> None:
    """Raise as httpx's documentation shows it."""
    response.raise_for_status()


@pytest.mark.parametrize("kind", ["httpx", "httpx2", "httpx-aiohttp", "signing"])
async def test_a_refusal_that_a_hook_hides_is_judged(
    kind: str, anyio_backend_name: str
) -> None:
    """The `raise_for_status` hook that httpx documents hides neither a refusal nor its pause."""
    refusals = {420: "", 422: "", 404: "", 429: "Retry-After: 7\r\n"}
    scripts = [
        fs.answering_and_silent(
            fs.reply(
                b'{"code":420}', status=f"{status} No", headers=f"{more}Connection: close\r\n"
            )
        )
        for status, more in refusals.items()
    ]
    server = fs.FaultServer(*scripts)
    hooks = {"response": [raise_for_status]}
    async with (
        server.running(),
        client_of(kind, anyio_backend_name, event_hooks=hooks) as client,
    ):
        answers = [await post(client, server.url) for _ in refusals]

    assert answers == [
        Reply(420, b""),
        Reply(422, b""),
        Reply(404, b""),
        Reply(429, b"", "7"),
    ]


# --- the whole service --------------------------------------------------------------------


@pytest.mark.parametrize("script", [fs.close_after_body, fs.reset_after_body])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("kind", ["httpx", "httpx2", "httpx-aiohttp", "untraced aiohttp"])
async def test_a_call_that_was_read_is_not_sent_again(
    kind: str, once: bool, script: fs.Script, anyio_backend_name: str
) -> None:
    """A server that reads a call and closes gets it once, and the caller an unknown outcome."""
    server = fs.FaultServer(script)
    retry = RetryPolicy(wait_initial=0.001, wait_max=0.001, at_most_once=once)
    async with (
        server.running(),
        client_of(kind, anyio_backend_name) as client,
        CallService(
            2222226, "s3cret", base_url=server.url, retry=retry, http_client=client
        ) as s,
    ):
        with pytest.raises(CallOutcomeUnknown) as caught:
            await s.make_call(**CALL)

    assert not caught.value.safe_to_redial
    assert server.complete == 1


async def test_a_call_that_nothing_asked_for_is_retried_and_may_be_dialled_again() -> None:
    """A service over aiohttp retries a refused port, and says why it gave up."""
    peer = f"127.0.0.1:{fs.closed_port()}"
    retry = RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.001)
    async with (
        CLIENTS["httpx2"].make() as client,
        CallService(
            2222226, "s3cret", base_url=f"http://{peer}", retry=retry, http_client=client
        ) as service,
    ):
        handle = service.make_call(**CALL)
        with pytest.raises(NotSent, match=rf"connection refused\) at {peer}"):
            await handle

    assert len(handle.attempts) == 2
