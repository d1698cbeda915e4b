"""Place phone calls through TeleCMI's (PIOPIY) v2 voice API, from asyncio or trio.

A name is imported from its module when it is first asked for: ``import telecmi_async`` costs next
to nothing, and the command line's help need not wait for an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telecmi_async.call import CallStatus
    from telecmi_async.codec import dump_pcmo, parse_pcmo
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
    from telecmi_async.flow import Flow
    from telecmi_async.handle import CallEvents, CallHandle
    from telecmi_async.pcmo import (
        Action,
        Bridge,
        Connect,
        Hangup,
        Input,
        Param,
        Play,
        PlayGetInput,
        Pstn,
        Raw,
        Record,
        Sip,
        Speak,
        Stream,
    )
    from telecmi_async.phone import Region
    from telecmi_async.poller import CdrPoller
    from telecmi_async.rate import RateLimit
    from telecmi_async.receiver import Receiver
    from telecmi_async.request import CallRequest
    from telecmi_async.result import CallResult
    from telecmi_async.retry import RetryPolicy
    from telecmi_async.service import CallService
    from telecmi_async.stream import CallStream, Progress
    from telecmi_async.transport import Timeouts
    from telecmi_async.verdict import Attempt, Outcome

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
    "call": ("CallStatus",),
    "codec": ("dump_pcmo", "parse_pcmo"),
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
    "flow": ("Flow",),
    "handle": ("CallEvents", "CallHandle"),
    "pcmo": (
        "Action",
        "Bridge",
        "Connect",
        "Hangup",
        "Input",
        "Param",
        "Play",
        "PlayGetInput",
        "Pstn",
        "Raw",
        "Record",
        "Sip",
        "Speak",
        "Stream",
    ),
    "phone": ("Region",),
    "poller": ("CdrPoller",),
    "rate": ("RateLimit",),
    "receiver": ("Receiver",),
    "request": ("CallRequest",),
    "result": ("CallResult",),
    "retry": ("RetryPolicy",),
    "service": ("CallService",),
    "stream": ("CallStream", "Progress"),
    "transport": ("Timeouts",),
    "verdict": ("Attempt", "Outcome"),
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
        return sorted({*globals(), *__all__})
