"""Transport over httpx: replies, what a failure proves, and what is awaited."""

from __future__ import annotations

import errno
import functools
import gzip
import json
import re
import tracemalloc
import zlib
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import anyio
import anyio.lowlevel
import fault_server as fs
import httpx
import httpx2
import pytest
import respx

from telecmi_async import CallService, Timeouts
from telecmi_async._internal.secrets import RequestBody
from telecmi_async.errors import ConfigurationError
from telecmi_async.testing import cancel_everywhere
from telecmi_async.wire.httpx_transport import HttpxTransport
from telecmi_async.wire.own_client import open_own_client
from telecmi_async.wire.reply import Failure, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

URL = "https://rest.example/v2/global_pcmo_make_call"
SECRET = "not-to-be-seen"
WIRE = RequestBody(b'{"appid":1,"secret":"not-to-be-seen"}')
UNREADABLE = Failure("HTTP 200 with a body that cannot be read", may_have_left=True)
TIMEOUTS = Timeouts(connect=1, write=2, read=3, total=8)

# Every exception of httpx.
EXCEPTIONS = sorted(
    name
    for name, value in vars(httpx).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
# A trace event in this place reads the body.
BODY = ("the body is asked for", b"POST")


def error(name: str) -> Exception:
    """Make one of httpx's exceptions with the arguments that its constructor needs."""
    kind = getattr(httpx, name)
    made: Exception = kind.__new__(kind, SECRET)
    return made


class Carrier(httpx.AsyncBaseTransport):
    """An httpx transport that emits given trace events, waits, and answers or fails.

    Args:
        answer: The response, or the exception to raise.
        events: Trace events, each with the method of the request it is about. `BODY` among them
            reads the body. Without any, the body is read.
        delay: Seconds before it answers.
    """

    def __init__(
        self,
        answer: httpx.Response | BaseException,
        *events: tuple[str, bytes | str],
        delay: float = 0,
    ) -> None:
        self._answer = answer
        self._events = events or [BODY]
        self._delay = delay
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.finished = 0
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        trace = request.extensions["trace"]
        for name, method in self._events:
            if (name, method) == BODY:
                stream = request.stream
                assert isinstance(stream, httpx.AsyncByteStream)
                self.bodies.append(b"".join([part async for part in stream]))
            else:
                await trace(name, {"request": SimpleNamespace(method=method)})
        if self._delay:
            await anyio.sleep(self._delay)
        self.finished += 1
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    async def aclose(self) -> None:
        self.closed = True


class Body(httpx.AsyncByteStream):
    """A response body in pieces that may end in an error."""

    def __init__(
        self, *pieces: bytes, error: Exception | None = None, pause: float = 0
    ) -> None:
        self._pieces = pieces
        self._error = error
        self._pause = pause
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await anyio.sleep(self._pause)
            yield piece
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.closed = True


async def send(
    client: httpx.AsyncClient, url: str = URL, timeouts: Timeouts = TIMEOUTS
) -> Reply | Failure:
    """Send one request over a client."""
    transport = HttpxTransport(client, owned=False)
    deadline = anyio.current_time() + timeouts.total
    return await transport.post(url, WIRE, timeouts, deadline=deadline)


async def post(carrier: httpx.AsyncBaseTransport, **options: Any) -> Reply | Failure:
    """Send one request over a user's client with the given transport."""
    async with httpx.AsyncClient(transport=carrier, **options) as client:
        return await send(client)


# --- requests and replies -----------------------------------------------------------------


async def test_the_request_is_what_was_encoded() -> None:
    """The body is sent byte for byte, as JSON, with the attempt's time-outs."""
    carrier = Carrier(httpx.Response(200, content=b"{}"))
    await post(carrier)

    (request,) = carrier.requests
    assert (request.method, str(request.url)) == ("POST", URL)
    assert carrier.bodies == [WIRE.reveal()]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(WIRE.reveal()))
    assert "transfer-encoding" not in request.headers
    assert request.extensions["timeout"] == {"connect": 1, "write": 2, "read": 3, "pool": 1}


async def test_the_users_headers_do_not_change_the_content_type() -> None:
    """Headers of the user's client are sent, but the content type stays JSON."""
    carrier = Carrier(httpx.Response(200))
    await post(carrier, headers={"Content-Type": "text/plain", "X-Mine": "1"})

    (request,) = carrier.requests
    assert request.headers.get_list("content-type") == ["application/json"]
    assert request.headers["x-mine"] == "1"


