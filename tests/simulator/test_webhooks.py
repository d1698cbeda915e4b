"""Webhooks of the simulator: events, and questions to handlers."""

from __future__ import annotations

import json
import logging
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from simulated import FROM, HANGUP, TO, place, trace_of

from telecmi_async import Flow, Raw, Receiver, testing
from telecmi_async.events import CallRecord, LiveEvent, StreamEvent, UnknownEvent, parse_event
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Callee, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.events import DigitsEvent, Event, InboundRequest

PLAY = {"action": "play", "file_name": "welcome.wav"}
BRIDGE = {"action": "bridge", "connect": [{"type": "pstn", "number": 19170000002}]}
STREAM = {"action": "stream", "ws_url": "wss://example.com"}
ASK = {"action": "input", "max_digit": 4, "action_url": "https://example.com/telecmi/{}"}
HALF_AN_HOUR = 1_800.0

pytestmark = pytest.mark.anyio


class Listening(Receiver):
    """A receiver that records each event with its time."""

    def __init__(self, *, status: int = 204) -> None:
        super().__init__(new_token(), secret="a-secret")
        self.received: list[tuple[float, Event]] = []
        self.status = status

    async def handle(self, method: str, path: str, headers: Any, body: bytes) -> Any:
        self.received.append((anyio.current_time(), parse_event(body)))
        reply = await super().handle(method, path, headers, body)
        return reply if self.status == 204 else type(reply)(self.status)


def records(receiver: Listening, leg: str = "a") -> list[float]:
    """Return the times at which a leg's record was delivered."""
    return [
        at
        for at, event in receiver.received
        if isinstance(event, CallRecord) and event.leg == leg
    ]


async def live(simulator: Simulator, *pcmo: dict[str, Any], seconds: float = 2_500.0) -> None:
    """Place a call and let time pass."""
    async with simulator.running():
        await anyio.sleep(1)
        place(simulator, *pcmo, at=anyio.current_time())
        await anyio.sleep(seconds)


async def test_a_record_comes_four_times_within_half_an_hour() -> None:
    """A record is delivered at once, and again after 5, 15 and 30 minutes."""
    receiver = Listening()
    await live(Simulator(webhooks=receiver), PLAY, HANGUP)
    first, *later = records(receiver)

    assert [round(at - first) for at in later] == [300, 900, 1_800]
    kinds = [type(event).__name__ for _, event in receiver.received]
    assert kinds == ["LiveEvent"] * 3 + ["CallRecord"] * 4


@pytest.mark.parametrize(("status", "times"), [(204, 1), (500, 4)])
async def test_a_record_may_come_until_it_is_taken(status: int, times: int) -> None:
    """With ``until_2xx`` deliveries end at a 2xx; TeleCMI does not document this."""
    receiver = Listening(status=status)
    simulator = Simulator(webhooks=Webhooks(receiver, redeliver="until_2xx"))
    await live(simulator, PLAY, HANGUP)

    assert len(records(receiver)) == times
    assert simulator.deliveries[-1].status == status
    assert (simulator.deliveries[-1].tries, simulator.deliveries[-1].most_tries) == (times, 4)


async def test_deliveries_are_lost_doubled_and_late() -> None:
    """Deliveries are lost, doubled and delayed, and at least one of each record arrives."""
    receiver = Listening()
    hooks = Webhooks(receiver, drop_share=0.7, double_share=0.5, delay=(0, 60))
    simulator = Simulator(webhooks=hooks, keep=None)
    async with simulator.running():
        for n in range(100):
            place(simulator, PLAY, HANGUP, to=TO + n, at=anyio.current_time())
        await anyio.sleep(3_000)

    per_call: dict[str | None, int] = {}
    for _, event in receiver.received:
        if isinstance(event, CallRecord):
            per_call[event.request_id] = per_call.get(event.request_id, 0) + 1
    started = [d for d in simulator.deliveries if d.what == "started"]
    assert len(per_call) == 100
    assert {1, 2, 3} <= set(per_call.values())
    assert 10 < sum(d.arrived for d in started) < 50
    assert [at for at, _ in receiver.received] != sorted(records(receiver))


