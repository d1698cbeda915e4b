"""Events as `hook listen` prints them: readable lines, and JSON with numbers masked by key."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from telecmi_async.cli.event_lines import event_line, masked_payload, status_words
from telecmi_async.events import LiveStatus, StreamStatus, parse_event
from telecmi_async.events.model import NOT_ANSWERED

SAMPLES = json.loads(
    (Path(__file__).parents[1] / "data/events/documented.json").read_text("utf-8")
)
ID = "Zt4Qm8Kx2Lp9Wr6Yb3Nc7Vd1Fg5Hj0Sa4Te8Ui2Ko6P"
UUID = "1edceb4c-4e2c-402d-81b4-446655440000"  # its last part could be a number of the UK
REFERENCE = f"tcm_{'a2345672' * 3}bc"
RECORD = {
    "type": "cdr", "from": 440000000000, "to": 19175550001, "vn": "04471000000",
    "callerid": "+44 (0)20 7946 0958", "time": 1732924800000, "start_time": 1732924800,
    "answer_time": 1732924805, "end_time": "1732924817", "appid": 2222226, "duration": 12,
    "call_rate": "0.450000", "balance": "1234567.890000", "request_id": ID, "cmiuuid": UUID,
    "leg": "a", "status": "answered",
}  # fmt: skip
NUMBERS = {"from": "••••••••0000", "to": "•••••••0001", "vn": "•••••••0000"}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def masked(payload: dict[str, object]) -> dict[str, Any]:
    """Return a payload as `hook listen` prints it."""
    return masked_payload(parse_event(payload))


def line(payload: dict[str, object], **given: bool) -> str:
    """Return the line of an event."""
    return event_line(parse_event(payload), **given)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_only_numbers_and_pressed_keys_of_documented_payloads_are_masked(
    sample: dict[str, Any],
) -> None:
    """Times, sums, ids and words of each documented payload are printed as they came."""
    payload = sample["payload"]
    hidden = {"from", "to", "callerid", "vn", "dtmf"}

    found = masked(payload)

    assert found.keys() == payload.keys()
    for key, value in payload.items():
        if key in hidden and value:
            assert "•" in str(found[key])
        elif '"' in str(value):  # JSON in a text may be spaced in another way
            assert "•" not in str(found[key])
        elif value is not None:
            assert found[key] == (list(value) if isinstance(value, tuple) else value)
    shown = event_line(parse_event(payload))
    assert len(shown) <= 110
    numbers = [str(payload[key]) for key in hidden & payload.keys() if key != "dtmf"]
    assert not any(each in shown for each in numbers if len(each) > 4)


def test_masking_goes_by_the_key() -> None:
    """A record keeps its times, sums and ids, though they are as long as numbers."""
    found = masked(RECORD)

    assert {key: found[key] for key in NUMBERS} == NUMBERS
    assert found["callerid"].endswith("0958")
    assert "7946" not in found["callerid"]
    assert {k: v for k, v in found.items() if k not in {*NUMBERS, "callerid"}} == {
        k: v for k, v in RECORD.items() if k not in {*NUMBERS, "callerid"}
    }


def test_what_users_sent_along_is_masked_where_it_is_a_number() -> None:
    """In `extra_params`, numbers are masked by key and by reading; orders and dates stay."""
    params = {
        "order": "4711-0815", "due": "2026-11-30", "phone": "98765 43210", "again": [19175550001],
        "id": 47110815, "tcm_reference": f"{REFERENCE}.{'b7654322' * 3}xy",
    }  # fmt: skip
    expected = {
        "order": "4711-0815", "due": "2026-11-30", "phone": "••••••3210",
        "again": ["•••••••0001"], "id": 47110815, "tcm_reference": REFERENCE,
    }  # fmt: skip

    as_object = masked({"to": 442079460958, "extra_params": params})
    as_text = masked({"to": 442079460958, "extra_params": json.dumps(params)})
    as_words = masked(
        {"to": 442079460958, "extra_params": f"{{ref: {params['tcm_reference']}}}"}
    )

    assert as_object["extra_params"] == expected
    assert json.loads(as_text["extra_params"]) == expected
    assert as_words["extra_params"] == f"{{ref: {REFERENCE}}}"


def test_unknown_keys_are_read_and_hostile_ids_are_masked() -> None:
    """A key that TeleCMI does not document is masked if it holds a number; so is an id that is one."""
    found = masked(
        {
            "type": "ping", "to": "9198", "did": 919876543210, "n": 12, "none": None, "ok": True,
            "request_id": "919876543210", "filename": "1632307235000-442079460958.wav",
            "leg": "a", "dtmf": "4711",
        }
    )  # fmt: skip

    assert found == {
        "type": "ping", "to": "9198", "did": "••••••••3210", "n": 12, "none": None, "ok": True,
        "request_id": "••••••••3210", "filename": "1632307235000-••••••••0958.wav",
        "leg": "a", "dtmf": "••••",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (
            {"status": "out_ringing", "to": 19175550001, "time": 1732924800000, "request_id": ID},
            "00:00:00  ringing   •••••••0001     Zt4Qm8Kx2Lp9Wr…  the phone rings",
        ),
        (
            RECORD,
            "00:00:17  record    •••••••0001     Zt4Qm8Kx2Lp9Wr…  answered, 12 s, cost 0.45",
        ),
        (
            {**RECORD, "status": "busy", "leg": "b", "duration": 0, "call_rate": 0},
            "00:00:17  record    •••••••0001     Zt4Qm8Kx2Lp9Wr…  the line was busy, cost 0, leg b",
        ),
        (
            {"type": "cdr", "time": 1732924800000, "status": "wrapped_up"},
            "00:00:00  record                                     wrapped_up",
        ),
        (
            {"type": "cdr", "time": 1732924800000},
            "00:00:00  record                                     its status is unknown",
        ),
        (
            {"direction": "inbound", "status": "in_answered", "from": 19175550001, "to": 1, "cmiuuid": "x",
             "time": 1732924800000},
            "00:00:00  answered  •••••••0001     x                the call was answered",
        ),
        (
            {"dtmf": "4711", "to": 19175550001, "cmiuuid": UUID, "time": 1732924800000},
            "00:00:00  keys      •••••••0001     1edceb4c-4e2c-…  4 pressed",
        ),
        (
            {"dtmf": "", "time": 1732924800000},
            "00:00:00  keys                                       none pressed in time",
        ),
        (
            {"action": "inbound", "from": 19175550001, "to": 2, "time": 1732924800000, "cmiuuid": UUID},
            "00:00:00  inbound   •••••••0001     1edceb4c-4e2c-…  TeleCMI asks how to answer this call",
        ),
        (
            {"status": "stream_connected", "time": 1732924800000},
            "00:00:00  stream                                     the stream is open",
        ),
        (
            {"type": "ping", "time": 1732924800000, "extra_params": {"tcm_reference": f"{REFERENCE}.{'a' * 26}"}},
            "00:00:00  unknown                   tcm_a234567…  of a kind that is not documented: status none",
        ),
    ],
)  # fmt: skip
def test_an_event_is_a_line(payload: dict[str, object], shown: str) -> None:
    """A line has the time, what happened, the number, the call, and what is known of it."""
    if "tcm_" in shown:
        shown = re.sub(r"tcm_\w+…", f"{REFERENCE[:14]}…", shown)

    assert line(payload) == shown


def test_numbers_are_shown_in_full_if_asked_for() -> None:
    """With `--reveal` a line has the number in full; an event without a time gets the present one."""
    shown = line({"status": "out_ringing", "to": 19175550001}, reveal=True)

    assert re.fullmatch(r"\d\d:\d\d:\d\d  ringing   19175550001 +the phone rings", shown)


def test_every_known_status_has_words() -> None:
    """Each status that this package knows is explained; others are not invented."""
    for status in (*LiveStatus, *StreamStatus, *NOT_ANSWERED):
        assert status_words(status)
    assert status_words("wrapped_up") == ""
