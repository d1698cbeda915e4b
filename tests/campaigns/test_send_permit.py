"""Send permits: the last check before a request leaves, and the deadline for leaving."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from fake_telecmi import FLOW, FROM, TO, FakeTelecmi
from fault_server import ACCEPTED, reply

from telecmi_async import CallCancelled, CallService, CallStatus, NotSent, RateLimit, StoreError
from telecmi_async.calls.request import CallRequest
from telecmi_async.campaigns.send_permit import SendPermit
from telecmi_async.ledger import Intent, RuleDecision
from telecmi_async.simulator import Simulator
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from telecmi_async import CallHandle
    from telecmi_async.calls.call import Call

pytestmark = pytest.mark.anyio

REQUEST = CallRequest(to=TO, pcmo=FLOW)


def place(service: CallService, permit: object) -> CallHandle:
    """Place a call that needs a permit."""
    return service._runner.place_once(REQUEST, permit, Timeouts())  # type: ignore[arg-type]  # permits of a test


class Fixed:
    """Permits every call to leave within so many seconds, after a delay."""

    def __init__(self, seconds: float, *, takes: float = 0.0) -> None:
        self.seconds = seconds
        self.takes = takes
        self.asked: list[Call] = []

    async def __call__(self, call: Call) -> float:
        """Return the time by which the call must leave."""
        self.asked.append(call)
        send_by = anyio.current_time() + self.seconds
        await anyio.sleep(self.takes)
        return send_by


async def test_a_permit_is_asked_once_and_the_request_leaves() -> None:
    """The permit is asked once, at the call's turn, with the call's reference."""
    fake, permit = FakeTelecmi(), Fixed(30)
    async with fake.service(rate=RateLimit(1.0)) as service:
        handles = [place(service, permit) for _ in range(3)]
        await anyio.sleep(0.5)
        early = len(permit.asked)
        for handle in handles:
            await handle

    assert early == 1
    assert len(fake.requests) == len(permit.asked) == 3
    assert [call.reference for call in permit.asked] == [h.reference for h in handles]


async def test_a_permitted_call_always_carries_its_reference() -> None:
    """A permitted call always carries its reference, so that events find it anywhere."""
    fake = FakeTelecmi()
    async with fake.service() as service:
        handle = await place(service, Fixed(30))

    reference = fake.requests[0]["extra_params"]["tcm_reference"]
    assert reference.startswith(f"{handle.reference}.")


async def test_a_permitted_call_is_sent_once_whatever_comes() -> None:
    """A permitted call is sent once, even after a 502 that would otherwise be retried."""
    simulator = Simulator(error_502_share=1.0, magic=False)
    permit = Fixed(30)
    async with simulator.service(from_=FROM) as service:
        handle = place(service, permit)
        with pytest.raises(Exception, match="502"):
            await handle

    assert simulator.requests == len(permit.asked) == 1


async def test_a_permit_that_is_refused_sends_nothing() -> None:
    """An error from the permit becomes the call's error, and nothing is sent."""

    async def never(_: Call) -> float:
        raise CallCancelled("a rule forbids it")

    fake = FakeTelecmi()
    async with fake.service() as service:
        handle = place(service, never)

        with pytest.raises(CallCancelled, match="a rule forbids it"):
            await handle

    assert handle.status is CallStatus.CANCELLED
    assert fake.requests == []


async def test_a_request_that_is_late_does_not_leave() -> None:
    """A process that slept between permit and request sends nothing."""
    fake = FakeTelecmi()
    async with fake.service() as service:
        handle = place(service, Fixed(30, takes=30.1))

        with pytest.raises(NotSent):
            await handle

    assert fake.requests == []


async def test_a_request_that_is_late_after_connecting_does_not_leave() -> None:
    """The deadline is checked again just before the first byte leaves."""

    class Slow(httpx.AsyncBaseTransport):
        """Takes 20 seconds to connect, and emits trace events as httpcore does."""

        left = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            trace = request.extensions["trace"]
            await trace("connection.connect_tcp.started", {})
            await anyio.sleep(20)
            await trace("http11.send_request_headers.started", {})
            self.left = True
            return httpx.Response(200)

    slow = Slow()
    async with (
        httpx.AsyncClient(transport=slow) as client,
        CallService(2222226, "a-secret", from_=FROM, http_client=client) as service,
    ):
        handle = place(service, Fixed(10))

        with pytest.raises(NotSent):
            await handle

    assert not slow.left


async def test_a_call_cancelled_while_it_asks_sends_nothing() -> None:
    """A call cancelled while it waits for its permit is not sent."""
    fake, permit = FakeTelecmi(), Fixed(30, takes=5)
    async with fake.service() as service:
        handle = place(service, permit)
        await anyio.sleep(1)
        assert handle.cancel() is True

        with pytest.raises(CallCancelled):
            await handle

    assert anyio.current_time() >= 5
    assert fake.requests == []


@pytest.mark.real_clock
@pytest.mark.parametrize(("seconds", "arrived"), [(-1.0, False), (30.0, True)])
async def test_not_one_byte_of_a_late_request_reaches_a_socket(
    seconds: float, *, arrived: bool
) -> None:
    """A late request may connect, but sends no byte."""
    received = b""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]

        async def serve() -> None:
            nonlocal received
            await anyio.wait_readable(server)
            peer, _ = server.accept()
            with peer:
                peer.setblocking(False)
                while True:
                    await anyio.wait_readable(peer)
                    data = peer.recv(65536)
                    if not data:
                        return
                    received += data
                    if received.endswith(b"}"):
                        peer.send(reply(ACCEPTED))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            async with CallService(
                2222226, "a-secret", from_=FROM, base_url=f"http://127.0.0.1:{port}/v2"
            ) as service:
                handle = place(service, Fixed(seconds))
                try:
                    await handle
                except NotSent:
                    pass
            tasks.cancel_scope.cancel()

    assert handle.accepted is arrived
    assert bool(received) is arrived


