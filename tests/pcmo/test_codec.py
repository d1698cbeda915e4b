"""Wire format: the documented requests, the vendor's own actions, and replies."""

from __future__ import annotations

import json
import sys
from collections import deque
from types import MappingProxyType
from typing import Any

import pytest
from call_strategies import actions, known_actions, numbers, requests
from hypothesis import given
from hypothesis import strategies as st
from project_paths import DATA

from telecmi_async._internal.json_text import decode_json
from telecmi_async.calls.encoding import encode_request
from telecmi_async.calls.request import CallRequest
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import (
    Action,
    Bridge,
    Connect,
    Hangup,
    Play,
    Pstn,
    Raw,
    Sip,
    Speak,
    Stream,
)
from telecmi_async.pcmo.actions import ACTIONS
from telecmi_async.pcmo.codec import (
    check_names,
    dump_pcmo,
    encode_pcmo,
    load_cattrs,
    parse_pcmo,
)
from telecmi_async.wire.credentials import Credentials

CREDENTIALS = Credentials(2222226, "xxxx-xxxx-xxxx-xxxx")


def load(name: str) -> Any:
    """Return the contents of a sample file."""
    return json.loads((DATA / name).read_text("utf-8"))


def typed(value: Any) -> Any:
    """Return a value whose equality also compares the order of keys and all types."""
    match value:
        case dict():
            return [(key, typed(item)) for key, item in value.items()]
        case list():
            return [typed(item) for item in value]
        case _:
            return type(value).__name__, value


# --- the documented requests ------------------------------------------------------------


def test_the_global_sample_is_sent_as_documented() -> None:
    """The body has the sample's keys and types in the same order."""
    request = CallRequest(
        from_="+1 917 000 0000",
        to="+1 917 000 0001",
        extra_params={"key": "value"},
        pcmo=[Bridge([Pstn(19170000002)], from_=19170000000, timeout=20, duration=300, loop=2)],
    )

    sent = encode_request(request, CREDENTIALS, from_=19170000000)

    assert typed(json.loads(sent)) == typed(load("documented_request.json"))


def test_the_indian_sample_is_sent_as_documented() -> None:
    """The body has the sample's keys and types in the same order."""
    request = CallRequest(
        from_=919800000000,
        to=919700000000,
        extra_params={"order_id": "ORD12345"},
        pcmo=[Bridge([919600000000], from_=919800000000, timeout=15, duration=180, loop=3)],
    )

    sent = encode_request(request, CREDENTIALS, from_=919800000000)

    assert typed(json.loads(sent)) == typed(load("documented_request_india.json"))


@pytest.mark.parametrize("name", ["documented_request.json", "documented_request_india.json"])
def test_a_documented_request_parses_and_encodes_alike(name: str) -> None:
    """The samples' JSON parses as a call and is encoded unchanged."""
    sample = load(name)
    fields = {key: sample[key] for key in sample if key not in {"appid", "secret"}}

    sent = encode_request(CallRequest.parse(fields), CREDENTIALS, from_=fields["from"])

    assert typed(json.loads(sent)) == typed(sample)


def test_nothing_is_sent_that_was_not_given() -> None:
    """Without options the body has the five required keys only."""
    request = CallRequest(to=19170000001, pcmo=[Hangup()])

    sent = encode_request(request, CREDENTIALS, from_=19170000000)

    assert typed(json.loads(sent)) == typed(
        {
            "appid": 2222226,
            "secret": "xxxx-xxxx-xxxx-xxxx",
            "from": 19170000000,
            "to": 19170000001,
            "pcmo": [{"action": "hangup"}],
        }
    )


def test_a_duration_is_sent_when_given() -> None:
    """The duration is the last key, because the vendor's pages do not show it."""
    request = CallRequest(to=19170000001, pcmo=[Hangup()], duration=60, extra_params={})

    sent = json.loads(encode_request(request, CREDENTIALS, from_=19170000000))

    assert list(sent) == ["appid", "secret", "from", "to", "extra_params", "pcmo", "duration"]
    assert sent["duration"] == 60
    assert sent["extra_params"] == {}


