"""How a call reaches TeleCMI: the only home of httpx in the core."""

from telecmi_async.transport.base import Timeouts, Transport
from telecmi_async.transport.client import HttpxTransport, default_client

__all__ = ["HttpxTransport", "Timeouts", "Transport", "default_client"]
