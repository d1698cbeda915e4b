"""Parsing payloads into events: documented dialects, and anything else."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from project_paths import DATA

from telecmi_async import TelecmiError
from telecmi_async.errors import WebhookError
from telecmi_async.events import (
    CallRecord,
    DigitsEvent,
    Direction,
    Event,
    LiveEvent,
    UnknownEvent,
    parse_event,
)
from telecmi_async.events.payload import MAX_DEPTH, MAX_MEMBERS, MAX_PAYLOAD

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = DATA / "events"
DOCUMENTED: list[dict[str, Any]] = json.loads(
    (EVENTS / "documented.json").read_text(encoding="utf-8")
)
CORPUS = sorted((EVENTS / "corpus").glob("*.bin"))
PAYLOADS = [sample["payload"] for sample in DOCUMENTED]
KEYS = sorted({key for payload in PAYLOADS for key in payload})

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=10,
)


def plain(value: object) -> object:
    """Return a field's value as the samples write it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def parsed(payload: Any) -> Event | None:
    """Parse any payload; only the parser's own error may be raised."""
    refusal = None
    event: Event | None = None
    try:
        event = parse_event(payload)
    except WebhookError as error:
        refusal = str(error)
    if event is None:
        assert refusal
        assert len(refusal) < 200
        return None
    assert type(event) in get_args(Event)
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if isinstance(value, datetime):
            assert value.tzinfo is UTC
    assert len(repr(event)) < 3_000
    assert repr(event).isprintable()
    repr(event).encode()
    json.dumps(event.raw, ensure_ascii=False, allow_nan=False).encode()
    hash(event)
    return event


@pytest.mark.parametrize("sample", DOCUMENTED, ids=lambda sample: sample["name"])
def test_every_documented_dialect_is_read(sample: dict[str, Any]) -> None:
    """Each documented sample becomes the right kind of event with the right values."""
    event = parse_event(json.dumps(sample["payload"]).encode())

    assert type(event).__name__ == sample["kind"]
    assert {name: plain(getattr(event, name)) for name in sample["fields"]} == sample["fields"]


@pytest.mark.parametrize("sample", DOCUMENTED, ids=lambda sample: sample["name"])
def test_bytes_text_and_mapping_say_the_same(sample: dict[str, Any]) -> None:
    """The result is the same for bytes, text and a mapping that a framework decoded."""
    payload = sample["payload"]
    text = json.dumps(payload)

    event = parse_event(text)

    assert event.raw == json.loads(text, object_hook=tuples)
    assert event == parse_event(text.encode()) == parse_event(bytearray(text.encode()))
    assert event == parse_event(payload) == parse_event(MappingProxyType(payload))


