"""Webhook events and call detail records: parsed, deduplicated, and added up to a call's state.

No network and no clock: bytes in, values out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

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

_MODULES: Final = {
    "dedupe": "dedupe_key",
    "model": (
        "CallRecord DigitsEvent Direction Event InboundRequest LiveEvent LiveStatus StreamEvent "
        "StreamStatus UnknownEvent"
    ),
    "parse": "parse_event",
    "state": "CallState LegState",
    "transitions": "Signal Stage",
}

if TYPE_CHECKING:
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
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
