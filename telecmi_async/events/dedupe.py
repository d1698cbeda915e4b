"""Deduplication key: recognises an event that was delivered again."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import assert_never

from telecmi_async.events.model import (
    CallRecord,
    DigitsEvent,
    Event,
    InboundRequest,
    LiveEvent,
    StreamEvent,
    UnknownEvent,
)

_quoted = json.encoder.encode_basestring_ascii


def dedupe_key(event: Event) -> str | None:
    """Return what an event has in common with its repeats only, or ``None``.

    ``None`` means that it is never a repeat: TeleCMI waits for the answer to pressed keys and
    to an inbound call, and the same key may well be pressed twice.

    A record is recognised by its leg and status, since it comes up to four times; a live or
    stream event by these and its time. One that lacks them, or is of an unknown kind, is
    recognised by its whole payload.

    Example:
        Store each record once, however often it is delivered::

            from telecmi_async.events import dedupe_key, parse_event

            record = {"type": "cdr", "leg": "a", "cmiuuid": "1edceb4c", "duration": 13}
            assert dedupe_key(parse_event(record)) == dedupe_key(parse_event(record))

    Returns:
        32 hexadecimal digits, the same in every process, that reveal nothing of the event.

    Source: doc.telecmi.com/piopiy/docs/webhooks-overview for the repeats of records; nothing
    is documented for live events.
    """
    leg = event.cmiuuid or event.request_id or event.conversation_uuid
    match event:
        case DigitsEvent() | InboundRequest():
            return None
        case CallRecord() if leg:
            parts = ["record", leg, event.leg, event.status]
        case LiveEvent() | StreamEvent() if leg and event.time:
            kind = "live" if isinstance(event, LiveEvent) else "stream"
            parts = [kind, leg, event.leg, event.status, event.time.isoformat()]
        case CallRecord() | LiveEvent() | StreamEvent() | UnknownEvent():
            parts = ["payload", json.dumps(event.raw, sort_keys=True)]
        case _:
            assert_never(event)
    # As `json.dumps` writes a list of texts, in half the time.
    text = ", ".join(["null" if part is None else _quoted(part) for part in parts])
    return blake2b(f"[{text}]".encode(), digest_size=16).hexdigest()
