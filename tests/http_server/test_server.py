"""HTTP server over in-process streams, with the simulator as its application.

The tests of the simulator's port use real sockets.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Self

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_streams import PATH, End, body, post

from telecmi_async import testing
from telecmi_async.http_server import ConnectionLimits, HttpServer
from telecmi_async.simulator import Simulator
from telecmi_async.simulator.fronts import answer_on_port
from telecmi_async.simulator.replies import refused

if TYPE_CHECKING:
    from telecmi_async.http_server import HttpConnection, HttpRequest
    from telecmi_async.testing.clock import Backend

LIMITS = ConnectionLimits(header_bytes=2_000, body_bytes=5_000, idle=30, slow=10, grace=5)


class Line:
    """A server without a port: each `connect` opens a connection to it."""

    def __init__(self, simulator: Simulator, limits: ConnectionLimits = LIMITS) -> None:
        self.simulator = simulator
        self.server = HttpServer(partial(answer_on_port, simulator), limits, refuse=refused)
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def connect(self, room: float = 100) -> End:
        """Return the client's end of a new connection."""
        up = anyio.create_memory_object_stream[bytes](100)
        down = anyio.create_memory_object_stream[bytes](room)
        self._tasks.start_soon(self.server.handle, End(down[0], up[1]))
        return End(up[0], down[1])


@pytest.fixture
def simulator() -> Simulator:
    """Return a simulator that answers at once."""
    return Simulator()


@pytest.mark.anyio
async def test_a_connection_serves_many_requests(simulator: Simulator) -> None:
    """Requests follow each other on one connection, and each gets its own answer."""
    async with Line(simulator) as line, line.connect() as client:
        for n in range(3):
            await client.send(post(body(19170000000 + n)))
            status, headers, said = await client.answer()

            assert status == 200
            assert headers["x-telecmi-simulator"] == "1"
            assert json.loads(said)["request_id"] == simulator.calls[n].request_id


@pytest.mark.anyio
async def test_requests_may_be_sent_without_waiting(simulator: Simulator) -> None:
    """Requests that arrive in one piece are answered in order."""
    async with Line(simulator) as line, line.connect() as client:
        await client.send(b"".join(post(body(19170000000 + n)) for n in range(3)))
        ids = [json.loads((await client.answer())[2])["request_id"] for _ in range(3)]

    assert ids == [record.request_id for record in simulator.calls]


@pytest.mark.anyio
async def test_a_request_may_come_byte_by_byte(simulator: Simulator) -> None:
    """A request may arrive in pieces of any size."""
    async with Line(simulator) as line, line.connect() as client:
        for byte in post(body()):
            await client.send(bytes([byte]))
        status, _, _ = await client.answer()

    assert status == 200


@pytest.mark.anyio
async def test_a_body_may_come_in_chunks(simulator: Simulator) -> None:
    """A chunked body is read to its end."""
    content = body()
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with Line(simulator) as line, line.connect() as client:
        await client.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))
        status, _, _ = await client.answer()

    assert status == 200


@pytest.mark.anyio
async def test_a_client_that_asks_first_is_told_to_go_on(simulator: Simulator) -> None:
    """``Expect: 100-continue`` gets its 100, and then the answer."""
    content = body()
    head = post(content, "Expect: 100-continue")[: -len(content)]
    async with Line(simulator) as line, line.connect() as client:
        await client.send(head)
        first, _, _ = await client.answer()
        await client.send(content)
        second, _, _ = await client.answer()

    assert (first, second) == (100, 200)


@pytest.mark.anyio
async def test_head_gets_headers_alone(simulator: Simulator) -> None:
    """HEAD is refused like any other method, without a body, and the connection stays open."""
    async with Line(simulator) as line, line.connect() as client:
        await client.send(f"HEAD {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + post(body()))
        data = await client.receive()
        await anyio.wait_all_tasks_blocked()
        status, _, _ = await client.answer()

    assert data.startswith(b"HTTP/1.1 405 ")
    assert data.endswith(b"\r\n\r\n")
    assert status == 200


@pytest.mark.anyio
async def test_a_head_that_is_too_long_is_refused_without_a_body(simulator: Simulator) -> None:
    """The refusal of a HEAD has no body either, and the server goes on."""
    async with Line(simulator) as line:
        async with line.connect() as client:
            await client.send(f"HEAD /{'x' * 2_500} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            data = await client.receive()

            assert await client.closed()
        async with line.connect() as client:
            await client.send(post(body()))
            status, _, _ = await client.answer()

    assert data.startswith(b"HTTP/1.1 431 ")
    assert data.endswith(b"\r\n\r\n")
    assert status == 200


@pytest.mark.anyio
async def test_a_client_may_close_after_its_request(simulator: Simulator) -> None:
    """After ``Connection: close`` the server answers and closes the connection."""
    async with Line(simulator) as line, line.connect() as client:
        await client.send(post(body(), "Connection: close"))
        status, headers, _ = await client.answer()

        assert await client.closed()
    assert status == 200
    assert headers["connection"] == "close"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2_500, 431),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2_500 + b"\r\n\r\n", 431),
        (b"POST /" + b"x" * 2_500 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (post(b"x" * 5_001), 413),
        (post(b"x" * 5_001)[:-4_000], 413),
        (
            b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1500\r\n" + b"x" * 0x1500,
            413,
        ),
    ],
)
async def test_what_cannot_be_read_is_refused(
    simulator: Simulator, sent: bytes, status: int
) -> None:
    """Invalid or too large requests get the matching status, and the connection is closed."""
    async with Line(simulator) as line, line.connect() as client:
        await client.send(sent)
        answer, headers, said = await client.answer()

        assert await client.closed()
    assert answer == status
    assert json.loads(said)["code"] == status
    assert headers["x-telecmi-simulator"] == "1"
    assert headers["connection"] == "close"
    assert simulator.requests == 0