def tuples(members: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose arrays are tuples, as they are in ``raw``."""
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in members.items()
    }


@pytest.mark.parametrize("payload", PAYLOADS, ids=[sample["name"] for sample in DOCUMENTED])
def test_an_event_is_a_value(payload: dict[str, Any]) -> None:
    """An event and its payload are immutable; it can be pickled; equal events hash alike."""
    event = parse_event(payload)
    before = copy.deepcopy(payload)

    twin = pickle.loads(pickle.dumps(event))
    payload["to"] = "changed"

    assert twin == event
    assert hash(twin) == hash(event)
    assert event.raw == parse_event(before).raw
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.to = "1"  # type: ignore[misc]  # this is what must not work
    with pytest.raises(TypeError, match="read-only"):
        event.raw["to"] = 1
    assert not hasattr(event, "__dict__")
    payload.clear()
    payload.update(before)


@given(st.sampled_from(PAYLOADS))
def test_a_field_is_read_once(payload: dict[str, Any]) -> None:
    """A field is read when it is first used; then it is the same object every time."""
    event = parse_event(json.dumps(payload))
    values = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}

    assert all(getattr(event, name) is value for name, value in values.items())
    assert type(event)(**values) == event
    assert copy.deepcopy(parse_event(payload)) == event


def test_an_event_has_the_fields_of_its_kind_only() -> None:
    """A payload's key that belongs to another kind of event, or to none, makes no attribute."""
    event = parse_event({"dtmf": "1", "vn": 4471000000, "duration": 3, "order": "42"})

    for name in ("vn", "duration", "status", "order", "_order"):
        assert not hasattr(event, name)
    with pytest.raises(AttributeError, match="'DigitsEvent' object has no attribute 'vn'"):
        event.vn  # type: ignore[union-attr]  # noqa: B018  # this is what must not work


@pytest.mark.parametrize(
    ("members", "read"),
    [
        (r'"a": "\ud800"', "\ufffd"),
        (r'"a": "\uD83D\uDE00"', "\U0001f600"),
        (r'"a": "\\ud800"', r"\ud800"),
        ('"a": "é"', "é"),
        ('"a": "\ud800"', "\ufffd"),
        ('"a": 9223372036854775807', 2**63 - 1),
        ('"a": 9223372036854775808', None),
        ('"a": -9223372036854775809', None),
        ('"a": 1.5', 1.5),
        ('"a": [1, [2]]', (1, (2,))),
        ("".join(f'"{n}": {n}, ' for n in range(MAX_MEMBERS - 1)) + '"a": 1', 1),
        ("".join(f'"{n}": {n}, ' for n in range(MAX_MEMBERS)) + '"a": 1', None),
    ],
)
def test_a_flat_payload_has_the_same_limits(members: str, read: object) -> None:
    """A payload of texts and integers is read in a shorter way, with the same checks."""
    event = parsed(f"{{{members}}}")

    assert (event and event.raw["a"]) == read
    assert event == parsed(json.loads(f"{{{members}}}"))


@given(st.dictionaries(st.text(), st.text() | st.integers()), st.booleans())
def test_a_flat_payload_is_read_as_its_mapping(
    payload: dict[str, Any], ascii_only: bool
) -> None:
    """The shorter way leads to the same event, escaped or not."""
    assert parsed(json.dumps(payload, ensure_ascii=ascii_only)) == parsed(payload)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_is_hostile_is_refused(file: Path) -> None:
    """Of the corpus only the files named ``ok_`` are accepted."""
    event = parsed(file.read_bytes())

    assert (event is not None) is file.stem.startswith("ok_")


@given(st.binary(max_size=300))
def test_bytes_never_make_a_foreign_error(payload: bytes) -> None:
    """Any bytes give an event or a `WebhookError`."""
    parsed(payload)


@given(
    st.sampled_from([json.dumps(payload).encode() for payload in PAYLOADS]),
    st.lists(st.tuples(st.integers(0, 800), st.integers(0, 8), st.binary(max_size=8))),
)
def test_damaged_payloads_never_make_a_foreign_error(
    payload: bytes, damage: list[tuple[int, int, bytes]]
) -> None:
    """A documented payload that was cut and overwritten gives an event or a `WebhookError`."""
    for start, length, patch in damage:
        payload = payload[:start] + patch + payload[start + length :]

    parsed(payload)


@given(st.sampled_from(PAYLOADS), st.dictionaries(st.sampled_from(KEYS), anything, max_size=6))
@example({"status": "answered"}, {"time": float("nan")})
@example({"status": "answered"}, {"time": 99_999_999_999.99999, "duration": "9" * 400})
def test_no_value_makes_a_foreign_error(
    payload: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Any field may have any JSON value; the result is an event or a `WebhookError`."""
    changed = {**payload, **changes}

    event = parsed(changed)
    again = parsed(json.dumps(changed))

    assert event == again


@given(anything | st.sets(st.text()) | st.dictionaries(st.integers(), st.text()) | st.dates())
def test_nothing_that_a_framework_hands_over_makes_a_foreign_error(payload: Any) -> None:
    """Any Python object gives an event or a `WebhookError`."""
    parsed(payload)
    parsed({"status": payload})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * (MAX_PAYLOAD + 1), "larger than 64 KiB"),
        ("{}" + " " * MAX_PAYLOAD, "larger than 64 KiB"),
        ({"extra_params": "x" * MAX_PAYLOAD}, "larger than 64 KiB"),
        ({"k" * (MAX_PAYLOAD + 1): 1}, "larger than 64 KiB"),
        ({"a": {"b": ["x" * 40_000, {"c": "y" * 30_000}]}}, "larger than 64 KiB"),
        (b'"answered"', "must be a JSON object, not a text"),
        ([], "must be a JSON object, not an array"),
        (None, "must be a JSON object, not null"),
        (1.5, "must be a JSON object, not a number"),
        (True, "must be a JSON object, not true or false"),
        (b"\xff", "no JSON: Expecting value"),
        (b"\x1f\x8b\x08 but not packed", "packed, and cannot be unpacked"),
        (zlib.compress(b"{}")[:-1], "packed, and cannot be unpacked"),
        (gzip.compress(b"{}" + b" " * MAX_PAYLOAD, mtime=0), "larger than 64 KiB"),
        (b"&".join(b"a%d=" % n for n in range(201)), "more than 200 fields"),
        (b"{", "no JSON: Expecting property name"),
        (b'{"time":' + b"9" * 5_000 + b"}", "a number that is too long"),
        (b'{"time":9223372036854775808}', "an integer of more than 64 bits"),
        (b'{"time":1e999}', "a number that is not finite"),
        (b'{"time":Infinity}', "Infinity, which is no JSON"),
        ({1: 2}, "a key that is no text: 1"),
        ({"to": {1}}, "a value of type set, which is no JSON"),
        (b"[" * 60_000, "nested more than 20 deep"),
    ],
    ids=str,
)
def test_a_refusal_says_why(payload: Any, reason: str) -> None:
    """Every refusal gives its reason, and shows no full phone number."""
    with pytest.raises(WebhookError) as caught:
        parse_event(payload)

    assert reason in str(caught.value)
    assert "19170000001" not in str(caught.value)
    assert isinstance(caught.value, TelecmiError | ValueError)
    assert caught.value.__cause__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def nested(depth: int, *, arrays: bool) -> dict[str, Any]:
    """Return a payload with this many levels."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value] if arrays else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("arrays", [True, False])
def test_depth_is_bounded(arrays: bool) -> None:
    """Twenty levels are accepted, twenty-one are refused, in a mapping and in text."""
    deepest, too_deep = nested(MAX_DEPTH, arrays=arrays), nested(MAX_DEPTH + 1, arrays=arrays)

    assert parse_event(deepest) == parse_event(json.dumps(deepest))
    for payload in (too_deep, json.dumps(too_deep)):
        with pytest.raises(WebhookError, match="nested more than 20 deep"):
            parse_event(payload)


def test_members_are_bounded() -> None:
    """Two hundred keys and items are accepted, and one more is refused."""
    keys = {str(n): n for n in range(MAX_MEMBERS - 3)}

    assert parse_event({**keys, "list": [1, 2]}).raw["list"] == (1, 2)
    with pytest.raises(WebhookError, match="more than 200 keys and items"):
        parse_event({**keys, "list": [1, 2, 3]})


def test_size_is_bounded() -> None:
    """A payload of exactly 64 KiB is accepted."""
    assert parse_event(b"{}".ljust(MAX_PAYLOAD)) == parse_event({})


def test_integers_of_64_bits_are_kept() -> None:
    """The largest and the smallest integer of 64 bits are accepted."""
    raw = {"most": 2**63 - 1, "least": -(2**63)}

    assert parse_event(json.dumps(raw)).raw == raw


def test_half_a_character_can_be_encoded() -> None:
    """A lone surrogate, which files and databases refuse, becomes a replacement character."""
    event = parse_event('{"status": "\\ud83d!", "fil\\udc00": "\\u00e9"}')

    assert event.raw == {"status": "\ufffd!", "fil\ufffd": "é"}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (19170000001, "19170000001"),
        ("19170000001", "19170000001"),
        ("+1 (917) 000-0001", "19170000001"),
        ("04471000000", "04471000000"),
        (19170000001.0, "19170000001"),
        # Dashes are left out wherever they stand.
        (-19170000001, "19170000001"),
        ("-19170000001", "19170000001"),
        (-1, "1"),
        (0, "0"),
        (" agent_101 ", "agent_101"),
        ("anonymous", "anonymous"),
        ("+\u0661\u0663", "+\u0661\u0663"),
        ("", None),
        (" ", None),
        (1.5, None),
        (False, None),
        (None, None),
    ],
)
def test_numbers_are_digits_as_text(sent: Any, read: str | None) -> None:
    """A phone number is read from any type as digits, and leading zeros stay."""
    assert parse_event({"to": sent}).to == read


