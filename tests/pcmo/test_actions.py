"""PCMO actions: what they accept, what they keep, and what their reprs show."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from enum import IntEnum, StrEnum
from functools import partial
from typing import Any, get_args

import attrs
import pytest
from call_strategies import actions, json_objects, known_actions
from hypothesis import Phase, find, given, settings
from project_paths import DATA, DOCS, docs_page

import telecmi_async
from telecmi_async import pcmo
from telecmi_async._internal.frozen_json import JsonObject, freeze_object, thaw
from telecmi_async._internal.messages import mask_in
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import (
    Action,
    Bridge,
    Connect,
    Flow,
    Hangup,
    Input,
    Param,
    Play,
    PlayGetInput,
    Pstn,
    Raw,
    Record,
    Sip,
    Speak,
    Stream,
)
from telecmi_async.pcmo.actions import ACTIONS
from telecmi_async.pcmo.codec import dump_pcmo

PHONE = 19170000002
HOOK = "https://example.com/digits"


def test_every_action_is_in_the_table() -> None:
    """The table of names has every class of the union but Raw, which has no name of its own."""
    assert {*ACTIONS.values(), Raw} == set(get_args(Action))
    assert all(ACTIONS[name].action == name for name in ACTIONS)


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_known_everywhere(name: str) -> None:
    """A new action is exported, a method of `Flow`, on its pages, in the samples and strategies."""
    kind = ACTIONS[name]
    samples = DATA.joinpath("documented_actions.json").read_text(encoding="utf-8")
    samples += DATA.joinpath("documented_request.json").read_text(encoding="utf-8")
    samples += DATA.joinpath("vendor_actions.json").read_text(encoding="utf-8")
    # One will do: it need not be the smallest.
    any_one = settings(phases=[Phase.generate], max_examples=5_000)
    find(known_actions, lambda action: isinstance(action, kind), settings=any_one)

    assert getattr(telecmi_async, kind.__name__) is getattr(pcmo, kind.__name__) is kind
    assert hasattr(Flow, name)
    for page in (docs_page("pcmo.md"), DOCS / "reference" / "api" / "pcmo.md"):
        assert kind.__name__ in page.read_text(encoding="utf-8"), page
    assert f'"action": "{name}"' in samples.replace('":"', '": "')


@given(actions)
def test_an_action_is_a_value(action: Action) -> None:
    """Equal copies hash alike, survive pickling, and nothing in an action can be replaced."""
    for twin in (pickle.loads(pickle.dumps(action)), copy.deepcopy(action), copy.copy(action)):
        assert twin == action
        assert hash(twin) == hash(action)
        assert repr(twin) == repr(action)
    for field in attrs.fields(type(action)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(action, field.name, None)


def test_a_number_is_taken_as_people_write_it() -> None:
    """Targets and caller ids become ints, and a plain number becomes a Pstn."""
    bridge = Bridge([Pstn("+1 917-000-0002"), PHONE, "919600000000"], from_="+19170000000")

    assert bridge.connect == (Pstn(PHONE), Pstn(PHONE), Pstn(919600000000))
    assert bridge.from_ == 19170000000


def test_a_time_is_seconds_or_a_timedelta() -> None:
    """A timedelta of whole seconds, days included, is the same as its seconds."""
    written = Bridge(
        [PHONE], timeout=timedelta(seconds=20), duration=timedelta(days=1, seconds=1)
    )

    assert written == Bridge([PHONE], timeout=20, duration=86_401)


def test_enums_are_values_too() -> None:
    """Members of str and int enums count as their values."""
    mode = StrEnum("mode", ["caller"])
    digits = IntEnum("digits", ["one"])

    assert Stream("wss://a.example", listen_mode=mode("caller")).listen_mode == "caller"  # type: ignore[arg-type]  # a StrEnum is no Literal
    assert Input(HOOK, max_digit=digits(1)).max_digit == 1


@pytest.mark.parametrize("file_name", ["welcome.wav", "a b.mp3", "नमस्ते.wav", "a:b//c"])
def test_a_recording_is_a_name(file_name: str) -> None:
    """A recording's name may have inner blanks and any script, but not be a URL."""
    assert Play(file_name) == Play(file_name=file_name)
    assert Play(file_name).file_url is None


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.wav",
        "HTTP://example.com",
        "https://user:word@example.com:8443/a.wav?sig=x%2Fy#t",
        "https://[2001:db8::1]/a.wav",
        "https://bücher.example/ü.wav",
    ],
)
def test_a_url_is_kept_as_it_is(url: str) -> None:
    """A full http or https URL is neither changed nor completed."""
    assert Play(file_url=url).file_url == url
    assert Input(url).action_url == url


