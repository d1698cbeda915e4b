"""Pipecat: bots of this framework on a call, over its own WebSocket transports (extra ``pipecat``).

Pipecat paces a bot's audio itself, so a serializer is all that it needs of this package. Three
things are less plain than they look:

- A resampler holds the end of what it was given, up to a tenth of a second. It must come out when
  speech has ended, but a transport gives its serializer no such frame. So an observer of the
  pipeline watches for it, and has the transport send a frame of ours.
- A far end that plays audio runs actions at once. So they wait until the audio before them has
  been heard; the far end acknowledges nothing, hence the clock says when that is.
- The message of a frame must be a mapping, since Pipecat looks for a label in it. A list of
  actions is wrapped in one: `flow_frame`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

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

from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError, InvalidAudio
from telecmi_async.pcmo.actions import Hangup
from telecmi_async.voice.protocol import (
    BREAK,
    RATES,
    SAMPLE,
    Audio,
    audio_message,
    flow_message,
    parse_frame,
)
from telecmi_async.voice.resampling import Resampler

if TYPE_CHECKING:
    from pipecat.clocks.base_clock import BaseClock
    from pipecat.frames.frames import Frame
    from pipecat.observers.base_observer import FramePushed
    from pipecat.processors.frame_processor import FrameProcessorSetup

    from telecmi_async.pcmo.flow import FlowLike

__all__ = ["TelecmiFrameSerializer", "flow_frame"]

# The key of a message that is a flow.
_FLOW: Final = "telecmi_flow"
# How much later than the estimate the far end may have played what it was sent, in seconds.
_LATE: Final = 0.2


def flow_frame(flow: FlowLike) -> OutputTransportMessageFrame:
    """Return the frame that has TeleCMI run actions once all that was said before has been heard.

    Example:
        Transfer a call to a colleague::

            await worker.queue_frame(flow_frame(Flow().bridge([19170000002])))

    Args:
        flow: The actions. Those that wait for pressed keys are not offered within a stream.

    Raises:
        InvalidCall: They cannot be sent.
    """
    return OutputTransportMessageFrame(message={_FLOW: flow_message(flow)})


@dataclass
class _SpeechEnded(OutputTransportMessageUrgentFrame):
    """Asks for what the resampler holds; other serializers ignore it for its label.

    Its message has the time of the pipeline's clock at which speech ended.
    """


class TelecmiFrameSerializer(FrameSerializer):
    """Connects a WebSocket transport of Pipecat to TeleCMI's stream.

    Audio goes in and out at the stream's rate, whatever the pipeline's rates are. An interruption
    drops what the far end has not played yet. The end of the pipeline ends the call, once the last
    sentence has been heard; nothing but the WebSocket is needed for it. A text frame from TeleCMI
    becomes an ``InputTransportMessageFrame``, its message ``{"type": "telecmi", "text": …}``.

    Example:
        One serializer serves one connection::

            admission = streams.admit(websocket.url.path)
            await websocket.accept()
            serializer = TelecmiFrameSerializer(rate=admission.rate)
            params = FastAPIWebsocketParams(
                serializer=serializer,
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_10ms_chunks=10,
            )
            transport = FastAPIWebsocketTransport(websocket, params)

    Args:
        rate: Samples a second of the stream: 8,000, or 16,000.
        hang_up: Whether the end of the pipeline ends the call. If False, it ends the stream, and
            the call goes on with the action after ``stream``.

    Raises:
        ConfigurationError: The rate is another one.
    """

    def __init__(self, *, rate: int = 8_000, hang_up: bool = True) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]  # Pipecat's **kwargs
        if rate not in RATES:
            raise ConfigurationError(f"rate must be 8000 or 16000, not {shown(rate)}")
        self._rate = rate
        self._hang_up = hang_up
        self._input = Resampler(rate, rate)
        self._output = Resampler(rate, rate)
        self._clock: BaseClock | None = None
        # When the newest audio was given, by the pipeline's clock; and by the event loop's, when
        # all that was sent is over, and the last sound in it.
        self._given = 0
        self._over = self._silent = -math.inf

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # so does Pipecat
        """Learn the pipeline's rate, and watch for the end of speech; Pipecat calls this twice."""
        if self._clock is None:
            setup.pipeline_worker.add_observer(_SpeechObserver())
        self._clock = setup.clock
        self._input = Resampler(self._rate, setup.audio_in_sample_rate)

    # -- to TeleCMI

    async def serialize(self, frame: Frame) -> str | None:
        """Return the message for a frame, if it has one; wait while it must not be sent yet.

        Raises:
            InvalidAudio: The audio has more than one channel.
        """
        match frame:
            case OutputAudioRawFrame():
                return self._played(frame)
            case _SpeechEnded():
                return self._rest(ended=frame.message["ended"])
            case InterruptionFrame():
                self._output.flush()
                self._over = self._silent = -math.inf
                return BREAK
            case OutputTransportMessageFrame() | OutputTransportMessageUrgentFrame():
                return await self._flow(frame)
            case EndFrame() | CancelFrame():
                await self._heard()
                return flow_message([Hangup()]) if self._hang_up else None
            case _:
                return None

    def _played(self, frame: OutputAudioRawFrame) -> str | None:
        if frame.num_channels != 1:
            raise InvalidAudio(f"a stream has one channel, and this audio {frame.num_channels}")
        pcm = b""
        if frame.sample_rate != self._output.from_rate:
            pcm = self._output.flush()
            self._output = Resampler(frame.sample_rate, self._rate)
        if self._clock is not None:
            self._given = self._clock.get_time()
        return self._message(pcm + self._output.feed(frame.audio))

    def _rest(self, *, ended: int) -> str | None:
        """Return what the resampler holds, unless more speech has pushed it out already."""
        return None if self._given > ended else self._message(self._output.flush())

    def _message(self, pcm: bytes) -> str | None:
        if not pcm:
            return None
        start = max(self._over, anyio.current_time())
        self._over = start + len(pcm) / SAMPLE / self._rate
        if sound := pcm.rstrip(b"\0"):
            self._silent = start + len(sound) / SAMPLE / self._rate
        return audio_message(pcm, self._rate)

    async def _flow(
        self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame
    ) -> str | None:
        message = cast("object", frame.message)
        if not isinstance(message, dict) or _FLOW not in message:
            return None
        await self._heard()
        return cast("dict[str, str]", message)[_FLOW]

    async def _heard(self) -> None:
        """Wait until the sound that was sent has been heard."""
        while anyio.current_time() < self._silent + _LATE:  # noqa: ASYNC110  # it may grow
            await anyio.sleep_until(self._silent + _LATE)

    # -- from TeleCMI

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return the frame for what TeleCMI sent; None if nothing of it is complete yet."""
        match parse_frame(data):
            case Audio(pcm):
                if not (pcm := self._input.feed(pcm)):
                    return None
                return InputAudioRawFrame(pcm, self._input.to_rate, 1)
            case text:
                return InputTransportMessageFrame({"type": "telecmi", "text": text.text})


class _SpeechObserver(BaseObserver):
    """Has the output transport send the end of speech, after the frame that says it has ended."""

    async def on_push_frame(self, data: FramePushed) -> None:
        source = data.source
        if isinstance(data.frame, TTSStoppedFrame) and isinstance(source, BaseOutputTransport):
            message = {"label": MESSAGE_LABEL, "ended": data.timestamp}
            await source.send_message(_SpeechEnded(message))
