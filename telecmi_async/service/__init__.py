"""Service: `CallService`, which places calls, its streams of calls and its sources of events."""

from __future__ import annotations

from telecmi_async.service.options import Number, Options
from telecmi_async.service.poller import CdrPoller
from telecmi_async.service.service import CallService
from telecmi_async.service.sources import EventSource
from telecmi_async.service.stream import CallStream, Progress

__all__ = [
    "CallService",
    "CallStream",
    "CdrPoller",
    "EventSource",
    "Number",
    "Options",
    "Progress",
]