def test_the_vendors_double_url_is_taken() -> None:
    """The vendor's Python SDK sends a URL under both names; that exact form is accepted."""
    url = "https://example.com/a.wav"

    action = PlayGetInput(HOOK, file_name=url, file_url=url)

    assert (action.file_name, action.file_url) == (url, url)


def test_text_keeps_lines_and_any_script() -> None:
    """New lines, tabs and joiners are valid in text."""
    text = "line one\r\nline two\tend क्‍ष 👩‍👧"

    assert Speak(text).text == Param(text).text == text


@pytest.mark.parametrize("user", ["anna", 1, 1001, 9_876_543_210, 2**53 - 1])
def test_a_sip_user_is_a_name_or_a_number(user: str | int) -> None:
    """Names and numbers are both kept, since the vendor's Node SDK and page differ."""
    assert Connect([Sip(user)]).connect[0].user == user


@pytest.mark.parametrize("user", [0, -1, 1.5, None, True, "", " anna", "an\nna", b"anna"])
def test_a_sip_user_is_nothing_else(user: Any) -> None:
    """Zero, fractions, blanks at the ends and other types are refused at the field."""
    with pytest.raises(InvalidCall) as caught:
        Sip(user)

    assert caught.value.path == "user"


@pytest.mark.parametrize(
    ("kind", "example"), [(Bridge, "[Pstn(…)]"), (Connect, '[Sip("user")]')]
)
def test_targets_are_a_list_that_is_not_empty(kind: Any, example: str) -> None:
    """The error shows how a list of targets is written."""
    for wrong in ("919600000000", b"", bytearray(b"9"), PHONE, {PHONE}, None):
        with pytest.raises(InvalidCall, match="must be a list such as") as caught:
            kind(wrong)
        assert caught.value.path == "connect"
        assert example in caught.value.message
    with pytest.raises(InvalidCall) as caught:
        kind([])
    assert caught.value.path == "connect"
    assert caught.value.message == f"must not be empty: give it one such as {example}"


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (Bridge, Sip("anna"), "a SIP endpoint goes into Connect"),
        (Bridge, 1.5, "must be a Pstn or a phone number, not 1.5"),
        (Bridge, "12", "has 2 digits with its country code, and must have 7 to 15"),
        (Connect, Pstn(PHONE), "must be a Sip: a phone goes into Bridge"),
        (Connect, "anna", "must be a Sip: write Sip(user)"),
    ],
)
def test_a_wrong_target_is_refused_at_its_place(kind: Any, wrong: Any, words: str) -> None:
    """The error has the place in the list, and says what would be right."""
    right = Pstn(PHONE) if kind is Bridge else Sip("anna")

    with pytest.raises(InvalidCall) as caught:
        kind([right, wrong, right])

    assert caught.value.path.startswith("connect[1]")
    assert words in caught.value.message


def test_a_sip_user_is_not_too_long_a_number() -> None:
    """An int that a JSON reader may round is refused."""
    with pytest.raises(InvalidCall, match="a str if it is long") as caught:
        Sip(2**53)

    assert caught.value.path == "user"


