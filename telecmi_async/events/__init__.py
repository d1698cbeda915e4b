"""Webhook events and call detail records: parsed, deduplicated, and added up to a call's state.

No network and no clock: bytes in, values out.
"""

from __future__ import annotations

from telecmi_async.events.dedupe import dedupe_key
from telecmi_async.events.model import (
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
from telecmi_async.events.parse import parse_event
from telecmi_async.events.state import CallState, LegState
from telecmi_async.events.transitions import Signal, Stage

__all__ = [
    "CallRecord",
    "CallState",
    "DigitsEvent",
    "Direction",
    "Event",
    "InboundRequest",
    "LegState",
    "LiveEvent",
    "LiveStatus",
    "Signal",
    "Stage",
    "StreamEvent",
    "StreamStatus",
    "UnknownEvent",
    "dedupe_key",
    "parse_event",
]
