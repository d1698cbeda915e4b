"""One call's audio in both directions, with a far end in memory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from stream_peer import URL, StreamPeer, path_for, settle, silence, streams_for, talk

from telecmi_async import ConfigurationError, InvalidAudio, InvalidCall, Speak, StreamClosed
from telecmi_async.events import parse_event
from telecmi_async.testing import run
from telecmi_async.testing.cancellation import cancel_everywhere
from telecmi_async.voice import Heard
from telecmi_async.voice.recording import Recording

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from telecmi_async.voice import StreamSession

pytestmark = pytest.mark.anyio

NOTHING = Heard(0.0, 0.0, interrupted=False)


async def spoken(
    *seconds: float, pause: float = 0.0, rate: int = 8_000
) -> AsyncGenerator[bytes]:
    """Yield audio in pieces, each after a pause."""
    for each in seconds:
        await anyio.sleep(pause)
        yield silence(each, rate)


def approx(heard: Heard) -> Any:
    """Return what equals a heard but for the last digits."""
    return pytest.approx((heard.seconds, heard.offered, heard.interrupted), abs=1e-6)


def parts(heard: Heard) -> tuple[float, float, bool]:
    """Return the parts of a heard."""
    return (heard.seconds, heard.offered, heard.interrupted)


# -- what the other side says


async def test_a_session_yields_the_call_s_audio_and_keeps_its_texts() -> None:
    """Audio comes in whole samples until the far end closes; texts are kept, not yielded."""
    peer = StreamPeer(b"abc", '{"meta": 1}', b"d", "not json {")
    got = bytearray()
    seen: list[StreamSession] = []

    async def handler(session: StreamSession) -> None:
        seen.append(session)
        peer.leave()
        async for pcm in session:
            got.extend(pcm)

    await talk(handler, peer)

    assert bytes(got) == b"abcd"
    assert seen[0].texts == ('{"meta": 1}', "not json {")
    assert (seen[0].closed, seen[0].dropped, peer.codes) == (True, 0.0, [1000])
    assert (seen[0].call, seen[0].inbound, seen[0].cmiuuid) == (None, None, None)


async def test_the_newest_texts_are_kept() -> None:
    """A far end that sends texts without end costs no more memory."""
    peer = StreamPeer(*map(str, range(250)))
    kept: list[tuple[str, ...]] = []

    async def handler(session: StreamSession) -> None:
        await anyio.sleep(1)
        kept.append(session.texts)

    await talk(handler, peer)

    assert kept == [tuple(map(str, range(150, 250)))]


async def test_audio_that_is_not_read_is_dropped_and_counted() -> None:
    """A peer that never stops fills the inbox and no more; the oldest audio goes."""
    peer = StreamPeer(*[silence(1)] * 29, b"\2\0" * 8_000)
    found: list[Any] = []

    async def handler(session: StreamSession) -> None:
        await anyio.sleep(1)
        found.append((session.dropped, await anext(session)))

    await talk(handler, peer, inbox=2.0)

    assert found == [(28.0, silence(1) + b"\2\0" * 8_000)]


async def test_a_flood_leaves_time_for_others() -> None:
    """A peer whose frames are always there does not hold the event loop."""
    turns = 0

    class Flood(StreamPeer):
        async def receive(self) -> bytes:
            nonlocal turns
            turns += 1
            return b"\0\0"

    async def handler(session: StreamSession) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    await talk(handler, Flood())

    assert 0 < turns < 500


# -- what is played


async def test_a_play_is_paced_and_returns_when_it_was_heard() -> None:
    """Audio leaves in messages of 100 ms, 0.4 seconds ahead, and is heard when play returns."""
    peer = StreamPeer()
    found: list[Any] = []

    async def handler(session: StreamSession) -> None:
        heard = await session.play(silence(1.05))
        found.append((parts(heard), anyio.current_time() - began, peer.heard()))

    began = anyio.current_time()
    await talk(handler, peer)

    assert found == [(approx(Heard(1.05, 1.05, interrupted=False)), *[pytest.approx(1.05)] * 2)]
    assert peer.messages == [0.1] * 10 + [0.05]
    left = [at - began for at, _ in peer.sent]
    assert left == pytest.approx([0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65])


@pytest.mark.parametrize("rate", [8_000, 16_000])
async def test_all_kinds_of_bytes_are_played(rate: int) -> None:
    """Bytes, a bytearray, a memoryview and an iterator of them play the same; b"" plays nothing."""
    peer = StreamPeer()
    pcm = silence(0.2, rate)
    found: list[Heard] = []

    async def handler(session: StreamSession) -> None:
        audios = (pcm, bytearray(pcm), memoryview(pcm), spoken(0.2, rate=rate), b"")
        found.extend([await session.play(audio) for audio in audios])

    await talk(handler, peer, rate=rate)

    assert [round(heard.seconds, 6) for heard in found] == [0.2] * 4 + [0]
    assert peer.messages == [0.1] * 8


async def test_a_file_is_decoded() -> None:
    """A WAV file is played by its header, whatever rate is given."""
    peer = StreamPeer()
    header = b"RIFF" + (36 + 3_200).to_bytes(4, "little") + b"WAVEfmt " + bytes([16, 0, 0, 0])
    header += (
        bytes([1, 0, 1, 0]) + (8_000).to_bytes(4, "little") + (16_000).to_bytes(4, "little")
    )
    header += bytes([2, 0, 16, 0]) + b"data" + (3_200).to_bytes(4, "little")

    async def handler(session: StreamSession) -> None:
        await session.play(header + silence(0.2), rate=16_000)

    await talk(handler, peer)

    assert peer.messages == [0.1, 0.1]


async def test_other_rates_are_resampled() -> None:
    """Raw audio of another rate lasts as long on the stream as it did before."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        await session.play(silence(1, 24_000), rate=24_000)
        await session.play(spoken(*[0.02] * 50, rate=24_000), rate=24_000)

    await talk(handler, peer)

    assert sum(peer.messages) == pytest.approx(2, abs=0.002)


