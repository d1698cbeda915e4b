"""PCMO templates: call flows with gaps, filled from a contact's columns."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.characters import has_text
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import Bridge, Hangup, Play, Pstn, Raw, Speak, Stream
from telecmi_async.pcmo.flow import Flow
from telecmi_async.pcmo.template import Template

BRIDGE: dict[str, object] = {
    "action": "bridge",
    "timeout": "{ring}",
    "from": "{caller}",
    "connect": [{"type": "pstn", "number": "{agent}"}, {"type": "pstn", "number": 19170000003}],
}
FULL: list[dict[str, object]] = [
    {"action": "speak", "text": "Hello {first name}, {{you}} owe {sum}."},
    BRIDGE,
    {"action": "hangup"},
]
COLUMNS = {
    "first name": "Asha", "sum": "20", "ring": "25", "caller": "19170000000",
    "agent": "+1 917 000 0002",
}  # fmt: skip


def test_each_gap_is_filled_from_its_column() -> None:
    """Text gaps take text, number gaps take numbers, and doubled braces become braces."""
    flow = Template(FULL).fill(COLUMNS)

    assert flow == Flow(
        [
            Speak("Hello Asha, {you} owe 20."),
            Bridge([Pstn(19170000002), Pstn(19170000003)], timeout=25, from_=19170000000),
            Hangup(),
        ]
    )


def test_a_flow_without_gaps_is_a_template_too() -> None:
    """A flow without gaps is made once and shared by all contacts."""
    flow = Flow([Play("welcome.wav"), Hangup()])
    template = Template(flow)

    assert template.columns == frozenset()
    assert template.fill({"text": "{x}"}) == flow
    assert template.fill({})[0] is template.fill({})[0]


WRONG: list[tuple[dict[str, object], str, str]] = [
    ({"action": "play", "file_name": ["{name}"]}, "pcmo[1].file_name", "must be a str"),
    ({"action": "bridge", "connect": [["{name}"]]}, "pcmo[1].connect[0]", "must be a Pstn"),
    ({"action": "speak", "txt": "{name}"}, "pcmo[1].txt", 'did you mean "text"'),
    (
        {"action": "bridge", "timeout": -1, "connect": [{"type": "pstn", "number": "{name}"}]},
        "pcmo[1].timeout",
        "must be",
    ),
    ({"action": "dance", "to": "{name}"}, "pcmo[1].action", "no action is named"),
    ({"action": "input", "max_digit": "{name}"}, "pcmo[1].action_url", "is missing"),
    ({"action": "play", "file_name": "{name}", "file_url": None}, "pcmo[1].file_url", "null"),
    (
        {"action": "bridge", "connect": [{"type": "pstn", "nmber": "{name}"}]},
        "pcmo[1].connect[0].nmber",
        'did you mean "number"',
    ),
    (
        {"action": "bridge", "connect": [{"type": "sip", "number": "{name}"}]},
        "pcmo[1].connect[0].type",
        'must be "pstn"',
    ),
    (
        {"action": "connect", "call": [{"type": "sip", "ide": "{name}"}]},
        "pcmo[1].call[0].ide",
        "has no key",
    ),
    ({"action": "bridge", "connect": ["{name}", 5]}, "pcmo[1].connect[1].number", "must have"),
]


@pytest.mark.parametrize(("action", "path", "message"), WRONG)
def test_what_no_column_can_put_right_is_refused_at_once(
    action: dict[str, object], path: str, message: str
) -> None:
    """An error that no column can fix is raised early, before it would block every contact."""
    with pytest.raises(InvalidCall) as caught:
        Template([{"action": "hangup"}, action])

    assert caught.value.path == path
    assert message in caught.value.message


@pytest.mark.parametrize(
    "action",
    [
        {"action": "stream", "ws_url": "{url}"},
        {"action": "bridge", "connect": "{list}"},
        {"action": "connect", "connect": [{"type": "sip", "user": "{agent}"}]},
        {"action": "input", "action_url": "{url}", "max_digit": "{digits}"},
    ],
)
def test_what_a_column_may_put_right_waits_for_it(action: dict[str, object]) -> None:
    """An error that a column may fix is not raised before the gap is filled."""
    assert Template([action]).columns


def test_actions_may_hold_gaps_where_text_goes() -> None:
    """Action objects with gaps and plain dicts may be mixed."""
    template = Template([Speak("Hello {name}"), {"action": "hangup"}])

    assert template.fill({"name": "Asha"}) == Flow([Speak("Hello Asha"), Hangup()])


def test_a_raw_action_stays_one() -> None:
    """Unknown actions are filled, too, and remain Raw."""
    template = Template([Raw({"action": "clear", "list": ["{a}", 1, True, None]})])

    assert template.fill({"a": "x"}) == Flow(
        [Raw({"action": "clear", "list": ["x", 1, True, None]})]
    )
    assert template.fill({"a": "x"}) == Template.parse(template.dump(), raw=True).fill(
        {"a": "x"}
    )


def test_raw_leaves_known_actions_as_they_are() -> None:
    """With ``raw``, only unknown names become Raw actions."""
    template = Template.parse('[{"action": "hangup"}, {"action": "new"}]', raw=True)

    assert template.fill({}) == Flow([Hangup(), Raw({"action": "new"})])
    assert Template.parse([Hangup()], raw=True).fill({}) == Flow([Hangup()])


def test_a_template_survives_json() -> None:
    """A template with its gaps survives JSON, in which a campaign stores it."""
    template = Template(FULL)

    again = Template.parse(json.dumps(template.dump()))

    assert again == template
    assert hash(again) == hash(template)
    assert again != Template([Hangup()])
    assert again != FULL
    assert again.fill(COLUMNS) == template.fill(COLUMNS)


def test_it_says_which_columns_it_needs() -> None:
    """A file's columns can be checked before any contact is dialled."""
    template = Template(FULL)

    template.check(COLUMNS)

    assert template.columns == set(COLUMNS)
    assert repr(template).startswith("Template(3 actions, columns ['agent', ")
    with pytest.raises(
        InvalidCall, match=r'pcmo\[1\]\.connect\[0\]\.number: needs the column "agent"'
    ):
        template.check(COLUMNS.keys() - {"agent"})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"nam": "x"}, r'pcmo\[0\]\.text: needs the column "name".*did you mean "nam"\?'),
        ({}, r'needs the column "name", which the contact lacks: it has none'),
        ({"name": 3}, r'the column "name" must hold text'),
        ({"name": "x" * 4_001}, r'the column "name" is longer than 4_000 characters'),
        ({"name": "a\x07"}, r"U\+0007 .*filled from the column \"name\"\)"),
        ({"name": "a\ud800"}, r'the column "name" holds a character that is not text'),
    ],
)
def test_what_cannot_be_filled_is_refused(columns: Any, message: str) -> None:
    """The error's path leads to the gap, and its message names the column."""
    template = Template([{"action": "speak", "text": "{name}"}])

    with pytest.raises(InvalidCall, match=message) as caught:
        template.fill(columns)

    assert caught.value.path == "pcmo[0].text"


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ({"action": "stream", "ws_url": "wss://a.b/", "listen_mode": "{x}"}, "my dear secret"),
        ({"action": "bridge", "connect": [19170000001], "loop": "{x}"}, "my dear secret"),
        ({"action": "bridge", "connect": [19170000001], "timeout": "{x}"}, "9999999999"),
        ({"action": "bridge", "connect": [19170000001], "from": "{x}"}, "1234"),
        ({"action": "play", "file_url": "{x}"}, "secret://host/path"),
        ({"action": "play", "file_name": "{x}"}, "https://secret/"),
        ({"action": "bridge", "connect": [{"type": "pstn", "number": "{x}"}]}, "0919170000001"),
        ({"action": "connect", "call": "{x}"}, "my dear secret"),
        ({"action": "play", "file_name": "a", "file_url": "{x}"}, "https://secret/"),
    ],
)
def test_an_error_does_not_repeat_what_a_column_holds(
    action: dict[str, object], value: str
) -> None:
    """No error message contains a contact's data."""
    with pytest.raises(InvalidCall) as caught:
        Template([action]).fill({"x": value})

    assert value not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_error_without_a_gap_of_its_own_says_little() -> None:
    """An error about an action as a whole does not show values, which may come from columns."""
    template = Template([{"action": "bridge", "connect": ["{x}"]}])

    with pytest.raises(
        InvalidCall, match=r"pcmo\[0\]\.connect\[0\]\.number: cannot be sent with"
    ):
        template.fill({"x": "nobody"})