@given(st.datetimes(datetime(1973, 6, 1), datetime(2200, 1, 1)))  # noqa: DTZ001  # made aware below
def test_a_time_is_read_from_seconds_and_milliseconds(time: datetime) -> None:
    """Seconds and milliseconds, as a number or as text, give the same aware time."""
    time = time.replace(microsecond=0, tzinfo=UTC)
    seconds = int(time.timestamp())

    found = {
        parse_event({"time": sent}).time
        for sent in (seconds, str(seconds), seconds * 1000, str(seconds * 1000), seconds + 0.0)
    }

    assert found == {time}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (1, "1970-01-01T00:00:01"),
        (0.5, "1970-01-01T00:00:00.500000"),
        (1632318510.25, "2021-09-22T13:48:30.250000"),
        (10**11 - 1, "5138-11-16T09:46:39"),
        (10**11, "1973-03-03T09:46:40"),
        (1632318510250, "2021-09-22T13:48:30.250000"),
        (10**14 - 1000, "5138-11-16T09:46:39"),
    ],
)
def test_the_size_of_a_time_says_its_unit(sent: float, read: str) -> None:
    """Less than 10**11 are seconds, and from there on milliseconds, with their fractions."""
    assert parse_event({"time": sent}).time == datetime.fromisoformat(read).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "sent",
    [
        "2021-09-22T13:48:48Z",
        "2021-09-22T13:48:48.000+00:00",
        "2021-09-22T19:18:48+05:30",
        "2021-09-22 19:18:48 +0530",
        "2021-09-22 13:48:48",
        " 20210922T134848Z ",
        "1632318528.0",
        1632318528.0,
        "1632318528000.0",
    ],
)
def test_a_time_is_read_from_iso_8601_and_decimals(sent: object) -> None:
    """ISO 8601 is read in its common forms; without an offset it is UTC."""
    assert parse_event({"time": sent}).time == datetime(2021, 9, 22, 13, 48, 48, tzinfo=UTC)


