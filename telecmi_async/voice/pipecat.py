"""Bots of Pipecat on a call: a serializer for its WebSocket transports (extra ``pipecat``).

Pipecat paces a bot's audio itself, so a serializer is all that a stream needs of this package.
Three things are less plain than they look:

- A resampler holds the end of what it was given, up to a tenth of a second. It must come out when
  speech has ended, and a transport gives its serializer no such frame. An observer sees it, and
  asks the transport to send one of ours.
- What ends a call is sent like audio, so it must not overtake what the far end still plays: the
  far end acknowledges nothing, hence the clock says when all was heard.
- A message frame may hold a mapping only, since Pipecat looks for a label in it. A list of
  actions is wrapped: `flow_frame`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    TTSStoppedFrame,
)
from pipecat.observers.base_observer import BaseObserver
from pipecat.processors.frameworks.rtvi.models import MESSAGE_LABEL
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.base_output import BaseOutputTransport

from telecmi_async.pcmo import Hangup
from telecmi_async.voice.protocol import BREAK, Audio, audio_message, flow_message, parse_frame
from telecmi_async.voice.resampling import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipecat.clocks.base_clock import BaseClock
    from pipecat.frames.frames import Frame
    from pipecat.observers.base_observer import FramePushed
    from pipecat.processors.frame_processor import FrameProcessorSetup
