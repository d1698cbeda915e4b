"""Mocks of users' tests: each catches the calls of a service's own client, and no byte leaves."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from unittest.mock import patch

import fault_server as fs
import httpx
import pytest
import respx
import vcr  # type: ignore[import-untyped]  # it has no types

from telecmi_async import CallOutcomeUnknown, CallRejected, CallService, NotSent, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_httpx import HTTPXMock

# The real clock: a request that passes by a mock must reach the server, and be counted.
pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

ACCEPTED = {"status": "progress", "request_id": "m" * 43, "code": 200}
REFUSED = {"code": 420, "msg": "authentication failed"}
CALL: dict[str, Any] = {
    "to": 19170000001,
    "from_": 19170000000,
    "pcmo": [{"action": "hangup"}],
}

#: A reply's status and body, or the class of an exception that is raised.
Answer: TypeAlias = "tuple[int, dict[str, Any]] | type[httpx.RequestError]"


class Mock(NamedTuple):
    """A way in which tests replace httpx.

    Args:
        start: Starts it for an address and an answer.
        raises: Whether it can raise an exception.
        reads: Whether it reads the request before it answers, so that its failures prove
            nothing.
    """

    start: Callable[[str, Answer], AbstractContextManager[object]]
    raises: bool = True
    reads: bool = True


def respx_over(using: str) -> Callable[[str, Answer], AbstractContextManager[object]]:
    """Return a mock of respx's that replaces httpcore's methods, or httpx's."""

    @contextlib.contextmanager
    def start(url: str, answer: Answer) -> Iterator[None]:
        with respx.mock(using=using) as router:
            route = router.post(url__startswith=url)
            if isinstance(answer, tuple):
                route.respond(answer[0], json=answer[1])
            else:
                route.mock(side_effect=answer)
            yield

    return start


def replaced(target: str) -> Callable[[str, Answer], AbstractContextManager[object]]:
    """Return a mock that replaces one method of httpx by hand."""

    def start(_: str, answer: Answer) -> AbstractContextManager[object]:
        def effect(*_: object, **__: object) -> httpx.Response:
            if isinstance(answer, tuple):
                return httpx.Response(answer[0], json=answer[1])
            raise answer("made up")

        return patch(target, side_effect=effect)

    return start


MOCKS = {
    "respx, httpcore": Mock(respx_over("httpcore")),
    "respx, httpx": Mock(respx_over("httpx")),
    "patched send": Mock(replaced("httpx.AsyncClient.send"), reads=False),
    "patched transport": Mock(
        replaced("httpx.AsyncHTTPTransport.handle_async_request"), reads=False
    ),
}


@pytest.fixture
async def server() -> AsyncIterator[fs.FaultServer]:
    """Return a server that would accept every call."""
    server = fs.FaultServer(fs.well_behaved)
    async with server.running():
        yield server


def service_for(server: fs.FaultServer, **options: Any) -> CallService:
    """Return a service that would call a server, with a client of its own."""
    retry = RetryPolicy(wait_initial=0.001, wait_max=0.001)
    return CallService(2222226, "a-secret", base_url=server.url, retry=retry, **options)


@pytest.mark.parametrize("before", [True, False], ids=["made before", "made within"])
@pytest.mark.parametrize("name", MOCKS)
async def test_a_mock_catches_every_call(
    name: str, before: bool, server: fs.FaultServer
) -> None:
    """While a mock is active it answers, whenever the service was made; afterwards it is gone."""
    async with contextlib.AsyncExitStack() as services:
        service = service_for(server)
        if before:
            await services.enter_async_context(service)
        with MOCKS[name].start(server.url, (200, ACCEPTED)):
            if not before:
                service = await services.enter_async_context(service_for(server))
            calls = [await service.make_call(**CALL) for _ in range(3)]
            connections = server.connections
        afterwards = await service.make_call(**CALL)

    assert [call.request_id for call in calls] == ["m" * 43] * 3
    assert connections == 0
    assert afterwards.request_id == "r" * 43
    assert server.complete == 1


@pytest.mark.parametrize("name", MOCKS)
async def test_a_connection_that_is_open_is_not_used_past_a_mock(
    name: str, server: fs.FaultServer
) -> None:
    """A mock that starts after the first call catches the second one."""
    async with service_for(server) as service:
        await service.make_call(**CALL)
        with MOCKS[name].start(server.url, (200, ACCEPTED)):
            mocked = await service.make_call(**CALL)

    assert mocked.request_id == "m" * 43
    assert server.complete == 1


