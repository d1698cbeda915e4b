"""A service's own client: what it leaves out, its TLS settings, and when it stands aside."""

from __future__ import annotations

import functools
import ssl
import sys
from typing import TYPE_CHECKING, Any

import certifi
import fault_server as fs
import httpcore
import httpx
import pytest

from telecmi_async import (
    CallOutcomeUnknown,
    CallService,
    ConfigurationError,
    NotSent,
    RetryPolicy,
)
from telecmi_async._internal.secrets import RequestBody
from telecmi_async.wire import own_client
from telecmi_async.wire.own_client import OwnClient, is_mocked, open_own_client
from telecmi_async.wire.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

HEADERS = {"Content-Type": "application/json", "Content-Length": "2"}
HANGUP = [{"action": "hangup"}]
CALL: dict[str, Any] = {"to": 19170000001, "from_": 19170000000, "pcmo": HANGUP}

METHODS: list[tuple[type, str]] = [
    (httpx.AsyncClient, "send"),
    (httpx.AsyncClient, "_send_single_request"),
    (httpx.AsyncClient, "_transport_for_url"),
    (httpx.AsyncHTTPTransport, "handle_async_request"),
    (httpcore.AsyncConnectionPool, "handle_async_request"),
    (httpcore.AsyncHTTPConnection, "handle_async_request"),
]


@pytest.mark.anyio
async def test_a_request_is_the_one_that_httpx_builds() -> None:
    """A request built the short way is equal to httpx's own, for each URL and length."""
    async with OwnClient(ssl.create_default_context()) as client:
        for address in ("https://rest.telecmi.com/v2/a?b=c", "http://127.0.0.1:9/v2"):
            url = httpx.URL(address)
            for length in ("2", "2", "34"):
                headers = HEADERS | {"Content-Length": length}
                options: dict[str, Any] = {
                    "headers": headers,
                    "extensions": {"timeout": {"read": 1.0}},
                }
                body: Any = Sending(RequestBody(b"{}"), None)
                ours = client.build_request("POST", url, content=body, **options)
                theirs = httpx.AsyncClient.build_request(
                    client, "POST", url, content=body, **options
                )

                assert ours.method == theirs.method
                assert ours.url == theirs.url
                assert sorted(ours.headers.raw) == sorted(theirs.headers.raw)
                assert ours.extensions == theirs.extensions
                assert ours.stream is body


@pytest.mark.anyio
async def test_a_request_of_another_kind_is_built_by_httpx() -> None:
    """Without a stated length, or with a URL that is not parsed, httpx builds the request."""
    async with OwnClient(ssl.create_default_context()) as client:
        plain = client.build_request("POST", "http://127.0.0.1/", content=b"{}")
        parsed = client.build_request("POST", httpx.URL("http://127.0.0.1/"), content=b"{}")

    assert plain.headers["content-length"] == parsed.headers["content-length"] == "2"
    assert plain.read() == b"{}"


def test_httpx_as_it_is_counts_as_httpx() -> None:
    """Every method that mocks replace is where it is looked for: none is missing, or renamed."""
    for owner, name in METHODS:
        assert callable(vars(owner)[name])
    assert not is_mocked()
    assert not is_mocked()  # from the cache


async def wrapped(self: object, *args: object, **options: object) -> None:
    """Stand for a method of httpx."""


@pytest.mark.parametrize(("owner", "name"), METHODS)
@pytest.mark.parametrize(
    "mock",
    [
        lambda original: wrapped,
        lambda original: functools.wraps(original)(wrapped),
        functools.partialmethod,
        lambda original: object(),
    ],
    ids=["function", "wrapper", "partial", "object"],
)
def test_a_replaced_method_is_noticed(
    owner: type, name: str, mock: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever replaces one of the methods, requests take httpx's own way until it is gone."""
    before = is_mocked()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, mock(vars(owner)[name]))
        during = is_mocked()
    after = is_mocked()

    assert [before, during, after] == [False, True, False]


