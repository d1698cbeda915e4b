"""Server faults, and what each of them proves about the request.

The promise: a request that the server has, and did not refuse, is never sent again (but for
a gateway's 502, unless that is switched off), and an error that says "dial again" is never
about a request that the server has.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import fault_server as fs
import pytest
from wire_faults import ENDED, FAULTS, PATIENT, Fault

from telecmi_async import (
    CallOutcomeUnknown,
    CallRejected,
    CallService,
    CallStatus,
    NotSent,
    RetryPolicy,
    Timeouts,
)
from telecmi_async._internal.secrets import RequestBody
from telecmi_async.wire.httpx_transport import HttpxTransport
from telecmi_async.wire.own_client import open_own_client
from telecmi_async.wire.reply import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telecmi_async import CallHandle

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

CALL = {"to": 19170000001, "from_": 19170000000, "pcmo": [{"action": "hangup"}]}


# Faults that only show when a time-out is due.
SLOW = {name for name, fault in FAULTS.items() if fault.impatient is not PATIENT}

DEFAULT = RetryPolicy(wait_initial=0.001, wait_max=0.001)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    """Run a test in plain text and over TLS."""
    secure: bool = request.param
    return secure


def service_at(server: fs.FaultServer, **options: Any) -> CallService:
    """Return a service for a server."""
    context = None if server.tls is None else fs.tls_contexts()[1]
    options = {"retry": DEFAULT, "ssl_context": context, "base_url": server.url, **options}
    return CallService(2222226, "a-secret", **options)


@asynccontextmanager
async def dialled(
    server: fs.FaultServer, retry: RetryPolicy, timeout: Timeouts = PATIENT, **options: Any
) -> AsyncIterator[CallHandle]:
    """Place one call on a server and wait until it is settled."""
    async with (
        server.running(),
        service_at(server, retry=retry, timeout=timeout, **options) as service,
    ):
        handle = service.make_call(**CALL)  # type: ignore[arg-type]  # mypy sees one type of value
        with anyio.fail_after(10):
            try:
                await handle
            except (CallRejected, NotSent, CallOutcomeUnknown):
                pass
        yield handle


def check_promise(
    handle: CallHandle, server: fs.FaultServer, fault: Fault, *, repeats: bool
) -> None:
    """Assert the promise for one settled call."""
    assert handle.error is not None
    assert server.complete <= 1 or fault.refuses or repeats
    assert not handle.error.safe_to_redial or server.complete == 0 or fault.refuses
    assert handle.may_be_duplicate == (repeats and not fault.refuses)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_proves_what_it_proves(name: str, tls: bool) -> None:
    """A fault gives a reply or a failure as listed, and every failure may have been sent."""
    fault = FAULTS[name]
    server = fs.FaultServer(fault.script, tls=tls)
    transport = HttpxTransport(open_own_client(fs.tls_contexts()[1]), owned=True)
    async with server.running():
        answer = await transport.post(
            server.url,
            RequestBody(b'{"to":1}'),
            fault.impatient,
            deadline=anyio.current_time() + fault.impatient.total,
        )
        await transport.aclose()

    assert isinstance(answer, Failure) is fault.failure
    assert not isinstance(answer, Failure) or answer.may_have_left
    assert server.bodies == [b'{"to":1}'] * fault.complete


@pytest.mark.parametrize("name", FAULTS)
async def test_one_attempt_at_a_fault(name: str, tls: bool) -> None:
    """A single attempt ends with the status and the error of its fault, and is not repeated."""
    fault = FAULTS[name]
    server = fs.FaultServer(fault.script, tls=tls)
    async with dialled(server, ONCE, fault.impatient) as handle:
        pass

    assert handle.status is fault.status
    assert type(handle.error) is fault.error
    assert server.complete == fault.complete
    assert server.connections == 1
    check_promise(handle, server, fault, repeats=False)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_under_the_default_policy(name: str, tls: bool) -> None:
    """Only a refusal or a gateway's 502 is repeated; otherwise one request is made."""
    fault = FAULTS[name]
    server = fs.FaultServer(fault.script, tls=tls)
    async with dialled(server, DEFAULT, fault.impatient) as handle:
        pass

    assert handle.status is fault.status
    assert server.complete == fault.complete * (4 if fault.again else 1)
    assert len(handle.attempts) == (4 if fault.again else 1)
    check_promise(handle, server, fault, repeats=fault.again)


@pytest.mark.parametrize("name", ENDED)
async def test_a_connection_that_is_spent_before_the_request(name: str, tls: bool) -> None:
    """A connection that ended, or on which something came unasked, is not written to.

    If that happens just as the request is written, the call's outcome is unknown.
    """
    server = fs.FaultServer(ENDED[name], tls=tls)
    async with dialled(server, ONCE) as handle:
        pass

    assert handle.status in {CallStatus.NOT_SENT, CallStatus.UNKNOWN}
    assert server.complete == 0 or handle.status is CallStatus.UNKNOWN


