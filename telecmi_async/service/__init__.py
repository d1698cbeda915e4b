"""Service: `CallService`, which places calls, its streams of calls and its sources of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = [
    "CallService",
    "CallStream",
    "CdrPoller",
    "EventSource",
    "Number",
    "Options",
    "Progress",
]

_MODULES: Final = {
    "options": "Number Options",
    "poller": "CdrPoller",
    "service": "CallService",
    "sources": "EventSource",
    "stream": "CallStream Progress",
}

if TYPE_CHECKING:
    from telecmi_async.service.options import Number, Options
    from telecmi_async.service.poller import CdrPoller
    from telecmi_async.service.service import CallService
    from telecmi_async.service.sources import EventSource
    from telecmi_async.service.stream import CallStream, Progress
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
