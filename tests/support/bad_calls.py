"""Calls that must be refused before anything is sent, each with what the error says.

One table for `CallRequest`, `CallService.make_call` and `CallRequest.parse`: all take the
same fields. The fields are made by a function, since some values cannot even be made.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from telecmi_async.pcmo import (
    Bridge,
    Connect,
    Hangup,
    Input,
    Param,
    Play,
    PlayGetInput,
    Pstn,
    Raw,
    Sip,
    Speak,
    Stream,
)
from telecmi_async.pcmo.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BAD_CALLS", "BadCall"]

TO, FROM, PHONE = 19170000001, 19170000000, 19170000002
HOOK = "https://example.com/digits"
FILE = "https://example.com/a.wav"


class BadCall(NamedTuple):
    """A call that must be refused.

    Args:
        name: What is wrong with it; the test's id.
        fields: Makes the keyword arguments of the call.
        path: The ``path`` of the error.
        says: A regular expression that its message must match.
    """

    name: str
    fields: Callable[[], dict[str, Any]]
    path: str
    says: str


def call(**fields: Any) -> dict[str, Any]:
    """Return the arguments of a good call, with some replaced."""
    return {"to": TO, "from_": FROM, "pcmo": [Hangup()], **fields}


def flow(*actions: Any) -> dict[str, Any]:
    """Return the arguments of a call with these actions."""
    return call(pcmo=list(actions))


def nested(levels: int) -> dict[str, Any]:
    """Return a dict of dicts, so many levels deep."""
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"x": inner}
    return inner


def endless() -> dict[str, Any]:
    """Return a dict that holds itself."""
    loop: dict[str, Any] = {}
    loop["x"] = loop
    return loop


def bridge(**fields: Any) -> dict[str, Any]:
    """Return a bridge as a plain dict, with some fields added or replaced."""
    return {"action": "bridge", "connect": [{"type": "pstn", "number": PHONE}], **fields}


def numbers() -> Iterator[BadCall]:
    """Yield calls with bad numbers."""
    yield BadCall("to: None", lambda: call(to=None), "to", "must be a phone number, not None")
    yield BadCall("to: True", lambda: call(to=True), "to", "must be a phone number, not True")
    yield BadCall("to: a float", lambda: call(to=1.917e10), "to", "not a float.*as text")
    yield BadCall(
        "to: a float as text", lambda: call(to="19170000001.5"), "to", "decimal point.*as text"
    )
    yield BadCall("to: empty", lambda: call(to=""), "to", "number is missing")
    yield BadCall("to: only a plus", lambda: call(to=" + "), "to", "number is missing")
    yield BadCall("to: letters", lambda: call(to="1-800-FLOWERS"), "to", '"F" is not')
    yield BadCall("to: raised digits", lambda: call(to="+1917000000¹"), "to", r"U\+00B9 is not")
    yield BadCall("to: two pluses", lambda: call(to="+1+9170000001"), "to", "at its beginning")
    yield BadCall("to: spreadsheet text", lambda: call(to="1.917E+10"), "to", "digits are lost")
    yield BadCall("to: leading zero", lambda: call(to="09170000001"), "to", "country code")
    yield BadCall("to: no country", lambda: call(to="009170000001"), "to", "have 10")
    yield BadCall("to: too short", lambda: call(to=170000), "to", "6 digits .*7 to 15")
    yield BadCall("to: too long", lambda: call(to="1" * 16), "to", "than 15 digits .*7 to 15")
    yield BadCall("to: 1 MB of digits", lambda: call(to="1" * 10**6), "to", "too long")
    yield BadCall("to: 5,000 digits", lambda: call(to=10**5000), "to", "7 to 15")
    yield BadCall("to: negative", lambda: call(to=-19170000001), "to", "positive")
    yield BadCall("to: zero", lambda: call(to=0), "to", "positive")
    yield BadCall("to: bytes", lambda: call(to=b"19170000001"), "to", "int or str.*bytes")
    yield BadCall("to: a list", lambda: call(to=[TO]), "to", "int or str.*list")
    yield BadCall("from: letters", lambda: call(from_="TELECMI"), "from", '"T" is not')
    yield BadCall("from: a bool", lambda: call(from_=False), "from", "must be a phone number")


def flows() -> Iterator[BadCall]:
    """Yield calls with something that is no call flow."""
    yield BadCall("pcmo: None", lambda: call(pcmo=None), "pcmo", "list of actions, not None")
    yield BadCall("pcmo: empty", lambda: call(pcmo=[]), "pcmo", "at least one action")
    yield BadCall("pcmo: empty Flow", lambda: call(pcmo=Flow()), "pcmo", "at least one action")
    yield BadCall("pcmo: JSON text", lambda: call(pcmo="[]"), "pcmo", r"Flow\.parse")
    yield BadCall("pcmo: JSON bytes", lambda: call(pcmo=b"[]"), "pcmo", r"Flow\.parse")
    yield BadCall("pcmo: one dict", lambda: call(pcmo=bridge()), "pcmo", r"put \[ \] around")
    yield BadCall("pcmo: one action", lambda: call(pcmo=Hangup()), "pcmo", r"put \[ \] around")
    yield BadCall("pcmo: wrapped", lambda: call(pcmo={"pcmo": [bridge()]}), "pcmo", "itself")
    yield BadCall(
        "pcmo: a set", lambda: call(pcmo={Hangup()}), "pcmo", "not a value of type set"
    )
    yield BadCall("pcmo: a number", lambda: call(pcmo=PHONE), "pcmo", "not •+0002")
    yield BadCall("pcmo: None in it", lambda: flow(Hangup(), None), "pcmo[1]", "not None")
    yield BadCall("pcmo: a class", lambda: flow(Hangup), "pcmo[0]", "action or a dict")
    yield BadCall("pcmo: a target", lambda: flow(Pstn(PHONE)), "pcmo[0]", r"into Bridge\(")
    yield BadCall("pcmo: a SIP target", lambda: flow(Sip("anna")), "pcmo[0]", r"into Connect\(")
    yield BadCall("pcmo: nested lists", lambda: flow([Hangup()]), "pcmo[0]", "type list")


def names() -> Iterator[BadCall]:
    """Yield calls with misspelt keys and actions, and keys that are missing."""
    yield BadCall(
        "no action", lambda: flow({"file_name": "a.wav"}), "pcmo[0].action", "missing"
    )
    yield BadCall(
        "action: misspelt",
        lambda: flow({"action": "brigde"}),
        "pcmo[0].action",
        'mean "bridge"',
    )
    yield BadCall(
        "action: capital", lambda: flow({"action": "Hangup"}), "pcmo[0].action", 'mean "hangup"'
    )
    yield BadCall(
        "action: invented", lambda: flow({"action": "call"}), "pcmo[0].action", 'mean "bridge"'
    )
    yield BadCall(
        "action: unlike any",
        lambda: flow({"action": "x"}),
        "pcmo[0].action",
        r"Raw\(.*known are",
    )
    yield BadCall(
        "action: a number",
        lambda: flow({"action": 7}),
        "pcmo[0].action",
        "no action is named 7",
    )
    yield BadCall(
        "action: 1 MB",
        lambda: flow({"action": "bridge" * 170_000}),
        "pcmo[0].action",
        'no action is named "bridge.*…',
    )
    yield BadCall(
        "key: misspelt", lambda: flow(bridge(timout=20)), "pcmo[0].timout", 'mean "timeout"'
    )
    yield BadCall(
        "key: plural",
        lambda: flow({"action": "input", "action_url": HOOK, "max_digits": 4}),
        "pcmo[0].max_digits",
        'mean "max_digit"',
    )
    yield BadCall(
        "key: underscore", lambda: flow(bridge(from_=FROM)), "pcmo[0].from_", 'it is "from"'
    )
    yield BadCall(
        "key: record", lambda: flow(bridge(record=True)), "pcmo[0].record", "before this action"
    )
    yield BadCall(
        "key: on hangup", lambda: flow({"action": "hangup", "x": 1}), "pcmo[0].x", "no options"
    )
    yield BadCall(
        "key: a number", lambda: flow({"action": "hangup", 7: 1}), "pcmo[0].…", "no key 7"
    )
    yield BadCall(
        "key: a phone number",
        lambda: flow({"action": "hangup", "+1 917-000-0001": 1}),
        "pcmo[0].+•••••••0001",
        "no key",
    )
    yield BadCall(
        "key: null", lambda: flow(bridge(timeout=None)), "pcmo[0].timeout", "leave the key out"
    )
    yield BadCall(
        "no connect", lambda: flow({"action": "bridge"}), "pcmo[0].connect", "is missing"
    )
    yield BadCall("no text", lambda: flow({"action": "speak"}), "pcmo[0].text", "is missing")
    yield BadCall(
        "target: no type",
        lambda: flow(Hangup(), bridge(connect=[{"number": PHONE}])),
        "pcmo[1].connect[0].type",
        'write "pstn"',
    )
    yield BadCall(
        "target: SIP in a bridge",
        lambda: flow(bridge(connect=[{"type": "sip", "user": "anna"}])),
        "pcmo[0].connect[0].type",
        'must be "pstn" here',
    )
    yield BadCall(
        "target: misspelt key",
        lambda: flow(bridge(connect=[{"type": "pstn", "numer": PHONE}])),
        "pcmo[0].connect[0].numer",
        'mean "number"',
    )
    yield BadCall(
        "target: bad number",
        lambda: flow(Hangup(), bridge(connect=[{"type": "pstn", "number": "0917"}])),
        "pcmo[1].connect[0].number",
        "country code",
    )
    yield BadCall(
        "SIP: bad user under call",
        lambda: flow({"action": "connect", "call": [{"type": "sip", "user": " anna"}]}),
        "pcmo[0].call[0].user",
        "blank",
    )
    yield BadCall(
        "SIP: call and connect",
        lambda: flow({"action": "connect", "call": [], "connect": []}),
        "pcmo[0].call",
        "excludes",
    )
    yield BadCall(
        "SIP: bad option with call",
        lambda: flow({"action": "connect", "call": [{"type": "sip", "user": 7}], "loop": 0}),
        "pcmo[0].loop",
        "between 1",
    )


def bridges() -> Iterator[BadCall]:
    """Yield calls with bad bridges and connects."""
    yield BadCall("connect: empty", lambda: flow(Bridge([])), "connect", "must not be empty")
    yield BadCall(
        "connect: empty in JSON", lambda: flow(bridge(connect=[])), "pcmo[0].connect", "empty"
    )
    yield BadCall(
        "connect: text", lambda: flow(Bridge("19170000002")), "connect", "a list such"
    )
    yield BadCall("connect: a number", lambda: flow(Bridge(PHONE)), "connect", "not •+0002")  # type: ignore[arg-type]  # what it is about
    yield BadCall("connect: a Sip", lambda: flow(Bridge([Sip("a")])), "connect[0]", "Connect")  # type: ignore[list-item]  # what it is about
    yield BadCall("connect: a float", lambda: flow(Bridge([1.5])), "connect[0]", "phone number")  # type: ignore[list-item]  # what it is about
    yield BadCall(
        "connect: one bad of two",
        lambda: flow(Bridge([PHONE, "12"])),
        "connect[1].number",
        "7 to 15",
    )
    yield BadCall("SIP: a Pstn", lambda: flow(Connect([Pstn(PHONE)])), "connect[0]", "Bridge")  # type: ignore[list-item]  # what it is about
    yield BadCall("SIP: text", lambda: flow(Connect(["anna"])), "connect[0]", "write Sip")  # type: ignore[list-item]  # what it is about
    yield BadCall("SIP: no user", lambda: flow(Connect([Sip("")])), "user", "must not be empty")
    yield BadCall("SIP: user True", lambda: flow(Connect([Sip(True)])), "user", "not True")
    yield BadCall("SIP: user zero", lambda: flow(Connect([Sip(0)])), "user", "positive int")
    yield BadCall(
        "timeout: text",
        lambda: flow(bridge(timeout="20")),
        "pcmo[0].timeout",
        "leave the quotes out",
    )
    yield BadCall(
        "timeout: True", lambda: flow(bridge(timeout=True)), "pcmo[0].timeout", "not True"
    )
    yield BadCall(
        "timeout: a float", lambda: flow(bridge(timeout=2.0)), "pcmo[0].timeout", r"not 2\.0"
    )
    yield BadCall(
        "timeout: zero", lambda: flow(bridge(timeout=0)), "pcmo[0].timeout", "between 1"
    )
    yield BadCall(
        "timeout: fraction",
        lambda: flow(Bridge([PHONE], timeout=dt.timedelta(milliseconds=1500))),
        "timeout",
        "whole seconds",
    )
    yield BadCall(
        "timeout: negative timedelta",
        lambda: flow(Bridge([PHONE], timeout=dt.timedelta(seconds=-1))),
        "timeout",
        "between 1",
    )
    yield BadCall(
        "loop: enormous", lambda: flow(bridge(loop=10**5000)), "pcmo[0].loop", "enormous int"
    )
    yield BadCall("loop: a list", lambda: flow(bridge(loop=[2])), "pcmo[0].loop", "type list")
    yield BadCall(
        "ring_type", lambda: flow(bridge(ring_type="all")), "pcmo[0].ring_type", '"single" or'
    )
    yield BadCall(
        "bridge: from", lambda: flow(bridge(**{"from": "0"})), "pcmo[0].from", "country code"
    )


def media() -> Iterator[BadCall]:
    """Yield calls with bad recordings, texts, inputs and streams."""
    yield BadCall("play: nothing", lambda: flow(Play()), "file_name", "file_name or file_url")
    yield BadCall(
        "play: both", lambda: flow(Play("a.wav", file_url=FILE)), "file_url", "one of"
    )
    yield BadCall("play: URL as name", lambda: flow(Play(FILE)), "file_name", "write file_url=")
    yield BadCall("play: empty", lambda: flow(Play("")), "file_name", "must not be empty")
    yield BadCall("play: blank end", lambda: flow(Play("a.wav ")), "file_name", "blank")
    yield BadCall("play: bytes", lambda: flow(Play(b"a.wav")), "file_name", "type bytes")  # type: ignore[arg-type]  # what it is about
    yield BadCall("play: control", lambda: flow(Play("a\x00.wav")), "file_name", r"U\+0000")
    yield BadCall("play: surrogate", lambda: flow(Play("a\ud800")), "file_name", r"U\+D800")
    yield BadCall(
        "URL: no scheme", lambda: flow(Play(file_url="a.wav")), "file_url", "no scheme"
    )
    yield BadCall(
        "URL: ftp", lambda: flow(Play(file_url="ftp://example.com/a")), "file_url", 'not "ftp"'
    )
    yield BadCall(
        "URL: no host", lambda: flow(Play(file_url="https:///a")), "file_url", "no host"
    )
    yield BadCall(
        "URL: bad port", lambda: flow(Play(file_url="https://a:99999/")), "file_url", "port"
    )
    yield BadCall(
        "URL: bad IPv6", lambda: flow(Play(file_url="https://[::1/")), "file_url", "host"
    )
    yield BadCall(
        "URL: leading blank",
        lambda: flow(Input(" https://a.example")),
        "action_url",
        r"U\+0020",
    )
    yield BadCall(
        "URL: invisible", lambda: flow(Input("https://a.example/\u200b")), "action_url", r"200B"
    )
    yield BadCall("URL: an int", lambda: flow(Input(7)), "action_url", "must be a str, not 7")  # type: ignore[arg-type]  # what it is about
    yield BadCall(
        "get input: nothing", lambda: flow(PlayGetInput(HOOK)), "file_name", "missing"
    )
    yield BadCall(
        "get input: two files",
        lambda: flow(PlayGetInput(HOOK, file_name="a.wav", file_url=FILE)),
        "file_url",
        "give one of them",
    )
    yield BadCall(
        "get input: URL as name",
        lambda: flow(PlayGetInput(HOOK, file_name=FILE)),
        "file_name",
        "write file_url=",
    )
    yield BadCall(
        "get input: a name twice",
        lambda: flow(PlayGetInput(HOOK, file_name="a.wav", file_url="a.wav")),
        "file_url",
        "no scheme",
    )
    yield BadCall(
        "max_digit", lambda: flow(Input(HOOK, max_digit=-1)), "max_digit", "between 1"
    )
    yield BadCall("speak: empty", lambda: flow(Speak("")), "text", "must not be empty")
    yield BadCall("speak: blank", lambda: flow(Speak(" \n")), "text", "must not be blank")
    yield BadCall("speak: control", lambda: flow(Speak("a\x1b[0m")), "text", r"U\+001B")
    yield BadCall(
        "speak: 1 MB", lambda: flow(Speak("a" * 10**6 + "\x00")), "text", "position 1000000"
    )
    yield BadCall("param: an int", lambda: flow(Param(42)), "text", "must be a str, not 42")  # type: ignore[arg-type]  # what it is about
    yield BadCall("stream: http", lambda: flow(Stream(HOOK)), "ws_url", "wss:// or ws://")
    yield BadCall(
        "stream: listen_mode",
        lambda: flow({"action": "stream", "ws_url": "ws://a.example", "listen_mode": "calle"}),
        "pcmo[0].listen_mode",
        '"caller", "callee" or "both"',
    )
    yield BadCall(
        "stream: voice_quality",
        lambda: flow({"action": "stream", "ws_url": "ws://a.example", "voice_quality": 8000.0}),
        "pcmo[0].voice_quality",
        r"not 8000\.0",
    )
    yield BadCall(
        "stream: on answer",
        lambda: flow({"action": "stream", "ws_url": "ws://a.example", "stream_on_answer": 1}),
        "pcmo[0].stream_on_answer",
        "True or False, not 1",
    )


def raws() -> Iterator[BadCall]:
    """Yield calls with bad raw actions."""
    yield BadCall("raw: no dict", lambda: flow(Raw([])), "", "must be a mapping")  # type: ignore[arg-type]  # what it is about
    yield BadCall("raw: no action", lambda: flow(Raw({})), "action", "name the action")
    yield BadCall(
        "raw: blank action", lambda: flow(Raw({"action": " "})), "action", "name, not"
    )
    yield BadCall(
        "raw: NaN", lambda: flow(Raw({"action": "x", "y": [float("nan")]})), "y[0]", "nan"
    )
    yield BadCall(
        "raw: int key",
        lambda: flow(Raw({"action": "x", "y": {1: 2}})),
        "y",
        "must have str keys, not 1",
    )
    yield BadCall(
        "raw: too deep",
        lambda: flow(Raw({"action": "x", "y": nested(16)})),
        "y" + ".x" * 15,
        "16",
    )


def extras() -> Iterator[BadCall]:
    """Yield calls with bad extra parameters."""
    at = "extra_params"

    def extra(value: Any) -> Callable[[], dict[str, Any]]:
        return lambda: call(extra_params=value)

    yield BadCall("extra: text", extra('{"a": 1}'), at, "must be a mapping such as")
    yield BadCall("extra: pairs", extra([("a", 1)]), at, "not a value of type list")
    yield BadCall("extra: int key", extra({1: "a"}), at, "must have str keys, not 1")
    yield BadCall("extra: empty key", extra({"": "a"}), at, "none empty")
    yield BadCall("extra: control in a key", extra({"a\n": "b"}), at, "without control")
    yield BadCall("extra: surrogate key", extra({"\ud800": "b"}), at, "without control")
    yield BadCall("extra: NaN", extra({"a": float("nan")}), at + ".a", "finite number, not nan")
    yield BadCall("extra: infinity", extra({"a": [1, float("-inf")]}), at + ".a[1]", "not -inf")
    yield BadCall("extra: bytes", extra({"a": b"b"}), at + ".a", r"type bytes.*str\(\)")
    yield BadCall("extra: Decimal", extra({"a": Decimal(1)}), at + ".a", "type Decimal")
    yield BadCall("extra: a date", extra({"at": dt.date.min}), at + ".at", "type date:")
    yield BadCall("extra: a set", extra({"a": {1}}), at + ".a", "type set")
    yield BadCall("extra: a deque", extra({"a": deque([1])}), at + ".a", "type deque")
    yield BadCall("extra: half a character", extra({"a": "x\udfff"}), at + ".a", r"U\+DFFF")
    yield BadCall("extra: long int", extra({"a": 2**53}), at + ".a", "longer one as a str")
    yield BadCall("extra: too deep", extra(nested(17)), at + ".x" * 16, "at most 16 deep")
    yield BadCall("extra: endless", extra(endless()), at + ".x" * 16, "at most 16 deep")
    yield BadCall(
        "extra: 1 MB key",
        extra({"k" * 10**6: None, "n" * 10**6: b""}),
        f"{at}.{'n' * 40}…",
        "type bytes",
    )


def rest() -> Iterator[BadCall]:
    """Yield calls with bad durations and regions."""
    yield BadCall("duration: zero", lambda: call(duration=0), "duration", "between 1")
    yield BadCall("duration: negative", lambda: call(duration=-1), "duration", "not -1")
    yield BadCall(
        "duration: text", lambda: call(duration="60"), "duration", "leave the quotes out"
    )
    yield BadCall("duration: a float", lambda: call(duration=60.5), "duration", r"not 60\.5")
    yield BadCall("duration: True", lambda: call(duration=True), "duration", "not True")
    yield BadCall(
        "duration: fraction",
        lambda: call(duration=dt.timedelta(seconds=1.5)),
        "duration",
        "whole seconds",
    )
    yield BadCall("duration: a century", lambda: call(duration=2**31), "duration", "between 1")
    yield BadCall(
        "region: unknown", lambda: call(region="europe"), "region", '"india" or "global"'
    )
    yield BadCall("region: capital", lambda: call(region="India"), "region", 'not "India"')
    yield BadCall("region: an int", lambda: call(region=91), "region", "not 91")
    yield BadCall("region: a list", lambda: call(region=["india"]), "region", "type list")
    yield BadCall("region: 1 MB", lambda: call(region="x" * 10**6), "region", "…")


BAD_CALLS = [
    bad
    for table in (numbers, flows, names, bridges, media, raws, extras, rest)
    for bad in table()
]