async def not_bytes() -> AsyncGenerator[Any]:
    """Yield something else than audio."""
    yield b"\0\0"
    yield "text"


@pytest.mark.parametrize("audio", ["text", None, 5, b"odd", [b"\0\0"], not_bytes])
async def test_what_is_no_audio_is_refused(audio: Any) -> None:
    """Anything but bytes and asynchronous iterables of them raises InvalidAudio."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        with pytest.raises(InvalidAudio):
            await session.play(audio() if audio is not_bytes and callable(audio) else audio)
        await session.play(silence(0.1))

    streams = await talk(handler, peer)

    assert streams.counts.failed == 0
    assert peer.messages == [0.1]


@pytest.mark.parametrize(
    ("audio", "hinted"), [("hello.wav", True), (Path("hello.wav"), True), (None, False)]
)
async def test_the_name_of_a_file_is_refused_with_a_hint(audio: Any, hinted: bool) -> None:
    """The error for a path says how to play the file."""
    found: list[bool] = []

    async def handler(session: StreamSession) -> None:
        with pytest.raises(InvalidAudio, match="audio must be bytes") as refused:
            await session.play(audio)
        found.append("read_bytes" in str(refused.value))

    await talk(handler, StreamPeer())

    assert found == [hinted]


@pytest.mark.parametrize("rate", [0, "24000", 24_000.5])
async def test_a_wrong_rate_is_named_as_the_caller_wrote_it(rate: Any) -> None:
    """The error names the argument of `play`."""
    found: list[str] = []

    async def handler(session: StreamSession) -> None:
        with pytest.raises(ConfigurationError) as refused:
            await session.play(silence(0.1), rate=rate)
        found.append(str(refused.value))

    await talk(handler, StreamPeer())

    assert [text.split(" must")[0] for text in found] == ["rate"]


async def test_an_iterator_is_heard_before_it_is_exhausted() -> None:
    """The first 100 ms leave as soon as they are there; small pieces become whole messages."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        await session.play(spoken(*[0.02] * 23, pause=0.02))

    began = anyio.current_time()
    await talk(handler, peer)

    assert peer.messages == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.06])
    assert peer.sent[0][0] - began == pytest.approx(0.1)


