"""Place phone calls through TeleCMI's (PIOPIY) v2 voice API, from asyncio or trio.

A name is imported from its module when it is first asked for: ``import telecmi_async`` costs next
to nothing, and the command line's help need not wait for an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telecmi_async.attempt import Attempt, Outcome
    from telecmi_async.calls.handle import CallEvents, CallHandle
    from telecmi_async.calls.request import CallRequest
    from telecmi_async.calls.result import CallResult
    from telecmi_async.calls.retry import RetryPolicy
    from telecmi_async.calls.state import CallStatus
    from telecmi_async.errors import (
        AuthenticationError,
        CallCancelled,
        CallNotPlaced,
        CallOutcomeUnknown,
        CallPending,
        CallRejected,
        ConfigurationError,
        InvalidCall,
        MissingProperty,
        NotSent,
        RateLimited,
        RequestFailed,
        ServiceClosed,
        StoreError,
        TelecmiError,
        WaitTimeout,
        WebhookError,
        WrongEventLoop,
    )
    from telecmi_async.events.receiver import Receiver
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.pcmo.actions import (
        Action,
        Bridge,
        Connect,
        Hangup,
        Input,
        Param,
        Play,
        PlayGetInput,
        Raw,
        Record,
        Speak,
        Stream,
    )
    from telecmi_async.pcmo.codec import dump_pcmo, parse_pcmo
    from telecmi_async.pcmo.flow import Flow
    from telecmi_async.pcmo.targets import Pstn, Sip
    from telecmi_async.phone import Region
    from telecmi_async.service.poller import CdrPoller
    from telecmi_async.service.service import CallService
    from telecmi_async.service.stream import CallStream, Progress
    from telecmi_async.wire.transport import Timeouts

__all__ = [
    "Action",
    "Attempt",
    "AuthenticationError",
    "Bridge",
    "CallCancelled",
    "CallEvents",
    "CallHandle",
    "CallNotPlaced",
    "CallOutcomeUnknown",
    "CallPending",
    "CallRejected",
    "CallRequest",
    "CallResult",
    "CallService",
    "CallStatus",
    "CallStream",
    "CdrPoller",
    "ConfigurationError",
    "Connect",
    "Flow",
    "Hangup",
    "Input",
    "InvalidCall",
    "MissingProperty",
    "NotSent",
    "Outcome",
    "Param",
    "Play",
    "PlayGetInput",
    "Progress",
    "Pstn",
    "RateLimit",
    "RateLimited",
    "Raw",
    "Receiver",
    "Record",
    "Region",
    "RequestFailed",
    "RetryPolicy",
    "ServiceClosed",
    "Sip",
    "Speak",
    "StoreError",
    "Stream",
    "TelecmiError",
    "Timeouts",
    "WaitTimeout",
    "WebhookError",
    "WrongEventLoop",
    "dump_pcmo",
    "parse_pcmo",
]

# The same once more, for those who run it: each module and its names.
_NAMES: Final = {
    "attempt": (
        "Attempt",
        "Outcome",
    ),
    "calls.handle": (
        "CallEvents",
        "CallHandle",
    ),
    "calls.request": ("CallRequest",),
    "calls.result": ("CallResult",),
    "calls.retry": ("RetryPolicy",),
    "calls.state": ("CallStatus",),
    "errors": (
        "AuthenticationError",
        "CallCancelled",
        "CallNotPlaced",
        "CallOutcomeUnknown",
        "CallPending",
        "CallRejected",
        "ConfigurationError",
        "InvalidCall",
        "MissingProperty",
        "NotSent",
        "RateLimited",
        "RequestFailed",
        "ServiceClosed",
        "StoreError",
        "TelecmiError",
        "WaitTimeout",
        "WebhookError",
        "WrongEventLoop",
    ),
    "events.receiver": ("Receiver",),
    "pacing.rate_limit": ("RateLimit",),
    "pcmo.actions": (
        "Action",
        "Bridge",
        "Connect",
        "Hangup",
        "Input",
        "Param",
        "Play",
        "PlayGetInput",
        "Raw",
        "Record",
        "Speak",
        "Stream",
    ),
    "pcmo.codec": (
        "dump_pcmo",
        "parse_pcmo",
    ),
    "pcmo.flow": ("Flow",),
    "pcmo.targets": (
        "Pstn",
        "Sip",
    ),
    "phone": ("Region",),
    "service.poller": ("CdrPoller",),
    "service.service": ("CallService",),
    "service.stream": (
        "CallStream",
        "Progress",
    ),
    "wire.transport": ("Timeouts",),
}
_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}


if TYPE_CHECKING:
    __version__: str
else:  # a type checker that knew of this would take any name for a right one

    def __getattr__(name: str) -> object:
        """Give a public name from its module, and ``__version__`` from the metadata."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415  # costs time, rarely needed

            return version("telecmi-async")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = found  # the next time it is found without this function
        return found

    def __dir__() -> list[str]:
        return sorted({*__all__, "__version__"})
