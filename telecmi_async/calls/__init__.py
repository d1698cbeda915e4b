"""One call: its request, attempts, verdict, state, handle and result."""

from __future__ import annotations

from telecmi_async.calls.handle import CallEvents, CallHandle
from telecmi_async.calls.request import CallRequest
from telecmi_async.calls.result import CallResult
from telecmi_async.calls.retry import RetryPolicy
from telecmi_async.calls.state import CallStatus

__all__ = ["CallEvents", "CallHandle", "CallRequest", "CallResult", "CallStatus", "RetryPolicy"]