@pytest.mark.parametrize("status", [200, 204, 302, 404, 420, 429, 500, 502, 503])
async def test_a_whole_reply_is_a_reply(status: int) -> None:
    """A reply with any status and a complete body is returned with its `Retry-After`."""
    response = httpx.Response(status, content=b"words", headers={"retry-after": "7"})
    answer = await post(Carrier(response))

    assert answer == Reply(status, b"words", "7")


def pack(data: bytes) -> bytes:
    """Compress to the same bytes each time, because parallel test processes compare ids."""
    return gzip.compress(data, mtime=0)


def packed_reply(encoding: str, packed: bytes) -> tuple[Carrier, Body]:
    """Return a compressed reply in two pieces."""
    stream = Body(packed[:9], packed[9:])
    headers = {"content-encoding": encoding}
    return Carrier(httpx.Response(200, headers=headers, stream=stream)), stream


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", pack(b'{"code":200}')),
        (" GZIP ", pack(b'{"code":200}')),
        ("deflate", zlib.compress(b'{"code":200}')),
        ("identity", b'{"code":200}'),
        ("", b'{"code":200}'),
    ],
)
async def test_a_packed_reply_is_unpacked(encoding: str, packed: bytes) -> None:
    """The request asks for no compression, but a compressed reply is read."""
    carrier, stream = packed_reply(encoding, packed)
    answer = await post(carrier)

    assert carrier.requests[0].headers["accept-encoding"] == "identity"
    assert answer == Reply(200, b'{"code":200}')
    assert stream.closed


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", b"not packed at all"),
        ("gzip", pack(b'{"code":200}')[:-4]),
        ("br", b'{"code":200}'),
        ("gzip, gzip", pack(pack(b'{"code":200}'))),
        ("gzip", pack(b" " * (1 << 20) + b"1")),
    ],
)
async def test_what_cannot_be_unpacked_is_no_reply(encoding: str, packed: bytes) -> None:
    """A reply that is broken, cut, of unknown encoding or too large is unreadable."""
    carrier, stream = packed_reply(encoding, packed)

    assert await post(carrier) == UNREADABLE
    assert stream.closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)  # no loop takes part
async def test_a_bomb_is_not_unpacked() -> None:
    """Decompression of a small body that would fill the memory stops after 1 MiB."""
    bomb = pack(bytes(200 << 20))
    carrier, _ = packed_reply("gzip", bomb)
    tracemalloc.start()
    try:
        answer = await post(carrier)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert answer == UNREADABLE
    assert peak < 8 << 20


@pytest.mark.parametrize(("extra", "whole"), [(0, True), (1, False)])
async def test_a_reply_is_read_up_to_one_mebibyte(extra: int, whole: bool) -> None:
    """A reply of more than 1 MiB is unreadable, and is not kept."""
    stream = Body(*[b"x" * 65536] * 16, b"x" * extra)
    answer = await post(Carrier(httpx.Response(200, stream=stream)))

    assert isinstance(answer, Reply) is whole
    assert whole or answer == UNREADABLE
    assert stream.closed


class Stubborn(Body):
    """A body that goes on after it was closed: without an end, or without a word."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__()
        self.silent = silent
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not (self.closed and self.silent):
            self.given += 1
            yield b"x" * 65536
        await anyio.sleep_forever()


@pytest.mark.filterwarnings("ignore:Async generator .*Stubborn:ResourceWarning")
@pytest.mark.parametrize("silent", [False, True])
async def test_a_reply_that_goes_on_for_ever_is_left(silent: bool) -> None:
    """A body that never ends, even when it is closed, is left within a second."""
    stream = Stubborn(silent=silent)
    began = anyio.current_time()
    answer = await post(Carrier(httpx.Response(200, stream=stream)))

    assert answer == UNREADABLE
    assert stream.closed
    assert stream.given <= 17 + 64
    assert anyio.current_time() - began <= 1


async def test_redirects_are_not_followed() -> None:
    """Redirects are not followed, even if the user's client follows them by default."""
    carrier = Carrier(httpx.Response(307, headers={"Location": "/elsewhere"}))
    answer = await post(carrier, follow_redirects=True)

    assert answer == Reply(307, b"")
    assert len(carrier.requests) == 1


@respx.mock
async def test_the_default_client_over_respx() -> None:
    """A service's own client can be stubbed by respx like any other."""
    route = respx.post(URL).respond(200, json={"code": 200}, headers={"Retry-After": "1"})
    async with open_own_client() as client:
        answer = await send(client)

    assert isinstance(answer, Reply)
    assert json.loads(answer.body) == {"code": 200}
    assert answer.retry_after == "1"
    assert route.calls.last.request.content == WIRE.reveal()