@given(requests, numbers)
def test_any_call_is_sent_as_utf8_json(request: CallRequest, from_: int) -> None:
    """The body of any valid call is UTF-8 JSON with the same values."""
    sent = encode_request(request, CREDENTIALS, from_=from_)

    body = json.loads(sent.decode("utf-8"))
    assert body["to"] == request.to
    assert body["from"] == from_
    assert typed(body["pcmo"]) == typed(json.loads(json.dumps(dump_pcmo(request.pcmo))))
    assert ("extra_params" in body) is (request.extra_params is not None)
    assert ("duration" in body) is (request.duration is not None)


# --- flows ------------------------------------------------------------------------------


@given(st.lists(known_actions, min_size=1, max_size=4))
def test_what_is_dumped_parses_to_the_same(items: list[Action]) -> None:
    """parse(dump(x)) == x, also through JSON text, and dumping again gives the same."""
    dumped = dump_pcmo(items)

    assert parse_pcmo(dumped) == tuple(items)
    assert parse_pcmo(json.loads(json.dumps(dumped))) == tuple(items)
    assert typed(dump_pcmo(parse_pcmo(dumped))) == typed(dumped)


@given(st.lists(actions, min_size=1, max_size=4))
def test_raw_actions_are_dumped_and_parsed_as_they_are(items: list[Action]) -> None:
    """With ``raw``, actions of unknown names survive dumping and parsing."""
    assert parse_pcmo(dump_pcmo(items), raw=True) == tuple(items)


@pytest.mark.parametrize(
    "row", load("vendor_actions.json")["actions"], ids=lambda row: row["call"]
)
def test_the_vendors_actions_survive(row: dict[str, Any]) -> None:
    """What the vendor's last v2 SDK builds parses, and dumps to an equal dict."""
    (again,) = dump_pcmo(parse_pcmo([row["action"]]))

    assert sorted(typed(again)) == sorted(typed(row["action"]))


@pytest.mark.parametrize("action", load("documented_actions.json")["actions"])
def test_the_documented_actions_survive(action: dict[str, Any]) -> None:
    """Samples of the vendor's pages parse, and dump in the same order."""
    (again,) = dump_pcmo(parse_pcmo([action]))

    assert typed(again) == typed(action)


@pytest.mark.parametrize("key", ["connect", "call"])
def test_sip_targets_are_read_under_both_names(key: str) -> None:
    """The vendor's pages show two names; a parsed action keeps its own."""
    data = {
        "action": "connect",
        key: [{"type": "sip", "user": "anna"}, {"type": "sip", "user": 7}],
    }

    (action,) = parse_pcmo([data])

    assert action == Connect([Sip("anna"), Sip(7)], array_key=key)  # type: ignore[arg-type]  # a str, to a checker
    assert dump_pcmo([action]) == [data]


def test_sip_targets_are_sent_as_connect() -> None:
    """A connect action made in Python uses the name of the vendor's table and SDK."""
    assert dump_pcmo([Connect([Sip("anna")])]) == [
        {"action": "connect", "connect": [{"type": "sip", "user": "anna"}]}
    ]


def test_objects_and_dicts_may_be_mixed() -> None:
    """A flow may mix actions and dicts, and a dict may contain objects and plain numbers."""
    mixed = (
        Play("a.wav"),
        MappingProxyType({"action": "bridge", "connect": (Pstn(19170000002), 19170000003)}),
        {"action": "bridge", "connect": deque([19170000002])},
    )

    assert parse_pcmo(mixed) == (
        Play("a.wav"),
        Bridge([19170000002, 19170000003]),
        Bridge([19170000002]),
    )


def test_given_defaults_are_sent() -> None:
    """An option that was given is sent, even if it equals the vendor's default."""
    action = Stream("wss://example.com", stream_on_answer=False)

    assert dump_pcmo([action]) == [
        {"action": "stream", "ws_url": "wss://example.com", "stream_on_answer": False}
    ]


