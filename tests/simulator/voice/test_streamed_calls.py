"""Calls whose flow streams them to a voice bot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from simulated import HANGUP, TO, place, story
from voice_bots import HANG_UP, BotSocket, bot, clip, sound

from telecmi_async.pcmo import Hangup, Play, Stream
from telecmi_async.simulator import Callee, LineFault, SimulatedCall, Simulator, TalkEvent, Tone
from telecmi_async.testing import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from telecmi_async.pcmo import Action

pytestmark = pytest.mark.anyio

URL = "wss://bot.example/talk?x=1"
STREAM = {"action": "stream", "ws_url": URL}
FROM = 19170000000


def array(*actions: dict[str, Any]) -> str:
    """Return the message that has a call run actions."""
    return json.dumps(actions)


async def over(call: SimulatedCall) -> None:
    """Wait until a call is over."""
    with anyio.fail_after(100):
        while not call.over:  # noqa: ASYNC110  # it has no event, and the clock is virtual
            await anyio.sleep(0.5)


async def called(
    talk: Callable[[BotSocket], Awaitable[object]],
    callee: Callee | None = None,
    *,
    flow: Sequence[Action] = (Stream(URL), Hangup()),
    app: Any = None,
    **options: Any,
) -> SimulatedCall:
    """Return a call that is over, whose flow streamed it to a bot."""
    simulator = Simulator(streams=app or bot(talk), callees={TO: callee or Callee()}, **options)
    async with simulator.service(from_=FROM) as service:
        await service.make_call(to=TO, pcmo=flow)
        (call,) = simulator.calls
        if simulator.life == "manual":
            call.answer()
        await over(call)
    return call


async def greeter(socket: BotSocket) -> None:
    """Say something for a second, listen for another, and close."""
    await socket.say(clip(sound(1)))
    await anyio.sleep(2)
    await socket.close()


@pytest.mark.parametrize("life", ["timed", "immediate", "manual"])
async def test_a_stream_lasts_until_its_socket_closes(
    life: Literal["timed", "immediate", "manual"],
) -> None:
    """A bot closes the socket after two seconds, and the flow goes on, however time passes."""
    call = await called(greeter, flow=[Stream(URL), Play("bye.wav"), Hangup()], life=life)

    at = {note.what: note.at for note in call.timeline}
    assert story(call)[3:9] == [
        "stream", "b stream_connected", "b stream_disconnected", "play", "hangup", "a hangup",
    ]  # fmt: skip
    assert at["stream_disconnected"] - at["stream_connected"] == pytest.approx(2.02, abs=1e-5)
    assert (call.heard.seconds, call.heard.first_audio) == (1.0, 0.02)
    assert call.voice.heard is call.heard


async def test_a_call_without_a_stream_heard_nothing() -> None:
    """Without a stream, `heard` is empty."""
    call = await called(greeter, flow=[Hangup()])

    assert (call.heard.seconds, call.heard.length, call.heard.timeline) == (0, 0, ())


async def test_the_connection_is_that_of_the_flow() -> None:
    """The app sees the address and headers of the flow's ``ws_url``; the rate is the flow's."""
    scopes = list[dict[str, Any]]()

    async def talk(socket: BotSocket) -> None:
        scopes.append(socket.scope)
        frame = await socket.hear()
        scopes.append({"frame": frame})
        await socket.close()

    stream = Stream("ws://bot.example:8080/a%20b/c", voice_quality="16000")
    await called(talk, flow=[stream, Hangup()])

    assert {key: scopes[0][key] for key in ("scheme", "path", "raw_path", "query_string")} == {
        "scheme": "ws",
        "path": "/a b/c",
        "raw_path": b"/a%20b/c",
        "query_string": b"",
    }
    assert scopes[0]["server"] == ("bot.example", 8080)
    assert (b"host", b"bot.example:8080") in scopes[0]["headers"]
    assert scopes[1] == {"frame": bytes(640)}


@pytest.mark.parametrize(
    ("messages", "steps"),
    [
        ([HANG_UP], ["hangup"]),
        ([array({"action": "speak", "text": "a" * 30}, HANGUP)], ["speak", "hangup"]),
        ([array({"action": "record"}), array({"action": "play"}), HANG_UP], ["record", "play", "hangup"]),
        ([array({"action": "input"}, HANGUP)], ["hangup"]),
        ([json.dumps({"action": "stop"})], ["hangup"]),
    ],
)  # fmt: skip
async def test_arrays_are_run_by_the_call(messages: list[str], steps: list[str]) -> None:
    """Actions that the bot sends are run in turn, and a hang-up ends the call."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(*messages)
        await socket.hear_all()

    call = await called(talk)

    assert [note.detail for note in call.timeline if note.what == "step"] == ["stream", *steps]


