"""Call requests as values: what they accept, and the table of what they refuse."""

from __future__ import annotations

import copy
import pickle
import re
from datetime import timedelta
from typing import Any

import attrs
import pytest
from bad_calls import BAD_CALLS, BadCall
from call_strategies import requests
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.calls.request import CallRequest
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import Bridge, Hangup, Play
from telecmi_async.pcmo.flow import Flow
from telecmi_async.phone import Region

TO, FROM = 19170000001, 19170000000


@pytest.mark.parametrize("bad", BAD_CALLS, ids=lambda bad: bad.name)
def test_a_bad_call_is_refused(bad: BadCall) -> None:
    """A bad call's error names the field, says what is wrong, and repeats little of it."""
    with pytest.raises(InvalidCall) as caught:
        CallRequest(**bad.fields())

    assert caught.value.path == bad.path
    assert re.search(bad.says, caught.value.message)
    assert len(str(caught.value)) < 300
    lengths = ["1000000"]  # of the 1 MB inputs; no other long number may show
    assert re.findall(r"\d{7,}", str(caught.value)) in ([], lengths)
    assert caught.value.__cause__ is None


def test_the_table_is_long_and_its_names_differ() -> None:
    """The table has many bad calls, each with a name of its own."""
    assert len(BAD_CALLS) >= 60
    assert len({bad.name for bad in BAD_CALLS}) == len(BAD_CALLS)


def test_a_long_path_is_cut() -> None:
    """The error for a path through long keys shows only its beginning and its end."""
    inner: Any = b"bytes"
    for level in range(10):
        inner = {f"{level}{'k' * 60}": inner}

    with pytest.raises(InvalidCall) as caught:
        CallRequest(to=TO, pcmo=[Hangup()], extra_params=inner)

    assert caught.value.path.startswith("extra_params.9kkk")
    assert caught.value.path.endswith(f"….0{'k' * 39}…")
    assert len(caught.value.path) < 130


_anything = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.booleans(),
    st.lists(st.text() | st.integers()),
    st.dictionaries(st.text() | st.integers(), st.text() | st.floats()),
    st.timedeltas(),
    st.just(object()),
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(attrs.fields_dict(CallRequest), _anything))
)
def test_nothing_but_invalid_call_escapes(fields: dict[str, Any]) -> None:
    """Any fields either make a call or raise InvalidCall with a short message."""
    refused = None
    try:
        CallRequest.parse({"to": TO, "pcmo": [Hangup()], **fields})
    except InvalidCall as error:
        refused = error

    if refused is not None:
        assert refused.path.split(".")[0].split("[")[0] in {*fields, "from"}
        assert len(str(refused)) < 300


def test_a_call_is_normalised() -> None:
    """Numbers become ints, a flow a tuple of actions, times seconds, a region its member."""
    request = CallRequest(
        to="+1 917 000 0001",
        pcmo=[{"action": "play", "file_name": "a.wav"}, Hangup()],
        from_="19170000000",
        extra_params={"order": "42", "tags": ["a", {"b": None}]},
        duration=timedelta(minutes=2),
        region="india",
    )

    assert request.to == TO
    assert request.pcmo == (Play("a.wav"), Hangup())
    assert request.from_ == FROM
    assert request.extra_params == {"order": "42", "tags": ("a", {"b": None})}
    assert request.duration == 120
    assert request.region is Region.INDIA


def test_what_is_not_given_is_none() -> None:
    """Options that are not given are None, so that the service's settings apply."""
    request = CallRequest(to=TO, pcmo=Flow().hangup())

    assert (request.from_, request.extra_params, request.duration, request.region) == (
        None,
    ) * 4


def test_extra_params_are_copied_in_full() -> None:
    """A later change to the user's own dict does not reach the call."""
    mine: dict[str, Any] = {"tags": ["a"]}

    request = CallRequest(to=TO, pcmo=[Hangup()], extra_params=mine)
    mine["tags"].append("b")

    assert request.extra_params == {"tags": ("a",)}


@given(requests)
def test_a_call_is_a_value(request: CallRequest) -> None:
    """Equal copies hash alike and survive pickling, and nothing in a call can be replaced."""
    for twin in (
        pickle.loads(pickle.dumps(request)),
        copy.deepcopy(request),
        attrs.evolve(request),
    ):
        assert twin == request
        assert hash(twin) == hash(request)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.to = 1  # type: ignore[misc]  # that is tested


@given(requests)
def test_a_repr_holds_no_whole_number(request: CallRequest) -> None:
    """A repr shows neither the callee's number nor the caller id."""
    assert str(request.to) not in repr(request)
    assert request.from_ is None or str(request.from_) not in repr(request)


def test_a_repr_shows_what_was_given() -> None:
    """A repr omits options that were not given, and masks numbers."""
    request = CallRequest(to=TO, pcmo=[Bridge([FROM])], extra_params={"phone": "+19170000002"})

    assert repr(request) == (
        "CallRequest(to=•••••••0001, pcmo=(Bridge((Pstn(•••••••0000),)),), "
        "extra_params={'phone': '+•••••••0002'})"
    )


@pytest.mark.parametrize("key", ["from", "from_"])
def test_a_mapping_is_parsed(key: str) -> None:
    """The caller id may have its name on the wire or its name in Python."""
    request = CallRequest.parse(
        {"to": TO, key: FROM, "pcmo": [{"action": "hangup"}], "region": "global"}
    )

    assert request == CallRequest(to=TO, from_=FROM, pcmo=[Hangup()], region="global")


@pytest.mark.parametrize("bad", BAD_CALLS, ids=lambda bad: bad.name)
def test_a_bad_mapping_is_refused_alike(bad: BadCall) -> None:
    """Parsing refuses the same calls as the constructor, with the same path."""
    with pytest.raises(InvalidCall) as caught:
        CallRequest.parse(bad.fields())

    assert caught.value.path == bad.path


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        ({"pcmo": [Hangup()]}, "to", "is missing"),
        ({"to": TO}, "pcmo", "is missing"),
        ({"to": TO, "pcmo": [], "from": FROM, "from_": FROM}, "from", "given twice"),
        ({"to": TO, "pmco": []}, "pmco", 'did you mean "pcmo"'),
        ({"to": TO, "extra_parms": {}}, "extra_parms", 'did you mean "extra_params"'),
        ({"to": TO, "appid": 2222226}, "appid", "the service adds it"),
        ({"to": TO, "secret": "a-secret"}, "secret", "the service adds it"),
        ({"to": TO, "zzz": 1}, "zzz", "known are"),
        ({"to": TO, 7: 1}, "…", "no field 7"),
        ([TO], "", "must be a CallRequest or a mapping, not a value of type list"),
        ("19170000001", "", 'not "•+0001"'),
        (None, "", "not None"),
    ],
)
def test_a_mapping_that_is_no_call_is_refused(data: Any, path: str, says: str) -> None:
    """Unknown, missing and duplicate keys are named, with the nearest valid name."""
    with pytest.raises(InvalidCall) as caught:
        CallRequest.parse(data)

    assert caught.value.path == path
    assert re.search(says, caught.value.message)
    assert "a-secret" not in str(caught.value)