@pytest.mark.parametrize("name", ["ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError"])
@respx.mock
async def test_failures_over_respx(name: str) -> None:
    """Errors that respx raises prove nothing, because respx reads the request before."""
    respx.post(URL).mock(side_effect=getattr(httpx, name))
    async with open_own_client() as client:
        answer = await send(client)

    assert answer == Failure(name, may_have_left=True)


# --- failures -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXCEPTIONS)
async def test_once_the_body_was_asked_for_no_name_proves_anything(name: str) -> None:
    """An exception of any name may come from a transport that sent the request before."""
    answer = await post(Carrier(error(name)))

    assert answer == Failure(name, may_have_left=True)


@pytest.mark.parametrize("made", [RuntimeError, OSError, ValueError, KeyError, ExceptionGroup])
async def test_a_foreign_exception_is_of_unknown_fate(made: type[Exception]) -> None:
    """Any other exception of a transport is caught, and may have been sent."""
    raised = made("x", [OSError()]) if made is ExceptionGroup else made(SECRET)
    answer = await post(Carrier(raised))

    assert answer == Failure(made.__name__, may_have_left=True)


CONNECTING = [
    ("connection.connect_tcp.started", b"POST"),
    ("connection.connect_tcp.complete", b"POST"),
    ("connection.start_tls.started", b"POST"),
    ("connection.start_tls.complete", b"POST"),
]
TUNNEL = [
    ("http11.send_request_headers.started", b"CONNECT"),
    ("http11.send_request_headers.complete", b"CONNECT"),
    ("http11.send_request_body.started", b"CONNECT"),
    ("http11.receive_response_headers.complete", b"CONNECT"),
]


def headers(version: str, end: str) -> list[tuple[str, bytes]]:
    """Return trace events of the POST's headers up to the given one."""
    names = ["started", "complete"]
    return [
        (f"{version}.send_request_headers.{name}", b"POST")
        for name in names[: names.index(end) + 1]
    ]


UNASKED = {
    "connecting": CONNECTING[:1],
    "connected": CONNECTING,
    "tunnelled": CONNECTING + TUNNEL,
    "tls in the tunnel": [*TUNNEL, *CONNECTING],
    "in the headers": headers("http11", "started"),
    "after the headers": headers("http11", "complete"),
    "in the headers, http2": headers("http2", "started"),
    "after the headers, http2": headers("http2", "complete"),
}


@pytest.mark.parametrize("events", UNASKED.values(), ids=UNASKED)
async def test_a_request_whose_body_was_not_asked_for_was_not_sent(
    events: list[tuple[str, bytes]],
) -> None:
    """Until the body is asked for, no exception means that a call was placed."""
    for name in EXCEPTIONS:
        answer = await post(Carrier(error(name), *events))

        assert isinstance(answer, Failure)
        assert answer.reason.partition(" ")[0] == name
        assert not answer.may_have_left


@pytest.mark.parametrize("events", UNASKED.values(), ids=UNASKED)
async def test_no_trace_makes_a_body_that_was_asked_for_unsent(
    events: list[tuple[str, bytes]],
) -> None:
    """After the body was asked for, no trace event and no exception prove that it stayed."""
    for name in EXCEPTIONS:
        unknown = Failure(name, may_have_left=True)

        assert await post(Carrier(error(name), *events, BODY)) == unknown
        assert await post(Carrier(error(name), BODY, *events)) == unknown


@pytest.mark.parametrize("method", [b"POST", "POST", b"post", None, 7, b"CONNECTED"])
async def test_only_connect_is_a_proxys(method: Any) -> None:
    """The method of a trace event may be of any type; all but CONNECT are the call's own."""
    headers = ("http11.send_request_headers.started", method)
    answer = await post(Carrier(error("ReadError"), headers, BODY, headers, BODY))
    tunnel = ("http11.send_request_headers.started", "CONNECT")
    tunnelled = await post(Carrier(error("ReadError"), tunnel, tunnel, headers, BODY))

    assert answer == Failure("ReadError", may_have_left=True, resent=True)
    assert tunnelled == Failure("ReadError", may_have_left=True)


