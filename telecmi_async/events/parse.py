"""Which kind of event a payload is, and the event that it makes.

One rule decides, the first that fits, because the newest samples have no ``type`` and many
accounts have everything sent to one URL:

=========================================================  ================
a payload with                                             is a
=========================================================  ================
``type`` "cdr"                                             `CallRecord`
``dtmf``                                                   `DigitsEvent`
``action`` "inbound"                                       `InboundRequest`
``ws_status``, or a status that starts with "stream_"      `StreamEvent`
status started, ringing, bridged or hangup                 `LiveEvent`
status missed, busy, failed, no_answer or cancel           `CallRecord`
``duration``, ``end_time``, ``call_rate`` or ``balance``   `CallRecord`
status answered                                            `LiveEvent`
no status nor ``type``, but ``cmiuuid``, from, to, time    `InboundRequest`
anything else                                              `UnknownEvent`
=========================================================  ================

A status is read in lower case and without ``in_`` and ``out_``. ``answered`` is the one that
live events and records share. A payload that says ``type`` "event" is never a record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from telecmi_async._internal.frozen_json import Json, JsonObject
from telecmi_async.events import reading
from telecmi_async.events.model import (
    NOT_ANSWERED,
    CallRecord,
    DigitsEvent,
    Direction,
    Event,
    InboundRequest,
    LiveEvent,
    LiveStatus,
    StreamEvent,
    StreamStatus,
    UnknownEvent,
)
from telecmi_async.events.payload import read_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["parse_event"]

_LIVE = {status.value: status for status in LiveStatus}
_STREAM = {status.value: status for status in StreamStatus}
_DIRECTION = {direction.value: direction for direction in Direction}
_OF_A_RECORD = frozenset({"duration", "end_time", "call_rate", "balance"})


class _Common(TypedDict):
    """What every kind of event is made with."""

    raw: JsonObject
    appid: int | None
    from_: str | None
    to: str | None
    time: datetime | None
    cmiuuid: str | None
    leg: str | None
    direction: Direction | None
    request_id: str | None
    conversation_uuid: str | None
    extra_params: JsonObject | str | None


def parse_event(payload: bytes | bytearray | str | Mapping[str, object]) -> Event:
    """Return the event that TeleCMI sent.

    Args:
        payload: The body of a webhook request, at most 64 KiB; or the mapping that a web
            framework made of it.

    Returns:
        The event. A payload whose kind is not known makes an `UnknownEvent`, and a value
        that makes no sense is ``None`` in its field: both can be found in ``raw``.

    Raises:
        WebhookError: It is no JSON object, or has more than 64 KiB, 20 levels, or 200
            keys and items. Nothing else is raised, whatever the bytes are.
    """
    raw = read_object(payload)
    status = reading.word(raw.get("status"))
    common: _Common = {
        "raw": raw,
        "appid": reading.integer(raw.get("appid", raw.get("app_id"))),
        "from_": reading.number(raw.get("from")),
        "to": reading.number(raw.get("to")),
        "time": reading.time(raw.get("time")),
        "cmiuuid": reading.text_or_none(_leg_id(raw)),
        "leg": reading.word(raw.get("leg")),
        "direction": _direction(raw, status),
        "request_id": reading.text_or_none(raw.get("request_id")),
        "conversation_uuid": reading.text_or_none(raw.get("conversation_uuid")),
        "extra_params": reading.params(raw.get("extra_params")),
    }
    kind = reading.word(raw.get("type"))
    if kind == "cdr":
        return _record(common, status)
    if "dtmf" in raw:
        return DigitsEvent(**common, dtmf=reading.text_or_none(raw.get("dtmf")) or "")
    if reading.word(raw.get("action")) == "inbound":
        return InboundRequest(**common)
    if "ws_status" in raw or (status and status.startswith("stream_")):
        return _stream(common, status)
    return _about_a_leg(common, status, kind)


def _about_a_leg(common: _Common, status: str | None, kind: str | None) -> Event:
    """Tell live events from records; they share a word, and the type is often missing."""
    plain = reading.without_direction(status) if status else ""
    live = _LIVE.get(plain)
    may_be_a_record = kind != "event" and live in {None, LiveStatus.ANSWERED}
    if may_be_a_record and (
        plain in NOT_ANSWERED or not _OF_A_RECORD.isdisjoint(common["raw"])
    ):
        return _record(common, status)
    if status is None and kind is None and _is_an_answer_request(common):
        return InboundRequest(**common)
    if live is None:
        return UnknownEvent(**common, status=status)
    raw = common["raw"]
    return LiveEvent(
        **common,
        status=live,
        callerid=reading.number(raw.get("callerid")),
        vn=reading.number(raw.get("vn")),
    )


def _record(common: _Common, status: str | None) -> CallRecord:
    raw = common["raw"]
    return CallRecord(
        **common,
        status=reading.without_direction(status) if status else None,
        callerid=reading.number(raw.get("callerid")),
        vn=reading.number(raw.get("vn")),
        start_time=reading.time(raw.get("start_time")),
        answer_time=reading.time(raw.get("answer_time")),
        end_time=reading.time(raw.get("end_time")),
        duration=reading.integer(raw.get("duration")),
        call_rate=reading.money(raw.get("call_rate", raw.get("rate"))),
        balance=reading.money(raw.get("balance")),
        hangup_reason=reading.text_or_none(raw.get("hangup_reason")),
        filename=reading.text_or_none(raw.get("filename")),
    )


def _stream(common: _Common, status: str | None) -> StreamEvent | UnknownEvent:
    """Read a stream's event, whose details are JSON in a text."""
    details = reading.json_object(common["raw"].get("ws_status")) or JsonObject()
    said = reading.word(details.get("status"))
    found = _STREAM.get((status or "").removeprefix("stream_")) or _STREAM.get(said or "")
    if found is None:
        return UnknownEvent(**common, status=status)
    message = reading.json_object(details.get("message")) or JsonObject()
    return StreamEvent(
        **common,
        status=found,
        code=reading.integer(message.get("code")),
        reason=reading.text_or_none(message.get("reason")),
    )


def _leg_id(raw: JsonObject) -> Json:
    """Return a leg's id: right, as in the sample for digits, or as in the vendor's Node SDK."""
    return raw.get("cmiuuid") or raw.get("cmuuid") or raw.get("cmiuid")


def _direction(raw: JsonObject, status: str | None) -> Direction | None:
    """Return the direction: said, else told by the status."""
    said = _DIRECTION.get(reading.word(raw.get("direction")) or "")
    if said is None and status is not None:
        if status.startswith("in_"):
            return Direction.INBOUND
        if status.startswith("out_"):
            return Direction.OUTBOUND
    return said


def _is_an_answer_request(common: _Common) -> bool:
    """Whether it has all that the older answer request has, which names no action."""
    return None not in (common["cmiuuid"], common["from_"], common["to"], common["time"])