@pytest.mark.parametrize(
    "value",
    ["{sum}", "{0.__class__}", "{{", "}", "{", "%s", "${HOME}", "{x!r:>99999999}", "\\N{DASH}"],
)
def test_what_a_column_holds_is_text(value: str) -> None:
    """Braces and formats in a contacts file are kept as plain text."""
    flow = Template([{"action": "speak", "text": "a {x} b"}]).fill({"x": value, "sum": "9"})

    assert flow == Flow([Speak(f"a {value} b")])


@pytest.mark.parametrize("name", ["x.__class__", "x!r", "x:>9999999999", "x[0]", "0", " x "])
def test_a_gap_is_a_name_and_nothing_else(name: str) -> None:
    """Attributes, indexes and formats in a gap are parts of a column's name."""
    template = Template([{"action": "speak", "text": f"{{{name}}}"}])

    assert template.columns == {name}
    assert template.fill({name: "a"}) == Flow([Speak("a")])
    with pytest.raises(InvalidCall, match="needs the column"):
        template.fill({"x": "a"})


def test_a_value_inside_a_url_is_encoded() -> None:
    """A value inside a URL is encoded, so it cannot change the path, query or host."""
    template = Template([{"action": "stream", "ws_url": "wss://a.example/{id}?q={q}"}])

    flow = template.fill({"id": "../x", "q": "1&admin=1 #"})

    assert flow == Flow([Stream("wss://a.example/..%2Fx?q=1%26admin%3D1%20%23")])


