"""Sockets of lines: to an ASGI app in process, and over the network."""

from __future__ import annotations

import logging
import sys
from contextlib import asynccontextmanager
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from voice_bots import BotSocket, bot, clip, sound
from websockets.exceptions import ConnectionClosedError
from websockets.sync.server import serve

from telecmi_async.simulator import Callee, LineFault, Tone, dial_stream
from telecmi_async.simulator.voice.dialled_socket import DialledSocket
from telecmi_async.simulator.voice.socket import Arrivals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from websockets.sync.server import ServerConnection

pytestmark = pytest.mark.anyio


async def refused(app: Any, url: str = "ws://bot.example/") -> str:
    """Return why an app was not connected."""
    async with dial_stream(app, url) as voice:
        await voice.ended()
        await voice.listen()
    assert voice.heard.length == 0
    return voice.refusal


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([{"type": "websocket.close"}], "the app refused the connection: HTTP 403"),
        (
            [
                {"type": "websocket.http.response.start", "status": 503, "headers": []},
                {"type": "websocket.http.response.body", "body": b"full"},
            ],
            "the app refused the connection: HTTP 503",
        ),
        ([], "the app neither accepted the connection nor closed it"),
    ],
)
async def test_an_app_refuses(events: list[dict[str, Any]], why: str) -> None:
    """A refusal before the accept says its status."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    assert await refused(app) == why


async def test_an_app_that_does_not_answer_is_given_up() -> None:
    """After ten seconds without an answer there is no connection, and the app is cancelled."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep_forever()

    assert await refused(app) == "no connection within 10 seconds"
    assert anyio.current_time() == pytest.approx(15)


