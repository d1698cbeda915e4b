"""Addresses, admissions and the handler of streams."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stream_peer import (
    SECRET,
    URL,
    StreamPeer,
    path_for,
    settle,
    silence,
    streams_for,
    talk,
)

from telecmi_async import ConfigurationError, InvalidCall, StreamClosed
from telecmi_async.events import InboundRequest, parse_event
from telecmi_async.events.reference import new_reference
from telecmi_async.voice import Admission, StreamCounts, Streams, StreamSession

pytestmark = pytest.mark.anyio

REFERENCE, OTHER = "tcm_" + "a2" * 13, "tcm_" + "b3" * 13
LEG = "c1a2b3c4-0000-4000-8000-00000000abcd"
INBOUND = parse_event(
    {"action": "inbound", "cmiuuid": LEG, "from": "19170000001", "to": "19170000000"}
)


async def listen(session: StreamSession) -> None:
    """Handle a session until the far end leaves."""
    async for _ in session:
        pass


def path_of(flow: Any) -> str:
    """Return the path of a flow's address."""
    address: str = flow[0].ws_url
    return address.removeprefix("wss://voice.example.com")


# -- addresses


@pytest.mark.parametrize(
    "path",
    [
        "/talk/8000/{}",
        "/8000/{}",
        "/8000/{}/",
        "/a/b/16000/{}?x=1",
        "//8000/{}",
    ],
)
async def test_a_genuine_address_is_admitted_wherever_it_is_mounted(path: str) -> None:
    """The end of the path decides, which every framework passes on."""
    streams = streams_for(listen)
    signed = streams.calls.account().sign(REFERENCE)

    admission = streams.admit(path.format(signed))

    rate, query = (16_000, {"x": "1"}) if "?" in path else (8_000, {})
    assert admission == Admission(REFERENCE, rate, query=query)
    assert streams.counts == StreamCounts()


async def test_who_serves_a_socket_by_other_means_may_ask_which_call_it_is_of() -> None:
    """No handler is needed to identify an address, and forged ones are counted."""
    streams = streams_for()
    signed = streams.calls.account().sign(REFERENCE)

    assert streams.identify(f"/talk/8000/{signed}") == Admission(REFERENCE, 8_000)
    assert streams.identify(f"/talk/8000/{REFERENCE}") is None
    assert streams.admit(f"/talk/8000/{signed}") is None
    assert streams.counts == StreamCounts(forged=1, refused=1)


def changes() -> list[str]:
    """Return paths that differ from a genuine one."""
    signed = streams_for().calls.account().sign(REFERENCE)
    other = Streams(URL, secret="another-secret").calls.account().sign(REFERENCE)
    return [
        "", "/", "/talk", "/talk/8000", "/talk/8000/", f"/talk/{signed}", f"/8000{signed}",
        f"/talk/8001/{signed}", f"/talk/8000/{signed}a", f"/talk/8000/{signed[:-1]}",
        f"/talk/8000/{signed[:-1]}{'a' if signed[-1] != 'a' else 'b'}",
        f"/talk/8000/{signed.upper()}", f"/talk/8000/{REFERENCE}", f"/talk/8000/{other}",
        f"/talk/8000/tcm_{'b' * 26}.{signed[-26:]}", f"/talk/8000/{signed}/{'a' * 60}",
        f"/talk/8000/{signed}\n", f"/talk/8000/x/{signed}", f"?/8000/{signed}",
        f"/talk/8000/{signed}/x/y", f"/{'a' * 3_000}/8000/{signed}", "/talk/8000/tcm_call",
        f"/talk/8000/{signed}?{'a' * 9_000}",
    ]  # fmt: skip


@pytest.mark.parametrize("path", changes())
async def test_anything_else_is_forged(path: str) -> None:
    """A path with another code, rate or shape is refused and counted."""
    streams = streams_for(listen)

    assert streams.admit(path) is None
    assert streams.counts == StreamCounts(forged=1)