async def test_actions_for_input_are_not_offered_in_a_stream() -> None:
    """An ``input`` in an array is ignored, and the timeline says so."""

    async def talk(socket: BotSocket) -> None:
        await socket.say(array({"action": "play_get_input"}), HANG_UP)
        await socket.hear_all()

    call = await called(talk)

    assert ("ignored", "play_get_input in a stream") in {
        (note.what, note.detail) for note in call.timeline
    }


@pytest.mark.parametrize("life", ["timed", "immediate"])
async def test_a_bot_hands_the_call_over(life: Literal["timed", "immediate"]) -> None:
    """A ``bridge`` ends the stream, rings the other side, and then the flow goes on."""
    codes = list[int]()

    async def talk(socket: BotSocket) -> None:
        bridge = {"action": "bridge", "connect": [{"type": "pstn", "number": TO + 1}]}
        await socket.say(
            clip(sound(1)), array({"action": "record"}, bridge, {"action": "play"})
        )
        await socket.hear_all()
        codes.append(socket.code)

    call = await called(talk, life=life)

    assert story(call)[3:15] == [
        "stream", "b stream_connected", "record", "b stream_disconnected", "bridge",
        "b started", "b ringing", "b bridged", "b hangup", "b record", "play", "hangup",
    ]  # fmt: skip
    assert codes == [1000]
    assert call.heard.timeline[-1].detail.startswith("by the call; 0.9")


async def test_another_stream_follows() -> None:
    """A ``stream`` in an array connects again; `heard` is about the newest."""
    names = list[str]()

    async def talk(socket: BotSocket) -> None:
        names.append(socket.scope["path"])
        if len(names) == 1:
            await anyio.sleep(1)
            await socket.say(array({"action": "stream", "ws_url": "ws://bot.example/2"}))
        else:
            await socket.say(clip(sound(0.2)), HANG_UP)
        await socket.hear_all()

    call = await called(talk)

    assert names == ["/talk", "/2"]
    assert (call.heard.length, call.stage) == (0.04, "completed")


async def test_a_flow_has_two_streams() -> None:
    """A test waits for the end of each of a flow's streams."""
    simulator = Simulator(streams=bot(greeter), life="immediate")
    async with simulator.service(from_=FROM) as service:
        await service.make_call(to=TO, pcmo=[Stream(URL), Play("a.wav"), Stream(URL), Hangup()])
        (call,) = simulator.calls
        await call.voice.listen()
        first = call.heard
        await call.voice.ended()
        await anyio.sleep(0.5)
        await call.voice.listen()
        second = call.heard
        await call.voice.ended()
        await over(call)

    assert first is not second
    assert (first.length, second.length) == (2.02, 2.02)


async def test_a_callee_hangs_up_in_a_hand_over() -> None:
    """A call that ends while its stream is handed over ends there."""

    async def talk(socket: BotSocket) -> None:
        await anyio.sleep(0.99)
        await socket.say(array({"action": "record"}, {"action": "bridge", "connect": []}))
        await socket.hear_all()

    simulator = Simulator(streams=bot(talk), life="manual")
    async with simulator.running():
        call = place(simulator, STREAM, HANGUP)
        call.answer()
        await anyio.sleep(1.01)
        call.hangup()

    assert story(call)[3:7] == [
        "stream",
        "b stream_connected",
        "record",
        "b stream_disconnected",
    ]
    assert story(call)[7:] == ["a hangup", "a record"]


async def test_a_played_file_is_heard_instead_of_the_bot() -> None:
    """While the call plays a file, the queue waits, and the callee does not take the turn."""

    async def talk(socket: BotSocket) -> None:
        speak = {"action": "speak", "text": "a" * 60}  # five seconds
        await socket.say(clip(sound(1)))
        await anyio.sleep(0.51)
        await socket.say(array(speak))
        await anyio.sleep(7)
        await socket.close()

    call = await called(talk, Callee(says=[Tone(0.2)]))

    spoken = [
        (event.what, event.at, event.until)
        for event in call.heard.timeline
        if event.what in {"bot", "callee"}
    ]
    assert spoken == [("bot", 0.02, 0.54), ("bot", 5.54, 6.02), ("callee", 6.72, 6.92)]