async def test_a_gateways_502_is_sent_once_if_asked_for() -> None:
    """With `at_most_once`, even a gateway's 502 is not repeated."""
    server = fs.FaultServer(FAULTS["a gateway's 502"].script)
    async with dialled(server, RetryPolicy(at_most_once=True)) as handle:
        pass

    assert handle.status is CallStatus.UNKNOWN
    assert server.complete == 1
    assert not handle.may_be_duplicate


@pytest.mark.parametrize("seed", range(40))
async def test_any_row_of_faults(seed: int) -> None:
    """The promise holds for any sequence of faults over the attempts."""
    dice = random.Random(seed)
    names = sorted(FAULTS.keys() - SLOW - {"more than 1 MiB"})
    # Every sequence begins with a fault that is retried; otherwise it would end at once.
    row = dice.choices(["busy", "a gateway's 502"], k=dice.randint(1, 2))
    row += dice.choices(names, k=4 - len(row))
    at_most_once = dice.random() < 0.5
    policy = RetryPolicy(wait_initial=0.001, wait_max=0.001, at_most_once=at_most_once)
    server = fs.FaultServer(*(FAULTS[name].script for name in row))
    async with dialled(server, policy) as handle:
        pass

    made = [FAULTS[name] for name in row[: server.connections]]
    unrefused = [fault for fault in made if not fault.refuses and fault.complete]
    assert len(handle.attempts) == len(made)
    assert all(fault.again for fault in made[:-1])
    assert all(fault.refuses for fault in made[:-1]) or not at_most_once
    assert handle.error is not None
    assert handle.error.safe_to_redial == (not unrefused and made[-1].refuses)
    assert isinstance(handle.error, CallOutcomeUnknown) != handle.error.safe_to_redial


# --- before anything is sent --------------------------------------------------------------


@pytest.mark.parametrize("retry", [ONCE, DEFAULT], ids=["once", "default"])
async def test_nobody_listens(retry: RetryPolicy) -> None:
    """A refused connection proves that nothing was sent, and is retried."""
    peer = f"127.0.0.1:{fs.closed_port()}"
    async with CallService(
        2222226, "a-secret", base_url=f"http://{peer}", retry=retry
    ) as service:
        handle = service.make_call(**CALL)  # type: ignore[arg-type]  # as above
        with pytest.raises(NotSent, match="connection refused") as caught:
            await handle

    assert caught.value.safe_to_redial
    assert handle.status is CallStatus.NOT_SENT
    assert len(handle.attempts) == retry.attempts
    assert {attempt.detail for attempt in handle.attempts} == {
        f"ConnectError (connection refused) at {peer}"
    }


@pytest.mark.parametrize(
    ("script", "timeout"),
    [
        (fs.close_at_once, PATIENT),
        (fs.reset_at_once, PATIENT),
        (fs.answering(fs.reply()), Timeouts(connect=0.05, total=10)),
        (fs.stall_at_once, Timeouts(connect=0.05, total=10)),
    ],
    ids=["closes", "resets", "waits for http", "stalls"],
)
@pytest.mark.parametrize("retry", [ONCE, DEFAULT], ids=["once", "default"])
async def test_no_tls(script: fs.Script, timeout: Timeouts, retry: RetryPolicy) -> None:
    """A server that does not speak TLS is sent nothing, because the handshake comes first."""
    server = fs.FaultServer(script)
    secure = server.url.replace("http", "https")
    async with dialled(server, retry, timeout, base_url=secure) as handle:
        pass

    assert isinstance(handle.error, NotSent)
    assert server.complete == server.heads == 0
    assert server.connections == retry.attempts


async def test_tls_that_is_answered_in_plain_text() -> None:
    """An HTTP reply to a TLS handshake is not a reply."""

    async def script(peer: fs.Peer) -> None:
        await peer.send(fs.reply())
        await peer.gone()

    server = fs.FaultServer(script)
    async with dialled(server, DEFAULT, base_url=server.url.replace("http", "https")) as handle:
        pass

    assert isinstance(handle.error, NotSent)
    assert server.connections == 4


async def test_a_connection_that_fails_first_succeeds_later() -> None:
    """An unsent request is sent once when the server is there."""
    port = fs.closed_port()
    url = f"http://127.0.0.1:{port}"
    policy = RetryPolicy(attempts=50, wait_initial=0.02, wait_max=0.02)
    async with CallService(2222226, "a-secret", base_url=url, retry=policy) as service:
        handle = service.make_call(**CALL)  # type: ignore[arg-type]  # as above
        while not handle.attempts:  # noqa: ASYNC110  # a failed attempt gives no event
            await anyio.sleep(0.001)
        server = fs.FaultServer(fs.well_behaved, port=port)
        async with server.running():
            await handle

    assert handle.accepted
    assert server.complete == 1
    assert not handle.may_be_duplicate


# --- reused connections -------------------------------------------------------------------


async def place(service: CallService) -> CallHandle:
    """Place a call and wait for its end, whatever its outcome."""
    handle = service.make_call(**CALL)  # type: ignore[arg-type]  # as above
    try:
        await handle
    except CallOutcomeUnknown:
        pass
    return handle