@pytest.mark.parametrize(
    "sent",
    ["0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00", "2021-13-01", "22/09/2021", "13:48"],
)
def test_a_text_that_is_no_time_is_none(sent: str) -> None:
    """A text that is no time of ISO 8601, or none that UTC has, becomes None."""
    assert parse_event({"time": sent}).time is None


@pytest.mark.parametrize("sent", [0, -1, 10**14, 2**62, 1e300, "", "soon", True, [], "1e9"])
def test_a_time_that_makes_no_sense_is_none(sent: Any) -> None:
    """An invalid, zero, negative or very large time becomes None."""
    event = parse_event({"time": sent})

    assert event.time is None
    assert event.raw == {"time": tuple(sent) if sent == [] else sent}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("76.349024", Decimal("76.349024")),
        ("0.450000", Decimal("0.450000")),
        (0, Decimal(0)),
        (0.39, Decimal("0.39")),
        (1135.14, Decimal("1135.14")),
        ("-3.5", Decimal("-3.5")),
        (f"{'9' * 18}.{'9' * 18}", Decimal(f"{'9' * 18}.{'9' * 18}")),
        (f"{'9' * 19}.0", None),
        (f"0.{'1' * 19}", None),
        ("0.1", Decimal("0.1")),
        ("1.", None),
        (".5", None),
        ("NaN", None),
        ("1e9", None),
        (5e-324, None),
        ("", None),
        ([], None),
        (True, None),
    ],
)
def test_money_is_exact(sent: Any, read: Decimal | None) -> None:
    """Money is read from text and numbers as an exact decimal."""
    event = parse_event({"type": "cdr", "balance": sent, "rate": sent})

    assert isinstance(event, CallRecord)
    assert (event.balance, event.call_rate) == (read, read)
    assert str(event.balance) == str(read)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"key": "value"}, {"key": "value"}),
        ('{"key":"value"}', {"key": "value"}),
        (' {"key": {"deep": [1]}}', {"key": {"deep": (1,)}}),
        ("{}", {}),
        ("{key: value}", "{key: value}"),
        ("{ 'Name': 'Akil', 'ID':8915726 }", "{ 'Name': 'Akil', 'ID':8915726 }"),
        ('{"a":1,"a":2}', {"a": 2}),
        ("[1]", "[1]"),
        ("order 42", "order 42"),
        ("", ""),
        ([1], None),
        (7, None),
        (None, None),
    ],
)
def test_extra_params_come_back(sent: Any, read: Any) -> None:
    """``extra_params`` are read as an object or as JSON; other text is kept as it is."""
    assert parse_event({"extra_params": sent}).extra_params == read


