"""A bot of Pipecat behind FastAPI, with this package's serializer, as an application for tests."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from engine_speech import Ears, tone
from fastapi import FastAPI, WebSocket

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Pipecat's own: audioop, and others
    from loguru import logger
    from pipecat.frames.frames import (
        EndFrame,
        Frame,
        InputAudioRawFrame,
        InputTransportMessageFrame,
        TTSAudioRawFrame,
        TTSStartedFrame,
        TTSStoppedFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.transports.websocket.fastapi import (
        FastAPIWebsocketParams,
        FastAPIWebsocketTransport,
    )
    from pipecat.workers.runner import WorkerRunner

    from telecmi_async.voice.pipecat import TelecmiFrameSerializer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger.disable("pipecat")


def speech(seconds: float, rate: int) -> list[Frame]:
    """Return the frames of a text-to-speech service: audio in pieces, and where it ends."""
    pcm, size = tone(seconds, rate), rate // 5
    pieces = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    audio = [TTSAudioRawFrame(piece, rate, 1) for piece in pieces]
    return [TTSStartedFrame(), *audio, TTSStoppedFrame()]


class Listener(FrameProcessor):
    """Hears the caller; each time the caller begins to speak, the bot is interrupted."""

    def __init__(self, bot: PipecatBot) -> None:
        super().__init__()
        self._bot = bot
        self._ears: Ears | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame):
            self._bot.texts.append(frame.message)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        self._ears = self._ears or Ears(frame.sample_rate)
        assert frame.sample_rate == self._ears.rate
        heard = self._ears.feed(frame.audio)
        self._bot.listened = self._ears.seconds
        if heard == "started":
            await self.broadcast_interruption()  # type: ignore[no-untyped-call]  # Pipecat's
        if heard is not None:
            await self._bot.on_turn(self._bot, heard)


class PipecatBot:
    """What the bot does, and what it sent.

    Args:
        rate: The stream's.
        rates: The pipeline's, in and out.
        script: What it does when it is connected.
        on_turn: What it does when the caller has ``started`` or ``stopped`` to speak.
        hang_up: Whether its end ends the call.
        params: More of the transport.
    """

    def __init__(
        self,
        script: Callable[[PipecatBot], Awaitable[None]],
        *,
        rate: int = 8000,
        rates: tuple[int, int] = (16000, 24000),
        on_turn: Callable[[PipecatBot, str], Awaitable[None]] | None = None,
        hang_up: bool = True,
        **params: Any,
    ) -> None:
        self.rate, self.rates = rate, rates
        self.on_turn = on_turn or self._ignore
        self.messages: list[str | None] = []
        self.texts: list[Any] = []
        self.listened = 0.0
        self.worker: PipelineWorker
        self.app = FastAPI()
        self.app.add_api_websocket_route("/", self._serve)
        self._script, self._hang_up, self._params = script, hang_up, params

    async def _ignore(self, _: PipecatBot, what: str) -> None:
        """Let the caller speak."""

    async def say(self, *seconds: float) -> None:
        """Speak so many times for so long."""
        for length in seconds:
            await self.worker.queue_frames(speech(length, self.rates[1]))

    async def end(self) -> None:
        """End the pipeline after what was said."""
        await self.worker.queue_frame(EndFrame())

    async def _serve(self, websocket: WebSocket) -> None:
        await websocket.accept()
        bot = self

        class Recorded(TelecmiFrameSerializer):
            async def serialize(self, frame: Frame) -> str | None:
                message = await super().serialize(frame)
                bot.messages.append(message)
                return message

        transport = FastAPIWebsocketTransport(
            websocket,
            FastAPIWebsocketParams(
                serializer=Recorded(rate=self.rate, hang_up=self._hang_up),
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_10ms_chunks=10,
                **self._params,
            ),
        )
        pipeline = Pipeline([transport.input(), Listener(self), transport.output()])
        into, out = self.rates
        params = PipelineParams(audio_in_sample_rate=into, audio_out_sample_rate=out)
        self.worker = PipelineWorker(pipeline, params=params)

        async def connected(*_: object) -> None:
            await self._script(self)

        async def disconnected(*_: object) -> None:
            await self.worker.cancel()

        transport.add_event_handler("on_client_connected", connected)
        transport.add_event_handler("on_client_disconnected", disconnected)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        await runner.run()
