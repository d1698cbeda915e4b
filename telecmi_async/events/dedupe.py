"""Which events are the same event, sent again."""

from __future__ import annotations

import json
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, assert_never

from telecmi_async.events.model import (
    CallRecord,
    DigitsEvent,
    Event,
    InboundRequest,
    LiveEvent,
    StreamEvent,
    UnknownEvent,
)

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["dedupe_key"]


def dedupe_key(event: Event) -> str | None:
    """Return what an event has in common with its repeats only, or ``None``.

    ``None`` means that it must never be taken for a repeat: TeleCMI waits for the answer to
    pressed keys and to an inbound call, and the same key may well be pressed twice.

    A record is known by its leg and status, since it comes up to four times; a live or
    stream event by the same and its time. One that holds too little of these, or is of an
    unknown kind, is known by its whole payload.

    Returns:
        32 hexadecimal digits, the same in every process, that tell nothing of the event.

    Source: doc.telecmi.com/piopiy/docs/webhooks-overview for the repeats of records; nothing
    is documented for live events.
    """
    leg = event.cmiuuid or event.request_id or event.conversation_uuid
    match event:
        case DigitsEvent() | InboundRequest():
            return None
        case CallRecord() if leg:
            return _digest("record", leg, event.leg, event.status)
        case LiveEvent() if leg and event.time:
            return _digest("live", leg, event.leg, event.status, _stamp(event.time))
        case StreamEvent() if leg and event.time:
            return _digest("stream", leg, event.leg, event.status, _stamp(event.time))
        case CallRecord() | LiveEvent() | StreamEvent() | UnknownEvent():
            return _digest("payload", json.dumps(event.raw, sort_keys=True))
        case _:
            assert_never(event)


def _stamp(time: datetime) -> str:
    return time.isoformat()


def _digest(*parts: str | None) -> str:
    # Quoted as in JSON the parts stay apart, whatever is in them, and None from "None".
    quoted = ("null" if part is None else encode_basestring_ascii(part) for part in parts)
    return blake2b(f"[{', '.join(quoted)}]".encode("ascii"), digest_size=16).hexdigest()
