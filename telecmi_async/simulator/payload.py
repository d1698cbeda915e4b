"""Webhook payloads and look-up records, in the dialects of TeleCMI's pages.

The formats differ between editions of TeleCMI's pages, and between accounts. A dialect is the
format of one edition's samples; ``mixed`` draws one for each payload.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import frozen

from telecmi_async.events.model import Direction

if TYPE_CHECKING:
    from decimal import Decimal

    from telecmi_async.simulator.call import Leg, Note

#: An edition of TeleCMI's pages: its newest, its older, its older ones for India, or all mixed.
Dialect: TypeAlias = Literal["2024", "2021", "india", "mixed"]

DIALECTS: Final = ("2024", "2021", "india")

# As the newest pages have them. They know no word for ringing.
_NEW: Final = {word: word for word in ("started", "answered", "bridged", "hangup")}
_OLD: Final = {**_NEW, "ringing": "ringing", "bridged": "answered"}


@frozen
class Subject:
    """What all payloads of one call share.

    A call that came in has no ``request_id``. ``first`` is the first leg's ``cmiuuid``, and
    ``epoch`` the seconds since 1970 at second 0 of the simulator's clock.
    """

    appid: int
    request_id: str | None
    caller: int
    first: str
    extra_params: Mapping[str, object] | str | None
    epoch: int

    def params(self, *, as_json: bool = True) -> str:
        """Return ``extra_params`` as TeleCMI gives them back: as text, of JSON or the like."""
        params = self.extra_params or {}
        if isinstance(params, str):
            return params
        if as_json:
            return json.dumps(params)
        return "{ " + ", ".join(f"{name}: {value}" for name, value in params.items()) + " }"


def live_payload(subject: Subject, note: Note, leg: Leg, dialect: str) -> dict[str, Any] | None:
    """Return a live event, if the dialect has one for what happened."""
    if note.what.startswith("stream_"):
        return _stream_payload(subject, note, leg)
    word = (_NEW if dialect == "2024" else _OLD).get(note.what)
    if word is None:
        return None
    inbound = subject.request_id is None
    payload: dict[str, Any] = {
        "appid": subject.appid,
        "callerid": leg.from_,
        "conversation_uuid": _conversation(subject, dialect),
        "direction": leg.direction,
        "extra_params": subject.params(as_json=dialect != "india"),
        "from": leg.from_,
        "leg": leg.name,
        "request_id": subject.request_id,
        "status": f"{'in' if leg.direction is Direction.INBOUND else 'out'}_{word}",
        "time": _milliseconds(subject.epoch, note.at),
        "to": leg.to,
        "cmiuuid": leg.cmiuuid,
        "vn": subject.caller,
    }
    if dialect != "2024":
        payload |= {"type": "event", "status": word, "to": str(leg.to), "from": str(leg.from_)}
    if inbound or dialect == "2021":
        del payload["request_id"]
    return payload


def _stream_payload(subject: Subject, note: Note, leg: Leg) -> dict[str, Any]:
    connected = note.what == "stream_connected"
    reason = {"code": 1006, "reason": "Abnormal closure"}
    status = (
        {"status": "connected"} if connected else {"status": "disconnected", "message": reason}
    )
    return {
        "appid": subject.appid,
        "direction": leg.direction,
        "from": leg.from_,
        "leg": "b",
        "status": "stream_connected" if connected else "STREAM_DISCONNECTED",
        "time": _milliseconds(subject.epoch, note.at),
        "cmiuuid": leg.cmiuuid,
        "ws_status": json.dumps(status),
    }


def record_payload(
    subject: Subject, leg: Leg, dialect: str, *, balance: Decimal
) -> dict[str, Any]:
    """Return a call detail record of a leg that is over."""
    ended = leg.ended or leg.started
    answered = leg.answered
    payload: dict[str, Any] = {
        "to": leg.to,
        "appid": subject.appid,
        "time": _milliseconds(subject.epoch, leg.started),
        "start_time": _seconds(subject.epoch, leg.started),
        "end_time": _seconds(subject.epoch, ended),
        "from": leg.from_,
        "direction": leg.direction,
        "duration": leg.talk_seconds,
        "extra_params": subject.params(as_json=dialect != "india"),
        "cmiuuid": leg.cmiuuid,
        "call_rate": 0 if answered is None else str(leg.cost),
        "balance": str(balance),
        "conversation_uuid": _conversation(subject, dialect),
        "callerid": leg.from_,
        "status": leg.ending,
        "leg": leg.name,
    }
    if subject.request_id is not None:
        payload["request_id"] = subject.request_id
    if answered is not None:
        payload["answer_time"] = _seconds(subject.epoch, answered)
    if dialect != "2024":
        payload |= {"out": True, "api_init": True, "type": "cdr"}
    if dialect == "india":
        payload |= {"callerid": f"0{leg.from_}", "vn": leg.from_}
    return payload


def lookup_record(leg: Leg, *, epoch: int, balance: Decimal) -> dict[str, Any]:
    """Return the record of a leg as the look-up by ``request_id`` has it."""
    return {
        "duration": leg.talk_seconds,
        "balance": float(balance),
        "rate": float(leg.cost),
        "from": leg.from_,
        "to": leg.to,
        "time": _milliseconds(epoch, leg.started),
        "leg": leg.name,
        "direction": leg.direction,
        "status": "answered" if leg.ending == "answered" else "missed",
    }


def digits_payload(leg: Leg, keys: str) -> dict[str, Any]:
    """Return the pressed keys as an ``action_url`` gets them; the misspelt key is TeleCMI's."""
    return {"from": leg.from_, "to": leg.to, "dtmf": keys, "cmuuid": leg.cmiuuid}


def inbound_payload(subject: Subject, leg: Leg) -> dict[str, Any]:
    """Return the question for the call flow of an inbound call."""
    return {
        "action": "inbound",
        "from": str(leg.from_),
        "to": str(leg.to),
        "time": _milliseconds(subject.epoch, leg.started),
        "cmiuuid": leg.cmiuuid,
    }


def _conversation(subject: Subject, dialect: str) -> str:
    """Return the id that the legs share: the request's, or in India's editions the first leg's."""
    if subject.request_id is None or dialect == "india":
        return subject.first
    return subject.request_id


def _milliseconds(epoch: int, at: float) -> int:
    return epoch * 1000 + int(at * 1000)


def _seconds(epoch: int, at: float) -> int:
    return epoch + math.floor(at)