async def test_a_placeholder_in_an_address_is_explained_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An inbound call that is answered with `Streams.flow` has no address of its own."""
    streams = streams_for(listen)

    for _ in range(3):
        assert streams.admit(path_of(streams.flow())) is None

    (record,) = caplog.records
    assert "streams.answer(event)" in record.getMessage()
    assert streams.counts == StreamCounts(forged=3)


@given(path=st.text(max_size=200))
@example(path="/8000/" * 200)
def test_no_path_breaks_the_reception(path: str) -> None:
    """Any text is refused."""
    assert streams_for(listen).admit(path) is None


async def test_without_a_secret_nothing_is_admitted_or_answered() -> None:
    """Streams that know no account refuse all, and say what is missing."""
    streams = Streams(URL)
    streams.on_stream(listen)

    assert streams.admit(path_for(streams_for())) is None
    with pytest.raises(ConfigurationError, match="CallService"):
        streams.answer(INBOUND)


@pytest.mark.parametrize(
    "query", [{"a": 5}, {5: "a"}, [("a", "b")], "a=b", {"a": "\udc80"}, {"a": "x" * 4_000}]
)
def test_values_that_no_address_can_have_are_refused(query: Any) -> None:
    """They fail when the flow is made, not when TeleCMI connects."""
    with pytest.raises(InvalidCall, match="query"):
        streams_for().flow(query=query)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [(None, "know no secret: CallService"), ("another-secret", "signed with another secret")],
)
async def test_the_first_wrong_code_is_logged(
    secret: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says once why a call is not streamed; the address is not in it."""
    streams = Streams(URL, secret=secret)
    path = path_for(streams_for())

    assert [streams.admit(each) for each in ("/forged", path, path)] == [None, None, None]

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert reason in record.getMessage()
    assert path.split("/")[-1] not in caplog.text


async def test_an_inbound_call_has_an_address_of_its_own() -> None:
    """The flow of `answer` leads to a session that knows the call, and the address hides it."""
    streams = streams_for(listen)

    first, second = streams.answer(INBOUND), streams.answer(INBOUND, rate=16_000)
    admitted = [streams.admit(path_of(flow)) for flow in (first, second)]

    assert [each and (each.rate, each.cmiuuid) for each in admitted] == [
        (8_000, LEG),
        (16_000, LEG),
    ]
    assert len({each and each.reference for each in admitted}) == 2
    assert LEG not in repr((first, admitted)) + path_of(first)
    assert path_of(first).split("/")[-2].split(".")[1] not in repr(first)


@pytest.mark.parametrize("size", [1, 300, 400, 10_000])
async def test_an_inbound_call_with_any_id_is_admitted(size: int) -> None:
    """An id that is too long for an address is left out of it."""
    streams = streams_for(listen)
    event = parse_event({"action": "inbound", "cmiuuid": "x" * size, "from": "1", "to": "2"})

    admission = streams.admit(path_of(streams.answer(event)))

    assert admission is not None
    assert admission.cmiuuid == ("x" * size if size < 400 else None)


async def test_the_parts_of_two_addresses_do_not_mix() -> None:
    """The id of one call does not fit the reference of another."""
    streams = streams_for(listen)
    one, two = (path_of(streams.answer(INBOUND)).split("/") for _ in range(2))

    assert streams.admit("/".join([*one[:-1], two[-1]])) is None


async def test_two_processes_share_only_the_secret() -> None:
    """What one process answered is served by another, which has no event and no handle."""
    answering, serving = streams_for(), streams_for(listen)
    found: list[Any] = []

    async def keep(session: StreamSession) -> None:
        found.append((session.cmiuuid, session.inbound, session.call, session.reference))

    serving = streams_for(keep)
    admission = serving.admit(path_of(answering.answer(INBOUND)))
    assert admission is not None
    await serving.serve(admission, StreamPeer())

    assert found == [(LEG, None, None, admission.reference)]


async def test_the_event_of_an_inbound_call_is_the_session_s() -> None:
    """In the process that answered, the session has the event; of the newest 1,000 calls."""
    found: list[Any] = []

    async def keep(session: StreamSession) -> None:
        found.append(session.inbound)

    streams = streams_for(keep)
    oldest = path_of(streams.answer(INBOUND))
    others = [path_of(streams.answer(INBOUND)) for _ in range(1_000)]
    for path in (oldest, others[0], others[-1]):
        admission = streams.admit(path)
        assert admission is not None
        await streams.serve(admission, StreamPeer())

    assert isinstance(INBOUND, InboundRequest)
    assert found == [None, INBOUND, INBOUND]


async def test_a_call_of_this_account_keeps_its_reference() -> None:
    """An event of a call that was placed with a reference leads to the same call."""
    streams = streams_for(listen)
    signed = streams.calls.account().sign(REFERENCE)
    event = parse_event(
        {"type": "event", "status": "answered", "extra_params": {"tcm_reference": signed}}
    )

    assert streams.admit(path_of(streams.answer(event))) == Admission(REFERENCE, 8_000)


# -- flows and arguments


