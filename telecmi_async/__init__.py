"""Place phone calls through TeleCMI's (PIOPIY) v2 voice API, from asyncio or trio.

Lazy imports: a public name is imported from its module when it is first used, so that
``import telecmi_async`` costs next to nothing and the command line's help does not wait for an
HTTP client. A new name goes into the imports below, which type checkers read, into ``__all__``
and into ``_MODULES``.
"""

from __future__ import annotations

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
        InvalidAudio,
        InvalidCall,
        LedgerLost,
        MissingProperty,
        NotSent,
        RateLimited,
        RequestFailed,
        ServiceClosed,
        StoreError,
        StreamClosed,
        TelecmiError,
        WaitTimeout,
        WebhookError,
        WrongEventLoop,
    )
    from telecmi_async.events.receiver import Receiver
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.pcmo import (
        Action,
        Bridge,
        Connect,
        Flow,
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
        dump_pcmo,
        parse_pcmo,
    )
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
    "InvalidAudio",
    "InvalidCall",
    "LedgerLost",
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
    "StreamClosed",
    "TelecmiError",
    "Timeouts",
    "WaitTimeout",
    "WebhookError",
    "WrongEventLoop",
    "dump_pcmo",
    "parse_pcmo",
]

# Where the public names are.
_MODULES: Final = {
    "attempt": "Attempt Outcome",
    "calls.handle": "CallEvents CallHandle",
    "calls.request": "CallRequest",
    "calls.result": "CallResult",
    "calls.retry": "RetryPolicy",
    "calls.state": "CallStatus",
    "errors": (
        "AuthenticationError CallCancelled CallNotPlaced CallOutcomeUnknown CallPending "
        "CallRejected ConfigurationError InvalidAudio InvalidCall LedgerLost MissingProperty "
        "NotSent RateLimited RequestFailed ServiceClosed StoreError StreamClosed TelecmiError "
        "WaitTimeout WebhookError WrongEventLoop"
    ),
    "events.receiver": "Receiver",
    "pacing.rate_limit": "RateLimit",
    "pcmo": (
        "Action Bridge Connect Flow Hangup Input Param Play PlayGetInput Pstn Raw Record "
        "Sip Speak Stream dump_pcmo parse_pcmo"
    ),
    "phone": "Region",
    "service.poller": "CdrPoller",
    "service.service": "CallService",
    "service.stream": "CallStream Progress",
    "wire.transport": "Timeouts",
}

if TYPE_CHECKING:
    __version__: str
else:  # hidden from type checkers, or they would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name on first use; read ``__version__`` from the metadata."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415  # slow and rarely needed

            return version("telecmi-async")
        from telecmi_async._internal.public_names import import_public  # noqa: PLC0415  # `import telecmi_async` loads nothing

        return import_public(__name__, _MODULES, name)

    def __dir__() -> list[str]:
        return sorted([*__all__, "__version__"])