@pytest.mark.parametrize(
    ("action", "key"),
    [
        ({"action": "play"}, "file_url"),
        ({"action": "play_get_input", "action_url": "https://b.example/"}, "file_url"),
        ({"action": "play_get_input", "file_name": "a.wav"}, "action_url"),
        ({"action": "input"}, "action_url"),
        ({"action": "stream"}, "ws_url"),
    ],
)
def test_a_value_is_encoded_inside_each_kind_of_url(
    action: dict[str, object], key: str
) -> None:
    """The addresses of files, of webhooks and of streams are encoded alike."""
    scheme = "wss" if key == "ws_url" else "https"
    template = Template([{**action, key: f"{scheme}://a.example/{{id}}"}])

    filled = template.fill({"id": "1/../2?a=b&c #"})

    assert filled.dump()[0][key] == f"{scheme}://a.example/1%2F..%2F2%3Fa%3Db%26c%20%23"


def test_a_value_that_is_the_whole_url_is_taken_as_one() -> None:
    """A column may hold a whole URL, which is checked like any other."""
    template = Template([{"action": "play", "file_url": "{url}"}])

    assert template.fill({"url": "https://a.example/x.wav"}) == Flow(
        [Play(file_url="https://a.example/x.wav")]
    )


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ([], r"pcmo: must hold at least one action"),
        ("[]", r"pcmo: must hold at least one action"),
        ("[", r"pcmo: is not JSON"),
        ({"pcmo": []}, r"must be the array itself"),
        (b"\xff", r"is not JSON"),
        (3, r"must be a list of actions, not 3"),
        ([3], r"pcmo\[0\]: must be an action"),
        ([Hangup(), Pstn(19170000001)], r"pcmo\[1\]: must be an action: put the Pstn"),
        ([Hangup(), {"action": "hangupp"}], r'pcmo\[1\]\.action: no action is named "hangupp"'),
        ('"[]"', r"pcmo: must be a list of actions, not JSON text"),
        ([{"action": "{x}"}], r"pcmo\[0\]\.action: must not come from a column"),
        (
            [{"action": "bridge", "connect": [{"type": "{x}", "number": 19170000001}]}],
            r"pcmo\[0\]\.connect\[0\]\.type: must not come from a column",
        ),
        (
            [Hangup(), {"action": "speak", "text": "a", "pcmo[0]": "b"}],
            r'pcmo\[1\]\.pcmo\[0\]: "speak" has no key "pcmo\[0\]"',
        ),
        (
            [{"action": "speak", "text": "a } b"}],
            r"text: has a single } at pos.* 2",
        ),
        ([{"action": "speak", "text": "{a{b}"}], r"has a single { at position 0"),
        (
            [{"action": "speak", "text": "{}"}],
            r"pcmo\[0\]\.text: has braces without a column's name",
        ),
        ([{"action": "speak", "text": "{a\nb}"}], r"braces without a column's name"),
        ([{"action": "speak", "text": "{|there}"}], r"braces without a column's name"),
        ([{"action": "speak", "text": "{\u200b}"}], r"braces without a column's name"),
        (
            [{"action": "speak", "text": "{first|last|you}"}],
            r'pcmo\[0\]\.text: .* more than one \|, "first\|last\|you": the first ends the column\'s name, and \|\| ',
        ),
        ([{"action": "speak", "text": "{a|b{c}}"}], r"position 0: a default holds no braces"),
        ([{"action": "speak", "text": "{a|b}}"}], r"has a single } at position 5: write }}"),
        # Defaults that cannot be sent.
        (
            [{"action": "speak", "text": "{a|}"}],
            r"text: must not be empty.*\(the flow's default",
        ),
        (
            [{"action": "speak", "text": "{a|} {b|}"}],
            r"must not be blank.*\(the flow's default",
        ),
        (
            [{"action": "bridge", "connect": [19170000001], "timeout": "{t|soon}"}],
            r'timeout: must be whole seconds: .*not "soon".*the flow\'s default',
        ),
        (
            [{"action": "bridge", "connect": [{"type": "pstn", "number": "{agent|12}"}]}],
            r"connect\[0\]\.number: .*the flow's default",
        ),
        ([{"action": "play", "file_url": "{u|ftp://a/b}"}], r"file_url: must start with https"),
        ([{"action": "speak", "text": object()}], r"text: must be a JSON value"),
    ],
)
def test_what_is_no_template_is_refused_at_once(flow: Any, message: str) -> None:
    """A template is checked when it is made, as far as possible without a contact."""
    with pytest.raises(InvalidCall, match=message):
        Template.parse(flow)