async def test_an_error_of_an_iterator_reaches_the_caller_and_what_was_sent_stays_counted() -> (
    None
):
    """Its error is raised by play; a drain still waits for what was sent before."""
    peer = StreamPeer()
    found: list[float] = []

    async def failing() -> AsyncGenerator[bytes]:
        yield silence(0.35)
        raise LookupError("the engine failed")

    async def handler(session: StreamSession) -> None:
        with pytest.raises(LookupError, match="the engine failed"):
            await session.play(failing())
        found.append(peer.heard())
        await session.drain()
        found.append(peer.heard())
        await session.play(silence(0.1))

    await talk(handler, peer)

    assert found == pytest.approx([0, 0.3])
    assert peer.messages == [0.1] * 4


async def test_two_plays_are_heard_one_after_the_other_without_a_gap() -> None:
    """The second is sent once the first was, before that has been heard."""
    peer = StreamPeer()
    over: list[tuple[str, float]] = []

    async def play(session: StreamSession, name: str, seconds: float) -> None:
        await session.play(silence(seconds))
        over.append((name, round(anyio.current_time() - began, 6)))

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            for name, seconds in (("first", 1.0), ("second", 0.5), ("third", 0.25)):
                tasks.start_soon(play, session, name, seconds)
                await settle()
            await session.drain()
            over.append(("drained", round(anyio.current_time() - began, 6)))

    began = anyio.current_time()
    await talk(handler, peer)

    assert sorted(over, key=lambda each: each[1])[:2] == [("first", 1.0), ("second", 1.5)]
    assert sorted(over[2:]) == [("drained", 1.75), ("third", 1.75)]
    assert peer.heard() == pytest.approx(1.75)


# -- interruption


@pytest.mark.parametrize("after", [0.0, 0.05, 0.333, 0.9, 4.99])
async def test_an_interruption_empties_the_queue_then_breaks(after: float) -> None:
    """Nothing is sent after ``break``; both the play and the interruption say what was heard."""
    peer = StreamPeer()
    found: list[Heard] = []

    async def play(session: StreamSession, seconds: float) -> None:
        found.append(await session.play(silence(seconds)))

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play, session, 5.0)
            await settle()
            tasks.start_soon(play, session, 3.0)
            await settle()
            await anyio.sleep(after)
            found.append(await session.interrupt())
        await session.drain()
        await anyio.sleep(10)

    await talk(handler, peer)

    expected = approx(Heard(after, 5.0, interrupted=True))
    never = approx(Heard(0.0, 3.0 if after > 4.6 else 0.0, interrupted=True))
    assert sorted(map(parts, found), reverse=True)[:2] == [expected, expected]
    assert min(map(parts, found)) == never
    assert peer.messages[-1] == {"action": "break"}
    assert peer.heard() == pytest.approx(after)
    assert sum(peer.messages[:-1]) - after < 0.5


async def test_an_interruption_ends_an_iterator() -> None:
    """The user's iterator is closed, whether it waits or is waited for; the play returns."""
    peer = StreamPeer()
    ended: list[str] = []
    found: list[Any] = []

    async def endless(name: str, pause: float) -> AsyncGenerator[bytes]:
        try:
            while True:
                await anyio.sleep(pause)
                yield silence(0.1)
        finally:
            ended.append(name)

    async def handler(session: StreamSession) -> None:
        for name, pause in (("slow", 0.7), ("fast", 0.0)):
            async with anyio.create_task_group() as tasks:

                async def play(name: str = name, pause: float = pause) -> None:
                    found.append(parts(await session.play(endless(name, pause))))

                tasks.start_soon(play)
                await anyio.sleep(1.05)
                await session.interrupt()

    await talk(handler, peer)

    assert ended == ["slow", "fast"]
    assert found == [
        approx(Heard(0.1, 0.1, interrupted=True)),
        approx(Heard(1.05, 1.5, interrupted=True)),
    ]


async def test_what_is_played_after_an_interruption_is_heard() -> None:
    """The bot answers at once after a barge-in, and the answer follows the break."""
    found: list[Any] = []

    class Slow(StreamPeer):
        async def send(self, text: str) -> None:
            await anyio.sleep(0.02)
            await super().send(text)

    peer = Slow()

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, silence(9))
            await anyio.sleep(0.5)
            async with anyio.create_task_group() as both:
                both.start_soon(session.interrupt)
                await anyio.sleep(0.01)
                found.append(parts(await session.play(silence(0.2))))

    await talk(handler, peer)

    assert found == [approx(Heard(0.2, 0.2, interrupted=False))]
    assert peer.messages[-3:] == [{"action": "break"}, 0.1, 0.1]


