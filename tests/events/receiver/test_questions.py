"""Questions: each is answered once and in time, whatever the store and the handlers do."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from fake_store import record
from fake_telecmi import FLOW, TO, FakeTelecmi
from webhook_posts import (
    DIGITS,
    INBOUND,
    LEG,
    PATH,
    REQUEST_ID,
    TOKEN,
    Request,
    events_of,
    part,
    post,
)

from telecmi_async import Flow, Hangup, Play, Receiver, StoreError
from telecmi_async.events import DigitsEvent, InboundRequest
from telecmi_async.events.receiver import Counts
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.events.store import StoredEvent

pytestmark = pytest.mark.anyio

HANG_UP = b'[{"action":"hangup"}]'
MENU = f"/telecmi/menu/{TOKEN}"
BASE = "https://example.com/telecmi"


class SharedStore(MemoryStore):
    """A store that two receivers share, as two processes would; it can freeze."""

    shared = True
    frozen: anyio.Event | None = None
    error: Exception | None = None
    asked = 0

    async def _reply(self) -> None:
        type(self).asked += 1
        if self.frozen is not None:
            await self.frozen.wait()
        if self.error is not None:
            raise self.error
        await anyio.lowlevel.checkpoint()

    async def put(self, stored: StoredEvent) -> bool:
        """Keep an event, once the store replies."""
        await self._reply()
        return await super().put(stored)

    async def get(self, ids: Any) -> list[StoredEvent]:
        """Return events, once the store replies."""
        await self._reply()
        return await super().get(ids)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock of answers forward."""
    now = [1_700_000_000.0]
    monkeypatch.setattr("telecmi_async.events.receiver.questions._now", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


class Menu:
    """A handler that counts, takes a while, and answers with its number."""

    def __init__(self, *receivers: Receiver, seconds: float = 1, loop: str = "") -> None:
        self.asked: list[DigitsEvent | InboundRequest] = []
        self.seconds = seconds
        self.loop = loop
        for receiver in receivers:
            receiver.on_input("menu")(self.answer)
            receiver.on_inbound(self.answer)

    async def answer(self, event: DigitsEvent | InboundRequest) -> Flow:
        """Answer after a while."""
        self.asked.append(event)
        number = len(self.asked)
        await anyio.sleep(self.seconds)
        flow = Flow().play(f"{number}.wav")
        return flow.input(self.loop) if self.loop else flow


async def test_a_question_that_comes_twice_at_once_is_answered_once() -> None:
    """A repeat waits for the answer of the first delivery, and a call is placed once."""
    receiver = Receiver(TOKEN)
    telecmi = FakeTelecmi()
    replies: list[bytes] = []
    async with receiver, telecmi.service(events=receiver) as service:
        received = events_of(receiver)

        @receiver.on_input("menu")
        async def call_back(event: DigitsEvent) -> Flow:
            await anyio.sleep(1)
            call = await service.make_call(to=TO, pcmo=FLOW)
            return Flow().play(f"{call.request_id}.wav")

        async def ask() -> None:
            replies.append((await post(receiver, DIGITS, path=MENU)).body)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        replies.append((await post(receiver, DIGITS, path=MENU)).body)

    assert len(telecmi.requests) == 1
    assert len(set(replies)) == 1
    assert REQUEST_ID[:20].encode() in replies[0]
    assert [type(event) for event in received] == [DigitsEvent]
    assert receiver.counts == Counts(accepted=1, duplicates=5, questions=6)


@pytest.mark.parametrize(
    ("first", "second", "times"),
    [
        (DIGITS, DIGITS, 1),
        (DIGITS, DIGITS | {"dtmf": "2"}, 2),
        (DIGITS, DIGITS | {"cmuuid": "another leg"}, 2),
        (DIGITS, DIGITS | {"time": 1670568234000}, 2),
        (INBOUND, INBOUND, 1),
        (INBOUND, INBOUND | {"time": 1670568234001}, 2),
        ({"dtmf": "1"}, {"dtmf": "1"}, 1),
    ],
)
async def test_a_repeat_looks_the_same(
    first: dict[str, Any], second: dict[str, Any], times: int
) -> None:
    """A question with other keys, of another leg, or of another time is no repeat."""
    receiver = Receiver(TOKEN)
    menu = Menu(receiver)
    async with receiver:
        await post(receiver, first, path=MENU)
        await post(receiver, second, path=MENU)

    assert len(menu.asked) == times


async def test_another_address_is_another_question() -> None:
    """The same key at an address with another name or other values is no repeat."""
    receiver = Receiver(TOKEN, secret="a-secret")
    menu = Menu(receiver)
    receiver.on_input("other")(menu.answer)
    paths = [
        MENU,
        f"/telecmi/other/{TOKEN}",
        *(receiver.url(BASE, "menu", step=1).removeprefix("https://example.com") for _ in "ab"),
    ]
    async with receiver:
        for path in (*paths, paths[-1]):
            await post(receiver, DIGITS, path=path)

    assert len(menu.asked) == 4
    assert [dict(event.query) for event in menu.asked] == [{}, {}, {"step": "1"}, {"step": "1"}]


@pytest.mark.parametrize(
    ("loops", "seconds", "times"),
    [(False, 9 * 60, 1), (False, 11 * 60, 2), (True, 1, 1), (True, 3, 2)],
)
@pytest.mark.parametrize("shared", [False, True])
async def test_a_menu_may_be_repeated(
    wall: Callable[[float], None], loops: bool, seconds: float, times: int, shared: bool
) -> None:
    """Where the answer asks at the same address again, the same key soon is a new question."""
    store = SharedStore()
    receivers = (
        [Receiver(TOKEN, store=store) for _ in range(2)] if shared else [Receiver(TOKEN)]
    )
    menu = Menu(*receivers, loop=receivers[0].url(BASE, "menu") if loops else "")
    async with receivers[0], receivers[1] if shared else nullcontext():
        one = await post(receivers[0], DIGITS, path=MENU)
        await anyio.sleep(1)
        wall(seconds)
        two = await post(receivers[-1], DIGITS, path=MENU)

    assert len(menu.asked) == times
    assert (one.body == two.body) is (times == 1)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_key_after_another_one_is_new(
    wall: Callable[[float], None], shared: bool
) -> None:
    """After another question of the leg the same key is pressed anew; an inbound call is not."""
    receiver = Receiver(TOKEN, store=SharedStore() if shared else None)
    menu = Menu(receiver)
    async with receiver:
        for question in (DIGITS, DIGITS | {"dtmf": "9"}, DIGITS, INBOUND, DIGITS, INBOUND):
            await post(receiver, question, path=MENU)
            wall(60)

    assert len(menu.asked) == 5


async def test_a_question_that_two_processes_get_is_answered_once(
    wall: Callable[[float], None],
) -> None:
    """With a shared store one process answers, and the other one repeats the answer."""
    store = SharedStore()
    receivers = [Receiver(TOKEN, store=store) for _ in range(2)]
    menu = Menu(*receivers)
    replies: list[bytes] = []
    async with receivers[0], receivers[1], anyio.create_task_group() as tasks:
        received = [events_of(receiver) for receiver in receivers]

        async def ask(receiver: Receiver) -> None:
            replies.append((await post(receiver, DIGITS, path=MENU)).body)

        for receiver in receivers * 3:
            tasks.start_soon(ask, receiver)
        await anyio.sleep(5)
        wall(300)
        await ask(receivers[0])
        await ask(receivers[1])

    assert len(menu.asked) == 1
    assert len(set(replies)) == 1
    assert len(replies) == 8
    assert sum(map(len, received)) == 1


async def test_another_key_of_the_same_leg_is_answered_once_too(
    wall: Callable[[float], None],
) -> None:
    """Where a leg has answers already, the next question waits for its own."""
    store = SharedStore()
    receivers = [Receiver(TOKEN, store=store) for _ in range(2)]
    menu = Menu(*receivers)
    replies: list[bytes] = []

    async def ask(receiver: Receiver) -> None:
        replies.append((await post(receiver, DIGITS | {"dtmf": "2"}, path=MENU)).body)

    async with receivers[0], receivers[1]:
        await post(receivers[0], DIGITS, path=MENU)
        async with anyio.create_task_group() as tasks:
            for receiver in receivers:
                tasks.start_soon(ask, receiver)

    assert len(menu.asked) == 2
    assert [b"2.wav" in reply for reply in replies] == [True, True]


async def test_an_answer_that_is_forgotten_while_it_is_made_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the bound a question under way is answered, though a repeat would not be known."""
    monkeypatch.setattr("telecmi_async.events.receiver.questions._MOST_KEPT", 1)
    receiver = Receiver(TOKEN)
    Menu(receiver)
    replies: list[bytes] = []

    async def ask(key: str) -> None:
        replies.append((await post(receiver, DIGITS | {"dtmf": key}, path=MENU)).body)

    async with receiver:
        async with anyio.create_task_group() as tasks:
            for key in "12":
                tasks.start_soon(ask, key)
        questions = receiver._intake._questions

        assert (len(replies), len(questions._answers)) == (2, 1)
        assert questions._bytes == sum(
            len(each.flow or b"") for each in questions._answers.values()
        )


async def test_a_question_about_nobodys_call_is_answered_and_kept_aside() -> None:
    """A question that names an unknown request is answered, and reaches no event handler."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver):
        received = events_of(receiver)
        reply = await post(receiver, DIGITS | {"request_id": "unknown"})

    assert reply.status == 200
    assert received == []
    assert receiver.counts == Counts(accepted=1, unmatched=1, questions=1)


async def test_a_caller_who_hangs_up_is_noticed_by_the_id_of_the_leg() -> None:
    """A handle for the leg of an inbound call has its events, and its repr says what it is."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver) as service:
        await post(receiver, INBOUND)
        call = service.handle_for(LEG)
        await post(receiver, {"status": "in_hangup", "cmiuuid": LEG, "time": 1670568290000})
        async for _ in call.events():
            if call.result.over:
                break
        over = call.result.over

    assert over
    assert "attached by its id progress" in repr(call)


async def test_what_a_person_sends_to_a_webhook_is_no_answer(
    wall: Callable[[float], None],
) -> None:
    """An event with the id of a leg's answers does not answer a question of that leg."""
    receiver = Receiver(TOKEN, store=SharedStore())
    menu = Menu(receiver)
    forged = ["d", LEG, True, False, '[{"action":"play","file_name":"evil.wav"}]', 1e12, 0]
    async with receiver:
        await post(receiver, {"cmiuuid": f"answers.{LEG}", "answer": forged})
        reply = await post(receiver, DIGITS, path=MENU)

    assert b"1.wav" in reply.body
    assert len(menu.asked) == 1


async def test_an_answer_too_long_to_be_shared_is_given(wall: Callable[[float], None]) -> None:
    """A flow of more than a payload's size answers, and is not kept for other processes."""
    receiver = Receiver(TOKEN, store=SharedStore())
    receiver.on_input("menu")(lambda event: Flow().speak("x" * 70_000))
    async with receiver:
        reply = await post(receiver, DIGITS, path=MENU)

    assert len(reply.body) > 70_000


@pytest.mark.parametrize(("most", "most_bytes"), [(20, 10**9), (10**9, 100_000)])
async def test_what_is_remembered_of_questions_is_bounded(
    most: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many questions the answers to the last ones are remembered."""
    for name, value in (("_MOST_KEPT", most), ("_MOST_KEPT_BYTES", most_bytes)):
        monkeypatch.setattr(f"telecmi_async.events.receiver.questions.{name}", value)
    receiver = Receiver(TOKEN, fallback=Flow().speak("x" * 9_000))
    async with receiver:
        for number in range(50):
            await post(receiver, DIGITS | {"cmuuid": f"leg {number}"})
        questions = receiver._intake._questions

        assert 10 <= len(questions._answers) <= 20
        assert questions._bytes == sum(
            len(each.flow or b"") for each in questions._answers.values()
        )
        assert set(questions._last) == {each.leg for each in questions._answers.values()}


# -- a store that fails


async def test_a_store_that_is_frozen_keeps_no_caller_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Frozen for a minute under 200 questions: all are answered in time, and nothing is lost."""
    store = SharedStore()
    receiver = Receiver(TOKEN, store=store, answer_timeout=4)
    menu = Menu(receiver, seconds=2)
    took: list[float] = []
    accepted: list[int] = []

    async def ask(number: int) -> None:
        began = anyio.current_time()
        reply = await post(receiver, DIGITS | {"cmuuid": f"leg {number}"}, path=MENU)
        took.append(anyio.current_time() - began)
        assert b".wav" in reply.body

    async def tell(number: int) -> None:
        with anyio.move_on_after(1):
            accepted.append((await post(receiver, record(None, cmiuuid=f"{number}"))).status)

    async with receiver:
        received = events_of(receiver)
        store.frozen = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(ask, number)
                tasks.start_soon(tell, number)
                await anyio.sleep(0.3)
            store.frozen.set()
            store.frozen = None
        for number in range(200):  # as TeleCMI sends records again
            assert (await post(receiver, record(None, cmiuuid=f"{number}"))).status == 204
        await anyio.sleep(10)
        kept = {event.cmiuuid for event in received if isinstance(event, DigitsEvent)}

    assert len(took) == len(menu.asked) == 200
    assert max(took) <= 4
    assert sum(seconds > 2.01 for seconds in took) <= 4, (
        "only the first ones wait for the store"
    )
    assert kept == {f"leg {number}" for number in range(200)}
    assert len(received) == 400
    assert len(accepted) < 200, "most had no reply while the store was frozen"
    assert caplog.text.count("the event store fails") == 1


@pytest.mark.parametrize("error", [StoreError("it is gone"), ValueError("hunter2")])
async def test_a_store_that_is_gone_is_asked_again_once_it_is_back(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """A question waits in memory for the store; the log says when it is back."""
    store = SharedStore()
    store.error = error
    receiver = Receiver(TOKEN, store=store)
    Menu(receiver)
    async with receiver:
        received = events_of(receiver)
        reply = await post(receiver, DIGITS, path=MENU)
        await anyio.sleep(60)
        before = len(received)
        store.error = None
        await anyio.sleep(6)
        after = len(received)

    assert b"1.wav" in reply.body
    assert (before, after) == (0, 1)
    assert "events can be stored again" in caplog.text
    assert receiver.counts == Counts(accepted=1, questions=1)


async def test_an_answer_of_another_process_that_never_comes_is_the_fallback(
    wall: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the other process died, the caller gets the fallback, and no second call is placed."""
    store = SharedStore()
    dead, alive = Receiver(TOKEN, store=store), Receiver(TOKEN, store=store)
    menu = Menu(dead, alive, seconds=1_000)
    replies: list[bytes] = []

    async def ask() -> None:
        await post(dead, DIGITS, path=MENU)

    async with dead, alive, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(1)
        store.error = StoreError("it is gone for a moment")
        with anyio.move_on_after(1):
            await anyio.sleep(0.5)
        store.error = None
        began = anyio.current_time()
        replies.append((await post(alive, DIGITS, path=MENU)).body)
        took = anyio.current_time() - began

    assert replies == [HANG_UP]
    assert took <= 10
    assert len(menu.asked) == 1


async def test_too_many_questions_that_wait_for_a_store_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Questions that wait for the store are bounded; one that is not kept is logged."""
    monkeypatch.setattr("telecmi_async.events.receiver.intake._MOST_WAITING", 1)
    store = SharedStore()
    store.error = StoreError("it is gone")
    receiver = Receiver(TOKEN, store=store, shutdown_timeout=5)
    async with receiver:
        await post(receiver, DIGITS)
        await post(receiver, DIGITS | {"dtmf": "2"})

    assert "too many questions wait to be stored; lost: DigitsEvent(" in caplog.text
    assert "the receiver was closed before DigitsEvent(" in caplog.text


# -- a handler that takes too long


async def test_a_handler_that_cannot_be_cancelled_delays_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A shielded wait goes on; the caller has the fallback in time, and the log names the handler."""
    receiver = Receiver(TOKEN)
    ended: list[str] = []

    @receiver.on_input("menu")
    async def stubborn(event: DigitsEvent) -> Flow:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(15)
            ended.append(event.dtmf)
        return Flow().hangup()

    async with receiver:
        began = anyio.current_time()
        reply = await post(receiver, DIGITS, path=MENU)
        took = anyio.current_time() - began
        again = await post(receiver, DIGITS, path=MENU)
        before = list(ended)

    assert (reply.body, again.body, round(took)) == (HANG_UP, HANG_UP, 10)
    assert (before, ended) == ([], ["1"])
    assert "stubborn took more than 10.0 s for DigitsEvent(" in caplog.text


@pytest.mark.real_clock
async def test_a_plain_function_may_block(caplog: pytest.LogCaptureFixture) -> None:
    """A plain function runs in a thread: others go on, and the answer comes in time."""
    receiver = Receiver(TOKEN, answer_timeout=0.2)
    ticks = 0

    @receiver.on_input("menu")
    def blocking(event: DigitsEvent) -> Flow:
        time.sleep(0.6)
        return Flow().hangup()

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.01)
            ticks += 1

    async with receiver, anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        reply = await post(receiver, DIGITS, path=MENU)
        tasks.cancel_scope.cancel()

    assert reply.body == HANG_UP
    assert ticks >= 5
    assert "blocking took more than 0.2 s" in caplog.text


async def test_the_clock_of_a_test_stands_still_while_a_plain_function_works() -> None:
    """On the virtual clock plain functions answer, one or several at a time, and time goes on after."""
    receiver = Receiver(TOKEN)
    replies: list[bytes] = []

    @receiver.on_input("menu")
    def slow(event: DigitsEvent) -> Flow:
        time.sleep(0.02 * int(event.dtmf))
        return Flow().play(f"{event.dtmf}.wav")

    async def ask(key: str) -> None:
        replies.append((await post(receiver, DIGITS | {"dtmf": key}, path=MENU)).body)

    began = anyio.current_time()
    async with receiver, anyio.create_task_group() as tasks:
        for key in "123":
            tasks.start_soon(ask, key)
    after = anyio.current_time()
    await anyio.sleep(3600)

    assert sorted(json.loads(reply)[0]["file_name"] for reply in replies) == [
        "1.wav",
        "2.wav",
        "3.wav",
    ]
    assert after - began < 1
    assert anyio.current_time() - after == pytest.approx(3600)


async def test_a_plain_function_may_return_something_to_await() -> None:
    """A function that returns a coroutine, a partial and an object that is called all answer."""
    receiver = Receiver(TOKEN)

    class Called:
        async def __call__(self, event: DigitsEvent) -> Flow:
            await anyio.sleep(1)
            return Flow().play("object.wav")

    async def answer(name: str, event: DigitsEvent) -> list[Play]:
        await anyio.sleep(1)
        return [Play(name)]

    receiver.on_input("a")(lambda event: answer("lambda.wav", event))
    receiver.on_input("b")(partial(answer, "partial.wav"))
    receiver.on_input("c")(Called())
    async with receiver:
        bodies = [
            json.loads((await post(receiver, DIGITS, path=f"/{name}/{TOKEN}")).body)
            for name in "abc"
        ]

    assert [body[0]["file_name"] for body in bodies] == [
        "lambda.wav",
        "partial.wav",
        "object.wav",
    ]


async def test_a_request_that_is_cancelled_leaves_its_handler_at_work() -> None:
    """Where a proxy hangs up and asks again, the handler runs once, and its answer is given."""
    receiver = Receiver(TOKEN)
    menu = Menu(receiver, seconds=3)
    async with receiver:
        with anyio.move_on_after(1):
            await post(receiver, DIGITS, path=MENU)
        reply = await post(receiver, DIGITS, path=MENU)

    assert b"1.wav" in reply.body
    assert len(menu.asked) == 1


async def test_without_tasks_a_question_is_answered_all_the_same(
    anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver that nobody opened answers within the limit; its events are handled after."""
    store = SharedStore()
    receiver = Receiver(TOKEN, store=store, answer_timeout=2)
    menu = Menu(receiver)
    received = events_of(receiver)
    one = await post(receiver, DIGITS, path=MENU)
    menu.seconds = 5
    two = await post(receiver, DIGITS | {"dtmf": "2"}, path=MENU)
    store.frozen = anyio.Event()
    menu.seconds = 0.5
    began = anyio.current_time()
    three = await post(receiver, DIGITS | {"dtmf": "3"}, path=MENU)
    took = anyio.current_time() - began
    store.frozen.set()
    await receiver.aclose()

    assert (b"1.wav" in one.body, two.body == HANG_UP, b"3.wav" in three.body) == (True,) * 3
    assert took <= 2
    assert len(received) == (2 if anyio_backend_name == "trio" else 3)


async def test_a_question_without_tasks_that_is_cancelled_can_be_repeated(
    anyio_backend_name: str,
) -> None:
    """Where no task was left at work, a repeat gets the fallback instead of waiting."""
    receiver = Receiver(TOKEN)
    Menu(receiver, seconds=3)
    await receiver.aclose()  # no tasks on asyncio either
    with anyio.move_on_after(1):
        await post(receiver, DIGITS, path=MENU)
    reply = await post(receiver, DIGITS, path=MENU)

    assert reply.body == HANG_UP


# -- the end


async def test_closing_answers_whoever_waits(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that closes gives pending questions their answer, or else the fallback."""
    receiver = Receiver(TOKEN, shutdown_timeout=3)
    replies: dict[str, bytes] = {}

    @receiver.on_input("menu")
    async def think(event: DigitsEvent) -> Flow:
        await anyio.sleep(int(event.dtmf))
        return Flow().play("done.wav")

    async def ask(key: str) -> None:
        replies[key] = (await post(receiver, DIGITS | {"dtmf": key}, path=MENU)).body

    async with anyio.create_task_group() as tasks, receiver:
        tasks.start_soon(ask, "2")
        tasks.start_soon(ask, "9")
        await anyio.sleep(0.5)

    assert b"done.wav" in replies["2"]
    assert replies["9"] == HANG_UP
    assert "the receiver was closed before the handler" in caplog.text
    assert "think answered DigitsEvent(" in caplog.text


@pytest.mark.parametrize("gone", [False, True])
async def test_a_server_that_ends_leaves_no_caller_without_an_answer(gone: bool) -> None:
    """An ASGI request that is cancelled is answered with the fallback, if it is a question."""
    receiver = Receiver(TOKEN, fallback=[Play("sorry.wav"), Hangup()])
    Menu(receiver, seconds=8)
    question = Request(part(json.dumps(DIGITS).encode()), path=MENU, gone=gone)
    unfinished = Request(part(b"{", more=True), path=MENU)
    async with receiver:
        with anyio.move_on_after(1) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receiver.asgi, question.scope, question.receive, question.send)
                tasks.start_soon(
                    receiver.asgi, unfinished.scope, unfinished.receive, unfinished.send
                )

    assert scope.cancelled_caught
    assert [message.get("status") for message in question.sent[:1]] == ([] if gone else [200])
    assert gone or b"sorry.wav" in question.sent[1]["body"]
    assert unfinished.sent == []


# -- what cannot be read


@pytest.mark.parametrize(
    ("path", "handlers", "answered"),
    [
        (PATH, "none", False),
        (PATH, "named", False),
        (MENU, "named", True),
        (PATH, "unnamed", True),
        (MENU, "inbound", True),
    ],
)
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<xml/>", 400), (b"[]", 400), (b" " * 65_537, 413), (b"\x1f\x8b", 400), (b"[1]", 400)],
)
async def test_a_question_that_cannot_be_read_gets_the_fallback(
    path: str, handlers: str, answered: bool, body: bytes, status: int
) -> None:
    """Where a caller may wait, an unreadable body is answered with a call flow."""
    receiver = Receiver(TOKEN)
    match handlers:
        case "named":
            receiver.on_input("menu")(lambda event: FLOW)
        case "unnamed":
            receiver.on_input(lambda event: FLOW)
        case "inbound":
            receiver.on_inbound(lambda event: FLOW)
        case _:
            pass
    reply = await post(receiver, body, path=path)

    assert (reply.status, reply.body) == ((200, HANG_UP) if answered else (status, b""))
    assert receiver.counts == Counts(unreadable=1)


async def test_a_question_that_comes_too_slowly_gets_the_fallback() -> None:
    """A body that does not come in time is answered with a call flow where a caller may wait."""
    receiver = Receiver(TOKEN)
    Menu(receiver)

    assert await Request(part(b"{", more=True), path=MENU).to(receiver.asgi) == (200, HANG_UP)


async def test_an_array_holds_several_events() -> None:
    """Each object of an array is an event; one that cannot be read loses none of the others."""
    receiver = Receiver(TOKEN)
    async with receiver:
        received = events_of(receiver)
        records = [record(REQUEST_ID, leg=leg) for leg in "ab"]
        one = await post(receiver, [records[0]])
        two = await post(receiver, [*records, 7, {"status": "hangup", "cmiuuid": LEG}])
        many = await post(receiver, [record(REQUEST_ID)] * 201)

    assert [reply.status for reply in (one, two, many)] == [204, 400, 400]
    assert len(received) == 3
    assert receiver.counts == Counts(accepted=3, duplicates=1, unreadable=2)


@pytest.mark.parametrize("first", [True, False])
async def test_a_question_in_an_array_is_answered(first: bool) -> None:
    """The reply to an array that holds a question is its answer."""
    receiver = Receiver(TOKEN)
    receiver.on_input(lambda event: [Play(f"{event.dtmf}.wav")])
    others = [record(REQUEST_ID), 7]
    async with receiver:
        received = events_of(receiver)
        reply = await post(receiver, [DIGITS, *others] if first else [*others, DIGITS])

    assert (reply.status, b"1.wav" in reply.body) == (200, True)
    assert len(received) == 2


async def test_a_deep_array_is_accepted() -> None:
    """An array of objects that are nested too deep is accepted, not an error."""
    deep = b'[{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}]"

    assert (await post(Receiver(TOKEN), deep)).status == 400


async def test_latin_1_reaches_a_listener_of_a_store(anyio_backend_name: str) -> None:
    """An event in Latin-1 comes back from the store as it was."""
    receiver = Receiver(TOKEN)
    async with receiver:
        body = json.dumps(record(REQUEST_ID) | {"note": "José"}, ensure_ascii=False)
        reply = await post(receiver, body.encode("latin-1"))
        (found,) = await receiver.store.get([REQUEST_ID])

    assert reply.status == 204
    assert found.event.raw["note"] == "José"