def test_httpcore_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as httpcore was not imported, nothing can have replaced its methods."""
    monkeypatch.delitem(sys.modules, "httpcore")

    assert not is_mocked()


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_while_httpx_is_mocked_requests_take_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mock that passes a request on gets it to the server through httpx's own transport."""
    seen: list[str] = []
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def passing_on(
        self: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        seen.append(request.method)
        return await original(self, request)

    server = fs.FaultServer(fs.well_behaved)
    async with (
        server.running(),
        CallService(2222226, "a-secret", base_url=server.url) as service,
    ):
        first = await service.make_call(**CALL)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", passing_on)
        second = await service.make_call(**CALL)
        monkeypatch.undo()
        third = await service.make_call(**CALL)

    assert all(call.accepted for call in (first, second, third))
    assert seen == ["POST"]
    assert (server.complete, server.connections) == (3, 2)


class Monitored(httpx.AsyncClient):
    """A client class as an APM agent puts it in place of httpx's."""


def monitor_method(owner: type, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what replaces a method by one that passes everything on, as an APM agent does."""

    def replace(monkeypatch: pytest.MonkeyPatch) -> None:
        original: Callable[..., Awaitable[object]] = getattr(owner, name)

        async def passing_on(*args: object, **options: object) -> object:
            return await original(*args, **options)

        monkeypatch.setattr(owner, name, passing_on)

    return replace


MONITORS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "client": monitor_method(httpx.AsyncClient, "send"),
    "transport": monitor_method(httpx.AsyncHTTPTransport, "handle_async_request"),
    "pool": monitor_method(httpcore.AsyncConnectionPool, "handle_async_request"),
    "class": lambda monkeypatch: monkeypatch.setattr(httpx, "AsyncClient", Monitored),
}


@pytest.mark.anyio
@pytest.mark.real_clock
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("monitor", MONITORS)
async def test_a_monitor_of_httpx_hides_no_stray(
    monitor: str, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stray reply is no call's answer, even if calls go through httpx's own connections."""
    MONITORS[monitor](monkeypatch)
    stray = fs.reply(b'{"code":420}', status="420 Refused")

    async def script(peer: fs.Peer) -> None:
        while await peer.request():
            body = b'{"code":200,"request_id":"%d"}' % server.complete
            await peer.send(fs.reply(body) + stray)

    server = fs.FaultServer(script, tls=tls)
    outcomes: list[str | None] = []
    async with (
        server.running(),
        CallService(
            2222226,
            "a-secret",
            base_url=server.url,
            ssl_context=fs.tls_contexts()[1],
            retry=RetryPolicy(attempts=1),
        ) as service,
    ):
        for _ in range(5):
            handle = service.make_call(**CALL)
            try:
                outcomes.append((await handle).request_id)
            except CallOutcomeUnknown as error:
                outcomes.append(error.cause)

    unknown = "a reply that had arrived before the request was sent"
    # The first call carries "Connection: close".
    assert outcomes == ["1", "2", unknown, "4", unknown]


@pytest.mark.anyio
async def test_a_client_class_that_was_replaced_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A test may replace the whole class; then its own is made."""

    class Fake(httpx.AsyncClient):
        pass

    monkeypatch.setattr(httpx, "AsyncClient", Fake)
    client = open_own_client()
    await client.aclose()

    assert type(client) is Fake


# --- TLS settings --------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_certificates_are_checked_and_can_be_given() -> None:
    """A server with a certificate of its own is refused, unless `ssl_context` trusts it."""
    server = fs.FaultServer(fs.well_behaved, tls=True)
    once = RetryPolicy(attempts=1)
    async with server.running():
        async with CallService(2222226, "s-secret", base_url=server.url, retry=once) as service:
            with pytest.raises(NotSent, match="certificate verify failed"):
                await service.make_call(**CALL)
        async with CallService(
            2222226, "s-secret", base_url=server.url, ssl_context=fs.tls_contexts()[1]
        ) as service:
            handle = await service.make_call(**CALL)

    assert handle.accepted
    assert server.complete == 1


def test_tls_settings_of_another_kind_are_refused() -> None:
    """`ssl_context` must be one, and cannot be given beside a client."""
    wrong: Any = "/etc/ssl/certs"
    with pytest.raises(ConfigurationError, match=r"ssl_context must be an ssl\.SSLContext"):
        CallService(2222226, "s-secret", ssl_context=wrong)
    with pytest.raises(ConfigurationError, match="http_client or ssl_context, not both"):
        CallService(
            2222226,
            "s-secret",
            ssl_context=ssl.create_default_context(),
            http_client=httpx.AsyncClient(),
        )


def test_services_share_the_standard_tls_settings() -> None:
    """Reading the trust store takes long: it is read once in a process."""
    one, other = open_own_client(), open_own_client()

    assert isinstance(one, OwnClient)
    assert isinstance(other, OwnClient)
    assert one._pool._ssl_context is other._pool._ssl_context


@pytest.fixture
def broken_certificates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Certifi's file is missing; it was not read before in this process."""
    monkeypatch.setattr(certifi, "where", lambda: "/missing/cacert.pem")
    own_client._standard_ssl_context.cache_clear()
    yield
    own_client._standard_ssl_context.cache_clear()


@pytest.mark.usefixtures("broken_certificates")
def test_certificates_that_cannot_be_read_are_reported_at_once() -> None:
    """A service is not made without them, and says what helps; one with its own needs none."""
    with pytest.raises(ConfigurationError, match=r"certifi's certificates .*FileNotFoundError"):
        CallService(1, "a-secret")
    with pytest.raises(ConfigurationError, match="install certifi again"):
        CallService(1, "a-secret", base_url="HTTPS://example.com/v2")

    CallService(1, "a-secret", ssl_context=ssl.create_default_context())


@pytest.mark.usefixtures("broken_certificates")
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_plain_http_loads_no_certificates(scheme: str) -> None:
    """A service for a simulator on this machine starts without them, and trusts no server."""
    service = CallService(1, "a-secret", base_url=f"{scheme}://127.0.0.1:9/v2")

    client = service._parts.transport._client
    assert isinstance(client, OwnClient)
    assert client._pool._ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert client._pool._ssl_context.get_ca_certs() == []