async def test_a_url_that_is_none_is_refused() -> None:
    """An address that cannot be parsed is refused."""
    assert await refused(bot(BotSocket.hear_all), "ws://[bot/") == "ws_url is not a URL"
    assert await refused(bot(BotSocket.hear_all), "ws://bot:x/") == "ws_url is not a URL"


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_failing_app_ends_the_stream(
    *, accepts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An app's exception is logged without its text, and the socket closes with 1011."""
    secret = "the secret"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if accepts:
            await BotSocket(scope, receive, send).accept()
        raise ValueError(secret)

    async with dial_stream(app) as voice:
        await voice.ended()

    assert "ValueError" in caplog.text
    assert "the secret" not in caplog.text
    if accepts:
        assert "by the bot, code 1011" in voice.heard.timeline[-1].detail
    else:
        assert voice.refusal == "the app failed"


async def test_an_app_that_returns_has_closed() -> None:
    """An app that returns without a close has closed the connection, with 1006."""

    async def talk(socket: BotSocket) -> None:
        await socket.hear()

    async with dial_stream(bot(talk)) as voice:
        await voice.ended()

    assert "by the bot, code 1006" in voice.heard.timeline[-1].detail


async def test_an_app_may_send_on_and_close_twice() -> None:
    """After the end, sending raises `OSError`, closing does nothing, and receiving waits."""
    ends = list[str]()

    async def talk(socket: BotSocket) -> None:
        await socket.hear_all()
        await socket.close()
        try:
            await socket.say("more")
        except OSError:
            ends.append("OSError")
        await socket.hear()
        ends.append("never")

    async with dial_stream(bot(talk), callee=Callee(hangs_up_after=1)) as voice:
        await voice.ended()

    assert ends == ["OSError"]


async def test_both_sides_may_close_at_once() -> None:
    """A close that has not arrived when the callee hangs up is too late."""

    async def talk(socket: BotSocket) -> None:
        await anyio.sleep(0.7)
        await socket.close()

    callee = Callee(line_faults=[LineFault("stall", after=0.5, seconds=9)], hangs_up_after=1)
    async with dial_stream(bot(talk), callee=callee) as voice:
        await voice.ended()

    assert voice.heard.timeline[-1].detail.startswith("the callee")


async def test_a_bot_that_never_listens_loses_frames() -> None:
    """Half a minute of frames waits for an app that does not read; more are dropped."""
    counts = list[int]()

    async def talk(socket: BotSocket) -> None:
        await anyio.sleep(40)
        counts.append(len(await socket.hear_all()))

    callee = Callee(says=[Tone(40)], hangs_up_after=39)
    async with dial_stream(bot(talk), callee=callee) as voice:
        await voice.ended()

    assert counts == [1_500]


async def test_an_error_of_the_test_is_raised_as_it_is() -> None:
    """What fails inside the context is raised without a group, and the app is cancelled."""
    with pytest.raises(KeyError, match="mine"):
        async with dial_stream(bot(BotSocket.hear_all)):
            raise KeyError("mine")


async def test_leaving_hangs_up() -> None:
    """At the end of the context the callee hangs up, and the app sees it."""
    codes = list[int]()

    async def talk(socket: BotSocket) -> None:
        await socket.hear_all()
        codes.append(socket.code)

    async with dial_stream(bot(talk)) as voice:
        voice.say(Tone(0.1))
        await anyio.sleep(1)

    assert codes == [1000]
    assert voice.heard.length == 1.02


@pytest.mark.parametrize(
    ("message", "end"),
    [
        ('[{"action": "play"}, {"action": "bridge"}]', "by an array"),
        ('[{"action": "play"}]', "the callee"),
        ('{"action": "stop"}', "by the bot, by stop"),
    ],
)
async def test_arrays_without_a_call(message: str, end: str) -> None:
    """Without a call, a bridge or a hang-up ends the stream."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(message)
        await socket.hear_all()

    async with dial_stream(bot(talk), callee=Callee(hangs_up_after=2)) as voice:
        await voice.ended()

    assert voice.heard.timeline[-1].detail.startswith(end)


async def test_a_paused_line_sends_nothing() -> None:
    """Between ``pause`` and ``resume`` the callee's audio is not sent, and the bot is heard."""
    counts = list[int]()

    async def talk(socket: BotSocket) -> None:
        await socket.say('{"action": "pause"}', clip(sound(1)))
        await anyio.sleep(1)
        await socket.say('{"action": "resume"}')
        counts.append(len(await socket.hear_all()))

    async with dial_stream(bot(talk), callee=Callee(hangs_up_after=2)) as voice:
        await voice.ended()

    assert counts == [50]
    assert voice.heard.seconds == 1


# -- over the network


@asynccontextmanager
async def serving(
    talk: Callable[[ServerConnection], None], **options: Any
) -> AsyncGenerator[str]:
    """Give the address of a server that runs in a thread."""
    handlers = list[Thread]()

    def handle(socket: ServerConnection) -> None:
        handlers.append(current_thread())
        talk(socket)

    with serve(handle, "127.0.0.1", 0, logger=logging.getLogger("quiet"), **options) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/talk"
        finally:
            server.shutdown()
            thread.join()
            for each in handlers:
                each.join(5)


@pytest.mark.real_clock
async def test_a_server_is_dialled() -> None:
    """Over the network a bot is heard as in process, also in fragments, in a fifth of the time."""
    got = list[bytes | str]()

    def talk(socket: ServerConnection) -> None:
        message = clip(sound(0.4))
        socket.ping()
        socket.send([message[:100], message[100:]])
        socket.send(b"nothing")
        got.extend(socket)

    async with serving(talk) as url:
        callee = Callee(says=[Tone(0.2)], talks_over_after=0.1, hangs_up_after=2)
        async with dial_stream("dial", url, callee, speed=5) as voice:
            await voice.ended()

    assert voice.heard.seconds == 0.4
    assert len(got) == 100
    assert {len(frame) for frame in got} == {320}
    assert [event.detail for event in voice.heard.timeline if event.what == "ignored"] == [
        "a binary message"
    ]


@pytest.mark.real_clock
async def test_a_server_closes() -> None:
    """The close code of a server is on the time line."""

    def talk(socket: ServerConnection) -> None:
        socket.recv()
        socket.close(1001)

    async with serving(talk) as url, dial_stream("dial", url) as voice:
        await voice.ended()

    assert "by the bot, code 1001" in voice.heard.timeline[-1].detail


@pytest.mark.real_clock
async def test_a_closed_connection_takes_nothing_more() -> None:
    """After its close, sending and closing a connection do nothing."""
    got = list[bytes | str]()

    async with serving(got.extend) as url, anyio.create_task_group() as tasks:
        socket = await DialledSocket.open(url, tasks, Arrivals())
        await socket.send("first")
        await socket.close(1000)
        await socket.send("second")
        await socket.close(1000)

    assert got == ["first"]


@pytest.mark.real_clock
async def test_a_server_breaks_the_connection() -> None:
    """A connection that breaks has no close code, which is code 1006."""

    def talk(socket: ServerConnection) -> None:
        socket.recv()
        socket.socket.close()

    async with serving(talk) as url, dial_stream("dial", url) as voice:
        await voice.ended()

    assert "by the bot, code 1006" in voice.heard.timeline[-1].detail


@pytest.mark.real_clock
async def test_a_dialled_connection_is_dropped() -> None:
    """A drop closes the connection without a close frame; garbage passes before it."""
    ends = list[object]()

    def talk(socket: ServerConnection) -> None:
        try:
            while True:
                ends.append(type(socket.recv()))
        except ConnectionClosedError as error:
            ends.append(error.rcvd)

    async with serving(talk) as url:
        faults = [LineFault("garbage", after=0.1), LineFault("drop", after=0.3)]
        async with dial_stream("dial", url, Callee(line_faults=faults)) as voice:
            await voice.ended()

    assert str in ends
    assert ends[-1] is None


@pytest.mark.real_clock
async def test_a_server_refuses() -> None:
    """The status of a refusal is said, and nothing of the address is logged."""

    def refuse(socket: ServerConnection, request: Any) -> Any:
        return socket.respond(403, "no")

    async with serving(lambda _: None, process_request=refuse) as url:
        why = await refused("dial", url)

    assert why == "the server refused the connection: HTTP 403"


@pytest.mark.real_clock
async def test_what_is_no_server_is_refused() -> None:
    """A port that nothing listens on, one that talks nonsense, and a bad address are refused."""

    async def nonsense(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"220 mail.example\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, nonsense)
            said = await refused("dial", f"ws://127.0.0.1:{port}/")
            tasks.cancel_scope.cancel()
    closed = await refused("dial", f"ws://127.0.0.1:{port}/")

    assert said == "the server refused the connection: HTTP"
    assert closed.startswith("no connection (")
    assert await refused("dial", "http://bot.example/") == "no connection (InvalidURI)"


@pytest.mark.real_clock
async def test_tls_is_used_for_wss() -> None:
    """A ``wss`` address is connected with TLS, which a plain server does not answer."""
    async with serving(lambda _: None) as url:
        why = await refused("dial", url.replace("ws:", "wss:"))

    assert why.startswith("no connection (")


async def test_dialling_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `websockets` the refusal names the extra."""
    monkeypatch.setitem(sys.modules, "websockets.client", None)

    assert await refused("dial") == "install the extra: telecmi-async[voice]"
