"""Who speaks when: the callee's side of a streamed conversation."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.simulator.voice.conversation import Conversation
from telecmi_async.simulator.voice.socket import time_or_before
from telecmi_async.simulator.voice.speech import FRAME_SECONDS, parse_speech

if TYPE_CHECKING:
    from telecmi_async.simulator.callee import Callee
    from telecmi_async.simulator.voice.speech import Sayable, Speech

# So long a bot is silent before a callee takes the turn, says something nevertheless, or gives up.
_TURN: Final = 0.7
_PATIENCE: Final = 4.0
_GIVES_UP: Final = 20.0


class CallVoice:
    """The callee's voice and ears in a call, by hand: ``call.voice``.

    What is said before the call is streamed is said when it begins. In a flow with several streams
    it is about the newest.

    Attributes:
        heard: The conversation: what was heard and said. It is empty until there is a stream.
        refusal: Why there was no connection; empty if there was one, or none was tried.
    """

    def __init__(self) -> None:
        self.heard: Conversation = Conversation()
        self._hung_up_at = math.inf
        self.refusal = ""
        self._speed = 1.0
        self._over = anyio.Event()
        self._says: deque[Speech] = deque()
        self._by_hand: deque[tuple[float, Speech]] = deque()
        self._talks_over: float | None = None
        self._saying = memoryview(b"")
        #: The frame after the last one with speech of the callee's, and after an action's end.
        self._spoke = 0
        self._busy = 0
        self._next_frame: anyio.Event | None = None

    def say(self, *speech: Sayable) -> None:
        """Say something now, also over the bot; after what is being said, if there is any.

        Args:
            speech: WAV files, as paths or bytes, `Tone` or `Silence`.

        Raises:
            ConfigurationError: A WAV file cannot be used.
        """
        self._by_hand += [(time_or_before(), parse_speech(each)) for each in speech]

    async def listen(self, *, silence: float = _TURN, timeout: float = 60.0) -> bytes:  # noqa: ASYNC109  # in the call's time
        """Wait until the bot has spoken and is silent again, and return what was heard.

        Args:
            silence: Seconds of silence after which the bot is taken to have ended.
            timeout: Seconds of the call's time after which it returns in any case, as it does
                when the stream is over.

        Returns:
            Samples from the beginning of the wait; nothing if no audio is kept.
        """
        heard, first, turns = self.heard, self.heard.frames, len(self.heard.bot.utterances)
        with anyio.move_on_after((timeout + FRAME_SECONDS / 2) / self._speed):
            while not self._over.is_set():
                bot, now = heard.bot, heard.frames
                spoke = bot.last > first or len(bot.utterances) > turns
                if spoke and (now - bot.last) * FRAME_SECONDS >= silence:
                    break
                self._next_frame = self._next_frame or anyio.Event()
                await self._next_frame.wait()
                if self.heard is not heard:  # the call is streamed from now on
                    heard, first, turns = self.heard, 0, 0
        return heard.audio[first * heard.frame_bytes :]

    async def ended(self) -> None:
        """Wait until the stream is over, or was refused."""
        await self._over.wait()

    def hang_up(self) -> None:
        """Hang up, at the end of the frame."""
        self._hung_up_at = min(self._hung_up_at, time_or_before())

    def begin(self, heard: Conversation, callee: Callee, speed: float) -> None:
        """Begin a conversation."""
        self.heard, self._speed = heard, speed
        if self._over.is_set():  # a second stream of a flow
            self._over = anyio.Event()
        self._says, self._talks_over = deque(callee.says), callee.talks_over_after
        self._saying, self._spoke, self._busy = memoryview(b""), 0, 0

    def hangs_up(self, before: float) -> bool:
        """Return whether the callee hung up before a time of the event loop."""
        return self._hung_up_at < before or self._quiet(self.heard.frames) > _GIVES_UP

    def speak(self, before: float, *, busy: bool) -> bytes:
        """Return what is said in the next frame: nothing, if the callee is silent.

        It counts what a test said before a time of the event loop. ``busy`` is whether the callee
        hears something that is not the bot's audio.
        """
        frame, size = self.heard.frames, self.heard.frame_bytes
        if busy:
            self._busy = frame + 1
        if not self._saying and (speech := self._next_speech(frame, before)):
            self._saying = memoryview(speech.pcm(self.heard.rate))
            self._talks_over = None
        said, self._saying = self._saying[:size], self._saying[size:]
        if said:
            self._spoke = frame + 1
        return bytes(said)

    def passed(self) -> None:
        """Wake those who listen: a frame has passed."""
        if self._next_frame is not None:
            self._next_frame.set()
            self._next_frame = None

    def end(self, refusal: str = "") -> None:
        """End the conversation, or note that there is none."""
        self.refusal = refusal
        self._over.set()
        self.passed()

    def _next_speech(self, frame: int, before: float) -> Speech | None:
        if self._by_hand and self._by_hand[0][0] < before:
            return self._by_hand.popleft()[1]
        return self._says.popleft() if self._says and self._takes_turn(frame) else None

    def _quiet(self, frame: int) -> float:
        """Return the seconds since something was heard or said."""
        return (frame - max(self.heard.bot.last, self._spoke, self._busy)) * FRAME_SECONDS

    def _takes_turn(self, frame: int) -> bool:
        bot, quiet = self.heard.bot, self._quiet(frame)
        if self._talks_over is not None and bot.utterances:
            first = bot.utterances[0][0]
            return (frame - first) * FRAME_SECONDS >= self._talks_over - FRAME_SECONDS / 2
        answered = max(bot.last, self._busy) > self._spoke
        return quiet >= (_TURN if answered else _PATIENCE) - FRAME_SECONDS / 2