async def test_an_interruption_of_nothing_breaks_all_the_same() -> None:
    """TeleCMI may be playing what `say` asked for."""
    peer = StreamPeer()
    found: list[Heard] = []

    async def handler(session: StreamSession) -> None:
        found.append(await session.interrupt())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.drain)
            found.append(await session.interrupt())

    await talk(handler, peer)

    assert found == [NOTHING, NOTHING]
    assert peer.messages == [{"action": "break"}] * 2


async def test_a_cancelled_play_sends_no_more_and_what_was_sent_is_heard() -> None:
    """To cancel is not to interrupt: there is no break, and the next play follows."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        with anyio.move_on_after(0.25):
            await session.play(silence(5))
        await session.play(silence(0.1))

    await talk(handler, peer)

    assert peer.messages == [0.1] * 7
    assert peer.heard() == pytest.approx(0.7)


# -- the end


async def test_a_goodbye_is_heard_in_full_before_the_hang_up() -> None:
    """`hang_up` waits for what is played, then sends its action and waits for the close."""
    peer = StreamPeer()
    found: list[float] = []

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, silence(2))
            await settle()
            await session.hang_up()
            found.append(anyio.current_time() - peer.sent[-1][0])
            found.append(peer.sent[-1][0] - began)
        assert session.closed
        await session.hang_up()
        await session.stop()

    began = anyio.current_time()
    await talk(handler, peer)

    assert peer.messages[-1] == [{"action": "hangup"}]
    assert found == pytest.approx([5, 2.2])  # the far end never closed


@pytest.mark.parametrize(
    ("act", "sent"),
    [
        (lambda s: s.say(Speak("One moment.")), [{"action": "speak", "text": "One moment."}]),
        (lambda s: s.pause(), {"action": "pause"}),
        (lambda s: s.resume(), {"action": "resume"}),
        (lambda s: s.stop(), {"action": "stop"}),
    ],
)
async def test_an_action_is_sent_and_fails_once_the_stream_is_closed(
    act: Any, sent: Any
) -> None:
    """Each has its message, which actions of the call's flow send after what was played."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        if isinstance(sent, list):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.play, silence(0.1))
                await settle()
                await act(session)
        else:
            await act(session)
        if sent != {"action": "stop"}:
            peer.leave()
            await session.wait_closed()
            with pytest.raises(StreamClosed, match="closed"):
                await act(session)
        assert session.closed

    await talk(handler, peer)

    assert peer.messages == [*[0.1] * isinstance(sent, list), sent]


TO_A_COLLEAGUE = [{"action": "bridge", "connect": [{"type": "pstn", "number": 19170000002}]}]


@pytest.mark.parametrize("to", [19170000002, "19170000002", TO_A_COLLEAGUE])
async def test_a_transfer_lasts_until_telecmi_closes_the_stream(to: Any) -> None:
    """It is sent after what was played; the silence that follows does not end the stream."""
    peer = StreamPeer()
    found: list[float] = []

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, silence(0.1))
            await settle()
            tasks.start_soon(leave_after, 400.0)
            await session.transfer(to)
        found.append(anyio.current_time() - began)
        with pytest.raises(StreamClosed, match="closed"):
            await session.transfer(to)

    async def leave_after(seconds: float) -> None:
        await anyio.sleep(1)
        for _ in range(50):
            peer.say(silence(0.02))
        await anyio.sleep(seconds)
        peer.leave()

    began = anyio.current_time()
    await talk(handler, peer)

    assert peer.messages == [0.1, TO_A_COLLEAGUE]
    assert found == pytest.approx([401])


