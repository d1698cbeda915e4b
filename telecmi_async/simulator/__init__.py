"""Simulator: TeleCMI on this machine. It answers like TeleCMI, and dials no phone.

>>> from telecmi_async.simulator import Simulator
>>> simulator = Simulator(seed=7, error_502_share=0.05)
>>> simulator.requests
0

In process, ``async with simulator.service() as service`` gives a `CallService` whose calls all
end here; over HTTP, ``async with simulator.serve() as base_url`` listens on a port.
"""

from telecmi_async._internal.public_names import public_dir
from telecmi_async.simulator.call import Leg, Note, SimulatedCall
from telecmi_async.simulator.callee import MAGIC, Callee
from telecmi_async.simulator.fault import Fault, FaultKind, Faults
from telecmi_async.simulator.fronts import SimulatorTransport
from telecmi_async.simulator.replies import Envelope
from telecmi_async.simulator.request_log import SimulatedRequest
from telecmi_async.simulator.simulator import Simulator
from telecmi_async.simulator.voice.caller import CallVoice
from telecmi_async.simulator.voice.conversation import BargeIn, Conversation, Gap, TalkEvent
from telecmi_async.simulator.voice.line_fault import LineFault, LineFaultKind
from telecmi_async.simulator.voice.speech import Silence, Tone
from telecmi_async.simulator.voice.streaming import dial_stream
from telecmi_async.simulator.webhooks import Delivery, Webhooks

__all__ = [
    "MAGIC",
    "BargeIn",
    "CallVoice",
    "Callee",
    "Conversation",
    "Delivery",
    "Envelope",
    "Fault",
    "FaultKind",
    "Faults",
    "Gap",
    "Leg",
    "LineFault",
    "LineFaultKind",
    "Note",
    "Silence",
    "SimulatedCall",
    "SimulatedRequest",
    "Simulator",
    "SimulatorTransport",
    "TalkEvent",
    "Tone",
    "Webhooks",
    "dial_stream",
]

__dir__ = public_dir(__name__, __all__)
