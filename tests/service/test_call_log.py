"""Call log: what became of each call can be read from the log alone."""

from __future__ import annotations

import gc
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from project_paths import docs_page

from telecmi_async import (
    Bridge,
    CallOutcomeUnknown,
    CallRejected,
    CallService,
    InvalidCall,
    Pstn,
    RateLimit,
    Receiver,
    RetryPolicy,
    Speak,
    TelecmiError,
)
from telecmi_async.simulator import MAGIC, SimulatedCall, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.anyio

PAGE = docs_page("logging.md")
TOKEN = "t" * 43
FROM = 19170000000
FLOW = [Speak("Hello.")]
NUMBER = 919170000000


class Log(logging.Handler):
    """Keeps what is logged, as records and as text."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))

    def facts(self, *events: str) -> list[dict[str, Any]]:
        """Return the fields of the lines about calls, without the prefix of their names."""
        named = [
            {
                name.removeprefix("telecmi_"): value
                for name, value in vars(record).items()
                if name.startswith("telecmi_")
            }
            for record in self.records
        ]
        wanted = {f"call.{event}" for event in events}
        return [facts for facts in named if facts.get("event") in wanted]


@pytest.fixture
def log() -> Iterator[Log]:
    """The log at level INFO."""
    logger = logging.getLogger("telecmi_async")
    handler = Log()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def code_of_page(words: str) -> dict[str, Any]:
    """Run the code of the page that has these words, up to its first statement on the log itself."""
    blocks = PAGE.read_text(encoding="utf-8").split("```python\n")[1:]
    (code,) = (block.split("```")[0] for block in blocks if words in block)
    namespace: dict[str, Any] = {}
    exec(compile(code.partition("\nhandler = ")[0], str(PAGE), "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def read_fates() -> Callable[[list[str]], dict[str, dict[str, Any]]]:
    """The program of the page that reads a log."""
    found: Callable[[list[str]], dict[str, dict[str, Any]]]
    found = code_of_page("def read_fates")["read_fates"]
    return found


def check_fate(fate: Mapping[str, Any], to: int, simulator: Simulator) -> None:
    """Compare a fate in the log with what the simulator knows of the number."""
    calls = [call for call in simulator.calls if call.to == to]
    if not calls:
        assert fate["outcome"] in {"rejected", "unknown"}
        assert "stage" not in fate
        return
    assert fate["outcome"] in {"accepted", "unknown"}
    call = next(call for call in calls if call.request_id == fate["id"])
    known = fate["stage"], fate["talk_seconds"], fate["cost"]
    assert known == (stage_of(call), call.talk_seconds, call.cost)


def stage_of(call: SimulatedCall) -> str:
    """Return the stage that the records of an ended call lead to."""
    return "completed" if call.answered else "missed"


@pytest.mark.parametrize("keep_handles", [True, False], ids=["handles", "no handles"])
async def test_the_log_tells_the_fate_of_every_magic_number(
    log: Log,
    read_fates: Callable[[list[str]], dict[str, dict[str, Any]]],
    keep_handles: bool,
) -> None:
    """What a program reads from the log at INFO is what the simulator did, for each number."""
    simulator = Simulator(keep=None, seed=5)
    numbers = {digits: 91_91700_00000 + int(digits) for digits in MAGIC}
    references: dict[str, int] = {}

    async def dial(service: CallService, to: int) -> None:
        handle = service.make_call(to=to, pcmo=FLOW)
        references[handle.reference] = to
        try:
            await handle
            if keep_handles:
                await handle.ended(timeout=4000)
        except TelecmiError:
            pass
        if keep_handles:
            await anyio.sleep(4000)  # an event may still prove that it was placed
        del handle

    receiver = Receiver(TOKEN)
    async with simulator.service(
        events=receiver, from_=FROM, timeout=5, retry=RetryPolicy(attempts=3)
    ) as service:
        async with anyio.create_task_group() as tasks:
            for to in numbers.values():
                tasks.start_soon(dial, service, to)
        gc.collect()
        await anyio.sleep(8000)

    fates = read_fates(log.lines)

    assert fates.keys() == references.keys()
    for reference, to in references.items():
        check_fate(fates[reference], to, simulator)
    outcomes = Counter(fate["outcome"] for fate in fates.values())
    # Without a handle a lost reply is not replaced; the records say all the same what it became.
    lost = 1 if keep_handles else 6
    assert outcomes == {"accepted": 19 - lost, "rejected": 4, "unknown": lost}
    text = "\n".join(log.lines)
    assert simulator.secret not in text
    assert not any(str(to) in text for to in (*numbers.values(), FROM))


async def test_all_facts_are_fields_that_a_json_formatter_can_write(log: Log) -> None:
    """Each line about a call has its facts as fields of plain JSON types and of documented names."""
    logging.getLogger("telecmi_async").setLevel(logging.DEBUG)
    simulator = Simulator(seed=1)
    async with simulator.service(events=Receiver(TOKEN), from_=FROM) as service:
        accepted = await service.make_call(
            to=919170009900, pcmo=[Bridge([Pstn(919170000002)], timeout=20)]
        )
        await accepted.ended()
        with pytest.raises(CallRejected):
            await service.make_call(to=919170009932, pcmo=FLOW)
        followed = service.handle_for("an-earlier-call")

    (placed,) = log.facts("accepted")
    last = log.facts("ended")[-1]
    (refused,) = log.facts("rejected")
    events = log.facts("event")
    page = docs_page("log-lines.md").read_text(encoding="utf-8")
    formatter = code_of_page("class JsonLines")["JsonLines"]()

    assert placed["request_id"] == last["request_id"] == accepted.request_id
    assert placed["reference"] == last["reference"] == accepted.reference
    assert (placed["to"], placed["status"], placed["attempts"]) == (
        "•" * 8 + "9900",
        "progress",
        1,
    )
    assert (placed["http_status"], placed["region"]) == (200, "india")
    result = accepted.result
    assert (last["talk_seconds"], last["cost"]) == (result.talk_seconds, str(result.cost))
    assert (last["answered"], last["legs"], last["records_complete"]) == (True, 2, True)
    assert (refused["error"], refused["code"]) == ("MissingProperty", 422)
    assert refused["safe_to_redial"] is True
    assert {event["leg"] for event in events} == {"a", "b"}
    assert {event["cmiuuid"] for event in events} == {leg.cmiuuid for leg in result.legs}
    assert {event["conversation_uuid"] for event in events} == {
        event.conversation_uuid for event in accepted._call.events
    }
    assert log.facts("attached")[0]["reference"] == followed.reference
    for record in log.records:
        facts = {name: value for name, value in vars(record).items() if "telecmi_" in name}
        assert json.loads(formatter.format(record)).items() >= facts.items()
        assert all(f"`{name}`" in page for name in facts)
        assert f"`{facts['telecmi_event']}`" in page


async def test_the_end_is_logged_again_when_its_cost_grows(log: Log) -> None:
    """The last line about a call's end has its whole cost, the bridged leg's included."""
    simulator = Simulator(
        seed=1, webhooks=Webhooks(dialect="mixed", double_share=0.5, delay=(0, 90))
    )
    async with simulator.service(events=Receiver(TOKEN), from_=FROM) as service:
        handles = [
            await service.make_call(
                to=NUMBER + n, pcmo=[Bridge([Pstn(919170000002)], timeout=20)]
            )
            for n in range(20)
        ]
        await anyio.sleep(4000)

    lines = log.facts("ended")
    costs = {facts["reference"]: facts["cost"] for facts in lines if "cost" in facts}

    assert costs == {
        handle.reference: f"{simulator.call(handle.request_id).cost.normalize():f}"
        for handle in handles
    }
    for handle in handles:
        of_one = [facts for facts in lines if facts["reference"] == handle.reference]
        assert len({json.dumps(facts, sort_keys=True) for facts in of_one}) == len(of_one)


async def test_a_row_that_is_invalid_or_cancelled_leaves_a_line(log: Log) -> None:
    """Rows that cannot be read, and calls that are cancelled, have lines of their own."""
    simulator = Simulator()
    async with simulator.service(from_=FROM, rate=RateLimit(1)) as service:
        rows: list[dict[str, object]] = [
            {"to": "12", "pcmo": FLOW},
            {"to": NUMBER, "pcmo": FLOW},
        ]
        handles = [handle async for handle in service.make_calls(rows)]
        queued = service.make_call(to=NUMBER + 1, pcmo=FLOW)
        assert queued.cancel()

    assert {handle.reference for handle in handles} == {
        facts["reference"] for facts in log.facts("invalid", "accepted")
    }
    (invalid,), (cancelled,) = log.facts("invalid"), log.facts("cancelled")
    assert (invalid["error"], invalid["attempts"]) == (InvalidCall.__name__, 0)
    assert "to" not in invalid
    assert cancelled["reference"] == queued.reference


async def test_an_unknown_outcome_is_a_warning_without_any_setup(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the default level an awaited unknown outcome leaves one line, an accepted call none."""
    async with Simulator(life=None).service(from_=FROM) as service:
        await service.make_call(to=NUMBER, pcmo=FLOW)
        with pytest.raises(CallOutcomeUnknown):
            await service.make_call(to=919170009920, pcmo=FLOW)

    (record,) = caplog.records
    assert (record.levelno, vars(record)["telecmi_event"]) == (logging.WARNING, "call.unknown")