SECONDS: tuple[list[Any], list[Any]] = (
    [1, 40, timedelta(minutes=1), 2**31 - 1],
    [0, -1, 1.0, "40", True, timedelta(milliseconds=1500), timedelta(0), 2**31],
)
COUNT: tuple[list[Any], list[Any]] = ([1, 20, 2**31 - 1], [0, -1, "2", 1.0, True, 2**31])
CALLER: tuple[list[Any], list[Any]] = (["+1 917 000 0000", 19170000000], [0, "0", "anna", True])
FLAG: tuple[list[Any], list[Any]] = ([True, False], [1, 0, "true"])
RING: tuple[list[Any], list[Any]] = (["single", "group"], ["Single", "all", "", 1])
URL: tuple[list[Any], list[Any]] = (
    ["https://a.example/a", "http://a.example"],
    [
        "ftp://a.example",
        "a.example",
        "",
        7,
        "https://",
        "https://a.example/a b",
        "https:/a.example",
    ],
)
FILE: tuple[list[Any], list[Any]] = (
    ["a.wav", "a b.mp3"],
    ["", " a.wav", "a.wav ", "a\n.wav", 7],
)
OPTIONS: list[tuple[Any, tuple[Any, ...], str, tuple[list[Any], list[Any]]]] = [
    (Bridge, ([PHONE],), "duration", SECONDS),
    (Bridge, ([PHONE],), "timeout", SECONDS),
    (Bridge, ([PHONE],), "from_", CALLER),
    (Bridge, ([PHONE],), "loop", COUNT),
    (Bridge, ([PHONE],), "ring_type", RING),
    (Connect, ([Sip("a")],), "duration", SECONDS),
    (Connect, ([Sip("a")],), "timeout", SECONDS),
    (Connect, ([Sip("a")],), "from_", CALLER),
    (Connect, ([Sip("a")],), "loop", COUNT),
    (Connect, ([Sip("a")],), "ring_type", RING),
    (Connect, ([Sip("a")],), "call_type", (["audio", "video"], ["Audio", "text", "", 1])),
    (Connect, ([Sip("a")],), "record", FLAG),
    (Play, (), "file_url", URL),
    (PlayGetInput, (HOOK,), "file_name", FILE),
    (PlayGetInput, (HOOK,), "file_url", URL),
    (Input, (HOOK,), "max_digit", COUNT),
    (Input, (HOOK,), "timeout", SECONDS),
    (Stream, ("wss://a.example",), "listen_mode", (["caller", "callee", "both"], ["all", "", 1])),
    (Stream, ("wss://a.example",), "stream_on_answer", FLAG),
    (
        Stream, ("wss://a.example",), "voice_quality",
        (["8000", "16000", 8000, 16000, "12000", "32000", 12000, 32000], ["8", 8, 8001, "", 48000]),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "given", "name", "values"), OPTIONS, ids=lambda each: getattr(each, "__name__", "")
)
def test_an_option_has_its_values(
    kind: Any, given: tuple[Any, ...], name: str, values: tuple[list[Any], list[Any]]
) -> None:
    """Each option takes its values by keyword alone, is sent under its name, and refuses others."""
    for value in values[0]:
        (sent,) = dump_pcmo([kind(*given, **{name: value})])
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        assert sent[name.rstrip("_")] == (19170000000 if name == "from_" else seconds)
    for value in values[1]:
        with pytest.raises(InvalidCall) as caught:
            kind(*given, **{name: value})
        assert caught.value.path == name.rstrip("_")
    with pytest.raises(TypeError, match="positional"):
        kind(*given, *([values[0][0]] * (2 if kind is Play else 1)))


@pytest.mark.parametrize(
    ("kind", "given", "name"),
    [each[:3] for each in OPTIONS if each[0] not in {Play, PlayGetInput}],
)
def test_an_option_that_is_not_given_is_not_sent(
    kind: Any, given: tuple[Any, ...], name: str
) -> None:
    """Without a value, TeleCMI's own default applies; None means the same."""
    assert kind(*given) == kind(*given, **{name: None})
    assert len(dump_pcmo([kind(*given)])[0]) == 2


@pytest.mark.parametrize("name", ["max_digit", "max_retry", "timeout"])
def test_collecting_digits_has_its_options(name: str) -> None:
    """How many digits, how often and how long are sent under their names, and only if given."""
    action = PlayGetInput(HOOK, file_name="a.wav", **{name: 3})  # type: ignore[arg-type]  # any of three

    assert dump_pcmo([action]) == [
        {"action": "play_get_input", "action_url": HOOK, "file_name": "a.wav", name: 3}
    ]
    with pytest.raises(InvalidCall, match="must be between 1 and") as caught:
        PlayGetInput(HOOK, file_name="a.wav", **{name: 0})  # type: ignore[arg-type]  # any of three
    assert caught.value.path == name
    with pytest.raises(InvalidCall, match="has no scheme") as caught:
        PlayGetInput("a.example", file_name="a.wav")
    assert caught.value.path == "action_url"
    with pytest.raises(TypeError, match="positional"):
        PlayGetInput(HOOK, 3)  # type: ignore[call-arg, arg-type]  # on purpose


