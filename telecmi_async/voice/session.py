"""Stream session: one call's audio, in both directions.

Two orders hold all of it together. *Plays* take turns, each until its audio is sent. *Messages* are
written one at a time, and a write is never cut short by a cancellation, only by the time-out that
ends the session: half a frame would spoil the WebSocket.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self, SupportsIndex

import anyio
from attrs import define, evolve, field

from telecmi_async._internal.event_loop import clock_of, current_loop
from telecmi_async._internal.messages import shown_id
from telecmi_async.errors import StreamClosed
from telecmi_async.pcmo.actions import Bridge, Hangup
from telecmi_async.voice import protocol
from telecmi_async.voice.chunks import AudioSource
from telecmi_async.voice.inbox import AudioInbox
from telecmi_async.voice.playout import Clip, Heard, Playout
from telecmi_async.voice.recording import record_stereo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Mapping
    from os import PathLike

    from telecmi_async.calls.handle import CallHandle
    from telecmi_async.events import Event
    from telecmi_async.pcmo.actions import AnyAction
    from telecmi_async.pcmo.flow import FlowLike
    from telecmi_async.voice.chunks import AudioBytes
    from telecmi_async.voice.recording import Recording
    from telecmi_async.voice.socket import Admission, StreamSocket

logger = logging.getLogger("telecmi_async")

#: The close code for a peer that neither sends nor reads: a policy was violated.
STALLED: Final = 1008
#: How many text frames a session keeps.
_TEXTS: Final = 100
# After so many frames other tasks get a turn, even if more frames are there.
_FRAMES: Final = 16
# A far end may be given up so much too early, as a part of the time that it has.
_EARLY: Final = 0.01
# Between what was heard by the estimate and an action that ends it: for the way to the phone.
_WAY: Final = 0.2
# How long TeleCMI may take to close the stream after a hang-up, and a WebSocket to be closed.
_HANG_UP: Final = 5.0
_CLOSE: Final = 2.0
_NOTHING: Final = Heard(0.0, 0.0, interrupted=False)


@define(eq=False)
class _Play:
    """One play that is not over."""

    source: AudioSource | None = None
    clip: Clip = field(factory=Clip)
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    #: What was heard when it was stopped; None while it goes on.
    stopped: Heard | None = None
    #: Whether the end of the stream stopped it.
    cut_off: bool = False


class StreamSession:
    """The audio of one call, in both directions; `Streams.on_stream` gives it to your function.

    Iterate over it for what the call's other side says: raw audio (mono, signed 16-bit
    little-endian samples at `rate`), in pieces of any size, until the WebSocket is closed.

    Example:
        A bot that greets, and echoes what it is told::

            from telecmi_async.voice import Streams

            streams = Streams("wss://voice.example.com/talk")


            @streams.on_stream
            async def talk(session):
                await session.play(greeting)
                async for pcm in session:
                    await session.play(pcm)
    """

    #: The call's reference, the same as its handle's.
    reference: str
    #: TeleCMI's id of an inbound call's leg.
    cmiuuid: str | None
    #: The inbound call that `Streams.answer` answered, if this process did.
    inbound: Event | None
    #: Samples a second: 8,000 or 16,000.
    rate: int
    #: The values that `Streams.flow` was given for the call.
    query: Mapping[str, str]

    def __init__(
        self,
        admission: Admission,
        socket: StreamSocket,
        *,
        call: CallHandle | None,
        inbound: Event | None,
        limits: SessionLimits,
    ) -> None:
        self.reference, self.cmiuuid = admission.reference, admission.cmiuuid
        self.rate, self.query = admission.rate, admission.query
        self._admission = admission
        self.inbound = inbound
        self.closed = False
        self._call = call
        self._socket = socket
        self._limits = limits
        self._inbox = AudioInbox(int(limits.inbox * self.rate) * protocol.SAMPLE)
        self._texts: deque[str] = deque(maxlen=_TEXTS)
        self._playout = Playout()
        self._plays: dict[_Play, None] = {}
        self._recordings: list[Recording] = []
        # Between two messages there is a sleep: locks need not yield as well.
        self._turn = anyio.Lock(fast_acquire=True)
        self._sending = anyio.Lock(fast_acquire=True)
        self._write_limit: anyio.CancelScope | None = None
        idle = math.inf if limits.idle is None else anyio.current_time() + limits.idle
        self._reading = anyio.CancelScope(deadline=idle)
        self._why = ""
        #: What its WebSocket is closed with.
        self.code = 1000
        self._cut = _NOTHING
        #: The event loop that it is served in.
        self.loop = current_loop()
        self._over = anyio.Event()

    def __repr__(self) -> str:
        state = f"closed: {self._why}" if self.closed else "open"
        return f"<StreamSession {shown_id(self.reference)} at {self.rate} Hz, {state}>"

    @property
    def call(self) -> CallHandle | None:
        """The call's handle, if this process placed the call and something still uses it."""
        return self._call

    @property
    def dropped(self) -> float:
        """How many seconds of the call's audio were dropped since they were read too slowly."""
        return self._inbox.dropped / protocol.SAMPLE / self.rate

    @property
    def texts(self) -> tuple[str, ...]:
        """The newest 100 text frames; what TeleCMI says in them is not documented."""
        return tuple(self._texts)

    # -- what the other side says

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        pcm = await self._inbox.get()
        if pcm is None:
            raise StopAsyncIteration
        return pcm

    async def run(self) -> None:
        """Receive until the session is closed, then close its WebSocket."""
        try:
            with self._reading:
                await self._read()
            if self._reading.cancelled_caught:
                self.end("the far end was silent for too long", code=STALLED)
            self.end("the far end closed the stream")
        except Exception as error:  # noqa: BLE001  # each server raises another one
            self.end(f"the far end closed the stream ({type(error).__name__})")
        finally:
            self.end("the program ended", code=1001)
            if self.code == STALLED:
                logger.warning("a stream is given up: %r", self)
            with anyio.move_on_after(_CLOSE, shield=True), suppress(Exception):
                await self._socket.close(self.code)

    async def _read(self) -> None:
        frames, half = 0, b""
        clock = clock_of(self.loop)
        while not self.closed and (frame := await self._socket.receive()) is not None:
            parsed = protocol.parse_frame(frame)
            if isinstance(parsed, protocol.Text):
                self._texts.append(parsed.text)
            else:
                pcm = half + parsed.pcm
                end = len(pcm) - len(pcm) % protocol.SAMPLE
                pcm, half = pcm[:end], pcm[end:]
                self._inbox.put(pcm)
                for recording in self._recordings:
                    recording.add_caller(pcm)
            # To move a deadline costs more than to look at the clock.
            idle = self._limits.idle
            if idle is not None and clock() + idle - self._reading.deadline > idle * _EARLY:
                self._reading.deadline = clock() + idle
            frames += 1
            if not frames % _FRAMES:
                # A peer that never stops must not hold the event loop.
                await anyio.lowlevel.checkpoint()

    def end(self, why: str, *, code: int = 1000) -> None:
        """Close the session, for this reason; `run` closes the WebSocket."""
        if self.closed:
            return
        self.closed, self._why, self.code = True, why, code
        self._cut = self._stop_plays()
        for recording in self._recordings:
            recording.end()
        self._inbox.end()
        self._reading.cancel()
        if self._write_limit is not None:
            self._write_limit.cancel()
        self._over.set()

    async def wait_closed(self) -> None:
        """Wait until the session is closed."""
        await self._over.wait()

    def _check_open(self) -> None:
        if self.closed:
            raise StreamClosed(f"the stream is closed: {self._why}")

    # -- what is played

    async def play(
        self, audio: AudioBytes | AsyncIterable[bytes], *, rate: int | None = None
    ) -> Heard:
        """Play audio, and return when it was heard or interrupted.

        It is sent in messages of 100 ms, at most 0.4 seconds ahead of what is heard. Several plays
        are heard one after another. To cancel one sends no more of it; what was sent is heard.

        Args:
            audio: Raw audio (mono, signed 16-bit little-endian samples), or a file: WAV, or with
                the extra ``voice`` MP3, Ogg or FLAC. Or an asynchronous iterable of raw audio,
                which is heard from its first pieces on. Its error is raised here.
            rate: The rate of raw audio in Hz; the session's if not given. Audio at another rate is
                resampled, with the extra ``voice``.

        Raises:
            InvalidAudio: It cannot be played.
            ConfigurationError: ``rate`` is invalid, or the extra ``voice`` is needed and not
                installed.
            StreamClosed: The stream is closed, or was meanwhile; `interrupt` then returns what
                was heard.
        """
        self._check_open()
        source = AudioSource(audio, self.rate if rate is None else rate, self.rate)
        play = _Play(source)
        async with aclosing(source.messages()) as messages:
            await self._queue(play, messages)
        seconds = self._seconds(source.offered)
        return play.stopped or Heard(seconds, seconds, interrupted=False)

    async def _send_all(self, play: _Play, messages: AsyncIterable[bytes]) -> None:
        async for pcm in messages:
            seconds = self._seconds(len(pcm))
            await anyio.sleep(self._playout.pause(anyio.current_time(), seconds))
            async with self._sending:
                if play.stopped is None:
                    start = self._playout.add(anyio.current_time(), seconds, play.clip)
                    for recording in self._recordings:
                        recording.add_bot(pcm, at=start)
                    # The end of the stream stops every play that an interruption had not.
                    with suppress(StreamClosed):
                        await self._write(protocol.audio_message(pcm, self.rate))

    async def _queue(self, play: _Play, messages: AsyncIterable[bytes] | None = None) -> None:
        """Send a play's audio in its turn, and wait until what was sent so far is heard."""
        self._plays[play] = None
        try:
            with play.scope:
                async with self._turn:
                    if messages is not None:
                        await self._send_all(play, messages)
                    end = self._playout.end
                await anyio.sleep(max(end - anyio.current_time(), 0.0))
        finally:
            del self._plays[play]
        if play.cut_off:
            self._check_open()

    def _seconds(self, size: int) -> float:
        return size // protocol.SAMPLE / self.rate

    async def _write(self, message: str) -> None:
        """Send a message; it is sent in full, or the session is closed."""
        self._check_open()
        with anyio.move_on_after(self._limits.send, shield=True) as limit:
            self._write_limit = limit
            try:
                await self._socket.send(message)
            except Exception as error:  # noqa: BLE001  # each server raises another one
                self.end(f"the far end closed the stream ({type(error).__name__})")
            finally:
                self._write_limit = None
        if limit.cancelled_caught:
            self.end("the far end does not read what it is sent", code=STALLED)
        self._check_open()

    async def _send(self, message: str) -> None:
        async with self._sending:
            await self._write(message)

    def _stop_plays(self) -> Heard:
        """Stop all plays, and return what was heard of the first."""
        now = anyio.current_time()
        self._playout.cut(now)
        for recording in self._recordings:
            recording.cut_bot(at=now)
        stopped = [play for play in self._plays if play.stopped is None]
        for play in stopped:
            offered = 0 if play.source is None else play.source.offered
            play.stopped = Heard(play.clip.heard(now), self._seconds(offered), interrupted=True)
            play.cut_off = self.closed
            play.scope.cancel()
        return next((play.stopped for play in stopped if play.source), None) or _NOTHING

    async def interrupt(self) -> Heard:
        """Stop all that is played or waits to be, and have the far end drop what it has.

        Returns:
            What was heard of the play it ended; of the last one that the end of the stream cut
            off, if the stream is closed.
        """
        if self.closed:
            return self._cut
        heard = self._stop_plays()
        with anyio.CancelScope(shield=True), suppress(StreamClosed):
            await self._send(protocol.BREAK)
        return heard

    async def drain(self) -> None:
        """Wait until all that was to be played has been heard, or was interrupted.

        Raises:
            StreamClosed: The stream is closed, or was meanwhile.
        """
        self._check_open()
        await self._queue(_Play())

    @asynccontextmanager
    async def record(self, path: str | PathLike[str]) -> AsyncGenerator[Recording]:
        """Record both sides to a new stereo WAV file: left the caller, right what is heard of you.

        What an interruption undid is not in it. It ends with the context or the stream.

        Args:
            path: The file; an existing one is never overwritten.

        Raises:
            ConfigurationError: The file exists, or cannot be made.
            StreamClosed: The stream is closed.
        """
        self._check_open()
        async with record_stereo(path, rate=self.rate) as recording:
            self._recordings.append(recording)
            if self.closed:
                recording.end()
            try:
                yield recording
            finally:
                self._recordings.remove(recording)

    # -- actions

    async def say(self, *actions: AnyAction | Mapping[str, object]) -> None:
        """Have TeleCMI run actions once all that was played has been heard, 0.2 seconds later.

        TeleCMI does not say when they are done. Actions that wait for pressed keys are not
        offered within a stream. A `Streams.flow` streams this call again, as another connection.

        Raises:
            InvalidCall: They cannot be sent.
            StreamClosed: The stream is closed.
        """
        await self._run_flow(actions)

    async def _run_flow(self, flow: FlowLike) -> None:
        message = protocol.flow_message(flow, streamed_as=self._admission.signed)
        await self.drain()
        await anyio.sleep(_WAY)
        await self._send(message)

    async def transfer(self, to: SupportsIndex | str | FlowLike) -> None:
        """Connect the call to a phone once all that was played has been heard.

        It waits until TeleCMI closes the stream, which it may do at once or after the
        conversation: that is not documented. If the stream was closed from here, the call flow
        would go on, and its next action may be to hang up.

        Args:
            to: A number with its country code, or a flow that does it, such as
                ``[Bridge([19170000002], from_=19170000000)]``.

        Raises:
            InvalidCall: It cannot be sent.
            StreamClosed: The stream is closed.
        """
        is_number = isinstance(to, str) or hasattr(to, "__index__")
        await self._run_flow([Bridge([to])] if is_number else to)  # type: ignore[list-item, arg-type]  # as checked
        self._limits = evolve(self._limits, idle=None)  # TeleCMI may fall silent now
        self._reading.deadline = math.inf
        await self._over.wait()

    async def hang_up(self) -> None:
        """End the call once all that was played has been heard, and wait for the end.

        If the stream is closed already, there is nothing to do.
        """
        with suppress(StreamClosed):
            await self.say(Hangup())
            with anyio.move_on_after(_HANG_UP):
                await self._over.wait()
            self.end("the call was hung up")

    async def pause(self) -> None:
        """Send TeleCMI's message to pause the stream, until `resume`.

        Whether that stops what is played or what is heard of the call is not documented.

        Raises:
            StreamClosed: The stream is closed.
        """
        await self._send(protocol.PAUSE)

    async def resume(self) -> None:
        """Send TeleCMI's message to go on after `pause`.

        Raises:
            StreamClosed: The stream is closed.
        """
        await self._send(protocol.RESUME)

    async def stop(self) -> None:
        """End the stream at once; the call flow goes on after its ``stream`` action.

        If the stream is closed already, there is nothing to do.
        """
        with suppress(StreamClosed):
            await self._send(protocol.STOP)
            self.end("it was stopped")
