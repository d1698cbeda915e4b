"""The simulator's log of requests: what is kept, and what an observer gets."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest
from simulated import FROM, GLOBAL, HANGUP, TO, place, post

from telecmi_async._internal.messages import mask
from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator import SimulatedRequest, Simulator


def test_each_request_is_shown_to_an_observer(caplog: pytest.LogCaptureFixture) -> None:
    """It gets every request with its reply; if it fails, the request is answered all the same."""
    seen: list[SimulatedRequest] = []
    simulator = Simulator(on_request=seen.append, codes="cmi")
    call = place(simulator)
    post(simulator, GLOBAL, {"from": FROM})
    simulator.receive("GET", "/v2/x?token=1", {}, b"", at=0.0)
    simulator.on_request = dict[SimulatedRequest, int]().__getitem__
    last = post(simulator, GLOBAL, {"from": FROM})

    assert [(each.number, each.status, each.code, each.message) for each in seen] == [
        (1, 200, "cmi-200", ""),
        (2, 422, "cmi-422", "the property to is required"),
        (3, 404, 404, "not found"),
    ]
    assert (seen[0].to, seen[0].attempt, seen[0].request_id) == (TO, 1, call.request_id)
    assert (seen[1].to, seen[1].attempt, seen[1].request_id) == (None, None, None)
    assert (seen[2].method, seen[2].path) == ("GET", "/v2/x")
    assert last.answer.status == 422
    assert "on_request failed" in caplog.text


def test_a_logged_request_hides_its_number_and_its_secret() -> None:
    """The repr masks the number and shows no body."""
    simulator = Simulator()
    place(simulator)
    simulator.receive("GET", "/v2/x", {}, b"", at=0.0)
    called, other = map(repr, simulator.recent_requests)

    assert "to=•••••••0001, attempt=1" in called
    assert "to=None" in other
    assert simulator.secret not in called


def test_the_newest_requests_are_kept() -> None:
    """As many requests as calls are kept, and the first 16 KiB of their bodies."""
    simulator = Simulator(keep=2)
    for n in range(5):
        place(simulator, to=TO + n)
    simulator.receive("POST", GLOBAL, {}, b"x" * 20_000, at=0.0)
    kept = simulator.recent_requests

    assert [request.number for request in kept] == [5, 6]
    assert (len(kept[-1].body), kept[-1].size) == (16_384, 20_000)


@pytest.mark.parametrize("kind", ["reply_lost", "gateway_502", "no_json"])
def test_a_reply_without_json_has_no_code(kind: str) -> None:
    """The code is the one in the reply's body, if the client saw one."""
    simulator = Simulator()
    simulator.faults.add(kind)
    post(simulator, GLOBAL, {"from": FROM, "to": TO, "pcmo": [HANGUP]})
    (request,) = simulator.recent_requests

    assert (request.code, request.message) == (None, "")
    assert request.status == {"reply_lost": None, "gateway_502": 502, "no_json": 200}[kind]


def test_an_observer_is_a_function() -> None:
    """Anything else is refused at once."""
    with pytest.raises(ConfigurationError, match="on_request must be a function, or None"):
        Simulator(on_request=cast("Any", "print"))


@pytest.mark.anyio
@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("sent", "status"), [(b"hello\r\n\r\n", 400), (b"GET /" + b"x" * 40_000, 431)]
)
async def test_what_is_no_http_is_logged(sent: bytes, status: int) -> None:
    """Bytes that are no request get a refusal, which is logged and not counted as a request."""
    simulator = Simulator()
    async with simulator.serve() as base_url:
        port = int(base_url.removesuffix("/v2").rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(sent)
            reply = await stream.receive()

    assert reply.startswith(f"HTTP/1.1 {status}".encode())
    assert [(each.method, each.status) for each in simulator.recent_requests] == [("", status)]
    assert simulator.requests == 0


@pytest.mark.anyio
async def test_a_question_without_a_target_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Calls that come in ask nobody if there is no target; the log has one line for all."""
    simulator = Simulator(life="immediate")
    async with simulator.running():
        for n in range(3):
            simulator.call_in(from_=FROM, to=TO + n)
        await anyio.sleep(0.1)

    assert {one.failure for one in simulator.deliveries} == {"not sent: no target for webhooks"}
    (message,) = [record.message for record in caplog.records]
    assert message in {
        f"a message (inbound, {mask(TO + n)}) was not delivered; not sent: no target for webhooks"
        for n in range(3)
    }
