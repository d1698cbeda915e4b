"""The receiver: what it accepts, what it refuses, and what reaches event handlers."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fake_store import REFERENCES, payload, record, signed
from fake_telecmi import FLOW, TO, FakeTelecmi, always
from hypothesis import given
from hypothesis import strategies as st
from webhook_posts import (
    DIGITS,
    INBOUND,
    JSON,
    LEG,
    OLD_TOKEN,
    PATH,
    REQUEST_ID,
    TOKEN,
    events_of,
    post,
)

from telecmi_async import (
    CallService,
    CallStatus,
    ConfigurationError,
    InvalidCall,
    Receiver,
    RetryPolicy,
    StoreError,
)
from telecmi_async._internal.telecmi import REFERENCE_FIELD
from telecmi_async.events import (
    CallRecord,
    DigitsEvent,
    InboundRequest,
    LiveEvent,
    UnknownEvent,
    parse_event,
)
from telecmi_async.events.receiver import Counts
from telecmi_async.events.receiver.receiver import intake_of
from telecmi_async.events.reference import new_reference
from telecmi_async.events.store import MemoryStore
from telecmi_async.http_server import HttpResponse
from telecmi_async.testing import run

if TYPE_CHECKING:
    from telecmi_async.events.store import StoredEvent

pytestmark = pytest.mark.anyio

OTHER_ID = f"{1:043d}"
# Half of its signature is right.
WRONG = {"extra_params": {REFERENCE_FIELD: REFERENCES.sign(new_reference())[:-13] + "a" * 13}}


class BrokenStore(MemoryStore):
    """A store that fails while ``error`` is set."""

    error: Exception | None = StoreError("the store cannot be reached")

    async def put(self, stored: StoredEvent) -> bool:
        """Raise the error, or store the event."""
        if self.error is not None:
            raise self.error
        return await super().put(stored)


async def test_an_event_is_answered_with_204_and_reaches_user_code() -> None:
    """The reply has no body, and the handler receives the event."""
    receiver = Receiver(TOKEN)
    async with receiver:
        received = events_of(receiver)
        reply = await post(receiver, record(REQUEST_ID))
        await anyio.wait_all_tasks_blocked()

    assert reply == HttpResponse(204, (), b"")
    assert [type(event) for event in received] == [CallRecord]
    assert receiver.counts == Counts(accepted=1)
    assert repr(receiver) == "<Receiver 1 events accepted>"


async def test_a_record_reaches_user_code_once() -> None:
    """Each of TeleCMI's four deliveries of a record gets 204; handlers see one."""
    receiver = Receiver(TOKEN)
    async with receiver:
        received = events_of(receiver)
        statuses = []
        for minutes in (0, 5, 10, 15):
            await anyio.sleep(minutes * 60)
            statuses.append((await post(receiver, record(REQUEST_ID))).status)

    assert statuses == [204] * 4
    assert len(received) == 1
    assert receiver.counts == Counts(accepted=1, duplicates=3)