@pytest.mark.parametrize("name", EXCEPTIONS)
async def test_an_exception_in_the_body_comes_after_sending(name: str) -> None:
    """After the status the request counts as sent, and the failure names the status."""
    stream = Body(b"{", error=error(name))
    answer = await post(Carrier(httpx.Response(502, stream=stream)))

    assert answer == Failure(f"HTTP 502, then {name}", may_have_left=True)
    assert stream.closed


async def test_a_url_that_httpx_cannot_read_proves_that_nothing_was_sent() -> None:
    """An invalid URL is a failure that was not sent, and that would not be another time."""
    async with httpx.AsyncClient() as client:
        answer = await send(client, "https://h:port/")

    assert answer == Failure(
        "the request could not be built (InvalidURL)", may_have_left=False, permanent=True
    )


async def test_a_request_that_cannot_be_built_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in building a request is no outage: it would fail again."""
    async with httpx.AsyncClient(transport=Carrier(httpx.Response(200))) as client:
        transport = HttpxTransport(client, owned=False)
        monkeypatch.setattr(client, "build_request", lambda *_, **__: 1 / 0)
        answer = await transport.post(URL, WIRE, TIMEOUTS, deadline=anyio.current_time() + 8)

    assert answer == Failure(
        "the request could not be built (ZeroDivisionError)",
        may_have_left=False,
        permanent=True,
    )


async def test_a_hook_that_raises_before_sending() -> None:
    """A request hook's exception does not escape, and no request leaves."""

    async def hook(_: httpx.Request) -> None:
        raise RuntimeError(SECRET)

    carrier = Carrier(httpx.Response(200))
    answer = await post(carrier, event_hooks={"request": [hook]})

    assert answer == Failure("RuntimeError", may_have_left=False, unreached=True)
    assert carrier.requests == []


async def test_a_hook_that_raises_after_sending() -> None:
    """An exception of a response hook makes the outcome unknown, and the reply is closed."""

    async def hook(_: httpx.Response) -> None:
        raise RuntimeError(SECRET)

    stream = Body(b"{}")
    carrier = Carrier(httpx.Response(502, stream=stream))
    answer = await post(carrier, event_hooks={"response": [hook]})

    assert answer == Failure("RuntimeError", may_have_left=True)
    assert stream.closed


async def test_a_reply_to_a_request_without_its_body_is_none() -> None:
    """A server that answers before it has the body did not place the call."""
    stream = Body(fs.ACCEPTED)
    answer = await post(
        Carrier(httpx.Response(200, stream=stream), *headers("http11", "complete"))
    )

    assert answer == Failure("HTTP 200, before the request was sent", may_have_left=False)
    assert stream.closed


# --- resends ------------------------------------------------------------------------------

HEAD = ("http11.send_request_headers.started", b"POST")


@pytest.mark.parametrize(
    ("events", "resent"),
    [
        ([BODY], False),
        ([HEAD, BODY], False),
        ([HEAD, HEAD, BODY], False),  # the first try ended before the body
        ([BODY, HEAD], False),  # read before, as to sign it
        ([BODY, BODY], True),
        ([HEAD, BODY, HEAD], True),
        ([HEAD, BODY, HEAD, BODY], True),
        ([BODY, HEAD, HEAD], True),
        ([HEAD, HEAD, BODY, HEAD], True),
    ],
)
async def test_a_client_that_sends_twice_is_seen(
    events: list[tuple[str, bytes]], resent: bool
) -> None:
    """A body that was asked for twice, or headers after it, are a second request."""
    accepted, failed = httpx.Response(200), error("ReadError")

    assert await post(Carrier(accepted, *events)) == Reply(200, b"", resent=resent)
    assert await post(Carrier(failed, *events)) == Failure(
        "ReadError", may_have_left=True, resent=resent
    )


async def test_two_iterations_at_once_have_the_whole_body_each() -> None:
    """A client that sends on two connections at once sends two calls, and it is seen."""

    class Hedging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            stream = request.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            first, second = aiter(stream), aiter(stream)
            pieces = [await anext(first), await anext(second)]
            rest = [part async for part in first] + [part async for part in second]
            return httpx.Response(200, json=[piece.decode() for piece in pieces] + rest)

    whole = WIRE.reveal().decode()

    assert await post(Hedging()) == Reply(
        200, httpx.Response(200, json=[whole, whole]).content, resent=True
    )


# --- responses that exceptions carry -------------------------------------------------------


async def raise_for_status(response: httpx.Response) -> None:
    """Raise as httpx's documentation shows it."""
    response.raise_for_status()


