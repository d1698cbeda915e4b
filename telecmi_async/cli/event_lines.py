"""Events as people read them: a line each, statuses in words, numbers masked by their keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async._internal.messages import shown_id
from telecmi_async.campaigns.contacts.masking import mask_text
from telecmi_async.events import (
    CallRecord,
    DigitsEvent,
    Direction,
    InboundRequest,
    LiveEvent,
    StreamEvent,
)
from telecmi_async.events.fields import ID_KEYS, NUMBER_KEYS, PLAIN_KEYS, read_object_or_none
from telecmi_async.events.model import without_code
from telecmi_async.events.reference import reference_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from telecmi_async._internal.frozen_json import Json
    from telecmi_async.events import Event

_MEANINGS: Final = {
    "started": "the call begins",
    "ringing": "the phone rings",
    "answered": "the call was answered",
    "bridged": "connected to the other leg",
    "hangup": "the leg is over",
    "missed": "not answered",
    "no_answer": "not answered",
    "noanswer": "not answered",
    "not_answered": "not answered",
    "unanswered": "not answered",
    "busy": "the line was busy",
    "failed": "the network could not connect it",
    "cancel": "ended before an answer",
    "cancelled": "ended before an answer",
    "canceled": "ended before an answer",
    "rejected": "the call was declined",
    "declined": "the call was declined",
    "unreachable": "the phone could not be reached",
    "voicemail": "a mailbox answered",
    "connected": "the stream is open",
    "disconnected": "the stream is closed",
}
# The first characters of an id tell calls apart; JSON has all of it.
_ID_SHOWN: Final = 14


def status_words(status: str) -> str:
    """Return what an event's status means; empty if TeleCMI documents no such status."""
    return _MEANINGS.get(status, "")


def event_line(event: Event, *, reveal: bool = False) -> str:
    """Return an event in one line: time, what, the number, what is known, and the call's id."""
    ended = event.end_time if isinstance(event, CallRecord) else None
    at = (ended or event.time or datetime.now(UTC)).astimezone()
    what, details = _what(event)
    outward = event.direction is not Direction.INBOUND and not isinstance(event, InboundRequest)
    number = event.to if outward else event.from_
    shown = "" if number is None else number if reveal else mask_text(number, "phone")
    leg = f", leg {event.leg}" if event.leg not in {None, "a"} else ""
    call = reference_in(event) or event.request_id or event.conversation_uuid or event.cmiuuid
    whose = shown_id(call or "")
    short = f"{whose[:_ID_SHOWN]}…" if len(whose) > _ID_SHOWN else whose
    line = f"{at:%H:%M:%S}  {what:<9} {shown:<14}  {short:<15}  {details}{leg}"
    return line.rstrip()


def _what(event: Event) -> tuple[str, str]:
    """Return what happened in a word, and its details."""
    match event:
        case CallRecord():
            status = event.status or ""
            known = status if status == "answered" else status_words(status)
            said = [known or status or "its status is unknown"]
            if event.talk_seconds:
                said.append(f"{event.talk_seconds} s")
            if event.call_rate is not None:
                said.append(f"cost {event.call_rate.normalize():f}")
            return "record", ", ".join(said)
        case DigitsEvent():
            pressed = len(event.dtmf)
            return "keys", f"{pressed} pressed" if pressed else "none pressed in time"
        case InboundRequest():
            return "inbound", "TeleCMI asks how to answer this call"
        case LiveEvent() | StreamEvent():
            kind = "stream" if isinstance(event, StreamEvent) else event.status.value
            return kind, status_words(event.status.value)
        case _:
            return (
                "unknown",
                f"of a kind that is not documented: status {event.status or 'none'}",
            )


def masked_payload(event: Event) -> dict[str, object]:
    """Return an event's payload with its numbers masked, by the keys that hold numbers.

    Pressed keys are hidden, since they may be a PIN, and so is the code of a call's reference.
    Texts of other keys are masked as the cells of an export are.
    """
    numbers = [str(event.raw[key]) for key in NUMBER_KEYS if key in event.raw]
    known = [digits for each in numbers if (digits := "".join(filter(str.isdigit, each)))]
    return {key: masked_json(key, value, known) for key, value in event.raw.items()}


def masked_json(key: str, value: Json, known: Collection[str] = ()) -> object:
    """Return a part of JSON, which stands under a key, with its numbers masked."""
    if isinstance(value, JsonObject):
        return {name: masked_json(name, item, known) for name, item in value.items()}
    if isinstance(value, tuple):
        return [masked_json(key, item, known) for item in value]
    if value is None or isinstance(value, bool) or key in PLAIN_KEYS:
        return value
    text = str(value)
    inner = read_object_or_none(text)
    if key == "dtmf":
        hidden = "•" * len(text)
    elif key in ID_KEYS:
        hidden = shown_id(text)
    elif inner is not None:
        hidden = json.dumps(masked_json(key, inner, known), ensure_ascii=False)
    else:
        name = "phone" if key in NUMBER_KEYS else key
        hidden = mask_text(without_code(text), name, known)
    return value if hidden == text else hidden