@pytest.mark.parametrize("name", [["hangup"], {}, 3, None])
def test_raw_takes_no_name_that_is_not_text(name: object) -> None:
    """With ``raw`` any name is sent, but it must be one."""
    with pytest.raises(InvalidCall, match=r"pcmo\[0\]\.action: no action is named"):
        Template.parse([{"action": name}], raw=True)


# --- columns without text ---------------------------------------------------------------

NOTHING = [
    "", " ", "\t \n", "\u00a0", "\u2003\u3000", "\u200b\ufeff", "\u202e", "\u2060\ufe0f", "\u3164",
    "\u2800", "\u0301", "\x00", '""', "\u201c \u201d", "\u201e\u201c", "\u00ab\u00a0\u00bb", "''", "\U000e0020",
]  # fmt: skip


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize(
    "action",
    [
        {"action": "speak", "text": "Hello {x}!"},
        {"action": "speak", "text": "{x}"},
        {"action": "param", "text": "order={x}"},
        {"action": "play", "file_name": "{x}"},
        {"action": "stream", "ws_url": "wss://a.example/{x}?b=1"},
        {"action": "bridge", "connect": [{"type": "pstn", "number": "{x}"}]},
        {"action": "bridge", "connect": [19170000001], "timeout": "{x}"},
    ],
)
def test_a_column_without_text_is_refused(value: str, action: dict[str, object]) -> None:
    """A placeholder requires text: white space, invisible marks and empty quotes are none."""
    template = Template([{"action": "hangup"}, action])

    with pytest.raises(InvalidCall, match='needs text in the column "x", which is empty') as e:
        template.fill({"x": value})

    assert e.value.path.startswith("pcmo[1].")
    assert template.required == {"x"}
    assert template.empty({"x": value}) == {"x"}


@pytest.mark.parametrize(
    "value", ["-", "0", "?", "#", "\U0001f600", "a", "\u0639", ".", "\u200ba"]
)
def test_what_shows_something_is_text(value: str) -> None:
    """A dash, a key of the phone, a picture and a letter of any script are text."""
    template = Template([{"action": "speak", "text": "Hello {x}!"}])

    assert template.fill({"x": value}) == Flow([Speak(f"Hello {value}!")])
    assert template.empty({"x": value}) == frozenset()