@pytest.mark.parametrize("dialect", ["2024", "2021", "india", "mixed"])
async def test_every_dialect_is_read(dialect: Any) -> None:
    """All kinds of events are parsed in every dialect, with the values of their legs."""
    receiver = Listening()
    simulator = Simulator(webhooks=Webhooks(receiver, dialect=dialect), answered_share=0.8)
    async with simulator.running():
        for n in range(20):
            more = (
                {"extra_params": {"order": "42"}} if n % 2 else {"extra_params": "{order: 42}"}
            )
            place(simulator, BRIDGE, STREAM, to=TO + n, at=anyio.current_time(), **more)
        await anyio.sleep(300)

    events = [event for _, event in receiver.received]
    assert {type(event) for event in events} == {LiveEvent, CallRecord, StreamEvent}
    truth = {leg.cmiuuid: leg for call in simulator.calls for leg in call.legs}
    for event in events:
        if isinstance(event, CallRecord):
            leg = truth[event.cmiuuid or ""]
            assert event.answered is (leg.ending == "answered")
            assert event.talk_seconds == leg.talk_seconds
            assert "42" in str(event.raw["extra_params"])
    ringing = [e for e in events if isinstance(e, LiveEvent) and e.status.value == "ringing"]
    assert bool(ringing) is (dialect != "2024")


async def test_no_delivery_is_an_unknown_event() -> None:
    """The records of busy, failed and missed calls are known events."""
    receiver = Listening()
    endings: list[Any] = ["busy", "failed", "missed"]
    callees: dict[int | str, Callee] = {
        TO + n: Callee(ending=ending) for n, ending in enumerate(endings)
    }
    simulator = Simulator(webhooks=receiver, callees=callees)
    async with simulator.running():
        for to in simulator.callees:
            place(simulator, to=to, at=anyio.current_time())
        await anyio.sleep(120)

    events = [event for _, event in receiver.received]
    assert not [event for event in events if isinstance(event, UnknownEvent)]
    assert {e.status for e in events if isinstance(e, CallRecord)} == set(endings)


async def test_a_program_says_how_a_call_goes_on() -> None:
    """The handler's answer replaces the rest of the flow."""
    receiver = Listening()
    asked: list[str] = []

    @receiver.on_input
    def menu(event: DigitsEvent) -> Flow:
        asked.append(event.dtmf)
        return Flow().speak("Thank you.").hangup()

    simulator = Simulator(webhooks=receiver, callees={TO: Callee(digits="12")})
    ask = {**ASK, "action_url": receiver.url("https://example.com/telecmi")}
    await live(simulator, ask, PLAY, seconds=60)
    (call,) = simulator.calls

    assert asked == ["12"]
    steps = [note.detail for note in call.timeline if note.what == "step"]
    assert steps == ["input", "speak", "hangup"]


async def test_what_stands_in_an_address_comes_back() -> None:
    """A receiver in the same process gets the query of `action_url`, as over HTTP."""
    receiver = Listening()
    asked: list[dict[str, Any]] = []

    @receiver.on_input("menu")
    def menu(event: DigitsEvent) -> Flow:
        asked.append(dict(event.query))
        return Flow().hangup()

    simulator = Simulator(webhooks=receiver, callees={TO: Callee(digits="1")})
    url = receiver.url("https://example.com/telecmi", "menu", caller=TO, name="a b&c")
    await live(simulator, {**ASK, "action_url": url}, seconds=60)

    assert asked == [{"caller": str(TO), "name": "a b&c"}]


@pytest.mark.parametrize(
    ("reply", "went_on"),
    [(lambda _: [Raw({"action": "speak", "text": "x"})], "speak"), (lambda _: 1 / 0, "hangup")],
)
async def test_what_a_program_answers_is_carried_out(
    reply: Callable[[DigitsEvent], Any], went_on: str
) -> None:
    """The handler's answer is run; if it fails, the receiver's fallback is."""
    receiver = Listening()
    receiver.on_input(reply)
    simulator = Simulator(webhooks=receiver)
    ask = {**ASK, "action_url": receiver.url("https://example.com")}
    await live(simulator, ask, PLAY, seconds=60)

    steps = [note.detail for note in simulator.calls[0].timeline if note.what == "step"]
    assert steps[1] == went_on