@pytest.mark.parametrize("name", MOCKS)
async def test_a_mocked_refusal_is_a_refusal(name: str, server: fs.FaultServer) -> None:
    """A test may have calls refused."""
    async with service_for(server) as service:
        with MOCKS[name].start(server.url, (420, REFUSED)), pytest.raises(CallRejected):
            await service.make_call(**CALL)

    assert server.connections == 0


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout])
@pytest.mark.parametrize("name", MOCKS)
async def test_a_mocked_error_proves_what_its_mock_has_read(
    name: str, error: type[httpx.RequestError], server: fs.FaultServer
) -> None:
    """A mock that reads the request makes every error unknown; else it was not sent."""
    expected = CallOutcomeUnknown if MOCKS[name].reads else NotSent
    async with service_for(server) as service:
        with MOCKS[name].start(server.url, error), pytest.raises(expected):
            await service.make_call(**CALL)

    assert server.connections == 0


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
async def test_what_respx_does_not_know_reaches_no_server(
    using: str, server: fs.FaultServer
) -> None:
    """A call to an address that a test did not mock is not sent past the mock."""
    with respx.mock(using=using) as router:
        router.get("https://elsewhere.example/").respond(200)
        async with service_for(server) as service:
            with pytest.raises(CallOutcomeUnknown):
                await service.make_call(**CALL)
        router.get("https://elsewhere.example/").calls.clear()
        router.reset()
        router._assert_all_called = False

    assert server.connections == 0


async def test_respx_can_let_a_call_through(server: fs.FaultServer) -> None:
    """A route that is passed through reaches the server, once."""
    with respx.mock() as router:
        router.post(url__startswith=server.url).pass_through()
        async with service_for(server) as service:
            call = await service.make_call(**CALL)

    assert call.request_id == "r" * 43
    assert not call.may_be_duplicate
    assert server.complete == 1


async def test_respx_sees_the_call(server: fs.FaultServer) -> None:
    """A test can look at the request that was made."""
    with respx.mock() as router:
        route = router.post(url__startswith=server.url).respond(200, json=ACCEPTED)
        async with service_for(server) as service:
            await service.make_call(**CALL)

    sent = json.loads(route.calls.last.request.content)
    assert (sent["to"], sent["appid"]) == (19170000001, 2222226)


# --- pytest-httpx -------------------------------------------------------------------------


async def test_pytest_httpx_catches_every_call(
    server: fs.FaultServer, httpx_mock: HTTPXMock
) -> None:
    """pytest-httpx answers calls, refuses them, and sees them."""
    httpx_mock.add_response(method="POST", json=ACCEPTED)
    httpx_mock.add_response(method="POST", status_code=420, json=REFUSED)
    httpx_mock.add_exception(httpx.ConnectError("made up"))
    async with service_for(server) as service:
        call = await service.make_call(**CALL)
        with pytest.raises(CallRejected):
            await service.make_call(**CALL)
        with pytest.raises(CallOutcomeUnknown):  # it reads the request first
            await service.make_call(**CALL)

    assert call.request_id == "m" * 43
    assert [json.loads(sent.content)["to"] for sent in httpx_mock.get_requests()] == [
        19170000001
    ] * 3
    assert server.connections == 0


# --- vcrpy --------------------------------------------------------------------------------


async def test_vcrpy_records_and_plays_calls(tmp_path: Path, server: fs.FaultServer) -> None:
    """Vcrpy records a call that is made, and answers the next one without a server."""
    cassette = str(tmp_path / "calls.yaml")
    with vcr.use_cassette(cassette, record_mode="once"):
        async with service_for(server) as service:
            recorded = await service.make_call(**CALL)
    with vcr.use_cassette(cassette, record_mode="none") as tape:
        async with service_for(server) as service:
            played = await service.make_call(**CALL)
            with pytest.raises(CallOutcomeUnknown):  # it is played once
                await service.make_call(**CALL)

    assert recorded.request_id == played.request_id == "r" * 43
    assert tape.play_count == 1
    assert server.complete == 1


# --- transports that are handed in --------------------------------------------------------


async def test_a_mock_transport_answers_calls() -> None:
    """`httpx.MockTransport` works in a client that is handed in."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content)["to"] == 19170000001
        return httpx.Response(200, json=ACCEPTED)

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client,
        CallService(2222226, "a-secret", http_client=client) as service,
    ):
        call = await service.make_call(**CALL)

    assert call.request_id == "m" * 43


async def test_a_mock_transport_that_fails_proves_nothing() -> None:
    """`httpx.MockTransport` reads a request first, so its ConnectError is unknown."""

    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("made up")

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client,
        CallService(2222226, "a-secret", http_client=client) as service,
    ):
        with pytest.raises(CallOutcomeUnknown):
            await service.make_call(**CALL)


async def test_a_transport_that_reads_nothing_proves_that_nothing_was_sent() -> None:
    """A test that wants a call to be not sent raises before it reads the request."""

    class Down(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("made up")

    retry = RetryPolicy(wait_initial=0.001, wait_max=0.001)
    async with (
        httpx.AsyncClient(transport=Down()) as client,
        CallService(2222226, "a-secret", http_client=client, retry=retry) as service,
    ):
        with pytest.raises(NotSent):
            await service.make_call(**CALL)