def test_a_flow_is_the_same_for_all_calls() -> None:
    """It is one action with the placeholder, at the rate that is asked for."""
    streams = Streams(URL + "/")

    flow = streams.flow(listen_mode="callee", rate=16_000, stream_on_answer=True)

    assert flow.dump() == [
        {
            "action": "stream",
            "ws_url": f"{URL}/16000/tcm_call",
            "listen_mode": "callee",
            "voice_quality": "16000",
            "stream_on_answer": True,
        }
    ]
    assert "stream_on_answer" not in streams.flow().dump()[0]
    assert len(streams.flow() + streams.flow()) == 2


def test_the_address_of_a_web_application_will_do() -> None:
    """An https address is that of the WebSocket, so that one setting serves webhooks as well."""
    assert Streams("https://voice.example.com/talk").flow() == Streams(URL).flow()
    (stream,) = Streams("http://127.0.0.1:8000").flow().dump()
    assert str(stream["ws_url"]).startswith("ws://127.0.0.1:8000/8000/")


@pytest.mark.parametrize(
    "options", [{"rate": 24_000}, {"rate": "8000"}, {"listen_mode": "calle"}]
)
def test_a_flow_that_cannot_be_streamed_is_refused(options: Any) -> None:
    """A rate or listening mode that TeleCMI does not have raises InvalidCall."""
    with pytest.raises(InvalidCall):
        Streams(URL).flow(**options)


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "ftp://voice.example.com"},
        {"url": "voice.example.com"},
        {"url": None},
        {"url": URL + "?a=1"},
        {"url": URL + "#a"},
        {"url": URL, "max_sessions": 0},
        {"url": URL, "inbox": None},
        {"url": URL, "inbox": 0},
        {"url": URL, "send_timeout": -1},
        {"url": URL, "idle_timeout": "5"},
        {"url": URL, "finish_timeout": 0},
        {"url": URL, "shutdown_timeout": 0},
        {"url": URL, "secret": 5},
    ],
)
def test_a_wrong_argument_is_named(arguments: Any) -> None:
    """The constructor raises ConfigurationError with the argument's name."""
    name = list(arguments)[-1]

    with pytest.raises(ConfigurationError, match=name):
        Streams(**arguments)


def test_there_is_one_handler() -> None:
    """A second one, and what is no asynchronous function, is refused."""
    streams = streams_for(listen)

    with pytest.raises(ConfigurationError, match="already"):
        streams.on_stream(listen)
    with pytest.raises(ConfigurationError, match="on_stream handler"):
        Streams(URL).on_stream(5)  # type: ignore[type-var]  # that is what is tested
    with pytest.raises(ConfigurationError, match="async def"):
        Streams(URL).on_stream(no_coroutine)  # type: ignore[type-var]  # that, too


def test_streams_show_no_secret() -> None:
    """No secret is in the repr, and the keys are not pickled."""
    streams = streams_for()

    assert SECRET not in repr((streams, streams.calls, vars(streams)))
    with pytest.raises(TypeError):
        pickle.dumps(streams.calls.account())


# -- sessions


async def test_without_a_handler_all_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    """A genuine connection is refused and counted, and an error is logged."""
    streams = streams_for()

    assert streams.admit("/forged") is None
    assert caplog.text == ""
    assert streams.admit(path_for(streams)) is None
    assert streams.counts == StreamCounts(forged=1, refused=1)
    assert "on_stream" in caplog.text


async def test_a_second_connection_replaces_the_first() -> None:
    """The first session ends with StreamClosed, the second goes on; both are counted."""
    streams = streams_for()
    found: list[Any] = []

    @streams.on_stream
    async def play(session: StreamSession) -> None:
        try:
            found.append(await session.play(silence(1)))
        except StreamClosed as error:
            found.append(str(error))

    peers = [StreamPeer(), StreamPeer()]
    path = path_for(streams)
    async with anyio.create_task_group() as tasks:
        for peer in peers:
            admission = streams.admit(path)
            assert admission is not None
            tasks.start_soon(streams.serve, admission, peer)
            await anyio.sleep(0.5)

    assert "replaced" in found[0]
    assert found[1].complete
    assert [peer.codes for peer in peers] == [[1000], [1000]]
    assert streams.counts == StreamCounts(connected=2, replaced=1)
    assert repr(streams) == "<Streams 0 sessions>"


async def test_a_call_connects_eight_times_at_most() -> None:
    """The ninth connection of one call is refused; others are not."""
    streams = streams_for(listen)
    path = path_for(streams)
    for _ in range(8):
        peer = StreamPeer()
        peer.leave()
        admission = streams.admit(path)
        assert admission is not None
        await streams.serve(admission, peer)

    assert streams.admit(path) is None
    assert streams.admit(path_for(streams)) is not None
    assert streams.counts == StreamCounts(connected=8, refused=1)