async def test_a_program_that_does_not_answer_is_not_waited_for() -> None:
    """The flow goes on after a refusal, and after ten seconds without an answer."""
    receiver = Listening()

    @receiver.on_input
    async def slow(_: DigitsEvent) -> Flow:
        await anyio.sleep(30)
        return Flow().hangup()

    simulator = Simulator(webhooks=receiver)
    right = {**ASK, "action_url": receiver.url("https://example.com")}
    await live(simulator, ASK, right, PLAY, HANGUP, seconds=90)
    (call,) = simulator.calls

    steps = [note for note in call.timeline if note.what == "step"]
    assert [note.detail for note in steps] == ["input", "input", "play", "hangup"]
    assert round(steps[2].at - steps[1].at) == 15
    assert [d.status for d in simulator.deliveries if d.what == "keys"] == [404, 200]


async def test_a_flow_that_asks_itself_comes_to_an_end() -> None:
    """A flow that repeats itself ends after a thousand steps."""
    receiver = Listening()
    ask = {**ASK, "action_url": receiver.url("https://example.com"), "timeout": 1}
    receiver.on_input(lambda _: [Raw(ask)])
    simulator = Simulator(webhooks=receiver, life="immediate")
    await live(simulator, ask, seconds=10)
    (call,) = simulator.calls

    assert call.over
    ends = [note.detail for note in call.timeline if note.what == "hangup"]
    assert ends == ["the flow goes round and round"]


async def test_without_anybody_to_ask_the_flow_goes_on() -> None:
    """Without webhooks a question has no answer, and the flow goes on."""
    simulator = Simulator()
    call = place(simulator, ASK, {"action": "input"}, HANGUP)
    place(simulator, to=TO + 1, at=1_000.0)

    assert call.over
    assert [note.what for note in call.timeline if note.what == "no answer"] == ["no answer"]


async def test_somebody_calls_in() -> None:
    """The receiver answers an inbound call, whose events have no request_id."""
    receiver = Listening()
    received: list[InboundRequest] = []

    @receiver.on_inbound
    def answer(request: InboundRequest) -> Flow:
        received.append(request)
        return Flow().play("welcome.wav").bridge([19170000002]).hangup()

    simulator = Simulator(webhooks=Webhooks(receiver, dialect="mixed"))
    async with simulator.running():
        call = simulator.call_in(from_="+1 917 000 0001", to=FROM)
        again = simulator.call_in(from_=TO, to=FROM)
        await anyio.sleep(100)

    assert (call.over, call.answered, call.region) == (True, True, None)
    assert {(event.from_, event.to) for event in received} == {(str(TO), str(FROM))}
    assert {event.cmiuuid for event in received} == {call.request_id, again.request_id}
    later = [
        event for _, event in receiver.received if isinstance(event, LiveEvent | CallRecord)
    ]
    assert {event.request_id for event in later} == {None}
    assert {event.conversation_uuid for event in later} == {call.request_id, again.request_id}
    assert simulator.placed(FROM) == 0
    assert receiver.counts.unmatched == 0


async def test_who_calls_in_presses_keys_and_hangs_up() -> None:
    """An inbound call follows the script of the caller's number."""
    receiver = Listening()
    pressed: list[str] = []

    @receiver.on_inbound
    def answer(_: InboundRequest) -> Flow:
        menu = receiver.url("https://example.com/telecmi", "menu")
        return Flow().input(menu).hangup()

    @receiver.on_input("menu")
    def menu(event: DigitsEvent) -> Flow:
        pressed.append(event.dtmf)
        return Flow().speak("Please hold the line. " * 100).hangup()

    caller = Callee(digits="1", hangs_up_after=20)
    simulator = Simulator(webhooks=receiver, callees={TO: caller, FROM: Callee(digits="9")})
    async with simulator.running():
        call = simulator.call_in(from_=TO, to=FROM)
        await anyio.sleep(100)

    assert pressed == ["1"]
    assert call.talk_seconds == 20


@pytest.mark.parametrize("flow", [[Raw({"action": "hangup"})], None])
async def test_a_call_that_comes_in_can_be_rejected(flow: Any) -> None:
    """A flow that begins with a hang-up, and no answer at all, reject an inbound call."""
    receiver = Listening()
    receiver.on_inbound(lambda _: flow)
    simulator = Simulator(webhooks=receiver if flow else None)
    async with simulator.running():
        call = simulator.call_in(from_=TO, to=FROM)
        await anyio.sleep(60)

    assert (call.over, call.answered) == (True, False)


async def test_the_service_of_a_simulator_tells_its_receiver() -> None:
    """The service's receiver gets the webhooks, until the service is closed."""
    receiver = Listening()
    simulator = Simulator()
    async with simulator.service(from_=FROM, events=[receiver]) as service:
        call = await service.make_call(to=TO, pcmo=[Raw(PLAY)])
        result = await call.ended()

    assert result.answered
    assert simulator.webhooks.to is None


