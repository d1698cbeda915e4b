"""The WebSocket server for programs: real connections, and peers that misbehave."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import logging
import random
import socket
import struct
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from fault_server import tls_contexts
from stream_peer import path_for, streams_for
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from telecmi_async import ConfigurationError, StreamClosed
from telecmi_async.voice import serve_streams, websockets_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from websockets.asyncio.client import ClientConnection

    from telecmi_async.voice import Admission, Streams, StreamSession

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


@pytest.fixture
def anyio_backend() -> str:
    """The library websockets works on asyncio only."""
    return "asyncio"


@asynccontextmanager
async def calling(
    streams: Streams, port: int, **options: Any
) -> AsyncGenerator[ClientConnection]:
    """Connect as TeleCMI does for a new call."""
    async with connect(f"ws://127.0.0.1:{port}{path_for(streams)}", **options) as peer:
        yield peer


async def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # sockets have no event to wait for
            await anyio.sleep(0.001)


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Read until a connection is closed, however that is."""
    data = b""
    try:
        while chunk := await reader.read(1 << 16):
            data += chunk
    except ConnectionError:
        pass
    return data


async def open_by_hand(streams: Streams, port: int) -> Any:
    """Open a WebSocket without a library that answers pings; return its streams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path_for(streams)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def frame(opcode: int, body: bytes) -> bytes:
    """Return a short masked frame of a client."""
    return struct.pack("!BB4s", 0x80 | opcode, 0x80 | len(body), bytes(4)) + body


async def never(session: StreamSession) -> None:
    """Fail the test."""
    pytest.fail(f"a handler ran with {session}")


async def test_a_call_is_served_both_ways() -> None:
    """A session gets what the peer sends, and the peer what it plays; then the call ends."""
    streams = streams_for()
    said = []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        said.append(await anext(session))
        await session.play(b"\x01\x00" * 800)

    async with (
        serve_streams(streams, host="127.0.0.1", port=0) as port,
        calling(streams, port) as peer,
    ):
        await peer.send(b"\x02\x00" * 160)
        message = json.loads(await peer.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await peer.recv()

    assert said == [b"\x02\x00" * 160]
    assert message["data"]["sampleRate"] == 8_000
    assert base64.b64decode(message["data"]["audioData"]) == b"\x01\x00" * 800
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    assert streams.counts.connected == 1


async def test_a_session_ends_when_its_peer_goes() -> None:
    """The end of the connection is the end of the session."""
    streams = streams_for()
    ended: list[object] = []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        ended.append([pcm async for pcm in session])
        with pytest.raises(StreamClosed) as closed:
            await session.drain()
        ended.append(str(closed.value))

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        async with calling(streams, port) as peer:
            await peer.send("metadata")
            await peer.send(b"ab")
        await wait_for(lambda: ended)

    assert ended == [[b"ab"], "the stream is closed: the far end closed the stream"]


async def test_what_is_no_call_is_refused_before_it_is_opened() -> None:
    """A forged address gets HTTP 403, a plain request 426; no handler runs."""
    streams = streams_for()
    streams.on_stream(never)

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        for path in ("/", "/talk", path_for(streams)[:-1] + "=", path_for(streams) + "/x"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{port}{path}")

            assert refused.value.response.status_code == 403
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /talk HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await read_to_the_end(reader)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"Upgrade: websocket\r\n" in answer
    assert b"Server:" not in answer
    assert streams.counts.forged == 4
    assert streams.counts.connected == 0


async def test_no_log_has_an_address(caplog: pytest.LogCaptureFixture) -> None:
    """Neither this package nor the library logs a code, at any level, on any outcome."""
    streams = streams_for()
    caplog.set_level(logging.DEBUG)

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        raise RuntimeError(session.reference)

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        genuine = path_for(streams)
        async with connect(f"ws://127.0.0.1:{port}{genuine}", logger=quiet()) as peer:
            await peer.wait_closed()
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{port}{genuine}x", logger=quiet())

    code = genuine.rpartition(".")[2]
    assert "failed" in caplog.text
    assert code not in caplog.text
    assert "websockets" not in {record.name.split(".")[0] for record in caplog.records}


def quiet() -> logging.Logger:
    """Return a logger for the client's side, which is not what is tested."""
    logger = logging.Logger("client")  # noqa: LOG001  # it has no parent so
    logger.disabled = True
    return logger