@pytest.mark.real_clock
async def test_a_process_that_froze_while_connecting_sends_not_one_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request that becomes late while connecting is closed without sending a byte."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]

        async def serve() -> None:
            with anyio.fail_after(20):
                await anyio.wait_readable(server)
            peer, _ = server.accept()
            with peer:
                peer.setblocking(False)
                await anyio.wait_readable(peer)
                received.append(peer.recv(65536))

        # The trace says "send_request_headers.started" after the connection was made.
        async with anyio.create_task_group() as tasks, httpx.AsyncClient() as client:

            async def freeze(request: httpx.Request) -> None:
                trace = request.extensions["trace"]

                async def slow(name: str, info: object) -> None:
                    if name == "connection.connect_tcp.complete":
                        # The process is frozen here, and wakes up after the time to send by.
                        monkeypatch.setattr(anyio, "current_time", lambda: math.inf)
                    await trace(name, info)

                request.extensions["trace"] = slow

            client.event_hooks["request"] = [freeze]
            tasks.start_soon(serve)
            async with CallService(
                2222226,
                "a-secret",
                from_=FROM,
                http_client=client,
                base_url=f"http://127.0.0.1:{port}/v2",
            ) as service:
                with pytest.raises(NotSent):
                    await place(service, Fixed(60))
                monkeypatch.undo()
            await client.aclose()  # the server sees the end of the connection

    assert received == [b""]


# --- the campaign's own permit -----------------------------------------------------------


def a_call() -> Call:
    """Return a call that needs a permit."""
    from telecmi_async.calls.call import Call as Made  # noqa: PLC0415  # used here alone

    return Made(REQUEST, source=REQUEST, region=None)


async def next_start(_: float) -> bool:
    """Grant a start, a second later."""
    await anyio.sleep(1)
    return True


async def test_an_intent_on_record_is_a_permit_for_as_long_as_its_fence() -> None:
    """A recorded intent permits sending until its fence, counted from before the intent."""
    reached: list[tuple[float, float]] = []  # when, and when the intent was begun

    async def intend(token: str) -> Intent:
        await anyio.sleep(7)
        return Intent(token=token, send_by=0.0)

    async def reach(since: float) -> bool:
        reached.append((anyio.current_time(), since))
        return await next_start(since)

    permit, call = SendPermit(intend, 30.0, reach), a_call()
    began = anyio.current_time()

    send_by = await permit(call)

    assert send_by == began + 30.0
    assert reached == [(began + 7.0, began)]
    assert permit.token == call.reference
    assert anyio.current_time() == began + 8.0


async def test_an_intent_that_has_no_start_sends_nothing() -> None:
    """Without a start nothing is sent, and the token must still be settled."""

    async def intend(token: str) -> Intent:
        return Intent(token=token, send_by=0.0)

    async def reach(_: float) -> bool:
        return False

    permit, call = SendPermit(intend, 30.0, reach), a_call()

    with pytest.raises(CallCancelled, match="no start was left"):
        await permit(call)
    assert permit.token == call.reference


async def test_what_a_rule_forbids_has_no_token() -> None:
    """A send refused by a rule has no token to settle."""
    refusal = RuleDecision(rule="do_not_call", reason="listed")

    async def intend(_: str) -> RuleDecision:
        return refusal

    permit = SendPermit(intend, 30.0, next_start)

    with pytest.raises(CallCancelled, match="do_not_call"):
        await permit(a_call())
    assert (permit.token, permit.decision) == (None, refusal)


async def test_what_was_lost_has_no_token_either() -> None:
    """A send whose claim was lost has no token to settle."""

    async def intend(_: str) -> None:
        return None

    permit = SendPermit(intend, 30.0, next_start)

    with pytest.raises(CallCancelled, match="lost"):
        await permit(a_call())
    assert (permit.token, permit.decision) == (None, None)


async def test_a_ledger_that_fails_leaves_a_token_that_may_be_on_record() -> None:
    """If the ledger fails, nothing is sent, but the token must still be settled."""

    async def intend(_: str) -> None:
        raise StoreError("the disk is full")

    permit, call = SendPermit(intend, 30.0, next_start), a_call()

    with pytest.raises(CallCancelled, match="the disk is full"):
        await permit(call)
    assert permit.token == call.reference


async def test_who_waits_for_an_intent_waits_until_it_is_decided() -> None:
    """`ended` returns at once before an intent is asked for, and after it is decided."""
    times: list[float] = []

    async def intend(token: str) -> Intent:
        await anyio.sleep(3)
        return Intent(token=token, send_by=math.inf)

    async def reach(_: float) -> bool:
        return True

    permit = SendPermit(intend, 30.0, reach)
    await permit.ended()
    began = anyio.current_time()

    async def ended() -> None:
        await permit.ended()
        times.append(anyio.current_time() - began)

    fake = FakeTelecmi()
    async with fake.service() as service, anyio.create_task_group() as tasks:
        handle = place(service, permit)
        await anyio.sleep(1)
        tasks.start_soon(ended)
        await handle
        await ended()

    assert times == [pytest.approx(3.0), pytest.approx(3.0)]
    assert permit.token == handle.reference
