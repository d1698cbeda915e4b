"""Streams as an ASGI application: bare, in frameworks, and in the logs of a real server."""

from __future__ import annotations

import io
import logging
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvicorn
from fastapi import FastAPI
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.routing import Mount
from stream_peer import AsgiPeer, StreamPeer, path_for, silence, streams_for
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from telecmi_async.events.receiver.token_filter import without_tokens
from telecmi_async.pcmo import Stream
from telecmi_async.voice import StreamCounts, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telecmi_async.voice import StreamSession

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs_stay_as_they_are")]

CODE = re.compile(r"tcm_[a-z2-7]{26}.{1,3}[a-z2-7]{26}")


async def echo(session: StreamSession) -> None:
    """Play what is heard once, then return."""
    await session.play(await anext(session))


def bare(streams: Streams) -> Any:
    """Return the streams' own application."""
    return streams.asgi


def starlette(streams: Streams) -> Any:
    """Mount streams in Starlette."""
    return Starlette(routes=[Mount("/talk", app=streams.asgi)])


def fastapi(streams: Streams) -> Any:
    """Mount streams in FastAPI."""
    app = FastAPI()
    app.mount("/talk", streams.asgi)
    return app


def litestar(streams: Streams) -> Any:
    """Mount streams in Litestar."""
    handler = asgi("/talk", is_mount=True, copy_scope=True)(streams.asgi)
    return Litestar([handler])


FRAMEWORKS = [bare, starlette, fastapi, litestar]


def path_in(framework: Any, streams: Streams) -> str:
    """Return a genuine path."""
    return path_for(streams)


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_call_is_served_in_every_framework(
    framework: Any, anyio_backend: tuple[str, Any]
) -> None:
    """Accepted at its address, it is talked to and closed; no code is in what is logged."""
    if framework is litestar and anyio_backend[0] == "trio":
        pytest.skip("Litestar runs on asyncio")
    streams = streams_for(echo)
    app = framework(streams)
    peer = AsgiPeer(path_for(streams), "hello", silence(0.1))

    types = await peer.to(app)

    assert types == ["websocket.accept", "websocket.send", "websocket.close"]
    assert peer.sent[-1]["code"] == 1000
    assert streams.counts == StreamCounts(connected=1)
    if framework is not litestar:  # it copies the scope; the filter covers that
        assert CODE.search(peer.logged) is None


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_forged_address_is_refused_before_the_accept(
    framework: Any, anyio_backend: tuple[str, Any]
) -> None:
    """A server answers a close before the accept with HTTP 403."""
    if framework is litestar and anyio_backend[0] == "trio":
        pytest.skip("Litestar runs on asyncio")
    streams = streams_for(echo)
    peer = AsgiPeer("/talk/8000/tcm_" + "a" * 26 + "." + "b" * 26)

    types = await peer.to(framework(streams))

    assert types == ["websocket.close"]
    assert streams.counts == StreamCounts(forged=1)


@pytest.mark.parametrize("framework", [bare, starlette, fastapi])
async def test_a_plain_request_is_asked_to_upgrade(framework: Any) -> None:
    """HTTP gets 426, with the header that names the protocol."""
    peer = AsgiPeer("/talk/x", type="http", method="GET")

    await peer.to(framework(streams_for(echo)))

    assert peer.sent[0]["status"] == 426
    assert (b"upgrade", b"websocket") in peer.sent[0]["headers"]


async def test_a_client_that_is_gone_before_the_handshake_is_nothing() -> None:
    """A disconnect in place of the handshake, or nothing for ten seconds, ends quietly."""
    streams = streams_for(echo)
    gone, silent = AsgiPeer(path_for(streams)), AsgiPeer(path_for(streams))
    gone._frames[:] = [{"type": "websocket.disconnect", "code": 1006}]
    silent._frames.clear()
    began = anyio.current_time()

    assert await gone.to(streams.asgi) == []
    assert await silent.to(streams.asgi) == []
    assert anyio.current_time() - began == pytest.approx(10)
    assert streams.counts == StreamCounts()


async def test_a_send_that_fails_is_the_end_of_the_stream() -> None:
    """Servers raise errors of their own for a peer that is gone; none reaches a handler."""
    found: list[str] = []

    async def handler(session: StreamSession) -> None:
        try:
            await session.play(silence(1))
        except Exception as error:  # noqa: BLE001  # it must be of one class
            found.append(type(error).__name__)

    streams = streams_for(handler)
    peer = AsgiPeer(path_for(streams))

    async def send(message: Any) -> None:
        if message["type"] != "websocket.accept":
            raise RuntimeError("Unexpected ASGI message")

    async def receive() -> Any:
        return peer._frames.pop(0) if peer._frames else await anyio.sleep_forever()

    await streams.asgi(peer.scope, receive, send)

    assert found == ["StreamClosed"]


