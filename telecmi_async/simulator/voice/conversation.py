"""A streamed conversation, as the callee heard it: its audio, its time line, its measures."""

from __future__ import annotations

import io
import wave
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.simulator.voice.speech import FRAME_SECONDS, is_audible

if TYPE_CHECKING:
    from os import PathLike

# Speech with pauses up to this long is one utterance.
_PAUSE: Final = round(0.3 / FRAME_SECONDS)
# A queue that runs dry for longer than this had come to the end of what was said.
_LONGEST_GAP: Final = round(1.0 / FRAME_SECONDS)

# The newest entries that are kept of a bot that does not stop to send nonsense.
_MOST_ENTRIES: Final = 10_000


def seconds_at(frame: int) -> float:
    """Return the time of a frame; it does not drift, and equal frames have equal times."""
    return round(frame * FRAME_SECONDS, 2)


@frozen
class TalkEvent:
    """One entry of a conversation's time line.

    Args:
        at: When, in seconds since the socket was connected.
        what: ``bot`` or ``callee`` for what was heard of them; ``break``, ``pause``, ``resume``,
            ``stop`` and ``array`` for messages of the bot, ``ignored`` for one that means
            nothing; ``fault`` for a `LineFault`; ``closed`` at the end.
        until: When an utterance ended; equal to ``at`` for the others.
        detail: More about it, such as the names of an array's actions.
    """

    at: float
    what: str
    until: float
    detail: str = ""


@frozen
class BargeIn:
    """The callee began to speak while the bot spoke.

    Args:
        at: When, in seconds since the socket was connected.
        delay: Seconds until the bot's utterance was no longer heard.
    """

    at: float
    delay: float


@frozen
class Gap:
    """The far end had nothing to play for a moment, and then the bot's audio went on.

    Args:
        at: When, in seconds since the socket was connected.
        seconds: For how long: at most 1 second, since longer ones are pauses.
    """

    at: float
    seconds: float


class _Speaker:
    """The utterances of one side, as pairs of their first frame and the one after their last."""

    def __init__(self) -> None:
        self.utterances: list[tuple[int, int]] = []
        #: Whether the next audible frame begins another utterance.
        self.is_cut = True

    @property
    def last(self) -> int:
        """The frame after the last audible one."""
        return self.utterances[-1][1] if self.utterances else 0

    def heard(self, frame: int) -> None:
        """Note that a frame is audible."""
        if self.is_cut or frame - self.last > _PAUSE:
            self.utterances.append((frame, frame + 1))
        else:
            self.utterances[-1] = (self.utterances[-1][0], frame + 1)
        self.is_cut = False


class Conversation:
    """What a callee heard and said while a flow streamed the call.

    Times are seconds since the socket was connected, in steps of 20 ms. Speech is what is louder
    than -50 dB; pauses up to 0.3 s belong to it. It grows while the call is streamed.

    Attributes:
        rate: Samples in a second.
        overlap: Seconds in which both spoke.
        keeps_audio: Whether there is audio, and not only the time line.
    """

    def __init__(self, rate: int = 8_000, *, keep_audio: bool = True) -> None:
        self.rate = rate
        self.overlap = 0.0
        self.frame_bytes: Final = 2 * round(rate * FRAME_SECONDS)
        self.frames = 0
        self.bot: Final = _Speaker()
        self.callee: Final = _Speaker()
        self.keeps_audio: Final = keep_audio
        self._played = 0
        self._heard = bytearray()
        self._said = bytearray()
        self._notes: deque[TalkEvent] = deque(maxlen=_MOST_ENTRIES)
        self._gaps: deque[Gap] = deque(maxlen=_MOST_ENTRIES)
        self._dry: int | None = None

    def add(self, heard: bytes, said: bytes) -> None:
        """Add a frame: what was played to the callee, and what the callee said."""
        frame = self.frames
        spoke, speaks = is_audible(heard), is_audible(said)
        if heard:
            if self._dry is not None and frame - self._dry <= _LONGEST_GAP:
                self._gaps.append(Gap(seconds_at(self._dry), seconds_at(frame - self._dry)))
            self._dry = None
            self._played += len(heard)
        # A frame that is not full is the last one before the queue is dry.
        # After a break it is not dry, but empty, until something is heard again.
        if len(heard) < self.frame_bytes and self._dry is None and not self.bot.is_cut:
            self._dry = frame + bool(heard)
        if spoke:
            self.bot.heard(frame)
        if speaks:
            self.callee.heard(frame)
        if spoke and speaks:
            self.overlap = round(self.overlap + FRAME_SECONDS, 2)
        if self.keeps_audio:
            self._heard += heard.ljust(self.frame_bytes, b"\0")
            self._said += said.ljust(self.frame_bytes, b"\0")
        self.frames += 1

    def cut(self) -> None:
        """End the bot's utterance: its queue was emptied."""
        self.bot.is_cut = True
        self._dry = None

    def note(self, what: str, detail: str = "") -> None:
        """Add an entry to the time line, now."""
        self._notes.append(TalkEvent(self.length, what, self.length, detail))

    @property
    def length(self) -> float:
        """Seconds that the conversation lasted until now."""
        return seconds_at(self.frames)

    @property
    def seconds(self) -> float:
        """Seconds of the bot's audio that were played to the callee, silence in it included."""
        return self._played / (2 * self.rate)

    @property
    def audio(self) -> bytes:
        """What the callee heard from the first moment to the last, silence included."""
        return bytes(self._heard)

    @property
    def said(self) -> bytes:
        """What the callee said from the first moment to the last, silence included."""
        return bytes(self._said)

    @property
    def first_audio(self) -> float | None:
        """Seconds until the bot was heard for the first time; ``None`` if it never was."""
        return seconds_at(self.bot.utterances[0][0]) if self.bot.utterances else None

    @property
    def barge_ins(self) -> tuple[BargeIn, ...]:
        """How long the bot went on each time the callee began to speak while it spoke."""
        return tuple(
            BargeIn(seconds_at(frame), seconds_at(end - frame))
            for frame, _ in self.callee.utterances
            for start, end in self.bot.utterances
            if start < frame < end
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The moments, up to 1 second long, in which the bot's audio came too late."""
        return tuple(self._gaps)

    @property
    def timeline(self) -> tuple[TalkEvent, ...]:
        """Who spoke from when until when, and what else happened, in order."""
        spoken = [
            TalkEvent(seconds_at(start), who, seconds_at(end))
            for who, speaker in (("bot", self.bot), ("callee", self.callee))
            for start, end in speaker.utterances
        ]
        return tuple(sorted([*self._notes, *spoken], key=lambda event: event.at))

    def wav(self) -> bytes:
        """Return a stereo WAV file: what the callee said on the left, what was heard on the right.

        Raises:
            RuntimeError: The simulator keeps no audio (``keep_audio=False``).
        """
        if not self.keeps_audio:
            raise RuntimeError("there is no audio to save: keep_audio=False")
        both = bytearray(2 * len(self._heard))
        both[0::4], both[1::4] = self._said[0::2], self._said[1::2]
        both[2::4], both[3::4] = self._heard[0::2], self._heard[1::2]
        file = io.BytesIO()
        with wave.open(file, "wb") as stereo:
            stereo.setparams((2, 2, self.rate, 0, "NONE", ""))
            stereo.writeframes(both)
        return file.getvalue()

    def save(self, path: str | PathLike[str]) -> None:
        """Write what `wav` returns to a file.

        Raises:
            RuntimeError: The simulator keeps no audio (``keep_audio=False``).
            OSError: The file cannot be written.
        """
        Path(path).write_bytes(self.wav())
