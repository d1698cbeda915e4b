"""The stream action of a call: makes the line that it asks for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from telecmi_async.simulator.voice.asgi_socket import AsgiSocket
from telecmi_async.simulator.voice.line import StreamLine

if TYPE_CHECKING:
    from telecmi_async.simulator.callee import Callee
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.requests import FlowAction
    from telecmi_async.simulator.voice.asgi_socket import AsgiApp
    from telecmi_async.simulator.voice.caller import CallVoice


def line_of(
    action: FlowAction,
    options: SimulatorOptions,
    voice: CallVoice,
    callee: Callee,
    limit: tuple[float, str],
) -> StreamLine:
    """Return the line of a stream action; it is not connected yet."""
    return StreamLine(
        str(action.get("ws_url")),
        partial(AsgiSocket.open, cast("AsgiApp", options.streams)),
        voice,
        callee,
        rate=16_000 if str(action.get("voice_quality")) == "16000" else 8_000,
        both=action.get("listen_mode") == "both",
        limit=limit,
        speed=options.speed,
        keep_audio=options.keep_audio,
    )