@pytest.mark.parametrize("how_many", [2, 3])
async def test_services_side_by_side_hear_of_their_own_calls(how_many: int) -> None:
    """Each receiver gets the events of its own service's calls, and of no others."""
    simulator = Simulator()
    receivers = [Listening() for _ in range(how_many)]
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(simulator.service(from_=FROM, events=receiver))
            for receiver in receivers
        ]
        calls = [
            await service.make_call(to=TO + n, pcmo=[Raw(PLAY)])
            for n, service in enumerate(services)
        ]
        with anyio.fail_after(1_000):
            results = [await call.ended() for call in calls]

    assert all(result.answered for result in results)
    for receiver, call in zip(receivers, calls, strict=True):
        assert {event.request_id for _, event in receiver.received} == {call.request_id}


async def test_what_a_closed_service_placed_goes_to_the_open_ones_receiver() -> None:
    """After a restart the new receiver gets the events of calls that were placed before."""
    simulator = Simulator()
    old, new = Listening(), Listening()
    async with simulator.service(from_=FROM, events=old) as service:
        call = await service.make_call(to=TO, pcmo=[Raw(PLAY)])
    async with simulator.service(from_=FROM, events=new) as service:
        result = await service.handle_for(call.request_id).ended()

    assert result.answered
    assert new.received


async def test_a_call_that_belongs_to_no_receiver_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With several receivers, events of other calls go nowhere, which is logged once."""
    simulator = Simulator()
    first, second = Listening(), Listening()
    async with (
        simulator.service(from_=FROM, events=first),
        simulator.service(from_=FROM, events=second),
        simulator.service(from_=FROM) as deaf,
    ):
        for n in range(3):
            await deaf.make_call(to=TO + n, pcmo=[Raw(PLAY)])
        await anyio.sleep(100)
        with pytest.raises(RuntimeError, match="several receivers"):
            simulator.call_in(from_=TO, to=FROM)
        simulator.webhooks = Webhooks(second)
        second.on_inbound(lambda _: [Raw(PLAY)])
        came = simulator.call_in(from_=TO, to=FROM)
        await anyio.sleep(100)

    assert first.received == []
    assert came.answered
    assert caplog.text.count("events of a call go nowhere") == 1


async def test_time_can_be_let_pass_and_messages_sent_again() -> None:
    """`advance` and `send_again` work without waiting."""
    receiver = Listening()
    simulator = Simulator(webhooks=receiver)
    async with simulator.running():
        place(simulator, at=anyio.current_time())
        simulator.advance(HALF_AN_HOUR + 60)
        await anyio.sleep(0.001)
        before = len(records(receiver))
        simulator.send_again(simulator.deliveries[-1])
        await anyio.sleep(0.001)

    assert (before, len(records(receiver))) == (4, 5)
    assert simulator.deliveries[-1].arrived == 5
    assert anyio.current_time() < 1


async def test_time_may_pass_faster() -> None:
    """With ``speed=60`` a minute of calls takes one second of the event loop."""
    receiver = Listening()
    simulator = Simulator(webhooks=receiver, speed=60)
    await live(simulator, PLAY, HANGUP, seconds=60)
    first, *later = records(receiver)

    assert [round(at - first) for at in later] == [5, 15, 30]


async def test_a_simulator_survives_its_event_loop() -> None:
    """In another event loop, whose clock starts lower, time goes on."""
    simulator = Simulator()
    call = place(simulator, at=1_000_000.0)
    for at in (0.0, 30.0):
        place(simulator, to=TO + 1, at=at)

    assert call.over


def test_the_same_seed_gives_the_same_trace_on_both_event_loops() -> None:
    """The trace is identical on both event loops, to the microsecond."""

    async def run() -> str:
        receiver = Listening()
        hooks = Webhooks(
            receiver, drop_share=0.2, double_share=0.2, delay=(0, 9), dialect="mixed"
        )
        simulator = Simulator(seed=5, webhooks=hooks, latency=(0.1, 0.4), answered_share=0.7)
        receiver.on_input(lambda _: [Raw(HANGUP)])
        ask = Raw({**ASK, "action_url": receiver.url("https://example.com")})
        async with simulator.service(from_=FROM, seed=1, events=receiver) as service:
            calls = [service.make_call(to=TO + n, pcmo=[Raw(BRIDGE), ask]) for n in range(60)]
            for call in calls:
                await call.ended()
            await anyio.sleep(HALF_AN_HOUR)
        return trace_of(simulator)

    assert testing.run(run, backend="asyncio") == testing.run(run, backend="trio")


# --- over HTTP ---------------------------------------------------------------------------


async def serve_one(answers: list[tuple[int, bytes]], received: list[bytes]) -> Any:
    """Listen on a port and answer each request with the next of some replies."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                data += await stream.receive()
            received.append(data)
            status, body = answers.pop(0)
            length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            await stream.send(f"HTTP/1.1 {status} X\r\n{length}".encode() + body)

    return listener, handle