@pytest.mark.anyio
async def test_a_refused_client_may_go_on_talking_for_a_second(simulator: Simulator) -> None:
    """What a client sends after a refusal is discarded for a second; then the server closes."""
    async with Line(simulator) as line, line.connect() as client:
        await client.send(b"hello\r\n\r\n")
        await client.answer()
        began = anyio.current_time()
        try:
            for _ in range(100):
                await client.send(b"and another thing")
                await anyio.sleep(0.1)
        except anyio.BrokenResourceError:
            pass

        assert anyio.current_time() - began == pytest.approx(1.0, abs=0.15)


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [b"", post(body())])
async def test_a_connection_that_rests_too_long_is_closed(
    simulator: Simulator, sent: bytes
) -> None:
    """A connection without requests is closed after the idle time."""
    async with Line(simulator) as line, line.connect() as client:
        if sent:
            await client.send(sent)
            await client.answer()
        began = anyio.current_time()

        assert await client.closed()
        assert anyio.current_time() - began == pytest.approx(30)


@pytest.mark.anyio
async def test_a_request_that_comes_too_slowly_gets_408(simulator: Simulator) -> None:
    """A request that arrives too slowly gets 408, even if bytes keep arriving."""
    async with Line(simulator) as line, line.connect() as client:
        began = anyio.current_time()
        for byte in post(body())[:12]:
            await client.send(bytes([byte]))
            await anyio.sleep(0.9)
        status, _, said = await client.answer()

        assert await client.closed()
        assert status == 408
        assert json.loads(said)["msg"] == "the request took too long to arrive"
        assert anyio.current_time() - began < 12


@pytest.mark.anyio
async def test_a_client_that_takes_no_answer_is_let_go(simulator: Simulator) -> None:
    """A client that does not read its answer is disconnected after a time."""
    async with Line(simulator) as line, line.connect(room=0) as client:
        await client.send(post(body()))
        await anyio.sleep(10.5)

        with pytest.raises(anyio.EndOfStream):
            await client.receive()
    assert simulator.placed(19170000001) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [b"", b"POST /x HT", post(body()), post(body())[:-5]])
async def test_a_client_may_leave_at_any_time(simulator: Simulator, sent: bytes) -> None:
    """A client that disconnects before, within or after its request does not affect others."""
    async with Line(simulator) as line:
        async with line.connect() as client:
            await client.send(sent)
        await anyio.wait_all_tasks_blocked()
        async with line.connect() as client:
            await client.send(post(body(19170000002)))
            status, _, _ = await client.answer()

    assert status == 200
    assert simulator.placed(19170000001) == (sent == post(body()))


@pytest.mark.anyio
async def test_half_a_request_that_ends_is_refused(simulator: Simulator) -> None:
    """A request that ends in the middle gets 400."""
    async with Line(simulator) as line, line.connect() as client:
        await client.send(post(body())[:-5])
        await client.send_eof()
        status, _, _ = await client.answer()

    assert status == 400


@pytest.mark.anyio
async def test_stopping_answers_what_was_asked() -> None:
    """A stop closes idle connections at once and finishes requests in flight."""
    simulator = Simulator(latency=2)
    async with Line(simulator) as line, line.connect() as resting, line.connect() as busy:
        await busy.send(post(body()))
        await anyio.sleep(0.5)
        began = anyio.current_time()
        await line.server.stop()

        assert anyio.current_time() - began == pytest.approx(1.5)
        assert await resting.closed()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await busy.closed()


@pytest.mark.anyio
async def test_stopping_does_not_wait_for_ever() -> None:
    """Requests that take longer than the grace period are abandoned."""
    async with Line(Simulator(latency=60)) as line, line.connect() as client:
        await client.send(post(body()))
        await anyio.sleep(0.5)
        began = anyio.current_time()
        await line.server.stop()

        assert anyio.current_time() - began == pytest.approx(5)


@pytest.mark.anyio
async def test_who_comes_after_the_stop_is_not_served(simulator: Simulator) -> None:
    """A connection that was accepted just before the stop is closed without an answer."""
    async with Line(simulator) as line:
        await line.server.stop()
        async with line.connect() as client:
            assert await client.closed()


@settings(max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([post(body()), b"\r\n"]))))
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_no_bytes_bring_the_server_down(backend: Backend, pieces: list[bytes]) -> None:
    """After any bytes in any pieces, the next client is served."""
    simulator = Simulator()

    async def main() -> int:
        async with Line(simulator) as line:
            async with line.connect(math.inf) as client:
                try:
                    for piece in pieces:
                        await client.send(piece or b"\0")
                        await anyio.wait_all_tasks_blocked()
                except anyio.BrokenResourceError:
                    pass  # the server closed the connection
            async with line.connect() as client:
                await client.send(post(body()))
                status, _, _ = await client.answer()
                return status

    assert testing.run(main, backend=backend) == 200


@pytest.mark.anyio
async def test_without_refusals_of_its_own_a_server_says_only_the_status() -> None:
    """Without a handler for refusals, an unreadable request gets only a status."""

    async def never(_: HttpRequest, __: HttpConnection) -> None:
        raise AssertionError

    server = HttpServer(never, LIMITS)
    up = anyio.create_memory_object_stream[bytes](100)
    down = anyio.create_memory_object_stream[bytes](100)
    async with anyio.create_task_group() as tasks, End(up[0], down[1]) as client:
        tasks.start_soon(server.handle, End(down[0], up[1]))
        await client.send(b"hello\r\n\r\n")
        status, headers, said = await client.answer()

    assert (status, headers["content-length"], said) == (400, "0", b"")
