"""Both sides of a call on one time line: left the caller, right the bot.

Audio arrives in pieces with a time each. Pieces whose times nearly fit are joined without a gap,
since a network delays each of them differently; a longer gap becomes silence. What then comes
late, all at once, as TCP delivers it after a stall, takes the place of that silence.
"""

from __future__ import annotations

from array import array
from typing import Final

# A gap up to so many seconds is a delay of the network's.
_TOLERANCE: Final = 0.06
#: Seconds of audio of one side that are held; what exceeds them is dropped.
MOST_HELD: Final = 30.0


class _Side:
    """One side's audio from the last sample that was taken; positions are in samples."""

    def __init__(self, rate: int) -> None:
        self._tolerance = round(_TOLERANCE * rate)
        self._most = round(MOST_HELD * rate)
        self._start = 0
        self._audio = bytearray()
        # The last silence that was put in: where in the audio, and how long.
        self._gap_at, self._gap = 0, 0

    def add(self, pcm: bytes, at: int) -> None:
        missing = at - self._start - len(self._audio) // 2
        if max(at - self._start, len(self._audio) // 2) + len(pcm) // 2 > self._most:
            return
        if missing > self._tolerance:
            self._gap_at, self._gap = len(self._audio) // 2, missing
            self._audio += bytes(2 * missing)
        elif missing < 0:
            late = min(-missing, self._gap)
            del self._audio[2 * self._gap_at : 2 * (self._gap_at + late)]
            self._gap -= late
        self._audio += pcm

    def cut(self, at: int) -> None:
        keep = max(at - self._start, 0)
        del self._audio[2 * keep :]
        self._gap = max(min(self._gap, keep - self._gap_at), 0)

    def take(self, until: int) -> bytes:
        samples = max(until - self._start, 0)
        taken = bytes(self._audio[: 2 * samples])
        del self._audio[: 2 * samples]
        self._start += samples
        gone = max(samples - self._gap_at, 0)
        self._gap_at, self._gap = max(self._gap_at - samples, 0), max(self._gap - gone, 0)
        return taken.ljust(2 * samples, b"\0")


class StereoTimeline:
    """Places both sides' audio by time, and gives it back in stereo.

    All times are in seconds from the beginning; audio is s16le at ``rate``, whole samples.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._caller, self._bot = _Side(rate), _Side(rate)

    def add_caller(self, pcm: bytes, at: float) -> None:
        """Place audio of the caller's that begins at a time."""
        self._caller.add(pcm, self._position(at))

    def add_bot(self, pcm: bytes, at: float) -> None:
        """Place audio of the bot's that the caller hears from a time on, which may come yet."""
        self._bot.add(pcm, self._position(at))

    def cut_bot(self, at: float) -> None:
        """Remove what the bot would say from a time on: it was interrupted."""
        self._bot.cut(self._position(at))

    def take(self, until: float) -> bytes:
        """Return the stereo audio from where it was last taken up to a time."""
        position = self._position(until)
        left, right = self._caller.take(position), self._bot.take(position)
        stereo = array("h", bytes(2 * len(left)))
        stereo[0::2], stereo[1::2] = array("h", left), array("h", right)
        return stereo.tobytes()

    def _position(self, at: float) -> int:
        return round(at * self._rate)
