"""Place phone calls through TeleCMI's (PIOPIY) v2 voice API, from asyncio or trio.

Lazy imports: a public name is imported from its module when it is first used, so that
``import telecmi_async`` costs next to nothing and the command line's help does not wait for an
HTTP client. A new name goes into the imports below, which type checkers read, and into
``__all__``; a new module into ``_MODULES`` as well.
"""

from __future__ import annotations

import sys
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

# Where the public names are, searched in this order: what imports little comes first.
_MODULES: Final = (
    "errors",
    "attempt",
    "phone",
    "wire.transport",
    "pacing.rate_limit",
    "pcmo",
    "calls.request",
    "calls.retry",
    "calls.state",
    "calls.result",
    "calls.handle",
    "events.receiver",
    "service.service",
    "service.stream",
    "service.poller",
)


def _import_public(package: str, modules: tuple[str, ...], name: str) -> object:
    """Return a public name of a package from the first of its modules that has it.

    Raises:
        AttributeError: The package's ``__all__`` does not list the name.
    """
    face = sys.modules[package]
    if name not in face.__all__:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    candidates = (import_module(f"{package}.{module}") for module in modules)
    found: object = getattr(next(home for home in candidates if hasattr(home, name)), name)
    setattr(face, name, found)  # so that Python does not call ``__getattr__`` for it again
    return found


if TYPE_CHECKING:
    __version__: str
else:  # hidden from type checkers, or they would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name on first use; read ``__version__`` from the metadata."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415  # slow and rarely needed

            return version("telecmi-async")
        return _import_public(__name__, _MODULES, name)

    def __dir__() -> list[str]:
        return sorted([*__all__, "__version__"])