async def read_and_raise(response: httpx.Response) -> None:
    """Raise after the body was read, as to log it."""
    await response.aread()
    response.raise_for_status()


@pytest.mark.parametrize("status", [302, 400, 404, 408, 420, 422, 429, 499])
async def test_a_refusal_in_an_exception_is_a_reply(status: int) -> None:
    """A hook that raises for a status hides the body, not the status nor the pause."""
    response = httpx.Response(status, stream=Body(b"{}"), headers={"retry-after": "7"})
    answer = await post(Carrier(response), event_hooks={"response": [raise_for_status]})

    assert answer == Reply(status, b"", "7")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_servers_failure_in_an_exception_is_of_unknown_fate(status: int) -> None:
    """From 500 on the body decides, and it was not read."""
    response = httpx.Response(status, stream=Body(b'{"code":502}'))
    answer = await post(Carrier(response), event_hooks={"response": [raise_for_status]})

    assert answer == Failure(f"HTTP {status}, then HTTPStatusError", may_have_left=True)


@pytest.mark.parametrize("status", [404, 429, 502, 503])
async def test_a_whole_response_in_an_exception_is_a_reply(status: int) -> None:
    """A body that the hook has read is judged as any other."""
    response = httpx.Response(status, stream=Body(b'{"code":', b"502}"))
    answer = await post(Carrier(response), event_hooks={"response": [read_and_raise]})

    assert answer == Reply(status, b'{"code":502}')


async def test_a_large_response_in_an_exception_is_no_reply() -> None:
    """More than 1 MiB is not kept, whoever has read it."""
    response = httpx.Response(420, stream=Body(bytes(1 << 20), b"1"))
    answer = await post(Carrier(response), event_hooks={"response": [read_and_raise]})

    assert answer == Failure("HTTP 420, then HTTPStatusError", may_have_left=True)


OURS = httpx.Request("POST", URL)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404, request=httpx.Request("POST", "https://login.example/token")),
        httpx.Response(404, request=httpx.Request("GET", URL)),
        httpx.Response(404),
        SimpleNamespace(status_code="404", request=OURS, headers={}),
        SimpleNamespace(status_code=True, request=OURS, headers={}),
        SimpleNamespace(status_code=404, request=OURS),
        "not found",
    ],
    ids=["other url", "other method", "none", "text", "bool", "no headers", "no response"],
)
async def test_a_response_to_another_request_says_nothing(response: Any) -> None:
    """A login that was refused, or an object of another kind, is no reply to the call."""
    raised = RuntimeError()
    raised.response = response  # type: ignore[attr-defined]  # what other libraries do

    assert await post(Carrier(raised)) == Failure("RuntimeError", may_have_left=True)


async def test_a_response_to_a_call_that_was_not_sent_says_nothing() -> None:
    """A response that is there before the body was asked for answers another request."""
    answer = httpx.Response(404, request=OURS)
    raised = httpx.HTTPStatusError(SECRET, request=OURS, response=answer)

    assert await post(Carrier(raised, HEAD)) == Failure(
        "HTTPStatusError", may_have_left=False, unreached=True
    )
    assert await post(Carrier(raised)) == Reply(404, b"")


# --- hooks and redirects ------------------------------------------------------------------


async def test_a_redirect_to_nowhere_is_no_reason_to_send_again() -> None:
    """A `Location` that httpx cannot read does not prove that nothing was sent."""
    carrier = Carrier(httpx.Response(302, headers={"Location": "https://:bad:/"}))
    answer = await post(carrier)

    assert isinstance(answer, Reply) or answer.may_have_left
    assert len(carrier.requests) == 1


# --- time and cancellation ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "sent"),
    [
        ([], True),
        (CONNECTING, False),
        ([*CONNECTING, *headers("http11", "complete"), BODY], True),
    ],
    ids=["no trace", "connecting", "sent"],
)
async def test_the_total_timeout(events: list[tuple[str, bytes]], sent: bool) -> None:
    """An attempt ends when its total time-out is due, and says whether it was sent."""
    began = anyio.current_time()
    answer = await post(Carrier(httpx.Response(200), *events, delay=99))

    assert answer == Failure(
        "no full answer within 8 s", may_have_left=sent, unreached=not sent
    )
    assert anyio.current_time() - began == pytest.approx(8)


async def test_the_total_timeout_includes_the_body() -> None:
    """The total time-out also ends a reply whose body arrives slowly without end."""
    began = anyio.current_time()
    answer = await post(Carrier(httpx.Response(200, stream=Body(*[b"x"] * 99, pause=1))))

    assert answer == Failure("no full answer within 8 s", may_have_left=True)
    assert anyio.current_time() - began == pytest.approx(8)


