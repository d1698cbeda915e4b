"""De-duplication: which events count as repeats."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async.events import CallRecord, dedupe_key, parse_event

RECORD = {
    "type": "cdr",
    "status": "missed",
    "cmiuuid": "c-1",
    "leg": "a",
    "time": 1632307235000,
}
LIVE = {
    "type": "event",
    "status": "ringing",
    "cmiuuid": "c-1",
    "leg": "a",
    "time": 1632307235000,
}
STREAM = {"status": "stream_connected", "cmiuuid": "c-1", "leg": "b", "time": 1632307235000}


def key_of(payload: dict[str, Any]) -> str | None:
    """Return the de-duplication key of the event in a payload."""
    return dedupe_key(parse_event(payload))


def without(payload: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a payload with some keys left out."""
    return {key: value for key, value in payload.items() if key not in keys}


@pytest.mark.parametrize(
    "repeat",
    [
        RECORD,
        RECORD | {"balance": "1.00", "time": 1632307239000},
        RECORD | {"status": "out_missed"},
        without(RECORD, "type", "cmiuuid") | {"duration": 0, "cmuuid": "c-1"},
    ],
    ids=str,
)
def test_a_record_is_known_by_leg_and_status(repeat: dict[str, Any]) -> None:
    """A record's later deliveries have its key, in any dialect and with any other fields."""
    assert key_of(repeat) == key_of(RECORD)


@pytest.mark.parametrize("payload", [LIVE, STREAM], ids=["live", "stream"])
def test_a_live_event_is_known_by_its_time_too(payload: dict[str, Any]) -> None:
    """The time is part of a live event's key: another time makes another event."""
    assert key_of(payload | {"vn": 1}) == key_of(payload)
    assert key_of(payload | {"time": 1632307235}) == key_of(payload)
    assert key_of(payload | {"time": 1632307236}) != key_of(payload)


def test_different_events_have_different_keys() -> None:
    """Events that differ in kind, leg, id, status or time have different keys."""
    different = [
        *(RECORD | change for change in ({}, {"leg": "b"}, {"status": "answered"}, {"cmiuuid": "c-2"})),
        *(LIVE | change for change in ({}, {"leg": "b"}, {"status": "answered"}, {"cmiuuid": "c-2"})),
        *(STREAM | change for change in ({}, {"status": "stream_disconnected"}, {"cmiuuid": "c-2"})),
        without(RECORD, "leg"),
        RECORD | {"leg": "none"},
        without(RECORD, "status"),
        without(LIVE, "time"),
        without(LIVE, "cmiuuid"),
        without(STREAM, "time"),
        without(STREAM, "cmiuuid"),
        without(RECORD, "cmiuuid"),
        {"status": "in_transit"},
        {"status": "in_doubt"},
        {},
    ]  # fmt: skip

    keys = [key_of(payload) for payload in different]

    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_what_waits_for_an_answer_is_never_a_repeat() -> None:
    """Pressed keys and answer requests have no key, because each needs its own answer."""
    assert key_of({"dtmf": "1", "cmiuuid": "c-1"}) is None
    assert key_of({"action": "inbound", "cmiuuid": "c-1"}) is None


@pytest.mark.parametrize("name", ["request_id", "conversation_uuid"])
def test_a_leg_without_its_id_is_known_by_its_calls(name: str) -> None:
    """Without the leg's id, the key is made of the call's id and the leg's letter."""
    payload = without(RECORD, "cmiuuid") | {name: "r-1"}

    assert key_of(payload | {"balance": 1}) == key_of(payload)
    assert key_of(payload | {"leg": "b"}) != key_of(payload)


def test_the_order_of_keys_makes_no_difference() -> None:
    """The key of an unknown event does not depend on the order of its JSON keys."""
    payload = {"status": "in_transit", "a": [{"b": 1, "c": 2}]}

    assert key_of({"a": [{"c": 2, "b": 1}], "status": "in_transit"}) == key_of(payload)


@given(st.dictionaries(st.sampled_from([*RECORD, "request_id"]), st.text(max_size=20)))
def test_a_key_is_short_and_tells_nothing(payload: dict[str, Any]) -> None:
    """A key is 32 hexadecimal digits, whatever the event contains."""
    key = key_of(json.loads(json.dumps(payload)))

    assert key is not None
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


@given(st.text(max_size=20), st.none() | st.text(max_size=20))
def test_a_key_is_made_of_json(leg: str, status: str | None) -> None:
    """The key is the hash of what `json.dumps` writes, whatever the texts contain."""
    event = CallRecord(raw=JsonObject(), cmiuuid="c-1", leg=leg, status=status)

    text = json.dumps(["record", "c-1", leg, status])

    assert dedupe_key(event) == blake2b(text.encode(), digest_size=16).hexdigest()


def test_a_key_is_the_same_everywhere() -> None:
    """The key of an event is stable, because workers and later versions share a store."""
    assert key_of(RECORD) == "b8bb56de1ceb7f0e711e9bc6cf6e3b1e"
