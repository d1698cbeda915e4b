"""Who speaks when: the callee's side of a streamed conversation."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.simulator.voice.conversation import Conversation
from telecmi_async.simulator.voice.speech import FRAME_SECONDS, parse_speech

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        hung_up: Whether the callee hung up, by `hang_up` or out of patience.
    """

    def __init__(self) -> None:
        self.heard: Conversation = Conversation()
        self.hung_up = False
        self._speed = 1.0
        self._live = False
        self._says: deque[Speech] = deque()
        self._by_hand: deque[Speech] = deque()
        self._talks_over: float | None = None
        self._saying = memoryview(b"")
        #: The frame after the last one with speech of the callee's, and after an action's end.
        self._spoke = 0
        self._busy = 0
        self._waiting: anyio.Event | None = None

    # -- by hand

    def say(self, *speech: Sayable) -> None:
        """Say something now, also over the bot; after what is being said, if there is any.

        Args:
            speech: WAV files, as paths or bytes, `Tone` or `Silence`.

        Raises:
            ConfigurationError: A WAV file cannot be used.
        """
        self._by_hand += map(parse_speech, speech)

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
        with anyio.move_on_after(timeout / self._speed):
            while True:
                self._waiting = self._waiting or anyio.Event()
                await self._waiting.wait()
                if self.heard is not heard:  # the call is streamed from now on
                    heard, first, turns = self.heard, 0, 0
                bot = heard.bot
                quiet = (heard.frames - bot.last) * FRAME_SECONDS
                spoke = len(bot.utterances) > turns or bot.last > first
                if not self._live or (spoke and quiet >= silence):
                    break
        return heard.audio[first * heard.frame_bytes :]

    def hang_up(self) -> None:
        """Hang up, at the end of the frame."""
        self.hung_up = True

    # -- for the line only

    def begin(
        self,
        heard: Conversation,
        *,
        says: Iterable[Speech],
        talks_over_after: float | None,
        speed: float,
    ) -> None:
        """Begin a conversation."""
        self.heard, self._speed, self._live = heard, speed, True
        self._says, self._talks_over = deque(says), talks_over_after
        self._saying, self._spoke, self._busy = memoryview(b""), 0, 0

    def speak(self, *, busy: bool) -> bytes:
        """Return what is said in the next frame: nothing, if the callee is silent.

        ``busy`` is whether the callee hears something that is not the bot's audio.
        """
        frame, size = self.heard.frames, self.heard.frame_bytes
        if busy:
            self._busy = frame + 1
        if not self._saying and (self._by_hand or (self._says and self._takes_turn(frame))):
            speech = (self._by_hand or self._says).popleft()
            self._saying = memoryview(speech.pcm(self.heard.rate))
            self._talks_over = None
        said, self._saying = self._saying[:size], self._saying[size:]
        if said:
            self._spoke = frame + 1
        if self._quiet(frame) >= _GIVES_UP:
            self.hung_up = True
        return bytes(said)

    def passed(self) -> None:
        """Wake those who listen: a frame has passed."""
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    def end(self) -> None:
        """End the conversation."""
        self._live = False
        self.passed()

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