@pytest.mark.parametrize("path", ["", "/forged"])
async def test_an_accept_that_fails_serves_nothing(path: str) -> None:
    """A client that is gone in the middle of the handshake is no error, and no session."""
    streams = streams_for(echo)
    peer = AsgiPeer(path or path_for(streams))

    async def send(message: Any) -> None:
        raise OSError("the client is gone")

    async def receive() -> Any:
        return peer._frames.pop(0)

    await streams.asgi(peer.scope, receive, send)

    assert streams.counts == StreamCounts(forged=bool(path))


async def test_a_server_s_lifespan_closes_the_streams() -> None:
    """Without a framework, a server's startup and shutdown reach the streams."""
    streams = streams_for(echo)
    sent: list[str] = []

    async def receive() -> Any:
        if sent:
            assert streams.admit(path_for(streams)) is not None
        return {}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await streams.asgi({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert streams.admit(path_for(streams)) is None


async def test_an_unknown_scope_is_refused() -> None:
    """What is neither HTTP nor a WebSocket raises ValueError, as ASGI asks for."""
    with pytest.raises(ValueError, match="WebSockets"):
        await AsgiPeer("/", type="smtp").to(streams_for(echo).asgi)


async def test_a_scope_without_a_raw_path_is_served() -> None:
    """``raw_path`` is optional in ASGI."""
    streams = streams_for(echo)
    peer = AsgiPeer(path_for(streams), silence(0.1))
    del peer.scope["raw_path"]

    assert (await peer.to(streams.asgi))[0] == "websocket.accept"


async def test_a_mount_that_is_no_unicode_hides_the_code() -> None:
    """Half a surrogate pair before the address ends no connection."""
    streams = streams_for(echo)
    path = path_for(streams)
    peer = AsgiPeer(path, silence(0.1))
    peer.scope["path"] = f"/\udc80{path}"

    assert (await peer.to(streams.asgi))[0] == "websocket.accept"
    assert path[-26:] not in str(peer.scope)


@pytest.mark.parametrize("text", ["GET {} HTTP/1.1", '"WebSocket {}" [accepted]', "a={}&b"])
def test_the_filter_hides_the_code_of_any_address(text: str) -> None:
    """The reference stays, to find the call; the code goes, encoded or not."""
    path = path_for(streams_for(), "tcm_" + "a" * 26)
    code = path[-26:]

    for spelt in (path, path.replace(".", "%2E"), path.replace(".", "%2e")):
        shown = without_tokens(text.format(spelt))
        assert code not in shown
        assert "tcm_" + "a" * 26 in shown
    assert without_tokens("tcm_call.x") == "tcm_call.x"


def test_a_flow_shows_no_code() -> None:
    """The repr of an inbound call's flow has neither its code nor its encrypted id."""
    path = path_for(streams_for())

    shown = repr(Stream(f"wss://voice.example.com{path}/{'a' * 60}"))

    assert path[-26:] not in shown
    assert "a" * 22 not in shown


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an application by uvicorn as its command does, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan="off", log_level="trace", ws="websockets-sansio")
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            while not server.started:  # noqa: ASYNC110  # uvicorn has no event for that
                await anyio.sleep(0.01)
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


@pytest.mark.real_clock
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("framework", [bare, starlette, litestar])
async def test_a_real_server_logs_no_code(framework: Any) -> None:
    """Uvicorn at its most talkative writes no code of an accepted or a refused connection."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    for name in ("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error", "asyncio"):
        logging.getLogger(name).addHandler(handler)
    streams = streams_for(echo, max_sessions=1)
    with anyio.fail_after(20):
        async with served(framework(streams)) as address:
            for logger in ("uvicorn", "uvicorn.access", "uvicorn.error"):
                logging.getLogger(logger).addHandler(handler)
            path = path_for(streams)
            async with connect(address + path) as talking:
                with pytest.raises(InvalidStatus) as refused:
                    await connect(address + path_for(streams)).__aenter__()
                with pytest.raises(InvalidStatus):
                    await connect(f"{address}{path}x").__aenter__()
                await talking.send(silence(0.1))
                assert "streamAudio" in str(await talking.recv())

    assert refused.value.response.status_code == 403
    assert "WebSocket" in log.getvalue()
    assert path[-26:] not in log.getvalue()
    assert CODE.search(log.getvalue()) is None


async def test_a_slow_peer_costs_a_bounded_amount_of_memory() -> None:
    """Of an hour of audio no more than 0.4 seconds leave for a peer that does not play."""
    peer = StreamPeer(reads=4)
    streams = streams_for(echo)

    @(later := streams_for()).on_stream
    async def play(session: StreamSession) -> None:
        await session.play(silence(60))

    admission = later.admit(path_for(streams))
    assert admission is not None
    await later.serve(admission, peer)

    assert len(peer.messages) == 4
    assert later.counts == StreamCounts(connected=1, stalled=1)