async def test_what_is_remembered_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are counted for the newest calls only."""
    monkeypatch.setattr("telecmi_async.voice.reception._REMEMBERED", 2)
    streams = streams_for(listen)
    for _ in range(5):
        peer = StreamPeer()
        peer.leave()
        admission = streams.admit(path_for(streams))
        assert admission is not None
        await streams.serve(admission, peer)

    assert len(streams._reception._connections) == 2


async def test_sessions_are_limited_also_between_handshake_and_accept() -> None:
    """Beyond ``max_sessions`` handshakes are refused, and what slipped through is closed."""
    streams = streams_for(listen, max_sessions=2)
    paths = [path_for(streams) for _ in range(3)]
    admissions = [streams.admit(path) for path in paths]
    peers = [StreamPeer() for _ in paths]

    async with anyio.create_task_group() as tasks:
        for admission, peer in zip(admissions, peers, strict=True):
            assert admission is not None
            tasks.start_soon(streams.serve, admission, peer)
            await anyio.sleep(0.1)
        assert streams.admit(path_for(streams)) is None
        assert streams.admit(paths[0]) is not None  # it would replace a session
        assert peers[2].codes == [1013]
        for peer in peers:
            peer.leave()

    assert streams.counts == StreamCounts(connected=2, refused=2)
    assert streams.admit(path_for(streams)) is not None


async def fail(session: StreamSession) -> None:
    """Fail with a secret in the error."""
    raise LookupError(f"no bot for {SECRET}")


async def fail_in_a_group(session: StreamSession) -> None:
    """Fail in a task of one's own."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, session)
        tasks.start_soon(fail, session)


def no_coroutine(session: StreamSession) -> None:
    """Return nothing to await."""


