"""PCMO, TeleCMI's call flow language: actions, flows and templates, to JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

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

_MODULES: Final = {
    "actions": (
        "Action Bridge Connect Hangup Input Param Play PlayGetInput Raw Record Speak Stream"
    ),
    "codec": "dump_pcmo parse_pcmo",
    "flow": "Flow FlowLike",
    "targets": "Pstn Sip",
    "template": "Template",
}

if TYPE_CHECKING:
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
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