async def test_a_connection_closed_while_idle_is_replaced(tls: bool) -> None:
    """A connection that the server closed while idle is replaced, and its call is accepted."""
    server = fs.FaultServer(fs.answering(fs.reply()), tls=tls)
    async with (
        server.running(),
        service_at(server) as service,
    ):
        handles = []
        for _ in range(5):
            handles.append(await place(service))
            while server.open:  # noqa: ASYNC110  # a socket that is closed gives no event
                await anyio.sleep(0.001)

    assert [handle.status for handle in handles] == [CallStatus.PROGRESS] * 5
    assert server.complete == server.connections == 5


@pytest.mark.parametrize("reads", [True, False], ids=["has read it", "has not read it"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_connection_closed_just_as_it_is_used_again(
    reads: bool, reset: bool, tls: bool
) -> None:
    """A request that crosses the server's close is never sent a second time."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        await peer.send(fs.reply())
        await (peer.request() if reads else peer.head())
        if reset:
            peer.reset()

    server = fs.FaultServer(script, fs.well_behaved, tls=tls)
    async with (
        server.running(),
        service_at(server) as service,
    ):
        first, second, third = [await place(service) for _ in range(3)]

    assert first.status is third.status is CallStatus.PROGRESS
    assert second.status is CallStatus.UNKNOWN
    assert len(second.attempts) == 1
    assert server.complete == (3 if reads else 2)


async def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    """After `Connection: close` the connection is not used again."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        await peer.send(fs.reply(headers="Connection: close\r\n"))
        await peer.gone()

    server = fs.FaultServer(script)
    async with (
        server.running(),
        service_at(server) as service,
    ):
        handles = [await place(service) for _ in range(3)]

    assert [handle.status for handle in handles] == [CallStatus.PROGRESS] * 3
    assert server.connections == 3


STRAYS = {
    "a success": fs.reply(fs.ACCEPTED.replace(b"r" * 43, b"s" * 43)),
    "a refusal": fs.reply(b"{}", status="400 No"),
    "a byte": b"x",
    "a line end": b"\r\n",
    "an interim reply": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("extra", STRAYS.values(), ids=STRAYS)
@pytest.mark.parametrize("how", ["same record", "same segment", "later"])
async def test_what_follows_a_reply_unasked_is_no_answer_to_the_next_call(
    extra: bytes, how: str, tls: bool
) -> None:
    """Extra bytes after a reply are no answer to the next call; the connection is closed."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        if how == "same record":
            await peer.send(fs.reply() + extra)
        elif how == "same segment":
            await peer.send(fs.reply(), extra)
        else:
            await peer.send(fs.reply())
            await came.wait()
            await peer.send(extra)
            sent.set()
        while await peer.request():
            await peer.send(fs.reply())

    came, sent = anyio.Event(), anyio.Event()
    server = fs.FaultServer(script, fs.well_behaved, tls=tls)
    async with server.running(), service_at(server) as service:
        first = await place(service)
        came.set()
        if how == "later":
            await sent.wait()
        second = await place(service)

    assert first.request_id == second.request_id == "r" * 43
    assert server.connections == 2


@pytest.mark.parametrize("how", ["same record", "same segment"])
async def test_a_stray_that_answers_a_chunked_reply_is_seen(how: str, tls: bool) -> None:
    """Line ends behind the last chunk are stray, too; a trailer is not."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        parts = [chunked, b"\r\n"]
        await peer.send(*(parts if how == "same segment" else [b"".join(parts)]))
        while await peer.request():
            await peer.send(fs.reply())

    async def trailing(peer: fs.Peer) -> None:
        while await peer.request():
            await peer.send(chunked[:-2] + b"Trailer: x\r\n\r\n")

    size = f"{len(fs.ACCEPTED):x}".encode()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = b"%b%b\r\n%b\r\n0\r\n\r\n" % (head, size, fs.ACCEPTED)
    server = fs.FaultServer(script, trailing, tls=tls)
    async with server.running(), service_at(server) as service:
        handles = [await place(service) for _ in range(4)]

    assert [handle.status for handle in handles] == [CallStatus.PROGRESS] * 4
    assert server.connections == 2


async def test_many_calls_among_faults() -> None:
    """Calls that share a service with failing calls each get their own outcome."""
    names = [
        *sorted(FAULTS.keys() - SLOW - {"busy", "more than 1 MiB"}),
        *["accepted"] * 20,
    ]
    scripts = [FAULTS[name].script if name in FAULTS else fs.well_behaved for name in names]
    server = fs.FaultServer(*scripts)
    async with (
        server.running(),
        service_at(server, retry=ONCE) as service,
    ):
        calls = [CALL | {"extra_params": {"n": str(n)}} for n in range(len(names))]
        handles = [handle async for handle in service.make_calls(calls)]

    assert len(handles) == len(names)
    assert len(server.bodies) == len(set(server.bodies))
    assert all(handle.status in {"progress", "rejected", "unknown"} for handle in handles)
    assert sum(handle.accepted for handle in handles) >= 1