async def test_a_handle_that_waits_wakes() -> None:
    """An event that the receiver accepts ends the wait of its call handle."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver) as service:
        call = await service.make_call(to=TO, pcmo=FLOW)
        await post(receiver, record(call.request_id))

        assert (await call.ended()).answered is True


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/telecmi", 404),
        ("POST", "", 404),
        ("POST", "/", 404),
        ("POST", "?", 404),
        ("POST", "//", 404),
        ("POST", f"{PATH}x", 404),
        ("POST", PATH[:-1], 404),
        ("POST", f"{PATH}/more", 404),
        ("POST", f"/telecmi?{TOKEN}", 404),
        ("POST", f"/telecmi/{TOKEN.upper()}", 404),
        ("POST", "/telecmi/\udcff", 404),
        ("GET", "/telecmi", 404),
        ("GET", PATH, 405),
        ("HEAD", PATH, 405),
        ("OPTIONS", PATH, 405),
        ("PUT", PATH, 405),
    ],
)
async def test_without_a_valid_token_nothing_is_to_be_found(
    method: str, path: str, status: int
) -> None:
    """A wrong token gets 404 with any method; with the right one only POST is allowed."""
    receiver = Receiver(TOKEN)
    reply = await receiver.handle(method, path, JSON, b"{}")

    assert (reply.status, reply.body) == (status, b"")
    assert (("Allow", "POST") in reply.headers) is (status == 405)
    assert receiver.counts == Counts(refused=1)


@pytest.mark.parametrize(
    "path",
    [
        f"/{TOKEN}",
        TOKEN,
        f"{PATH}/",
        f"/{TOKEN}/",
        f"//deep/down//{TOKEN}//",
        f"{PATH}?a=1",
        f"{PATH}/?a=/b/c",
        PATH.replace("~", "%7E").replace("-", "%2d"),
        f"/telecmi/{OLD_TOKEN}",
    ],
)
async def test_the_token_is_the_last_part_of_the_path(path: str) -> None:
    """The last part of the path is the token, with any prefix or escaping; two are valid."""
    receiver = Receiver([TOKEN, OLD_TOKEN])

    assert (await post(receiver, record(REQUEST_ID), path=path)).status == 204


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        ({"Content-Type": ""}, 204),
        ({"Content-Type": "text/plain"}, 204),
        ({"Content-Type": "text/json; charset=latin-1"}, 204),
        ({"Content-Type": "application/vnd.telecmi+json"}, 204),
        ({"Content-Type": "application/octet-stream"}, 204),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 204),
        ({"content-type": "application/json"}, 204),
        ({"Content-Length": "65537"}, 413),
        ({"content-length": "65536"}, 204),
        ({"CONTENT-LENGTH": "nonsense"}, 204),
        ({"Content-Length": "9" * 5000}, 204),
        ({"Content-Length": "٣" * 6}, 204),
    ],
)
async def test_json_is_read_whatever_the_content_type_says(
    headers: dict[str, str], status: int
) -> None:
    """Only a Content-Length above the limit is refused by the headers."""
    reply = await Receiver(TOKEN).handle(
        "POST", PATH, headers, json.dumps(record(REQUEST_ID)).encode()
    )

    assert reply.status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"status":' + b'{"a":' * 30 + b"1" + b"}" * 31, 400),
        (b" " * 65_534 + b"{}", 204),
        (b" " * 65_535 + b"{}", 413),
    ],
)
async def test_what_cannot_be_read_is_refused(
    body: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that cannot be parsed gets 400 and one line in the log; a large one gets 413."""
    receiver = Receiver(TOKEN)
    reply = await post(receiver, body)

    assert (reply.status, reply.body) == (status, b"")
    assert receiver.counts.unreadable == (status != 204)
    assert ("cannot be read" in caplog.text) is (status == 400)


async def test_an_event_of_nobodys_call_waits_for_its_call() -> None:
    """An event that arrives before TeleCMI's reply is kept until its call is known."""
    receiver = Receiver(TOKEN)
    telecmi = FakeTelecmi(delay=10)
    async with receiver, telecmi.service(events=receiver, reference=False) as service:
        received = events_of(receiver)
        call = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(5)
        early = await post(receiver, record(REQUEST_ID))
        before = list(received)
        result = await (await call).ended()
        await anyio.wait_all_tasks_blocked()
        again = await post(receiver, record(REQUEST_ID))

    assert (early.status, again.status) == (204, 204)
    assert before == []
    assert result.answered is True
    assert len(received) == 1
    assert (receiver.counts.unmatched, receiver.counts.duplicates) == (1, 1)


async def test_an_event_of_nobodys_call_is_dropped_after_ten_minutes() -> None:
    """An unmatched event is counted and dropped, and handlers never see it."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver):
        received = events_of(receiver)
        await post(receiver, record(OTHER_ID))
        await anyio.sleep(601)
        await post(receiver, payload("ringing", OTHER_ID))

    assert received == []
    assert receiver.counts == Counts(accepted=2, unmatched=2)
    assert isinstance(receiver.store, MemoryStore)
    assert receiver.store.dropped == 1


async def test_an_event_without_the_id_of_a_request_is_told_at_once() -> None:
    """An event without a request_id reaches handlers at once."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver):
        received = events_of(receiver)
        await post(receiver, payload("in_answered", None, direction="inbound"))
        await post(receiver, payload("answered", None, leg="b", conversation_uuid=LEG))
        await post(receiver, {"status": "something new"})
        await anyio.wait_all_tasks_blocked()

    assert [type(event) for event in received] == [LiveEvent, LiveEvent, UnknownEvent]
    assert receiver.counts == Counts(accepted=3)


async def test_a_receiver_of_its_own_tells_of_everything() -> None:
    """Without a service, every event reaches the handlers."""
    receiver = Receiver(TOKEN)
    received = events_of(receiver)
    async with receiver:
        await post(receiver, record(OTHER_ID))
        await post(receiver, record(OTHER_ID, leg="b") | WRONG)

    assert len(received) == 2