@pytest.mark.parametrize(
    ("payload", "direction"),
    [
        ({"direction": "Outbound", "status": "in_answered"}, Direction.OUTBOUND),
        ({"status": "OUT_STARTED"}, Direction.OUTBOUND),
        ({"status": "in_hangup"}, Direction.INBOUND),
        ({"status": "hangup"}, None),
        ({"direction": "up"}, None),
    ],
)
def test_the_direction_is_said_or_told_by_the_status(
    payload: dict[str, Any], direction: Direction | None
) -> None:
    """The direction comes from its field first, then from the status's prefix."""
    assert parse_event(payload).direction is direction


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (13, 13), ("13", 13), (13.0, 13), ("013", 13), (0, 0), ("9" * 18, 10**18 - 1),
        (10**18 - 1, 10**18 - 1), (10**18, None),
        ("13.0", 13), (13.9, 13), ("13.9", 13), (" 13. ", 13), ("00:13", 13), ("00:00:13", 13),
        ("01:02:03", 3723), ("1:02:03.4", 3723), ("75:00", 4500),
        (-1, None), ("-1", None), (-0.5, None), (1e300, None), ("9" * 19, None),
        ("9" * 5_000, None), ("\u0661\u0663", None), ("1:2:3:4", None), ("00:13:", None),
        (":13", None), ("1,5", None), ([13], None), (True, None),
    ],
)  # fmt: skip
def test_seconds_are_counted(sent: Any, read: int | None) -> None:
    """A duration is whole seconds, from a number, its text, or a clock."""
    event = parse_event({"type": "cdr", "duration": sent})

    assert isinstance(event, CallRecord)
    assert event.duration == read