async def test_actions_are_checked_before_anything_is_waited_for() -> None:
    """A flow that cannot be sent raises at once."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        with anyio.fail_after(0.5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.play, silence(9))
                await settle()
                with pytest.raises(InvalidCall):
                    await session.transfer("a colleague")
                await session.interrupt()

    assert (await talk(handler, peer)).counts.failed == 0


@pytest.mark.parametrize("to", [None, 3.5, b"1", True, [], "", [None], {"action": "hangup"}])
async def test_a_call_is_transferred_to_a_number_or_a_flow(to: Any) -> None:
    """Anything else is refused before it is sent."""
    peer = StreamPeer()
    found: list[Exception] = []

    async def handler(session: StreamSession) -> None:
        with pytest.raises(InvalidCall) as caught:
            await session.transfer(to)
        found.append(caught.value)

    await talk(handler, peer)

    assert (len(found), peer.messages) == (1, [])


@pytest.mark.parametrize("inbound", [False, True])
async def test_a_session_may_stream_its_call_again(inbound: bool) -> None:
    """A flow with the placeholder, sent within a call, has the address of that very call."""
    peer = StreamPeer()
    streams = streams_for()

    @streams.on_stream
    async def handler(session: StreamSession) -> None:
        await session.say(*streams.flow(rate=16_000))

    event = parse_event({"action": "inbound", "cmiuuid": "leg-1", "from": 1, "to": 2})
    path = streams.answer(event)[0].ws_url[len(URL) :] if inbound else path_for(streams)  # type: ignore[union-attr]  # a Stream
    admission = streams.admit(path)
    assert admission is not None
    await streams.serve(admission, peer)

    ((again,),) = peer.messages
    found = streams.admit(again["ws_url"].removeprefix(URL))
    assert found == evolve(admission, rate=16_000)
    assert admission.signed not in repr(admission)


async def test_a_close_ends_a_play_and_what_was_heard_stays_known() -> None:
    """Play and drain raise StreamClosed; interrupt says what was heard until then."""
    peer = StreamPeer()
    found: list[Any] = []

    async def leave() -> None:
        await anyio.sleep(0.77)
        peer.leave()

    async def drain(session: StreamSession) -> None:
        with pytest.raises(StreamClosed):
            await session.drain()
        found.append("drained")

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            tasks.start_soon(drain, session)
            with pytest.raises(StreamClosed, match="the far end closed"):
                await session.play(silence(3))
        found.append(parts(await session.interrupt()))
        with pytest.raises(StreamClosed):
            await session.play(b"")
        with pytest.raises(StreamClosed):
            async with session.record("never.wav"):
                pass
        assert [pcm async for pcm in session] == []

    streams = await talk(handler, peer)

    assert found[-1] == approx(Heard(0.77, 3.0, interrupted=True))
    assert streams.counts.failed == 0


async def test_a_play_that_was_interrupted_before_the_close_returns() -> None:
    """What was interrupted first is an interruption, even if the far end then breaks the line."""
    peer = StreamPeer()
    found: list[Any] = []

    async def play(session: StreamSession) -> None:
        found.append((await session.play(silence(3))).interrupted)

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play, session)
            await anyio.sleep(0.5)
            peer.gone = True
            found.append((await session.interrupt()).interrupted)

    await talk(handler, peer)

    assert found == [True, True]


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    """A message that is not read in time closes the session, and all that waits ends."""
    peer = StreamPeer(reads=2)
    found: list[float] = []

    async def handler(session: StreamSession) -> None:
        with pytest.raises(StreamClosed, match="does not read"):
            await session.play(silence(3))
        found.append(anyio.current_time() - began)

    began = anyio.current_time()
    streams = await talk(handler, peer, send_timeout=3)

    assert found == pytest.approx([3])
    assert peer.codes == [1008]
    assert streams.counts.stalled == 1


async def test_a_close_ends_a_send_that_waits() -> None:
    """The far end's close is noticed at once, although a message waits to be read."""
    peer = StreamPeer(reads=0)
    found: list[float] = []

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await anyio.sleep(0.1)
                peer.leave()

            tasks.start_soon(leave)
            with pytest.raises(StreamClosed, match="the far end closed"):
                await session.pause()
        found.append(anyio.current_time() - began)

    began = anyio.current_time()
    await talk(handler, peer)

    assert found == pytest.approx([0.1])


@pytest.mark.parametrize(("limit", "after"), [(7, 7.0), (None, None)])
async def test_a_silent_peer_is_given_up(limit: float | None, after: float | None) -> None:
    """A far end that sends nothing for too long is gone; each frame renews its time."""
    peer = StreamPeer()
    found: list[float | None] = []

    async def handler(session: StreamSession) -> None:
        for _ in range(3):
            await anyio.sleep(5)
            peer.say(b"\0\0")
        await settle()
        last = anyio.current_time()
        with anyio.move_on_after(1_000):
            await session.wait_closed()
        found.append(anyio.current_time() - last if session.closed else None)

    streams = await talk(handler, peer, idle_timeout=limit)

    assert found == [None if after is None else pytest.approx(after)]
    assert streams.counts.stalled == (after is not None)