async def test_a_failure_of_the_streams_is_logged_without_the_address(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that should not be is logged by its type, and ends one connection."""
    streams = streams_for()
    streams.on_stream(never)

    async def fail(admission: Admission, _: object) -> None:
        raise ZeroDivisionError(admission.reference)

    monkeypatch.setattr(streams, "serve", fail)

    async with (
        serve_streams(streams, host="127.0.0.1", port=0) as port,
        calling(streams, port, logger=quiet()) as peer,
    ):
        await peer.wait_closed()

    assert "the connection of a stream failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "tcm_" not in caplog.text


async def test_compression_is_declined() -> None:
    """A peer that offers permessage-deflate is served without it."""
    streams, said = streams_for(), []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        said.append(await anext(session))

    async with (
        serve_streams(streams, host="127.0.0.1", port=0) as port,
        calling(streams, port, compression="deflate") as peer,
    ):
        await peer.send(b"abcd")
        await peer.wait_closed()

    assert peer.request is not None
    assert peer.response is not None
    assert "permessage-deflate" in peer.request.headers["Sec-WebSocket-Extensions"]
    assert "Sec-WebSocket-Extensions" not in peer.response.headers
    assert said == [b"abcd"]


@pytest.mark.parametrize(
    ("message", "code"), [(bytes(2**18 + 1), 1009), (b"\xff not UTF-8", 1007)]
)
async def test_a_frame_that_may_not_be_ends_the_session(message: bytes, code: int) -> None:
    """A frame of more than 256 KiB, or a text that is none, closes the connection."""
    streams, ended = streams_for(), []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        ended.append([pcm async for pcm in session])

    async with (
        serve_streams(streams, host="127.0.0.1", port=0) as port,
        calling(streams, port) as peer,
    ):
        await peer.send(message, text=code == 1007)
        await peer.wait_closed()
        await wait_for(lambda: ended)

    assert peer.protocol.close_code == code
    assert ended == [[]]


async def test_a_peer_that_never_stops_fills_no_memory() -> None:
    """Of a flood of frames a session keeps its newest seconds, and other calls are served."""
    streams, sessions = streams_for(inbox=1.0), []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        sessions.append(session)
        await session.wait_closed()

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        async with calling(streams, port) as flood:
            for _ in range(300):
                await flood.send(bytes(2**16))
            async with calling(streams, port):
                await wait_for(lambda: len(sessions) == 2)
        await wait_for(lambda: sessions[0].closed)

    assert sessions[0].dropped == pytest.approx(300 * 2**15 / 8_000 - 1)
    assert sum([len(pcm) async for pcm in sessions[0]]) == 16_000


async def test_no_bytes_break_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """Random bytes, before the handshake or within a call, end their own connection only."""
    streams, chance = streams_for(), random.Random(3)

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        async for _ in session:
            pass

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        for n in range(100):
            if n % 2:
                reader, writer = await open_by_hand(streams, port)
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(chance.randbytes(chance.randrange(1, 400)))
            writer.write_eof()
            with anyio.fail_after(10):
                await read_to_the_end(reader)
            writer.close()
        async with calling(streams, port) as peer:
            await peer.send(b"ab")
        await wait_for(lambda: not websockets_server._open_connections)

    assert streams.counts.connected == 51
    assert streams.counts.failed == 0
    assert caplog.records == []


async def test_a_peer_that_never_reads_is_cut_off() -> None:
    """Pings are answered; a peer that sends them without end and reads no answer is cut off."""
    streams, ended = streams_for(), []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        ended.append([pcm async for pcm in session])

    flood = frame(9, bytes(125)) * 100
    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        _, writer = await open_by_hand(streams, port)
        writer.transport.pause_reading()
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 10**8:
                writer.write(flood)
                await writer.drain()
                sent += len(flood)
        await wait_for(lambda: ended)
        writer.close()

    assert ended == [[]]
    assert sent < 5 * 10**7  # the kernel's buffers, in both directions


async def test_a_peer_that_answers_no_ping_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is dead without being closed ends after its pings."""
    monkeypatch.setattr(websockets_server, "_PING", 0.02)
    monkeypatch.setattr(websockets_server, "_PONG", 0.02)
    monkeypatch.setattr(websockets_server, "_CLOSE", 0.02)
    streams, ended = streams_for(), []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        ended.append([pcm async for pcm in session])

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        _, writer = await open_by_hand(streams, port)
        await wait_for(lambda: ended)
        writer.close()

    assert ended == [[]]


@pytest.mark.parametrize("tls", [False, True])
async def test_a_handshake_has_a_time_limit(
    monkeypatch: pytest.MonkeyPatch,
    tls: bool,
) -> None:
    """A peer that connects and asks for nothing, not even TLS, is closed."""
    monkeypatch.setattr(websockets_server, "_HANDSHAKE", 0.02)
    ssl = tls_contexts()[0] if tls else None

    async with serve_streams(streams_for(), host="127.0.0.1", port=0, ssl=ssl) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with anyio.fail_after(5):
            assert await read_to_the_end(reader) == b""
        writer.close()


async def test_connections_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections beyond the limit are closed at once; a place that is free again is used."""
    monkeypatch.setattr(websockets_server, "_MOST_CONNECTIONS", 1)
    streams = streams_for()

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        await session.wait_closed()

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        async with calling(streams, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await read_to_the_end(reader) == b""
            writer.close()
        await wait_for(lambda: not websockets_server._open_connections)
        async with calling(streams, port):
            assert len(websockets_server._open_connections) == 1


async def test_the_end_of_the_context_waits_for_sessions() -> None:
    """At the end nothing new is accepted, and running handlers may finish."""
    streams = streams_for()
    ended: list[bool] = []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        await wait_for(lambda: streams._reception.closed)
        with pytest.raises(OSError, match=r"refused|failed"):
            await connect(f"ws://127.0.0.1:{port}")
        assert (await session.play(bytes(160))).complete
        ended.append(session.closed)

    async with serve_streams(streams, host="127.0.0.1", port=0) as port:
        peer = await connect(f"ws://127.0.0.1:{port}{path_for(streams)}")
        await wait_for(lambda: streams.counts.connected)

    assert ended == [False]
    await peer.wait_closed()


async def test_the_context_ends_as_its_body_does() -> None:
    """An error of the body is raised as it is, and the port is free afterwards."""
    streams = streams_for()
    with pytest.raises(ZeroDivisionError):
        async with serve_streams(streams, host="127.0.0.1", port=0) as port:
            raise ZeroDivisionError

    with anyio.move_on_after(0.01) as limit:
        async with serve_streams(streams, host="127.0.0.1", port=port):
            await anyio.sleep_forever()

    assert limit.cancelled_caught


async def test_tls_is_served() -> None:
    """With an SSL context the port speaks wss."""
    streams, said = streams_for(), []
    server, client = tls_contexts()

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        said.append(await anext(session))

    async with serve_streams(streams, host="127.0.0.1", port=0, ssl=server) as port:
        url = f"wss://127.0.0.1:{port}{path_for(streams)}"
        async with connect(url, ssl=client) as peer:
            await peer.send(b"abcd")
            await peer.wait_closed()

    assert said == [b"abcd"]


async def test_an_address_that_is_taken_is_refused() -> None:
    """A port that another program has is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}: "
        ):
            async with serve_streams(streams_for(), host="127.0.0.1", port=port):
                pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65_536}, "port must be from 0 to 65535, not 65536"),
        ({"port": "80"}, "port must be from 0 to 65535, not"),
        ({"ssl": True}, "ssl must be a SSLContext"),
        ({"streams": None}, "streams must be a Streams"),
    ],
)
async def test_a_wrong_argument_is_refused(options: dict[str, Any], message: str) -> None:
    """An argument that cannot be is refused by its name."""
    streams = options.pop("streams", streams_for())

    with pytest.raises(ConfigurationError, match=message):
        async with serve_streams(streams, **{"host": "127.0.0.1", "port": 0, **options}):
            pass


def test_trio_is_refused() -> None:
    """On trio the error says what to do."""

    async def main() -> None:
        async with serve_streams(streams_for(), host="127.0.0.1", port=0):
            pass

    with pytest.raises(ConfigurationError, match=r"on trio, serve streams\.asgi"):
        trio.run(main)


def test_without_the_extra_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without websockets the error says what to install."""
    monkeypatch.setitem(sys.modules, "websockets.asyncio.server", None)
    monkeypatch.delitem(sys.modules, "telecmi_async.voice.websockets_server")

    with pytest.raises(
        ConfigurationError, match=r"websockets: pip install 'telecmi-async\[voi"
    ):
        importlib.import_module("telecmi_async.voice.websockets_server")
