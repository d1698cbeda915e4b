"""Hypothesis strategies for everything a call is made of."""

from __future__ import annotations

from hypothesis import strategies as st

from telecmi_async.calls.request import CallRequest
from telecmi_async.pcmo import (
    Action,
    Bridge,
    Connect,
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
from telecmi_async.phone import Region
from telecmi_async.phone.plans import plan_codes, plan_of_code

__all__ = ["actions", "json_objects", "known_actions", "numbers", "raws", "requests"]


def _national(code: str) -> st.SearchStrategy[str]:
    """Return a strategy for the digits behind a country code."""
    if code == "1":
        return st.from_regex(r"[2-9][0-9]{2}[2-9][0-9]{6}", fullmatch=True)
    first = st.sampled_from("123456789")
    return st.sampled_from(sorted(plan_of_code(code).lengths)).flatmap(
        lambda length: st.tuples(
            first, st.text("0123456789", min_size=length - 1, max_size=length - 1)
        ).map("".join)
    )


#: Numbers that a phone can have, of all countries.
numbers = st.sampled_from(sorted(plan_codes(), key=len)).flatmap(
    lambda code: _national(code).map(lambda digits: int(code + digits))
)
seconds = st.integers(1, 2**31 - 1)
counts = st.integers(1, 100)

_printable = st.characters(exclude_categories=["Cc", "Cs"])
texts = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), min_size=1
).filter(lambda text: not text.isspace())
names = st.text(_printable, min_size=1).filter(
    lambda name: name == name.strip() and "://" not in name
)

_hosts = st.sampled_from(["example.com", "localhost", "203.0.113.7", "[2001:db8::1]"])
_ports = st.just("") | st.integers(1, 65535).map(lambda port: f":{port}")
_paths = st.from_regex(r"(/[a-zA-Z0-9._~%-]*)*(\?[a-z0-9=&%]*)?", fullmatch=True)


def urls(*schemes: str) -> st.SearchStrategy[str]:
    """Return a strategy for URLs with one of the schemes."""
    return st.tuples(st.sampled_from(schemes), _hosts, _ports, _paths).map(
        lambda parts: f"{parts[0]}://{''.join(parts[1:])}"
    )


http_urls = urls("http", "https")
_phones = st.lists(st.builds(Pstn, numbers), min_size=1, max_size=4)
_sips = st.lists(st.builds(Sip, names | st.integers(1, 2**53 - 1)), min_size=1, max_size=4)
_ringing = {
    "from_": st.none() | numbers,
    "timeout": st.none() | seconds,
    "duration": st.none() | seconds,
    "loop": st.none() | counts,
    "ring_type": st.sampled_from([None, "single", "group"]),
}
_digits = {"max_digit": st.none() | counts, "timeout": st.none() | seconds}

known_actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(Bridge, _phones, **_ringing),
    st.builds(
        Connect,
        _sips,
        **_ringing,
        call_type=st.sampled_from([None, "audio", "video"]),
        record=st.none() | st.booleans(),
        array_key=st.sampled_from(["connect", "call"]),
    ),
    st.builds(Hangup),
    st.builds(Record),
    st.builds(Speak, texts),
    st.builds(Param, texts),
    st.builds(Play, names),
    st.builds(Play, file_url=http_urls),
    st.builds(Input, http_urls, **_digits),
    st.builds(
        PlayGetInput, http_urls, file_name=names, max_retry=st.none() | counts, **_digits
    ),
    st.builds(PlayGetInput, http_urls, file_url=http_urls, **_digits),
    st.tuples(http_urls, http_urls).map(
        lambda pair: PlayGetInput(pair[0], file_name=pair[1], file_url=pair[1])
    ),
    st.builds(
        Stream,
        urls("ws", "wss"),
        listen_mode=st.sampled_from([None, "caller", "callee", "both"]),
        voice_quality=st.sampled_from([None, "8000", "16000", 8000, 16000, 12000, "32000"]),
        stream_on_answer=st.none() | st.booleans(),
    ),
)

_keys = st.text(_printable, min_size=1)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
_json = st.recursive(
    _leaves, lambda inner: st.lists(inner) | st.dictionaries(_keys, inner), max_leaves=12
)
json_objects = st.dictionaries(_keys, _json, max_size=4)
raws: st.SearchStrategy[Action] = st.builds(
    lambda name, data: Raw({**data, "action": f"x_{name}"}), _keys, json_objects
)
actions = known_actions | raws

requests = st.builds(
    CallRequest,
    to=numbers,
    pcmo=st.lists(actions, min_size=1, max_size=4),
    from_=st.none() | numbers,
    extra_params=st.none() | json_objects,
    duration=st.none() | seconds,
    region=st.sampled_from([None, *Region]),
)