async def test_a_receive_that_fails_is_a_close() -> None:
    """Whatever a server raises ends the session, and reaches nobody."""

    class Broken(StreamPeer):
        async def receive(self) -> bytes:
            raise OSError("the server's own")

        async def close(self, code: int = 1000) -> None:
            raise RuntimeError("already closed")

    async def handler(session: StreamSession) -> None:
        assert [pcm async for pcm in session] == []
        assert "OSError" in repr(session)

    streams = await talk(handler, Broken())

    assert streams.counts.failed == 0


# -- cancellation and fuzz


@pytest.mark.parametrize("edge", [False, True])
async def test_cancelled_anywhere_a_session_leaves_nothing(
    edge: bool, anyio_backend: tuple[str, Any]
) -> None:
    """A handler cancelled at any await, also as asyncio does it, leaves a closed socket."""
    edge = edge and anyio_backend[0] == "asyncio"

    async def setup() -> StreamPeer:
        return StreamPeer(silence(0.1))

    async def served(peer: StreamPeer) -> None:
        async def handler(session: StreamSession) -> None:
            await session.play(silence(0.5))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.play, spoken(0.3, 0.3, pause=0.05))
                await anyio.sleep(0.2)
                await session.interrupt()
            await anext(session)
            await session.say(Speak("Bye."))
            await session.hang_up()

        seen.clear()
        try:
            seen.append(await talk(handler, peer))
        finally:
            await_free.append(peer.codes in [[1000], [1001]])

    seen: list[Any] = []
    await_free: list[bool] = []

    def check(peer: StreamPeer) -> None:
        assert peer.codes in [[1000], [1001]]
        assert peer.messages.count({"action": "break"}) <= 1

    points = await cancel_everywhere(served, setup=setup, check=check, edge=edge)

    assert points > 10
    assert all(await_free)