async def test_a_reference_proves_a_call_whose_reply_was_lost() -> None:
    """An unknown call becomes accepted when an event with its reference arrives."""
    receiver = Receiver(TOKEN)
    telecmi = FakeTelecmi(always(lost))
    once = RetryPolicy(attempts=1)
    async with receiver, telecmi.service(events=receiver, retry=once) as service:
        received = events_of(receiver)
        call = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(1)
        before = call.status
        await post(receiver, record(OTHER_ID) | signed(call.reference))
        await anyio.wait_all_tasks_blocked()

        assert (before, call.status) == (CallStatus.UNKNOWN, CallStatus.PROGRESS)
        assert call.request_id == OTHER_ID
        assert len(received) == 1


def lost() -> Exception:
    """Return the error of a lost reply."""
    return httpx.ReadTimeout("slow")


async def test_a_wrong_code_is_no_proof(caplog: pytest.LogCaptureFixture) -> None:
    """An event with a wrong signature is dropped, even if it has a known call's id."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver) as service:
        received = events_of(receiver)
        call = await service.make_call(to=TO, pcmo=FLOW)
        forged = [await post(receiver, record(call.request_id) | WRONG) for _ in range(2)]
        nothing = call.result.over
        genuine = await post(receiver, record(call.request_id) | signed(call.reference))

        assert (await call.ended()).answered is True

    assert [reply.status for reply in (*forged, genuine)] == [204, 204, 204]
    assert nothing is False
    assert len(received) == 1
    assert receiver.counts == Counts(accepted=1, forged=2)
    assert caplog.text.count("a reference with a wrong code") == 1
    assert "aaaaaa" not in caplog.text


def test_a_code_stands_in_no_repr() -> None:
    """The repr of an event hides the signature in any spelling; it may show the reference."""
    reference = new_reference()
    sent = REFERENCES.sign(reference)
    shapes = [
        {REFERENCE_FIELD: sent},
        json.dumps({REFERENCE_FIELD: sent}),
        f"{{{REFERENCE_FIELD}:{sent}}}",
        sent,
    ]
    shown = [repr(parse_event(payload("ringing", None, extra_params=text))) for text in shapes]

    assert [sent.partition(".")[2][:3] in text for text in shown] == [False] * 4
    assert [reference[:20] in text for text in shown] == [True] * 4


async def test_a_receiver_apart_from_the_service_checks_references_with_the_secret() -> None:
    """A web process that places no calls checks references with the account's secret."""
    receiver = Receiver(TOKEN, secret="a-secret")
    received = events_of(receiver)
    reference = new_reference()
    async with receiver:
        await post(receiver, record(OTHER_ID) | WRONG)
        await post(receiver, record(OTHER_ID) | signed(reference))
        found = await receiver.store.get([reference])

    assert len(received) == 1
    assert [stored.matched for stored in found] == [True]


async def test_references_are_checked_when_their_service_is_closed() -> None:
    """References of a closed service are still checked, because its calls go on."""
    receiver = Receiver(TOKEN)
    received = events_of(receiver)
    async with receiver:
        for _ in range(3):
            async with FakeTelecmi().service(events=receiver) as service:
                call = await service.make_call(to=TO, pcmo=FLOW)
        await post(receiver, record(OTHER_ID) | WRONG)
        await post(receiver, record(call.request_id) | signed(call.reference))
        found = await receiver.store.get([call.reference])

    assert [event.request_id for event in received] == [call.request_id]
    assert (receiver.counts.forged, len(found)) == (1, 1)
    assert len(intake_of(receiver)._references) == 1


async def test_two_services_share_a_receiver() -> None:
    """Each service's calls are known by id and by reference; a closed service is forgotten."""
    receiver = Receiver(TOKEN)
    async with receiver, FakeTelecmi().service(events=receiver) as one:
        received = events_of(receiver)
        async with (
            httpx.AsyncClient(transport=FakeTelecmi(lambda _: accepted_as(OTHER_ID))) as client,
            CallService(
                1, "another-secret", from_=TO, http_client=client, events=receiver
            ) as two,
        ):
            first = await one.make_call(to=TO, pcmo=FLOW)
            second = await two.make_call(to=TO, pcmo=FLOW)
            await post(receiver, record(first.request_id) | signed(first.reference))
            await post(receiver, record(second.request_id, cmiuuid=LEG))
            await first.ended()
            await second.ended()
        await post(receiver, record(f"{2:043d}", cmiuuid="another"))
    unmatched = receiver.counts.unmatched
    async with receiver:
        await post(receiver, record(f"{3:043d}", cmiuuid="one more"))

    assert (len(received), unmatched) == (3, 1), "without a service, every event is handled"
    assert receiver.counts == Counts(accepted=4, unmatched=1)