def test_raw_wants_a_name_all_the_same() -> None:
    """An action without a valid name is refused, also with ``raw``."""
    with pytest.raises(InvalidCall) as caught:
        parse_pcmo([Hangup(), {"action": 7}], raw=True)

    assert caught.value.path == "pcmo[1].action"


def test_raw_leaves_known_actions_alone() -> None:
    """With ``raw``, a known name still means its class, and its errors are still found."""
    assert parse_pcmo([{"action": "hangup"}], raw=True) == (Hangup(),)
    with pytest.raises(InvalidCall, match="did you mean"):
        parse_pcmo([{"action": "play", "file_nam": "a.wav"}], raw=True)
    assert parse_pcmo([{"action": "clear"}], raw=True) == (Raw({"action": "clear"}),)


_NAMES = [
    "action",
    "from",
    "from_",
    "connect",
    "call",
    "type",
    "timeout",
    "file_url",
    "text",
    "x",
]
_VALUES = st.sampled_from(
    [*ACTIONS, "pstn", "sip", "https://example.com", "", 0, 7, True, None, 1.5]
)
_TREES = st.recursive(
    _VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.sampled_from(sorted(ACTIONS)), st.dictionaries(st.sampled_from(_NAMES), _TREES))
def test_no_dict_makes_anything_else_escape(name: str, data: dict[str, Any]) -> None:
    """A dict either becomes an action or raises InvalidCall with a path into the flow."""
    dumped: list[dict[str, object]] = [{"action": name}]
    refused = None
    try:
        dumped = dump_pcmo(parse_pcmo([{**data, "action": name}]))
    except InvalidCall as error:
        refused = error

    assert [action["action"] for action in dumped] == [name]
    assert refused is None or refused.path.startswith("pcmo[0].")
    assert len(str(refused)) < 300


SIP = {"type": "sip", "user": "anna"}
PSTN = {"type": "pstn", "number": 19170000002}
#: An action, the error's path within it, and its words.
MISNAMED: list[tuple[dict[Any, Any], str, str]] = [
    ({"action": ["hangup"]}, "action", "no action is named a value of type list"),
    ({"action": "hangup", "from_": 1}, "from_", '"hangup" has no key "from_": it takes no options'),
    (
        {"action": "play", "record": True}, "record",
        '"play" has no key "record": known are "file_name" or "file_url"',
    ),
    ({"action": "bridge", "connect": [PSTN], "call": [PSTN]}, "call", '"bridge" has no key "call"'),
    ({"action": "bridge", "call": [PSTN]}, "call", '"bridge" has no key "call"'),
    (
        {"action": "bridge", "connect": [PSTN, {"type": "pstn", "numer": 1}]}, "connect[1].numer",
        '"pstn" has no key "numer": did you mean "number"?',
    ),
    ({"action": "connect", "connect": [SIP | {"name": "a"}]}, "connect[0].name", '"sip" has no key'),
    ({"action": "connect", "call": [SIP, SIP | {"use": "a"}]}, "call[1].use", '"sip" has no key "use"'),
    ({"action": "connect", "call": [PSTN]}, "call[0].type", 'must be "sip" here, not "pstn"'),
    (
        {"action": "connect", "connect": [SIP], "array_key": "call"}, "array_key",
        '"connect" has no key "array_key"',
    ),
    ({"action": "connect", "call": [SIP], "reconnect": 1}, "reconnect", '"connect" has no key "reconnect"'),
]  # fmt: skip


@pytest.mark.parametrize(("action", "path", "words"), MISNAMED)
def test_a_wrong_name_is_refused_where_it_is(
    action: dict[Any, Any], path: str, words: str
) -> None:
    """The error has the path of the name and what has no such name, for templates, too."""
    with pytest.raises(InvalidCall) as caught:
        parse_pcmo([Hangup(), action])
    assert caught.value.path == f"pcmo[1].{path}"
    assert caught.value.message.startswith(words)

    with pytest.raises(InvalidCall) as caught:
        check_names(action, "pcmo[1]")
    assert caught.value.path == f"pcmo[1].{path}"
    assert caught.value.message.startswith(words)