async def test_an_interruption_that_is_cancelled_still_breaks() -> None:
    """Once the own queue is empty, break is sent: what was heard stays true."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, silence(2))
            await anyio.sleep(0.5)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await session.interrupt()

    await talk(handler, peer)

    assert peer.messages[-1] == {"action": "break"}
    assert peer.heard() == pytest.approx(0.5)


FRAMES = st.lists(st.binary(max_size=700) | st.text(max_size=20), max_size=40)
STEPS = st.lists(
    st.sampled_from(["play", "pieces", "interrupt", "drain", "read", "leave", "stall"]),
    max_size=12,
)


TALKS = st.lists(
    st.tuples(st.floats(0.01, 3), st.none() | st.floats(0, 3), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(talks=TALKS, backend=st.sampled_from(["asyncio", "trio"]))
def test_the_estimate_is_what_the_far_end_played(
    talks: list[tuple[float, float | None, bool]], backend: Any
) -> None:
    """Over any dialogue, what plays say was heard is what a far end that obeys has played."""

    async def main() -> None:
        peer = StreamPeer()
        found: list[Heard] = []

        async def play(session: StreamSession, seconds: float, live: bool) -> None:
            audio = spoken(*[0.03] * int(seconds / 0.03), pause=0.01)
            found.append(await session.play(audio if live else silence(seconds)))

        async def handler(session: StreamSession) -> None:
            for seconds, barge_in, live in talks:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(play, session, seconds, live)
                    if barge_in is not None:
                        await anyio.sleep(barge_in)
                        await session.interrupt()
                assert sum(heard.seconds for heard in found) == pytest.approx(
                    peer.heard(), abs=1e-6
                )

        assert (await talk(handler, peer)).counts.failed == 0
        assert all(0 <= heard.seconds <= heard.offered + 1e-6 for heard in found)

    run(main, backend=backend)


async def do(session: StreamSession, peer: StreamPeer, step: str) -> None:
    """Do something with a session, or as its peer."""
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "play": lambda: session.play(silence(0.33)),
        "pieces": lambda: session.play(spoken(0.07, 0.2, 0.01, pause=0.03)),
        "interrupt": session.interrupt,
        "drain": session.drain,
    }
    with contextlib.suppress(StreamClosed):
        if step in acts:
            heard: Any = await acts[step]()
            assert heard is None or 0 <= heard.seconds <= heard.offered + 1e-9
        elif step == "read":
            with anyio.move_on_after(0.1):
                await anext(session, None)
        elif step == "leave":
            peer.leave()
        else:
            peer.reads = len(peer.sent)


@given(frames=FRAMES, steps=STEPS, backend=st.sampled_from(["asyncio", "trio"]))
def test_no_order_of_things_breaks_a_session(
    frames: list[bytes | str], steps: list[str], backend: Any
) -> None:
    """Whatever comes and whatever is done, only StreamClosed is raised and all ends in time."""

    async def main() -> None:
        peer = StreamPeer(*frames)

        async def handler(session: StreamSession) -> None:
            async with anyio.create_task_group() as tasks:
                for step in steps:
                    tasks.start_soon(do, session, peer, step)
                    await anyio.sleep(0.11)

        with anyio.fail_after(200):
            streams = await talk(handler, peer)
        assert streams.counts.failed == 0
        assert len(peer.codes) == 1

    run(main, backend=backend)


async def test_an_iterable_need_not_be_a_generator() -> None:
    """Anything with ``__aiter__`` is played."""
    peer = StreamPeer()

    class Pieces:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Pieces:
            return self

        async def __anext__(self) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return silence(0.1)

    async def handler(session: StreamSession) -> None:
        await session.play(Pieces())

    await talk(handler, peer)

    assert peer.messages == [0.1] * 3


async def test_a_recording_of_a_stream_that_closes_meanwhile_is_empty(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream may close while the file is made."""
    peer = StreamPeer()
    original = Recording.open

    async def open_slowly(recording: Recording) -> None:
        await original(recording)
        peer.leave()
        await anyio.sleep(1)

    monkeypatch.setattr(Recording, "open", open_slowly)

    async def handler(session: StreamSession) -> None:
        async with session.record(tmp_path / "call.wav"):
            await anyio.sleep(5)

    await talk(handler, peer)

    assert (tmp_path / "call.wav").stat().st_size < 44 + 4 * 8_000 * 1.1


async def test_a_recording_may_begin_within_a_sample(tmp_path: Any) -> None:
    """Frames of any size are recorded as samples, also when half a sample came before."""
    peer = StreamPeer(b"\1")

    async def handler(session: StreamSession) -> None:
        await settle()
        async with session.record(tmp_path / "call.wav"):
            await anyio.sleep(1)
            for _ in range(1_000):
                peer.say(b"\2", b"\1")
            await settle()

    await talk(handler, peer)

    audio = (tmp_path / "call.wav").read_bytes()[44:]
    assert {audio[at : at + 2] for at in range(0, len(audio), 4)} == {b"\0\0", b"\1\2"}


@pytest.mark.parametrize("path", ["a\0.wav", "", None, 5, b"call.wav", "/dev/null/call.wav"])
async def test_a_recording_needs_the_path_of_a_file(path: Any) -> None:
    """What no file can be named is refused as what cannot be made is."""
    found: list[Exception] = []

    async def handler(session: StreamSession) -> None:
        with pytest.raises(ConfigurationError) as caught:
            async with session.record(path):
                pass
        found.append(caught.value)

    await talk(handler, StreamPeer())

    assert len(found) == 1


async def test_both_sides_are_recorded(tmp_path: Any) -> None:
    """A recording has what was heard of both sides: what a break undid is not in it."""
    peer = StreamPeer()
    found: list[Any] = []

    async def handler(session: StreamSession) -> None:
        async with (
            session.record(tmp_path / "call.wav") as recording,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(session.play, silence(3))
            peer.say(silence(0.5))
            await anyio.sleep(1)
            await session.interrupt()
            await anyio.sleep(1)
            peer.leave()
            await session.wait_closed()
            await anyio.sleep(1)
            found.append(recording.complete)

    await talk(handler, peer)

    size = (tmp_path / "call.wav").stat().st_size - 44
    assert found == [True]
    assert size / 4 / 8_000 == pytest.approx(2, abs=0.01)
