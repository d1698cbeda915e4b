"""PCMO, TeleCMI's call flow language: actions, flows and templates, to JSON and back."""

from __future__ import annotations

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
from telecmi_async.pcmo.flow import Flow, FlowLike
from telecmi_async.pcmo.targets import Pstn, Sip
from telecmi_async.pcmo.template import Template

__all__ = [
    "Action",
    "Bridge",
    "Connect",
    "Flow",
    "FlowLike",
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
    "Template",
    "dump_pcmo",
    "parse_pcmo",
]
