"""Webhook receiver: accepts TeleCMI's events safely, in any web framework."""

from __future__ import annotations

from telecmi_async._internal.public_names import public_dir
from telecmi_async.events.receiver.handlers import EventHandler, InboundHandler, InputHandler
from telecmi_async.events.receiver.intake import Counts
from telecmi_async.events.receiver.receiver import Receiver
from telecmi_async.events.receiver.token_filter import WEB_LOGS
from telecmi_async.events.receiver.tokens import new_token

__all__ = [
    "WEB_LOGS",
    "Counts",
    "EventHandler",
    "InboundHandler",
    "InputHandler",
    "Receiver",
    "new_token",
]

__dir__ = public_dir(__name__, __all__)
