"""Webhook event: parsed from a payload, whose kind is found by a table of rules.

The first rule that fits decides, because the newest samples have no ``type`` and many accounts
have everything sent to one URL:

=========================================================  ================
a payload with                                             is a
=========================================================  ================
``type`` "cdr"                                             `CallRecord`
``dtmf``                                                   `DigitsEvent`
``action`` "inbound"                                       `InboundRequest`
``ws_status``, or a status that starts with "stream_"      `StreamEvent`
status started, ringing, bridged or hangup                 `LiveEvent`
status missed, busy, rejected and the like                 `CallRecord`
``duration``, ``end_time``, ``call_rate``, ``balance``,    `CallRecord`
``answeredsec``, ``waitedsec``, ``filename`` or
``hangup_reason``
status answered                                            `LiveEvent`
no status nor ``type``, but ``cmiuuid``, from, to, time    `InboundRequest`
anything else                                              `UnknownEvent`
=========================================================  ================

A status is read in lower case and without ``in_`` and ``out_``. Live events and records share
``answered``. A payload with ``type`` "event" is never a record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async.events.fields import (
    read_field,
    read_integer,
    read_object_or_none,
    read_text,
    read_word,
)
from telecmi_async.events.model import (
    NO_QUERY,
    NOT_ANSWERED,
    CallRecord,
    DigitsEvent,
    Event,
    InboundRequest,
    LiveEvent,
    LiveStatus,
    StreamEvent,
    StreamStatus,
    UnknownEvent,
    event_of,
)
from telecmi_async.events.payload import read_object

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIVE = {status.value: status for status in LiveStatus}
_STREAM = {status.value: status for status in StreamStatus}
_ONLY_IN_RECORDS = frozenset([
    "duration", "end_time", "call_rate", "balance", "answeredsec", "waitedsec", "filename",
    "hangup_reason",
])  # fmt: skip
_ALL_IN_ANSWER_REQUESTS = ("cmiuuid", "from_", "to", "time")


def parse_event(payload: bytes | bytearray | str | Mapping[str, object]) -> Event:
    """Return the event that TeleCMI sent.

    Example:
        A live event, as a webhook brings it::

            from telecmi_async.events import LiveEvent, parse_event

            event = parse_event(b'{"leg": "a", "status": "out_answered", "to": 19170000001}')
            assert isinstance(event, LiveEvent)
            print(event.status, event.to)

    Args:
        payload: The body of a webhook request, at most 64 KiB, also of what gzip packed; or
            the mapping that a web framework made of it.

    Returns:
        The event. A payload of an unknown kind becomes an `UnknownEvent`, and a value that
        makes no sense is ``None`` in its field: both can be found in ``raw``.

    Raises:
        WebhookError: It is not a JSON object, or has more than 64 KiB, 20 levels, or 200
            keys and items. Nothing else is raised, for any bytes.
    """
    raw = read_object(payload)
    status = read_word(raw.get("status"))
    kind, details = _kind_of(raw, status)
    return event_of(kind, raw, details)


def _kind_of(raw: JsonObject, status: str | None) -> tuple[type[Event], dict[str, object]]:
    """Return the class of a payload's event, and the fields that depend on it."""
    named = read_word(raw.get("type"))
    if named == "cdr":
        return CallRecord, {"status": _without_direction(status)}
    if "dtmf" in raw:
        return DigitsEvent, {"dtmf": read_text(raw.get("dtmf")) or "", "query": NO_QUERY}
    if read_word(raw.get("action")) == "inbound":
        return InboundRequest, {"query": NO_QUERY}
    if "ws_status" in raw or (status and status.startswith("stream_")):
        return _stream(raw, status)
    return _kind_of_leg_event(raw, status, named)


def _kind_of_leg_event(
    raw: JsonObject, status: str | None, named: str | None
) -> tuple[type[Event], dict[str, object]]:
    """Distinguish live events from records, although the type is often missing."""
    plain = _without_direction(status)
    live = _LIVE.get(plain or "")
    may_be_a_record = named != "event" and live in {None, LiveStatus.ANSWERED}
    if may_be_a_record and (plain in NOT_ANSWERED or not _ONLY_IN_RECORDS.isdisjoint(raw)):
        return CallRecord, {"status": plain}
    if live is not None:
        return LiveEvent, {"status": live}
    untold = status is None and named is None
    if untold and all(read_field(raw, name) is not None for name in _ALL_IN_ANSWER_REQUESTS):
        return InboundRequest, {"query": NO_QUERY}
    return UnknownEvent, {"status": status}


def _without_direction(status: str | None) -> str | None:
    return status and status.removeprefix("in_" if status.startswith("in_") else "out_")


def _stream(raw: JsonObject, status: str | None) -> tuple[type[Event], dict[str, object]]:
    """Read a stream's event, whose details are JSON in a text."""
    details = read_object_or_none(raw.get("ws_status")) or JsonObject()
    named = read_word(details.get("status"))
    found = _STREAM.get((status or "").removeprefix("stream_")) or _STREAM.get(named or "")
    if found is None:
        return UnknownEvent, {"status": status}
    message = read_object_or_none(details.get("message")) or JsonObject()
    code, reason = read_integer(message.get("code")), read_text(message.get("reason"))
    return StreamEvent, {"status": found, "code": code, "reason": reason}