@pytest.mark.parametrize("life", ["timed", "immediate"])
async def test_a_callee_hangs_up_in_a_stream(life: Literal["timed", "immediate"]) -> None:
    """A callee that hangs up after 3 seconds has heard 3 seconds."""
    call = await called(BotSocket.hear_all, Callee(hangs_up_after=3), life=life)

    assert call.heard.length == 3
    assert [note.detail for note in call.timeline if note.what == "hangup"] == ["the callee"]
    assert story(call)[4:7] == ["b stream_connected", "b stream_disconnected", "a hangup"]


@pytest.mark.parametrize("life", ["timed", "immediate", "manual"])
async def test_a_test_hangs_up_in_a_stream(
    life: Literal["timed", "immediate", "manual"],
) -> None:
    """`SimulatedCall.hangup` closes the socket at the end of the frame."""
    codes = list[int]()

    async def talk(socket: BotSocket) -> None:
        await socket.hear_all()
        codes.append(socket.code)

    simulator = Simulator(streams=bot(talk), life=life)
    async with simulator.service(from_=FROM) as service:
        await service.make_call(to=TO, pcmo=[Stream(URL)])
        (call,) = simulator.calls
        if life == "manual":
            call.answer()
        call.voice.say(Tone(0.3))
        await call.voice.listen(timeout=20)
        assert call.waits_for == frozenset()
        call.hangup()
        await call.voice.ended()

    assert call.over
    assert codes == [1000]
    assert call.heard.timeline[0].what == "callee"
    assert call.heard.timeline[-1].detail == "by the call; 0.00 s unheard"


async def test_a_broken_connection_ends_the_stream_only() -> None:
    """After a drop the flow goes on."""
    call = await called(BotSocket.hear_all, Callee(line_faults=[LineFault("drop", after=2)]))

    assert story(call)[3:8] == [
        "stream", "b stream_connected", "b stream_disconnected", "hangup", "a hangup",
    ]  # fmt: skip


async def test_the_duration_ends_a_stream() -> None:
    """A call's ``duration`` counts while it is streamed."""
    simulator = Simulator(streams=bot(BotSocket.hear_all))
    async with simulator.running():
        call = place(simulator, STREAM, duration=5)
        await over(call)

    assert call.heard.length == 5
    assert call.timeline[-1].what in {"hangup", "record"}


async def test_a_stream_of_a_stopped_simulator_ends() -> None:
    """When the simulator stops, the app is cancelled, and the call is not left in the stream."""
    ends = list[str]()

    async def talk(socket: BotSocket) -> None:
        try:
            await socket.hear_all()
        finally:
            ends.append("cancelled")

    simulator = Simulator(streams=bot(talk))
    async with simulator.running():
        call = place(simulator, STREAM, HANGUP)
        await anyio.sleep(15)

    assert ends == ["cancelled"]
    assert call.heard.timeline[-1].detail == "the simulator was stopped; 0.00 s unheard"
    assert story(call)[-1] == "a hangup"


def test_a_simulator_that_does_not_run_connects_nothing() -> None:
    """Outside an event loop there is no connection, and the flow goes on."""
    simulator = Simulator(streams=bot(BotSocket.hear_all), life="immediate")

    call = place(simulator, STREAM, HANGUP)

    (note,) = [note for note in call.timeline if note.what == "not_streamed"]
    assert note.detail == "the simulator does not run"
    assert call.over
    assert call.voice.refusal == "the simulator does not run"


def test_words_may_be_prepared_outside_an_event_loop() -> None:
    """What a test says before there is an event loop is said when the call is streamed."""
    simulator = Simulator(streams=bot(greeter), life="immediate")
    call = SimulatedCall(
        to=TO, from_=FROM, request_id="r", at=0.0, region=None, attempt=1, pcmo=(STREAM, HANGUP)
    )
    call.voice.say(Tone(0.2))

    async def live() -> bytes:
        async with simulator.running():
            simulator._world.begin(call)
            return await call.voice.listen()

    assert run(live)
    assert call.heard.timeline[0] == TalkEvent(0.0, "callee", 0.2)


def test_streams_of_flows_are_as_before_without_an_app() -> None:
    """With ``streams=None`` nothing is connected, and a stream takes its time."""
    simulator = Simulator(life="immediate")

    call = place(simulator, STREAM, HANGUP)

    assert story(call)[3:7] == [
        "stream",
        "b stream_connected",
        "b stream_disconnected",
        "hangup",
    ]