async def test_a_cancelled_scope_waits_for_the_reply() -> None:
    """A request that was sent is awaited to its end before the cancellation is raised."""
    carrier = Carrier(httpx.Response(200, content=b"{}"), delay=2)
    client = httpx.AsyncClient(transport=carrier)
    began = anyio.current_time()
    answer: object = None
    went_on = False
    with anyio.move_on_after(1):
        answer = await send(client)
        await anyio.lowlevel.checkpoint()
        went_on = True
    await client.aclose()

    assert answer == Reply(200, b"{}")
    assert anyio.current_time() - began == pytest.approx(2)
    assert not went_on


async def test_a_post_cancelled_anywhere_is_finished() -> None:
    """At whatever point its scope is cancelled, a request that was started is finished."""
    carriers: list[Carrier] = []

    def setup() -> httpx.AsyncClient:
        carriers.append(
            Carrier(httpx.Response(200, stream=Body(b"{", b"}", pause=0.1)), delay=0.1)
        )
        return httpx.AsyncClient(transport=carriers[-1])

    answers: list[Reply | Failure] = []

    async def operation(client: httpx.AsyncClient) -> None:
        answers.append(await send(client))

    async def check(client: httpx.AsyncClient) -> None:
        await client.aclose()

    points = await cancel_everywhere(operation, setup=setup, check=check)

    assert points >= 3
    assert answers == [Reply(200, b"{}")] * len(carriers)
    assert all(carrier.finished == len(carrier.requests) == 1 for carrier in carriers)


# --- the client ---------------------------------------------------------------------------


async def test_a_closed_client_sends_nothing() -> None:
    """If the client was closed elsewhere, the call is not sent and nothing crashes."""
    carrier = Carrier(httpx.Response(200))
    client = httpx.AsyncClient(transport=carrier)
    await client.aclose()
    answer = await send(client)

    assert answer == Failure("the http_client was closed", may_have_left=False)
    assert carrier.requests == []


@pytest.mark.parametrize("owned", [True, False])
async def test_only_an_own_client_is_closed(owned: bool) -> None:
    """Closing the service does not close the user's client."""
    carrier = Carrier(httpx.Response(200))
    client = httpx.AsyncClient(transport=carrier)
    await HttpxTransport(client, owned=owned).aclose()
    was_closed = client.is_closed
    await client.aclose()

    assert was_closed is owned


async def send_late(*events: tuple[str, bytes]) -> tuple[Reply | Failure, Carrier]:
    """Send a request over a transport that takes too long before it asks for the body."""

    class Slow(Carrier):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await anyio.sleep(2)
            try:
                return await super().handle_async_request(request)
            except Exception as late:
                raise httpx.ConnectTimeout("in its own words") from late

    carrier = Slow(httpx.Response(200), *events)
    now = anyio.current_time()
    async with httpx.AsyncClient(transport=carrier) as client:
        transport = HttpxTransport(client, owned=False)
        answer = await transport.post(URL, WIRE, TIMEOUTS, deadline=now + 8, send_by=now + 1)
    return answer, carrier


@pytest.mark.parametrize("events", [[BODY], [HEAD, BODY]], ids=["body", "headers"])
async def test_what_is_too_late_is_held_back(events: list[tuple[str, bytes]]) -> None:
    """After its last moment a request does not leave, whatever the client made of the error."""
    answer, carrier = await send_late(*events)

    assert answer == Failure("too late to be sent", may_have_left=False)
    assert carrier.bodies == []


