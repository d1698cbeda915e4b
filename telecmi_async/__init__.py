"""Place phone calls through TeleCMI's (PIOPIY) v2 voice API, from asyncio or trio."""

from __future__ import annotations

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


def __getattr__(name: str) -> str:
    """Give ``__version__`` when it is asked for, from the installed package's metadata."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # costs time, rarely asked for

        return version("telecmi-async")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
