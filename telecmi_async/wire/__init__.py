"""The wire: how one HTTP request travels to TeleCMI, and what comes back."""

from __future__ import annotations

from telecmi_async.wire.transport import Timeouts

__all__ = ["Timeouts"]