async def test_what_is_too_late_at_once_is_not_even_begun() -> None:
    """A request that is late when it is made does not reach the client."""
    carrier = Carrier(httpx.Response(200))
    async with httpx.AsyncClient(transport=carrier) as client:
        transport = HttpxTransport(client, owned=False)
        now = anyio.current_time()
        answer = await transport.post(URL, WIRE, TIMEOUTS, deadline=now + 8, send_by=now - 1)

    assert answer == Failure("too late to be sent", may_have_left=False)
    assert carrier.requests == []


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("https://rest.example/v2", "rest.example:443"),
        ("http://127.0.0.1/v2", "127.0.0.1:80"),
        ("http://[::1]:8080/v2", "[::1]:8080"),
    ],
)
async def test_a_failure_to_connect_names_the_address(url: str, peer: str) -> None:
    """Without a trace it is the URL's; with one it is where the client connected to."""

    class Tracing(Carrier):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            info = {"host": "proxy.example", "port": 3128, "timeout": 5}
            await request.extensions["trace"]("connection.connect_tcp.started", info)
            return await super().handle_async_request(request)

    refused = httpx.ConnectError(SECRET)
    refused.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, SECRET)
    async with (
        httpx.AsyncClient(transport=Carrier(refused, HEAD)) as client,
        httpx.AsyncClient(transport=Tracing(refused, HEAD)) as proxied,
    ):
        assert await send(client, url) == Failure(
            f"ConnectError (connection refused) at {peer}", may_have_left=False, unreached=True
        )
        assert await send(proxied, url) == Failure(
            "ConnectError (connection refused) at proxy.example:3128",
            may_have_left=False,
            unreached=True,
        )


def make_broken(**methods: Any) -> Any:
    """Return a client of which some methods are missing or broken."""
    client = httpx.AsyncClient(transport=Carrier(httpx.Response(200)))
    for name, method in methods.items():
        setattr(client, name, method)
    return client