def test_the_leg_is_named_in_lower_case() -> None:
    """Legs are lower-case letters without blanks; an empty one is None."""
    assert [parse_event({"leg": leg}).leg for leg in ("A", "b", " c ", "")] == [
        "a", "b", "c", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("appid", "appid"), ("app_id", "appid"), ("from", "from_"), ("to", "to"),
        ("cmiuuid", "cmiuuid"), ("cmuuid", "cmiuuid"), ("cmiuid", "cmiuuid"), ("leg", "leg"),
        ("request_id", "request_id"), ("conversation_uuid", "conversation_uuid"),
        ("callerid", "callerid"), ("vn", "vn"), ("duration", "duration"),
        ("call_rate", "call_rate"), ("rate", "call_rate"), ("balance", "balance"),
        ("hangup_reason", "hangup_reason"), ("filename", "filename"),
    ],
)  # fmt: skip
def test_each_name_of_a_field_is_read(key: str, field: str) -> None:
    """Every field is read from every name that TeleCMI has for it, and from no other."""
    event = parse_event({"type": "cdr", "hangup_reason": "", key: "12"})

    fields = {each.name: getattr(event, each.name) for each in attrs.fields(CallRecord)}
    found = {name for name, value in fields.items() if value not in {None, event.raw}}

    assert found - {"status"} == {field}
    assert str(fields[field]) == "12"


def test_a_right_name_counts_before_a_wrong_one() -> None:
    """When an id appears under two names, the documented name counts."""
    payload = {"cmuuid": "wrong", "cmiuuid": "right", "app_id": 1, "appid": 2}

    event = parse_event(payload)

    assert (event.cmiuuid, event.appid) == ("right", 2)


def test_an_answer_before_the_end_is_needed_to_count_from() -> None:
    """If the answer is after the end, the talk time is the record's duration."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    record = CallRecord(
        raw=parse_event({}).raw,
        status="answered",
        answer_time=start,
        end_time=start - timedelta(seconds=5),
        duration=7,
    )

    assert record.talk_seconds == 7
    assert attrs.evolve(record, end_time=start).talk_seconds == 0
    assert attrs.evolve(record, end_time=None).talk_seconds == 7


def test_a_repr_hides_what_no_log_may_hold() -> None:
    """A repr masks phone numbers everywhere, and leaves out pressed keys and the payload."""
    payload = {
        "from": 919100000000,
        "to": "sip:919100000001@example.com",
        "callerid": "04471000000",
        "vn": 4471000000,
        "extra_params": {"phone": "+91 91000 00002", "pad": "x" * 200},
        "time": 1632318510000,
        "request_id": "Zt4Qm8Kx2Lp9Wr6Yb3Nc7Vd1Fg5Hj0Sa4Te8Ui2Ko6P",
        "cmiuuid": "919100000003",
        "leg": "a",
        "hangup_reason": "no route\nto 919100000004",
        "filename": "1632307235000-919100000005-recording",
        "balance": "12.50",
        "status": "answered",
        "duration": 3,
    }

    shown = repr(parse_event(payload))

    assert shown == (
        'CallRecord(from_=••••••••0000, to="sip:••••••••0001@example.com", '
        'time=2021-09-22T13:48:30+00:00, cmiuuid="••••••••0003", leg="a", '
        "request_id=Zt4Qm8Kx2Lp9Wr6Yb3Nc7Vd1Fg5Hj0Sa4Te8Ui2Ko6P, "
        "extra_params={'phone': '+••••••••0002', 'pad': '" + "x" * 65 + "…, "
        'status="answered", callerid=•••••••0000, vn=••••••0000, duration=3, balance=12.50, '
        'hangup_reason="no route\\nto \\u2022\\u2022\\u2022\\u2022\\u2022\\u2022\\u2022\\u20220004", '
        'filename="•••••••••5000-••••••••0005-recording")'
    )
    assert str(parse_event({"dtmf": "4711"})) == "DigitsEvent()"
    assert isinstance(parse_event({"dtmf": "4711"}), DigitsEvent)
    assert "9100000000" not in repr(parse_event({"19100000000": "19100000000"}))


@given(st.sampled_from(PAYLOADS))
def test_a_repr_holds_no_whole_number(payload: dict[str, Any]) -> None:
    """No repr shows a full phone number of the samples."""
    shown = repr(parse_event(payload))

    assert not [
        payload[key]
        for key in ("from", "to", "callerid", "vn")
        if key in payload and str(payload[key]) in shown and payload[key] not in ([], {})
    ]


@pytest.mark.parametrize("name", ["in_", "out_", "In-", "OUT "])
def test_a_status_is_read_however_it_is_written(name: str) -> None:
    """A status is read in any case, and with blanks or dashes."""
    live = parse_event({"status": f" {name}Answered"})
    record = parse_event({"status": f"{name}Missed "})
    unknown = parse_event({"status": f"{name}transit"})

    assert isinstance(live, LiveEvent)
    assert live.status == "answered"
    assert isinstance(record, CallRecord)
    assert record.status == "missed"
    assert isinstance(unknown, UnknownEvent)


FIELDS = {"status": "answered", "cmiuuid": "leg-a", "duration": 13, "to": "19170000001"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": "missed", "cmiuuid": "leg-a", "status": "answered", "duration": 13, "to": 19170000001}',
        gzip.compress(json.dumps(FIELDS).encode(), mtime=0),
        zlib.compress(json.dumps(FIELDS).encode(), 1),
        bytearray(gzip.compress(b"\xef\xbb\xbf" + json.dumps(FIELDS).encode(), mtime=0)),
        b"status=answered&cmiuuid=leg-a&duration=13&to=%2B19170000001",
        b"payload=" + quote(json.dumps(FIELDS)).encode(),
        json.dumps(json.dumps(FIELDS)).encode(),
        gzip.compress(
            b"status=no&status=answered&cmiuuid=leg-a&duration=13.0&to=19170000001\r\n"
        ),
    ],
    ids=["repeated", "gzip", "zlib", "bytearray", "form", "field", "text", "packed form"],
)
def test_the_bytes_decide_what_they_are(body: bytes) -> None:
    """JSON, a form, what is packed, and JSON inside a text or a form's field become one event."""
    event = parse_event(body)

    assert isinstance(event, CallRecord)
    assert (event.status, event.cmiuuid, event.duration, event.to) == (
        "answered", "leg-a", 13, "19170000001",
    )  # fmt: skip