def test_the_error_says_what_would_be_right() -> None:
    """An empty column's error names a default and an empty one, as they are written."""
    template = Template([{"action": "speak", "text": "{~a||b~} {c}"}])

    with pytest.raises(
        InvalidCall, match=r"such as \{~a\|\|b~\|there\}, or \{~a\|\|b~\|\} if it may"
    ):
        template.fill({"~a|b~": " ", "c": "x"})


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("Hello {name|there}!", {"name": ""}, "Hello there!"),
        ("Hello {name|there}!", {}, "Hello there!"),
        ("Hello {name|there}!", {"name": "\u200b"}, "Hello there!"),
        ("Hello {name|there}!", {"name": "Asha"}, "Hello Asha!"),
        ("Hello{name|}!", {"name": " "}, "Hello!"),
        ("Hello {name| dear  friend }!", {}, "Hello  dear  friend !"),
        ("{a|b||c}", {}, "b|c"),
        ("{a||b|c}", {"a": "no"}, "c"),
        ("{a||b}", {"a|b": "yes"}, "yes"),
        ("{{{a|b}}}", {}, "{b}"),
        ("{{a|b}} {x}", {"x": "y"}, "{a|b} y"),
        ("a|b {x}", {"x": "y"}, "a|b y"),
        ("{a|x} {a|y} {a|z}", {"a": ""}, "x y z"),
        ("{a|line\nline}", {}, "line\nline"),
        ("{a|%s}", {}, "%s"),
        ("{a|\u05e9\u05dc\u05d5\u05dd}", {}, "\u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_a_default_is_used_where_there_is_no_text(
    text: str, columns: dict[str, str], said: str
) -> None:
    """What is behind the bar stands for a missing or empty column; two bars are one bar."""
    template = Template([{"action": "speak", "text": text}])

    assert template.fill(columns) == Flow([Speak(said)])
    assert Template.parse(json.dumps(template.dump())).fill(columns) == template.fill(columns)


def test_a_default_is_read_as_a_column_is() -> None:
    """A default is encoded inside a URL, and is a number where a number goes."""
    template = Template(
        [
            {"action": "stream", "ws_url": "wss://a.example/{id|../x}?q={q|1&admin=1 #}"},
            {"action": "play", "file_url": "{url|https://a.example/x.wav}"},
            {
                "action": "bridge",
                "timeout": "{ring|30}",
                "connect": [{"type": "pstn", "number": "{agent|+1 917 000 0002}"}],
            },
        ]
    )

    assert template.required == frozenset()
    assert template.fill({"ring": "", "url": " "}) == Flow(
        [
            Stream("wss://a.example/..%2Fx?q=1%26admin%3D1%20%23"),
            Play(file_url="https://a.example/x.wav"),
            Bridge([Pstn(19170000002)], timeout=30),
        ]
    )


def test_a_column_with_and_without_a_default_is_required() -> None:
    """One placeholder without a default is enough to require text."""
    template = Template([{"action": "speak", "text": "{a|x} {a} {b|y}"}])

    assert template.columns == {"a", "b"}
    assert template.required == {"a"}
    assert template.fill({"a": "1"}) == Flow([Speak("1 1 y")])
    with pytest.raises(InvalidCall, match='needs text in the column "a"'):
        template.fill({"a": ""})


def test_a_file_must_have_the_columns_with_defaults_too() -> None:
    """A misspelt name with a default is noticed, since the file has no such column."""
    template = Template([{"action": "speak", "text": "Hello {nmae|there}"}])

    with pytest.raises(InvalidCall, match=r'column "nmae".*did you mean "name"'):
        template.check(["name"])


def test_a_bar_in_a_columns_name_is_explained() -> None:
    """Where a file has a column with a bar in its name, the error says how to write it."""
    template = Template([{"action": "speak", "text": "{a|b}"}])

    with pytest.raises(InvalidCall, match=r'write \{a\|\|b\} for the column "a\|b"'):
        template.check(["a|b"])
    Template([{"action": "speak", "text": "{a||b}"}]).check(["a|b"])
    with pytest.raises(InvalidCall, match=r'lacks: known are "a\|None"$'):
        Template([{"action": "speak", "text": "{a}"}]).check(["a|None"])


def test_defaults_that_wait_for_another_column_are_not_judged() -> None:
    """A text with a required column and a default is judged when it is filled."""
    template = Template([{"action": "play", "file_url": "{base}/{file|x.wav}"}])

    with pytest.raises(InvalidCall, match="has no scheme"):
        template.fill({"base": "a", "file": ""})
    assert template.columns == {"base", "file"}


def test_a_default_before_a_required_column_is_not_judged_inside_a_list() -> None:
    """A phone's error is inside its text, which waits for the column that it requires."""
    template = Template([{"action": "bridge", "connect": ["{trunk|0}{number}"]}])

    with pytest.raises(InvalidCall, match=r"connect\[0\]\.number"):
        template.fill({"number": "19170000002"})
    assert template.fill({"trunk": "+", "number": "19170000002"}) == Flow(
        [Bridge([Pstn(19170000002)])]
    )