@pytest.mark.parametrize("targets", ["{phones}", 7, None, []])
@pytest.mark.parametrize(("name", "key"), [("bridge", "connect"), ("connect", "call")])
def test_names_are_checked_whatever_the_targets_are(name: str, key: str, targets: Any) -> None:
    """A template's targets may be no list, or wrong ones: their values are checked later."""
    item: dict[Any, Any] = {"action": name, key: targets, "timeout": "{seconds}"}

    if targets is None:
        with pytest.raises(InvalidCall, match="must not be null"):
            check_names(item, "pcmo[0]")
    else:
        check_names(item, "pcmo[0]")


@pytest.mark.parametrize("name", [["clear"], {}, None, 7, "", " "])
def test_a_name_is_text(name: Any) -> None:
    """An action's name that is no text, or blank, is refused, also with ``raw``."""
    for raw in (False, True):
        with pytest.raises(InvalidCall) as caught:
            parse_pcmo([{"action": name}], raw=raw)
        assert caught.value.path == "pcmo[0].action"


@pytest.mark.parametrize(
    ("target", "place"), [(Pstn(19170000002), "Bridge([…])"), (Sip("anna"), "Connect([…])")]
)
def test_a_target_is_no_action(target: Any, place: str) -> None:
    """The error says which action a target belongs into."""
    with pytest.raises(InvalidCall) as caught:
        parse_pcmo([target])

    assert caught.value.message == (
        f"must be an action: put the {type(target).__name__} into {place}"
    )


def test_a_webhooks_answer_is_utf8_json() -> None:
    """Actions are encoded without blanks, and text stays readable."""
    assert encode_pcmo([Speak("नमस्ते"), Hangup()]) == (
        '[{"action":"speak","text":"नमस्ते"},{"action":"hangup"}]'.encode()
    )


def test_what_flows_need_can_be_imported_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service loads cattrs and the spelling check, since later there may be no files to open."""
    names = ["cattrs.fns", "cattrs.gen", "difflib"]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)

    load_cattrs()

    assert [name for name in names if name not in sys.modules] == []


# --- replies ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"code": 200}', {"code": 200}),
        (b'\xef\xbb\xbf{"code": 200}', {"code": 200}),
        ('{"msg": "ñ"}'.encode("utf-16"), {"msg": "ñ"}),
        (b'{"code": 200, "code": 420}', {"code": 420}),
        (b'{"balance": NaN, "low": -Infinity}', {"balance": None, "low": None}),
        (b" [1]\r\n", [1]),
        (b'"cmi-200"', "cmi-200"),
    ],
)
def test_a_reply_is_read_leniently(body: bytes, value: object) -> None:
    """Replies that a lenient JSON reader accepts are read."""
    assert decode_json(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b'{"code": 200',
        b'{"msg": "\xff"}',
        b"[" * 200_000,
        b"9" * 5000,
        b"null",
        b"\x00",
    ],
)
def test_what_is_no_json_is_none(body: bytes) -> None:
    """A body that is not JSON is read as None, without an exception."""
    assert decode_json(body) is None


@given(st.binary())
def test_no_body_raises(body: bytes) -> None:
    """Any bytes give a value or None."""
    decode_json(body)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("call", "bridge"),
        ("dial", "bridge"),
        ("forward", "bridge"),
        ("say", "speak"),
        ("tts", "speak"),
    ],
)
def test_names_of_other_apis_are_understood(wrong: str, right: str) -> None:
    """An action's name in another API is refused with TeleCMI's name."""
    with pytest.raises(InvalidCall, match=f'did you mean "{right}"'):
        parse_pcmo([{"action": wrong}])
