"""One call: its request, attempts, verdict, state, handle and result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = ["CallEvents", "CallHandle", "CallRequest", "CallResult", "CallStatus", "RetryPolicy"]

_MODULES: Final = {
    "handle": "CallEvents CallHandle",
    "request": "CallRequest",
    "result": "CallResult",
    "retry": "RetryPolicy",
    "state": "CallStatus",
}

if TYPE_CHECKING:
    from telecmi_async.calls.handle import CallEvents, CallHandle
    from telecmi_async.calls.request import CallRequest
    from telecmi_async.calls.result import CallResult
    from telecmi_async.calls.retry import RetryPolicy
    from telecmi_async.calls.state import CallStatus
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