@pytest.mark.parametrize(
    ("make", "flaw"),
    [
        (httpx.Client, "not Client, which has no method aclose"),
        (lambda: httpx.AsyncClient, "an instance of it, not the class AsyncClient itself"),
        (httpx2.Client, "not Client, which has no method aclose"),
        (object, "not object, which has no method build_request"),
        (AsyncMock, r"not AsyncMock, which cannot build a request \(AttributeError\)"),
        (lambda: make_broken(send=None), "not AsyncClient, which has no method send"),
        (
            lambda: make_broken(send=lambda *_, **__: None),
            "not AsyncClient, whose method send is not asynchronous",
        ),
        (
            lambda: make_broken(build_request=lambda *_, **__: 1 / 0),
            r"not AsyncClient, which cannot build a request \(ZeroDivisionError\)",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_flaw(make: Callable[[], Any], flaw: str) -> None:
    """The error says what is wrong with a client, before any call is made."""
    client = make()
    with pytest.raises(ConfigurationError, match=rf"httpx\.AsyncClient, {flaw}$"):
        CallService(2222226, "a-secret", http_client=client)
    if isinstance(client, httpx.Client | httpx2.Client):
        client.close()


async def test_a_decorated_client_is_used() -> None:
    """A method that a library has wrapped to watch it, as tracing does, is asynchronous still."""
    carrier = Carrier(httpx.Response(200))
    async with httpx.AsyncClient(transport=carrier) as client:
        inner = client.send

        @functools.wraps(inner)
        def watched(*args: Any, **options: Any) -> Any:
            return inner(*args, **options)

        client.send = watched  # type: ignore[method-assign]  # what such libraries do

        assert await send(client) == Reply(200, b"")


@pytest.mark.parametrize(
    "make",
    [httpx.Client, lambda: httpx, lambda: "https://x", object, lambda: httpx.AsyncClient],
    ids=["sync", "module", "str", "object", "class"],
)
def test_what_is_no_asynchronous_client_is_refused(make: Callable[[], Any]) -> None:
    """The error names the argument and what it must be, before any call is made."""
    client = make()
    with pytest.raises(ConfigurationError, match=r"http_client must be an httpx\.AsyncClient"):
        CallService(2222226, "a-secret", http_client=client)
    if isinstance(client, httpx.Client):
        client.close()


async def test_the_default_client_looks_at_no_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The default client ignores proxies and certificates of the environment."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    client = open_own_client()
    await client.aclose()

    assert not client.trust_env
    assert not client.follow_redirects
    assert all(mount is None for mount in client._mounts.values())


# --- real bytes ---------------------------------------------------------------------------


@pytest.mark.real_clock
async def test_a_header_of_the_users_that_cannot_be_sent() -> None:
    """An illegal default header is a failure that was not sent, for any HTTP library."""
    server = fs.FaultServer(fs.well_behaved)
    async with server.running(), httpx.AsyncClient(headers={"X-Bad": "a\nb"}) as client:
        answer = await send(client, server.url)

    assert answer == Failure("LocalProtocolError", may_have_left=False, unreached=True)
    assert server.heads == 0


@pytest.mark.real_clock
async def test_the_users_length_is_not_that_of_a_call() -> None:
    """A default `Content-Length` of the user's client does not cut the call off."""
    server = fs.FaultServer(fs.well_behaved)
    async with server.running(), httpx.AsyncClient(headers={"Content-Length": "5"}) as client:
        answer = await send(client, server.url)

    assert isinstance(answer, Reply)
    assert server.bodies == [WIRE.reveal()]


async def tunnel_then_silence(peer: fs.Peer) -> None:
    """Open a tunnel whose other end never speaks TLS."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            fs.answering(fs.reply(b"", status="407 Who are you")),
            r"ProxyError \(proxy refused: HTTP 407\)",
        ),
        (fs.answering(fs.reply(b"", status="502 No")), "ProxyError"),
        (fs.close_at_once, "RemoteProtocolError|ReadError"),
        (fs.close_after_head, "RemoteProtocolError|ReadError"),
        (fs.answering(b"garbage\r\n\r\n"), "RemoteProtocolError"),
        (fs.stall_after_body, "ReadTimeout"),
        (tunnel_then_silence, "ConnectError"),
    ],
    ids=["407", "502", "close", "close after CONNECT", "garbage", "stall", "no tls"],
)
async def test_a_proxy_that_opens_no_tunnel_was_not_sent_the_call(
    script: fs.Script, reason: str
) -> None:
    """When the proxy's CONNECT fails in any way, nothing of the call was sent."""
    server = fs.FaultServer(script)
    timeouts = Timeouts(connect=5, write=5, read=0.1, total=9)
    async with server.running(), httpx.AsyncClient(proxy=server.url) as client:
        answer = await send(client, URL, timeouts)

    assert isinstance(answer, Failure)
    assert not answer.may_have_left
    assert re.match(rf"({reason}) .*at 127\.0\.0\.1:{server.port}$", answer.reason)
    assert WIRE.reveal() not in server.bodies


@pytest.mark.real_clock
async def test_a_proxy_that_forwards_was_sent_the_call() -> None:
    """A proxy that forwards without a tunnel receives the POST itself."""
    server = fs.FaultServer(fs.close_after_body)
    async with server.running(), httpx.AsyncClient(proxy=server.url) as client:
        answer = await send(client, "http://127.0.0.1:9/")

    assert isinstance(answer, Failure)
    assert answer.may_have_left
    assert server.bodies == [WIRE.reveal()]


# --- Timeouts -----------------------------------------------------------------------------


def test_one_duration_stands_for_all_timeouts() -> None:
    """A single number is the time-out for the answer; the others follow from it."""
    assert Timeouts.of(TIMEOUTS) is TIMEOUTS
    assert Timeouts.of(20) == Timeouts(connect=5, write=10, read=20, total=40)
    assert Timeouts.of(2) == Timeouts(connect=2, write=2, read=2, total=4)
    assert Timeouts.of(timedelta(seconds=2)) == Timeouts.of(2)


@pytest.mark.parametrize("name", ["connect", "write", "read", "total"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5", None, [5]])
def test_a_timeout_that_cannot_work_is_refused(name: str, value: Any) -> None:
    """The error names the time-out."""
    with pytest.raises(ConfigurationError, match=name):
        Timeouts(**{name: value})


@pytest.mark.parametrize("value", [0, -1, float("nan"), True, "5"])
def test_a_single_duration_that_cannot_work_is_refused(value: Any) -> None:
    """The error names the time-out that the single duration means."""
    with pytest.raises(ConfigurationError, match="read"):
        Timeouts.of(value)


async def test_concurrent_posts_prove_each_their_own() -> None:
    """Concurrent posts over one transport do not mix up what was asked for."""

    class Third(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            number = int(request.url.path[1:])
            await anyio.sleep(number % 7)
            if number % 3 == 0:
                raise httpx.ConnectError("x")
            await request.aread()
            await anyio.sleep(number % 5)
            if number % 3 == 1:
                raise httpx.ConnectError("x")
            return httpx.Response(200, content=str(number).encode())

    answers: dict[int, Reply | Failure] = {}
    timeouts = Timeouts(total=99)
    async with httpx.AsyncClient(transport=Third()) as client:

        async def one(number: int) -> None:
            answers[number] = await send(client, f"https://h/{number}", timeouts)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(one, number)

    assert {answers[number] for number in range(0, 30, 3)} == {
        Failure("ConnectError", may_have_left=False, unreached=True)
    }
    assert {answers[number] for number in range(1, 30, 3)} == {
        Failure("ConnectError", may_have_left=True)
    }
    assert [answers[number] for number in range(2, 30, 3)] == [
        Reply(200, str(number).encode()) for number in range(2, 30, 3)
    ]