async def test_a_log_that_fails_changes_no_outcome(log: Log) -> None:
    """A filter that raises, and a record factory with names like ours, harm no call."""

    def broken(_: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    plain = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = plain(*args, **kwargs)
        record.request_id = record.status = record.to = record.event = "theirs"
        return record

    logger = logging.getLogger("telecmi_async")
    async with Simulator().service(events=Receiver(TOKEN), from_=FROM) as service:
        logger.addFilter(broken)
        try:
            silent = await service.make_call(to=NUMBER, pcmo=FLOW)
            await silent.ended()
            with pytest.raises(CallRejected):
                await service.make_call(to=919170009932, pcmo=FLOW)
        finally:
            logger.removeFilter(broken)
        logging.setLogRecordFactory(factory)
        try:
            logged = await service.make_call(to=NUMBER + 1, pcmo=FLOW)
        finally:
            logging.setLogRecordFactory(plain)

    assert [facts["request_id"] for facts in log.facts("accepted")] == [logged.request_id]
    assert vars(log.records[-1])["request_id"] == "theirs"


async def test_a_line_is_made_only_if_its_level_is_enabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the default level no line is put together for a call that goes well."""

    def made(*_: object, **__: object) -> None:
        raise AssertionError("a line was made")

    for name in ("_write", "_said", "_event", "_end", "_attempt"):
        monkeypatch.setattr(f"telecmi_async.calls.log.{name}", made)
    monkeypatch.setattr("telecmi_async.calls.log.suppress", lambda _: monkeypatch.context())
    async with Simulator().service(events=Receiver(TOKEN), from_=FROM) as service:
        handle = await service.make_call(to=NUMBER, pcmo=FLOW)
        await handle.ended()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("919876543210", "•" * 8 + "3210"),
        ("id\x1b[31m\nforged", "id[31mforged"),
        ("x" * 300, "x" * 64),
        ("6f0c2c9e-8f4e-4f0e-9d2b-000000000001",) * 2,
    ],
)
async def test_ids_of_forged_events_disturb_no_log(log: Log, given: str, kept: str) -> None:
    """An id of an event is shown as it is if it can be an id; else masked, cut, on one line."""
    logging.getLogger("telecmi_async").setLevel(logging.DEBUG)
    receiver = Receiver(TOKEN)
    async with Simulator(life=None).service(events=receiver, from_=FROM) as service:
        handle = await service.make_call(to=NUMBER, pcmo=FLOW)
        body = {
            "status": "hangup",
            "request_id": handle.request_id,
            "cmiuuid": given,
            "leg": "a",
        }
        await receiver.handle(
            "POST", f"/{TOKEN}", {"content-type": "application/json"}, json.dumps(body).encode()
        )
        await anyio.sleep(1)

    (event,) = log.facts("event")
    assert event["cmiuuid"] == kept
    assert not any("\n" in line or "\x1b" in line for line in log.lines)


async def test_what_is_remembered_of_logged_events_is_bounded(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of calls without handles are logged, however few of them are remembered."""
    monkeypatch.setattr("telecmi_async.service.tracker._MOST_PLACED", 3)
    simulator = Simulator(life="immediate")
    async with simulator.service(events=Receiver(TOKEN), from_=FROM) as service:
        for n in range(5):
            await service.make_call(to=NUMBER + n, pcmo=FLOW)
        await anyio.sleep(100)
        tracker = service._parts.tracker
        assert tracker is not None
        assert len(tracker._logged) == 3

    assert len(log.facts("accepted")) == 5


async def test_a_stream_shows_how_far_it_is() -> None:
    """The repr of a stream counts what is settled, by outcome, and says when it has ended."""
    async with Simulator(life=None).service(from_=FROM) as service:
        rows: list[dict[str, object]] = [{"to": "12"}, {"to": NUMBER, "pcmo": FLOW}]
        stream = service.make_calls(rows)
        before = repr(stream)
        async for _ in stream:
            pass

    assert before == "<CallStream 0 of 0 settled>"
    assert repr(stream) == "<CallStream 2 of 2 settled, 1 accepted, 1 invalid, ended>"