def test_the_array_of_endpoints_has_one_of_two_names() -> None:
    """It is named as in the vendor's table unless "call" is asked for, by keyword."""
    assert Connect([Sip("a")]) == Connect([Sip("a")], array_key="connect")
    assert "call" in dump_pcmo([Connect([Sip("a")], array_key="call")])[0]
    for wrong in ("Call", "", None):
        with pytest.raises(InvalidCall) as caught:
            Connect([Sip("a")], array_key=wrong)  # type: ignore[arg-type]  # on purpose
        assert caught.value.path == "array_key"
    with pytest.raises(TypeError, match="positional"):
        Connect([Sip("a")], "call")  # type: ignore[call-arg, arg-type]  # on purpose


@pytest.mark.parametrize(
    ("sources", "path"),
    [
        ({}, "file_name"),
        ({"file_name": "a.wav", "file_url": HOOK}, "file_url"),
        ({"file_name": HOOK}, "file_name"),
        ({"file_name": HOOK, "file_url": f"{HOOK}/a.wav"}, "file_url"),
    ],
)
def test_a_recording_has_one_source(sources: dict[str, str], path: str) -> None:
    """A recording is a file's name or a URL: not both, not neither, and no URL as a name."""
    kinds: list[Any] = [Play, partial(PlayGetInput, HOOK)]
    for kind in kinds:
        with pytest.raises(InvalidCall) as caught:
            kind(**sources)
        assert caught.value.path == path


@pytest.mark.parametrize("action", [Record(), Hangup()])
def test_some_actions_take_nothing(action: Action) -> None:
    """Record and hangup have no options."""
    assert attrs.asdict(action) == {}


# --- raw --------------------------------------------------------------------------------


def test_a_raw_action_is_copied_in_full() -> None:
    """A later change to the user's own dict does not reach the action."""
    data: dict[str, Any] = {"action": "x", "list": [1, {"deep": []}]}

    raw = Raw(data)
    data["list"][1]["deep"].append("changed")
    data["action"] = "y"

    assert raw.action == "x"
    assert raw.data == {"action": "x", "list": (1, {"deep": ()})}


def test_a_raw_action_may_carry_a_known_name() -> None:
    """Raw sends a known action exactly as written."""
    assert Raw({"action": "play", "file_name": ""}).action == "play"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.__setitem__("a", 1),
        lambda d: d.__delitem__("a"),
        lambda d: d.__ior__({"a": 1}),
        lambda d: d.clear(),
        lambda d: d.pop("a"),
        lambda d: d.popitem(),
        lambda d: d.setdefault("b", 1),
        lambda d: d.update(b=1),
    ],
)
def test_a_json_object_cannot_be_changed(change: Any) -> None:
    """Every method that changes a dict raises an error that says what to do instead."""
    frozen = freeze_object({"a": [1]}, "x")

    with pytest.raises(TypeError, match="change a copy"):
        change(frozen)

    assert frozen == {"a": (1,)}


@given(json_objects)
def test_json_thaws_as_it_was(data: dict[str, Any]) -> None:
    """Freezing and thawing gives an equal value, and freezing twice changes nothing."""
    frozen = freeze_object(data, "x")

    assert thaw(frozen) == data
    assert freeze_object(frozen, "x") == frozen
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert type(copy.deepcopy(frozen)) is JsonObject


# --- reprs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Pstn(PHONE), "Pstn(•••••••0002)"),
        (Sip("anna"), "Sip('anna')"),
        (
            Bridge([PHONE], from_=19170000000, timeout=20),
            "Bridge((Pstn(•••••••0002),), timeout=20, from_=•••••••0000)",
        ),
        (Play("welcome.wav"), "Play('welcome.wav')"),
        (Play(file_url=HOOK), "Play(file_url='https://example.com/digits')"),
        (Speak("call +1 (917) 000-0002 back"), "Speak('call +•••••••0002 back')"),
        (Raw({"action": "x", "to": PHONE}), "Raw({'action': 'x', 'to': •••••••0002})"),
        (Record(), "Record()"),
    ],
)
def test_a_repr_shows_what_was_given(value: object, shown: str) -> None:
    """Options that were not given are left out, and phone numbers are masked."""
    assert repr(value) == shown


def test_a_repr_is_short() -> None:
    """A repr of a long text fits a line of a log."""
    assert len(repr(Speak("a" * 10**6))) < 250