@pytest.mark.parametrize("handler", [fail, fail_in_a_group])
async def test_a_handler_that_fails_is_logged_by_type_and_place(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream is closed with 1011; neither the error's text nor a code is in the log."""
    peer = StreamPeer()

    streams = await talk(handler, peer)

    assert peer.codes == [1011]
    assert streams.counts == StreamCounts(connected=1, failed=1)
    assert handler.__name__ in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_handler_that_ends_with_the_stream_did_not_fail(
    grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """StreamClosed after the close is the usual end of a call, also out of a task group."""
    peer = StreamPeer()
    peer.leave()

    async def play(session: StreamSession) -> None:
        if grouped:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.play, silence(1))
                tasks.start_soon(session.drain)
        await session.play(silence(1))

    streams = await talk(play, peer)

    assert streams.counts == StreamCounts(connected=1)
    assert caplog.text == ""


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()])
async def test_a_handler_may_end_the_program(end: BaseException, tmp_path: Any) -> None:
    """``sys.exit()`` and an interrupt reach the event loop as they are, also from a recording."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        async with session.record(tmp_path / "call.wav"):
            raise end

    with pytest.raises(type(end)) as caught:
        await talk(handler, peer)

    assert caught.value is end
    assert peer.codes == [1001]


async def test_a_stale_error_of_another_stream_is_a_failure() -> None:
    """StreamClosed while the session is open says nothing about it."""

    async def handler(session: StreamSession) -> None:
        raise StreamClosed("another one")

    assert (await talk(handler, StreamPeer())).counts.failed == 1


async def test_a_handler_may_finish_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """After the close it has ``finish_timeout``; then it is cancelled, which is logged."""
    peer = StreamPeer()
    peer.leave()
    began = anyio.current_time()

    async def work(session: StreamSession) -> None:
        await anyio.sleep_forever()

    with caplog.at_level(logging.WARNING):
        await talk(work, peer, finish_timeout=30)

    assert anyio.current_time() - began == pytest.approx(30)
    assert "cancelled" in caplog.text


async def test_a_handler_may_have_all_the_time() -> None:
    """Without ``finish_timeout`` it is waited for."""
    peer = StreamPeer()
    peer.leave()
    began = anyio.current_time()

    async def work(session: StreamSession) -> None:
        await anyio.sleep(5_000)

    await talk(work, peer, finish_timeout=None)

    assert anyio.current_time() - began == pytest.approx(5_000)


async def test_the_slot_is_free_while_a_handler_finishes() -> None:
    """A closed session does not count, so that late work refuses nobody."""
    streams = streams_for(max_sessions=1)

    @streams.on_stream
    async def work(session: StreamSession) -> None:
        await session.wait_closed()
        await anyio.sleep(0.1)
        assert streams.admit(path_for(streams)) is not None

    peer = StreamPeer()
    peer.leave()
    admission = streams.admit(path_for(streams))
    assert admission is not None
    await streams.serve(admission, peer)

    assert streams.counts.failed == 0


async def test_a_cancelled_server_closes_its_sessions() -> None:
    """The WebSocket is closed with 1001, and the handler is cancelled."""
    peer = StreamPeer()
    with anyio.move_on_after(1):
        await talk(listen, peer)

    assert peer.codes == [1001]


# -- shutdown


async def test_streams_wait_for_their_handlers_then_cancel_them() -> None:
    """New connections are refused; those that do not end in time are closed with 1001."""
    streams = streams_for(shutdown_timeout=5)
    ended: list[float] = []

    @streams.on_stream
    async def handler(session: StreamSession) -> None:
        try:
            with anyio.move_on_after(3 if not ended else 100):
                ended.append(0)
                await listen(session)
        finally:
            ended.append(round(anyio.current_time() - began, 6))

    peers = [StreamPeer(), StreamPeer()]
    async with anyio.create_task_group() as tasks:
        async with streams:
            for peer in peers:
                admission = streams.admit(path_for(streams))
                assert admission is not None
                tasks.start_soon(streams.serve, admission, peer)
                await anyio.sleep(0.01)
            began = anyio.current_time()
            late = streams.admit(path_for(streams))
            assert late is not None
        assert streams.admit(path_for(streams)) is None
        await streams.serve(late, StreamPeer())

    assert [round(each) for each in ended] == [0, 0, 3, 5]
    assert [peer.codes for peer in peers] == [[1000], [1001]]
    assert streams.counts.refused == 2


async def test_a_handler_that_closes_its_streams_does_not_wait_for_itself() -> None:
    """A bot may end the program."""
    streams = streams_for()

    @streams.on_stream
    async def handler(session: StreamSession) -> None:
        with anyio.fail_after(1):
            await streams.aclose()
        await session.play(silence(0.1))

    admission = streams.admit(path_for(streams))
    assert admission is not None
    await streams.serve(admission, StreamPeer())

    assert streams.counts == StreamCounts(connected=1)


async def test_handlers_that_close_their_streams_do_not_wait_for_each_other() -> None:
    """Two bots may end the program at once, also in tasks of their own."""
    streams = streams_for()

    @streams.on_stream
    async def handler(session: StreamSession) -> None:
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streams.aclose)
        await session.play(silence(0.1))

    with anyio.fail_after(2):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                admission = streams.admit(path_for(streams))
                assert admission is not None
                tasks.start_soon(streams.serve, admission, StreamPeer())
            await settle()
            await streams.aclose()

    assert streams.counts == StreamCounts(connected=2)


async def test_streams_open_again() -> None:
    """After a close, ``async with`` admits connections anew."""
    streams = streams_for(listen)
    await streams.aclose()

    async with streams:
        assert streams.admit(path_for(streams)) is not None


@pytest.mark.parametrize(("second", "most"), [(REFERENCE, 2), (REFERENCE, 1), (OTHER, 1)])
def test_an_event_loop_that_was_closed_keeps_no_place(second: str, most: int) -> None:
    """A program that ended in a call, and goes on in a new event loop, serves any call there."""
    streams = streams_for(listen, max_sessions=most)
    sessions: list[StreamSession] = []

    async def enter(reference: str) -> None:
        admission = streams.admit(path_for(streams, reference))
        assert admission is not None
        limits = streams._limits
        sessions.append(
            StreamSession(admission, StreamPeer(), call=None, inbound=None, limits=limits)
        )
        streams._reception.enter(sessions[-1])

    for reference in (REFERENCE, second):
        asyncio.run(enter(reference))

    assert streams.counts.connected == 2
    assert not sessions[0].closed  # what belongs to another loop is not touched


async def test_many_sessions_do_not_mix() -> None:
    """Fifty calls that connect in any order each get their own audio and address."""
    heard: dict[str, bytes] = {}
    streams = streams_for()

    @streams.on_stream
    async def echo(session: StreamSession) -> None:
        heard[session.reference] = await anext(session)
        await session.play(heard[session.reference])

    references = [new_reference() for _ in range(50)]
    peers = {each: StreamPeer(each.encode()) for each in references}
    async with anyio.create_task_group() as tasks:
        for reference, peer in peers.items():
            admission = streams.admit(path_for(streams, reference))
            assert admission is not None
            tasks.start_soon(streams.serve, admission, peer)

    assert heard == {each: each.encode() for each in references}
    assert {len(peer.messages) for peer in peers.values()} == {1}