def test_what_is_no_utf_8_is_latin_1() -> None:
    """A body in Latin-1 is read, packed or not."""
    body = '{"status": "started", "extra_params": "José ½"}'.encode("latin-1")

    assert (
        parse_event(body).extra_params == parse_event(gzip.compress(body, mtime=0)).extra_params
    )
    assert parse_event(body).extra_params == "José ½"


def test_half_a_character_inside_a_form_becomes_whole() -> None:
    """Text that no encoding has does not pass, however deep it is packed."""
    event = parse_event(b"payload=%7B%22status%22%3A%22%5Cud800%22%7D")

    assert event.raw == {"status": "\ufffd"}


@pytest.mark.parametrize("field", ["answeredsec", "waitedsec", "filename", "hangup_reason"])
def test_a_record_without_a_type_is_known_by_its_fields(field: str) -> None:
    """A field that only records have makes one of what would be a live event."""
    event = parse_event({"status": "answered", "cmiuuid": "leg-a", field: "12"})

    assert isinstance(event, CallRecord)
    assert event.answered is True
    assert event.duration == (12 if field == "answeredsec" else None)


@pytest.mark.parametrize(
    "status",
    ["rejected", "cancelled", "Canceled", "noanswer", "No Answer", "unanswered", "voicemail",
     "not-answered", "declined", "UNREACHABLE", "out_rejected", "in_voicemail"],
)  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"type": "cdr"}, {"duration": 7}])
def test_what_is_no_answer_is_none(status: str, more: dict[str, Any]) -> None:
    """A leg that was rejected, cancelled or taken by a mailbox was not answered; it is over."""
    event = parse_event({"status": status, "cmiuuid": "leg-a"} | more)

    assert isinstance(event, CallRecord)
    assert (event.answered, event.talk_seconds) == (False, 0)