@pytest.mark.parametrize(("length", "end"), [(196, "'"), (197, "'"), (198, "'"), (199, "…")])
def test_a_repr_has_up_to_200_characters(length: int, end: str) -> None:
    """Two hundred characters between the brackets are shown, and of more the first ones."""
    shown = repr(Speak("a" * length))

    assert shown == f"Speak('{'a' * min(length, 199)}{end})"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("t" * 22, "•••"), ("t" * 21, "t" * 21), ("a/" + "t-_~0" * 5, "a/•••"),
        ("t" * 22 + "/digits", "•••/digits"), ("t" * 22 + "?order=42", "•••?order=42"),
        ("t" * 21 + "%7E", "•••"), ("t" * 22 + "#a", "•••#a"), ("t" * 22 + ".wav", "t" * 22 + ".wav"),
    ],
)  # fmt: skip
def test_a_repr_hides_tokens_in_urls(path: str, shown: str) -> None:
    """A part of 22 characters and more may be a webhook's token."""
    assert repr(Input(f"https://a.example/{path}")) == f"Input('https://a.example/{shown}')"


FORBIDDEN = [
    "\x00",
    "\x08",
    "\x0b",
    "\x0c",
    "\x0e",
    "\x1f",
    "\x7f",
    "\x80",
    "\x9f",
    "\ud800",
    "\udfff",
]


@pytest.mark.parametrize("character", [*FORBIDDEN, "\t", "\n", "\r", " ", "\xa0", "\u200b"])
def test_each_kind_of_text_has_its_characters(character: str) -> None:
    """Text holds no control characters but tabs and lines; names have no lines, URLs no blanks."""
    text = f"a{character}b"
    kinds: dict[Any, bool] = {
        Speak: character not in FORBIDDEN,
        Play: character not in {*FORBIDDEN, "\t", "\n", "\r"},
        lambda text: Play(file_url=f"https://example.com/{text}"): False,
    }

    for kind, fits in kinds.items():
        if fits:
            kind(text)
            continue
        with pytest.raises(InvalidCall, match="must not hold the character") as caught:
            kind(text)
        where = 1 if kind in {Speak, Play} else 21
        assert caught.value.message == (
            f"must not hold the character U+{ord(character):04X} (position {where})"
        )


@pytest.mark.parametrize("text", [" ", "\n\t ", "\xa0"])
def test_blank_text_is_refused(text: str) -> None:
    """There is nothing to say in blanks."""
    for kind in (Speak, Param):
        with pytest.raises(InvalidCall, match="must not be blank") as caught:
            kind(text)
        assert caught.value.path == "text"


UNREADABLE = "its host or port cannot be read"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("example.com/a", "must be a full URL such as https://example.com/path: it has no scheme"),
        ("//example.com", "must be a full URL such as https://example.com/path: it has no scheme"),
        ("https:///a", "must be a full URL such as https://example.com/path: it has no host"),
        *((url, f"must be a full URL such as https://example.com/path: {UNREADABLE}")
          for url in ("https://a:99999/", "https://a:b/", "https://[a/")),
        ("wss://a.example", 'must start with https:// or http://, not "wss"'),
        ("", "must not be empty"),
        (7, "must be a str, not 7"),
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused_with_what_is_right(url: Any, words: str) -> None:
    """The error says what is missing, and does not repeat the URL."""
    with pytest.raises(InvalidCall) as caught:
        Input(url)

    assert (caught.value.path, caught.value.message) == ("action_url", words)
    assert Stream("WS://a.example").ws_url == "WS://a.example"
    with pytest.raises(InvalidCall, match=r"must start with wss:// or ws://, not \"https\""):
        Stream("https://a.example")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("40", 'must be whole seconds: a positive int, or a timedelta, not "40": leave the quotes out'),
        ("4s", 'must be whole seconds: a positive int, or a timedelta, not "4s"'),
        (True, "must be whole seconds: a positive int, or a timedelta, not True"),
        (timedelta(seconds=1.5), "must be whole seconds"),
        (timedelta(0), "must be between 1 and 2_147_483_647, not 0"),
        (2**31, "must be between 1 and 2_147_483_647, not 2147483648"),
    ],
)  # fmt: skip
def test_a_wrong_time_is_refused_with_what_is_right(value: Any, words: str) -> None:
    """The error names the field and what it takes."""
    for name in ("timeout", "duration"):
        with pytest.raises(InvalidCall) as caught:
            Bridge([PHONE], **{name: value})
        assert caught.value.path == name
        assert mask_in(caught.value.message) == mask_in(words)
    seconds = IntEnum("seconds", ["one"])
    assert type(Bridge([PHONE], timeout=seconds(1)).timeout) is int