_NAMES = st.sampled_from(["a", "b", "c d", "e|f", "x.__class__", "0", "\u05d0"])
_CELLS = st.one_of(st.sampled_from(NOTHING), st.text(max_size=6))
# A default cannot begin with a bar.
_DEFAULTS = st.none() | st.text(
    st.characters(exclude_categories=["C"], exclude_characters="{}"), max_size=6
).filter(lambda text: not text.startswith("|"))
_PARTS = st.lists(st.tuples(st.text(max_size=5), _NAMES, _DEFAULTS), min_size=1, max_size=5)


@given(_PARTS, st.dictionaries(_NAMES, _CELLS), st.booleans())
def test_a_filled_flow_holds_texts_and_defaults_only(
    parts: list[tuple[str, str, str | None]], columns: dict[str, str], in_url: bool
) -> None:
    """No placeholder is left, no required column without text is sent, defaults are encoded alike."""
    action, key = ("stream", "ws_url") if in_url else ("speak", "text")
    written = wanted = "wss://h/" if in_url else "Hello "
    lacks = False
    for literal, name, default in parts:
        if not in_url:
            written += literal.replace("{", "{{").replace("}", "}}")
            wanted += literal
        inner = name.replace("|", "||")
        inner += "" if default is None else f"|{default.replace('|', '||')}"
        written += f"{{{inner}}}"
        value = columns.get(name, "")
        if not has_text(value):
            lacks = lacks or default is None
            value = default or ""
        wanted += quote(value, safe="") if in_url else value
    try:
        expected = None if lacks else Flow([{"action": action, key: wanted}])
    except InvalidCall:
        expected = None

    try:
        flow = Template([{"action": action, key: written}]).fill(columns)
    except InvalidCall:
        flow = None

    assert flow == expected


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.text(max_size=40)))
def test_nothing_but_invalid_call_is_raised(text: str, columns: dict[str, str]) -> None:
    """Any text either makes a template or raises InvalidCall, and so do values."""
    try:
        template = Template([{"action": "speak", "text": text}])
        flow = template.fill(columns)
    except InvalidCall:
        return

    assert len(flow) == 1


@given(st.text(max_size=30))
def test_text_with_doubled_braces_comes_back(text: str) -> None:
    """Text with every brace doubled is a template of the original text."""
    escaped = text.replace("{", "{{").replace("}", "}}")
    try:
        wanted = Speak(text)
    except InvalidCall:
        return

    assert Template([{"action": "speak", "text": escaped}]).fill({}) == Flow([wanted])


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("bridge", "duration"), ("bridge", "loop"), ("bridge", "timeout"),
        ("play_get_input", "max_digit"), ("play_get_input", "max_retry"),
        ("play_get_input", "timeout"),
    ],
)  # fmt: skip
def test_a_columns_digits_are_an_integer_where_one_is_due(name: str, key: str) -> None:
    """Counts and times come from columns as text, and are sent as integers."""
    rest: dict[str, object] = (
        {"connect": [{"type": "pstn", "number": 19170000003}]}
        if name == "bridge"
        else {"action_url": "https://example.com/a", "file_name": "a.wav"}
    )

    flow = Template([{"action": name, key: "{x}", **rest}]).fill({"x": "7"})

    assert flow.dump()[0][key] == 7


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("0", 0),
        ("007", 7),
        ("123456789", 123_456_789),
        ("1234567890", "1234567890"),
        ("7 s", "7 s"),
        ("-7", "-7"),
        ("1_0", "1_0"),
        (" 7", " 7"),
        ("\u0663", "\u0663"),
        ("\u00b2", "\u00b2"),
    ],
)
def test_an_integer_has_up_to_nine_plain_digits(value: str, sent: object) -> None:
    """Longer texts, and digits of other scripts, stay texts, for the action to refuse."""
    flow = Template([Raw({"action": "new", "timeout": "{x}", "text": "{x}"})]).fill(
        {"x": value}
    )

    assert flow.dump() == [{"action": "new", "timeout": sent, "text": value}]


def test_a_column_may_hold_a_long_text() -> None:
    """A value of 4,000 characters is sent; a longer one is taken for a fault of the file."""
    text = "x" * 4_000

    assert Template([Speak("{x}")]).fill({"x": text}) == Flow([Speak(text)])
    with pytest.raises(InvalidCall, match="longer than 4_000 characters"):
        Template([Speak("{x}")]).fill({"x": f"{text}x"})
