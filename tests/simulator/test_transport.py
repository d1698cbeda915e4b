"""The simulator within the process."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from telecmi_async import Hangup, RateLimit
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

URL = "https://rest.telecmi.com/v2/global_pcmo_make_call"


def call(to: int = 19170000001) -> dict[str, object]:
    """Return a complete request."""
    return {
        "appid": 2222226,
        "secret": "simulated-secret",
        "from": 19170000000,
        "to": to,
        "pcmo": [{"action": "hangup"}],
    }


async def post(client: httpx.AsyncClient, to: int) -> None:
    """Send a request, and ignore the reply."""
    await client.post(URL, json=call(to))


async def test_a_client_is_answered_as_over_a_network() -> None:
    """Status, headers and body arrive as an ordinary httpx response."""
    simulator = Simulator()
    async with httpx.AsyncClient(transport=simulator.transport()) as client:
        response = await client.post(URL, json=call())

    assert response.status_code == 200
    assert response.headers["x-telecmi-simulator"] == "1"
    assert response.json()["request_id"] == simulator.calls[0].request_id


async def test_a_body_that_is_streamed_is_read() -> None:
    """A request body that comes in pieces is joined."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"appid": 1'
        yield b"}"

    async with httpx.AsyncClient(transport=Simulator().transport()) as client:
        headers = {"Content-Type": "application/json"}
        response = await client.post(URL, content=pieces(), headers=headers)

    assert response.json()["msg"] == "the property secret is required"


async def test_latency_passes_on_the_event_loops_clock() -> None:
    """A reply takes its latency, and concurrent calls wait at the same time."""
    simulator = Simulator(latency=0.25)
    began = anyio.current_time()
    async with (
        httpx.AsyncClient(transport=simulator.transport()) as client,
        anyio.create_task_group() as tasks,
    ):
        for n in range(5):
            tasks.start_soon(post, client, 19170000000 + n)

    assert anyio.current_time() - began == pytest.approx(0.25)
    assert simulator.max_in_flight == 5


async def test_without_latency_the_clock_stands_still() -> None:
    """Without latency the reply comes at once."""
    began = anyio.current_time()
    async with httpx.AsyncClient(transport=Simulator().transport()) as client:
        await client.post(URL, json=call())

    assert anyio.current_time() - began == pytest.approx(0.0, abs=1e-9)


async def test_a_shorter_read_timeout_leaves_the_call_placed() -> None:
    """Httpx's own read time-out is raised in time, and the call was placed all the same."""
    simulator = Simulator(latency=0.25)
    began = anyio.current_time()
    async with httpx.AsyncClient(transport=simulator.transport(), timeout=0.1) as client:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await client.post(URL, json=call())

    assert caught.value.request.url == URL
    assert anyio.current_time() - began == pytest.approx(0.1)
    assert simulator.placed(19170000001) == 1


@pytest.mark.parametrize("seconds", [0.25, None])
async def test_a_timeout_that_is_long_enough_changes_nothing(seconds: float | None) -> None:
    """A read time-out as long as the latency, or none, lets the reply through."""
    simulator = Simulator(latency=0.25)
    async with httpx.AsyncClient(transport=simulator.transport(), timeout=seconds) as client:
        response = await client.post(URL, json=call())

    assert response.status_code == 200


async def test_requests_without_timeouts_are_answered() -> None:
    """The transport works without httpx's time-out extension."""
    request = httpx.Request("POST", URL, json=call())
    response = await Simulator(latency=0.25).transport().handle_async_request(request)

    assert response.status_code == 200


async def test_a_cancelled_request_is_no_longer_under_way() -> None:
    """A cancelled request was processed, and no longer counts as in flight."""
    simulator = Simulator(latency=1)
    async with httpx.AsyncClient(transport=simulator.transport()) as client:
        for n in range(3):
            with anyio.move_on_after(0.5):
                await client.post(URL, json=call(19170000000 + n))

    assert simulator.max_in_flight == 1
    assert simulator.numbers() == 3


async def test_a_service_comes_with_the_simulator() -> None:
    """`Simulator.service` opens and closes a service, and passes its options on."""
    simulator = Simulator(seed=2, app_id=7654321, secret="of-its-own", error_502_share=0.2)
    async with simulator.service(
        from_=19170000000, rate=RateLimit(calls_per_second=50), seed=1
    ) as service:
        calls = [
            service.make_call(to=19170000001 + n, pcmo=[{"action": "hangup"}])
            for n in range(100)
        ]
        for handle in calls:
            assert await handle is handle

    simulator.no_duplicates()
    assert {handle.request_id for handle in calls} == {
        record.request_id for record in simulator.calls
    }
    assert simulator.requests > 100
    assert simulator.busiest_second() <= 50


async def test_a_service_that_is_entered_by_hand_stays_open() -> None:
    """A notebook may enter the context without keeping it: it is not closed by the collector."""
    simulator = Simulator()
    context = simulator.service(from_=19170000000)
    service, kept = await context.__aenter__(), weakref.ref(context)
    del context
    gc.collect()
    await anyio.sleep(0.1)
    found = kept()

    assert (await service.make_call(to=19170000001, pcmo=[Hangup()])).accepted
    assert found is not None
    await found.__aexit__(None, None, None)


async def test_a_service_that_is_not_open_says_how_it_is_opened() -> None:
    """What `Simulator.service` returns makes no calls until it is entered."""
    context: Any = Simulator().service(from_=19170000000)

    with pytest.raises(AttributeError, match=r"'make_call' needs .* async with simulator"):
        context.make_call(to=19170000001, pcmo=[Hangup()])