@pytest.mark.real_clock
async def test_webhooks_go_to_a_url() -> None:
    """Webhooks are posted as JSON; a question goes to its own URL, and its answer is run."""
    received: list[bytes] = []
    flow = json.dumps([HANGUP]).encode()
    listener, handle = await serve_one(
        [(204, b""), (204, b""), (200, flow), (200, b"")], received
    )
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    simulator = Simulator(
        webhooks=Webhooks(f"http://127.0.0.1:{port}/telecmi/token", redeliver="until_2xx"),
        life="manual",
    )
    ask = {**ASK, "action_url": f"http://127.0.0.1:{port}/menu"}
    async with listener, simulator.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        call = place(simulator, ask, at=anyio.current_time())
        await until(lambda: len(received) == 1)
        call.answer()
        await until(lambda: len(received) == 2)
        call.press("1234")
        await until(lambda: call.over)
        tasks.cancel_scope.cancel()

    lines = [request.split(b" HTTP", 1)[0] for request in received]
    assert lines[:3] == [b"POST /telecmi/token"] * 2 + [b"POST /menu"]
    assert b'"dtmf": "1234"' in received[2]
    assert b"application/json" in received[0]


async def until(holds: Callable[[], bool]) -> None:
    """Wait on the real clock until something holds."""
    with anyio.fail_after(10):
        while not holds():
            await anyio.lowlevel.checkpoint()


@pytest.mark.real_clock
async def test_webhooks_that_cannot_be_delivered_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log does not show the URL, because it holds a token."""
    caplog.set_level(logging.WARNING, "telecmi_async.simulator")
    simulator = Simulator(webhooks="http://127.0.0.1:1/token", life="manual")
    async with simulator.running():
        place(simulator, at=anyio.current_time())
        place(simulator, at=anyio.current_time())
        await until(
            lambda: {one.failure for one in simulator.deliveries} == {"failed: ConnectError"}
        )

    (message,) = [record.message for record in caplog.records]
    assert re.fullmatch(
        r"a message \(started, •+\d{4}\) was not delivered; failed: ConnectError", message
    ), "it is logged once, with the number masked"
    assert "token" not in caplog.text
    assert "token" not in repr(simulator)


@pytest.mark.parametrize(
    "url", ["https://example.com/menu", "http://10.0.0.1/menu", "http://[/", "mailto:x"]
)
async def test_nobody_else_is_asked(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A question is never sent to another machine, because it may be the real program."""
    simulator = Simulator(webhooks="http://127.0.0.1:1/token", life="manual")
    async with simulator.running():
        call = place(simulator, {**ASK, "action_url": url}, at=anyio.current_time())
        call.answer()
        call.press("1")
        await anyio.sleep(0.01)

    assert "is on another machine" in caplog.text
    assert [note.what for note in call.timeline if note.what == "asked"] == ["asked"]


@pytest.mark.real_clock
async def test_on_a_port_calls_live_and_are_looked_up() -> None:
    """The whole API is served at one address."""
    simulator = Simulator(life="immediate")
    async with simulator.serve() as base_url, httpx.AsyncClient() as client:
        account = {"appid": simulator.app_id, "secret": simulator.secret}
        call = {**account, "from": FROM, "to": TO, "pcmo": [PLAY]}
        placed = (await client.post(f"{base_url}/global_pcmo_make_call", json=call)).json()
        found = await client.post(
            f"{base_url.removesuffix('/v2')}/v1/piopiy/requestid_cdr",
            json={**account, "request_id": placed["request_id"]},
        )

    assert found.json()["cdr"][0]["status"] == "answered"