def accepted_as(request_id: str) -> httpx.Response:
    """Return TeleCMI's reply with another id."""
    return httpx.Response(200, json={"code": 200, "request_id": request_id})


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (
            StoreError("the store cannot be reached"),
            "TeleCMI must send them again: the store cannot",
        ),
        (KeyError("a bug"), "error other than StoreError"),
    ],
)
async def test_what_cannot_be_kept_is_asked_for_again(
    error: Exception, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If the store fails, TeleCMI gets 503; the event is handled once it was stored."""
    store = BrokenStore()
    store.error = error
    receiver = Receiver(TOKEN, store=store)
    async with receiver:
        received = events_of(receiver)
        refused = [await post(receiver, record(REQUEST_ID)) for _ in range(2)]
        nothing = list(received)
        store.error = None
        taken = [await post(receiver, record(REQUEST_ID)) for _ in range(2)]
        store.error = error
        await post(receiver, record(REQUEST_ID))

    assert refused == [HttpResponse(503, (("Retry-After", "5"),))] * 2
    assert [reply.status for reply in taken] == [204, 204]
    assert (nothing, len(received)) == ([], 1)
    assert logged in caplog.text
    # A StoreError is logged once while it lasts.
    assert caplog.text.count(logged) == (2 if isinstance(error, StoreError) else 3)
    assert receiver.counts == Counts(accepted=1, duplicates=1, deferred=3)


async def test_a_question_is_answered_though_it_cannot_be_kept() -> None:
    """A question is answered although the store fails, because a caller waits."""
    store = BrokenStore()
    receiver = Receiver(TOKEN, store=store)

    assert (await post(receiver, DIGITS)).status == 200


async def test_a_question_is_an_event_too() -> None:
    """Every question reaches `on_event`."""
    receiver = Receiver(TOKEN)
    async with receiver:
        received = events_of(receiver)
        for question in (INBOUND, DIGITS, DIGITS | {"dtmf": "2"}):
            await post(receiver, question)

    assert [type(event) for event in received] == [InboundRequest, DigitsEvent, DigitsEvent]
    assert receiver.counts == Counts(accepted=3, questions=3)


async def test_a_question_with_a_wrong_code_gets_the_fallback() -> None:
    """A question with a wrong signature gets the fallback, and no handler sees it."""
    receiver = Receiver(TOKEN, secret="a-secret")
    asked = []

    @receiver.on_input
    def menu(event: DigitsEvent) -> list[dict[str, Any]]:
        asked.append(event)
        return FLOW

    async with receiver:
        received = events_of(receiver)
        reply = await post(receiver, DIGITS | WRONG)

    assert reply.body == b'[{"action":"hangup"}]'
    assert (asked, received) == ([], [])


def locals_of(error: BaseException) -> str:
    """Return the local variables of the package's frames in a traceback."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "".join(repr(frame.f_locals) for frame in frames[1:])


def test_tokens_that_can_be_guessed_are_refused() -> None:
    """Weak tokens are refused; the error names `new_token` and does not show the token."""
    for bad in (
        "",
        "short",
        "a" * 21,
        "a" * 22 + "/",
        "a" * 257,
        [],
        None,
        [TOKEN, "short"],
        7,
    ):
        with pytest.raises(ConfigurationError, match=r"new_token\(\)") as caught:
            Receiver(bad)  # type: ignore[arg-type]  # that is the point

        assert "aaaa" not in str(caught.value) + locals_of(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"fallback": [{"action": "nonsense"}]}, InvalidCall, "nonsense"),
        ({"fallback": None}, InvalidCall, "pcmo"),
        ({"secret": ""}, ConfigurationError, "secret"),
        ({"secret": " with bl-anks "}, ConfigurationError, "secret"),
        ({"answer_timeout": 0}, ConfigurationError, "answer_timeout"),
        ({"body_timeout": -1}, ConfigurationError, "body_timeout"),
        ({"shutdown_timeout": 0}, ConfigurationError, "shutdown_timeout"),
        ({"max_pending_events": 0}, ConfigurationError, "max_pending_events"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    """The error names the wrong option, and no frame's locals hold the token."""
    with pytest.raises(error, match=says) as caught:
        Receiver(TOKEN, **options)

    assert TOKEN not in locals_of(caught.value)
    assert "bl-anks" not in locals_of(caught.value)


def test_a_receiver_shows_its_public_face_only() -> None:
    """A receiver has only the public attributes."""
    receiver = Receiver(TOKEN)

    assert [name for name in dir(receiver) if not name.startswith("_")] == [
        "aclose", "asgi", "change_token", "counts", "handle", "hide_in", "on_event", "on_inbound", "on_input",
        "store", "url",
    ]  # fmt: skip


def test_a_receiver_is_not_pickled() -> None:
    """A receiver cannot be pickled, because the pickle would show its tokens."""
    with pytest.raises(TypeError):
        pickle.dumps(Receiver(TOKEN))

    assert TOKEN not in repr(vars(Receiver(TOKEN)))


async def test_no_number_token_digit_or_code_reaches_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Logs show no secret at any level, whatever arrives and whatever handlers raise."""
    caplog.set_level(logging.DEBUG)
    receiver = Receiver(TOKEN, secret="a-secret")
    pin = "86420"

    @receiver.on_event
    def fail(event: object) -> None:
        raise ValueError(f"{event!r} from 19170000001")

    async with receiver:
        for path in (PATH, f"{PATH}?order=42", f"/menu/{TOKEN}"):
            for body in (
                record(REQUEST_ID, to=19170000001, callerid="+1 917 000 0001"),
                record(REQUEST_ID, leg="b") | WRONG,
                DIGITS | {"dtmf": pin, "from": 19170000001},
                INBOUND,
                {"status": "19170000001", "x": 1},
                b"19170000001",
                f'{{"{TOKEN}": 1, "{TOKEN}": 2}}'.encode(),
            ):
                await post(receiver, body, path=path)
        receiver.on_input(lambda event: {}[event.dtmf])
        await post(receiver, DIGITS | {"dtmf": pin})
        await receiver.handle("GET", PATH, {}, b"")
        await anyio.wait_all_tasks_blocked()

    text = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "KeyError: '•••'" in text
    for unwanted in ("9170000001", "0000001", TOKEN, pin, "aaaaaa"):
        assert unwanted not in text


@given(
    method=st.sampled_from(["POST", "GET", ""]) | st.text(),
    path=st.sampled_from([PATH, f"{PATH}?a=%zz"]) | st.text().map(PATH.__add__) | st.text(),
    headers=st.dictionaries(st.text(), st.text()) | st.just(JSON),
    body=st.binary()
    | st.dictionaries(
        st.sampled_from([*record(REQUEST_ID), "dtmf", "action", "extra_params", "ws_status"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_whatever_comes_is_answered(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    """A receiver never raises: any request gets a reply."""
    receiver = Receiver(TOKEN)

    reply = run(lambda: receiver.handle(method, path, headers, body))

    assert reply.status in {200, 204, 400, 404, 405, 413}


NO_IMPORTS = """
import asyncio, json, sys
from telecmi_async import Hangup, Receiver

receiver = Receiver("t" * 30)
headers = {"content-type": "application/json"}
receiver.on_event(lambda event: event.missing)

@receiver.on_input
async def hang_up(event):
    await asyncio.sleep(0)
    return [Hangup()]

receiver.on_inbound(lambda event: [Hangup()])  # in a thread

class Blocker:
    def find_spec(self, name, path=None, target=None):
        raise OSError(24, "Too many open files")

async def main():
    await receiver.handle("POST", "/" + "t" * 30, headers, b'{"status": "started"}')
    sys.meta_path.insert(0, Blocker())
    for body in (
        b'{"dtmf": "1", "cmiuuid": "leg"}',
        b'{"action": "inbound", "cmiuuid": "leg"}',
        b'{"status": "answered", "duration": 1}',
    ):
        reply = await receiver.handle("POST", "/" + "t" * 30, headers, body)
        print(reply.status, reply.body.decode())
    await receiver.aclose()

asyncio.run(main())
"""


def test_nothing_is_imported_once_a_receiver_works() -> None:
    """After its first delivery a receiver answers although no module can be imported any more."""
    done = subprocess.run(
        [sys.executable, "-c", NO_IMPORTS], check=True, capture_output=True, text=True
    )

    assert done.stdout.splitlines() == [*['200 [{"action":"hangup"}]'] * 2, "204 "]
