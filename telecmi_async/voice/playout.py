"""Playout: how far audio may be sent ahead, and an estimate of what was heard of it.

Nothing at the far end says what was played. But it plays without pause what it has, at the speed of
sound files, so what it has played by now follows from what was sent when. These are sums of times
that a caller gives; there is no clock here.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import field, frozen

#: How far audio is sent ahead of what is heard, in seconds. It is what an interruption has to
#: undo, and bridges pauses of the network.
AHEAD: Final = 0.4


@frozen
class Heard:
    """How much of a `StreamSession.play` was heard: an estimate, as nothing acknowledges it.

    Args:
        seconds: How much audio was heard.
        offered: How much there was: of an iterator, what it had yielded by then.
        interrupted: Whether `StreamSession.interrupt` ended it.
    """

    seconds: float = field(repr="{:.3f}".format)
    offered: float = field(repr="{:.3f}".format)
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether it was heard to its end."""
        return not self.interrupted


class Clip:
    """What was sent of one piece of audio, and when it is heard."""

    __slots__ = ("_over", "_spans", "end")

    def __init__(self) -> None:
        #: When its end is heard.
        self.end = -math.inf
        self._over = 0.0
        self._spans: list[tuple[float, float]] = []

    def add(self, now: float, start: float, end: float) -> None:
        """Note that another part is heard from ``start`` to ``end``."""
        if self.end == start:
            start, _ = self._spans.pop()
        while self._spans and self._spans[0][1] <= now:
            begin, stop = self._spans.pop(0)
            self._over += stop - begin
        self._spans.append((start, end))
        self.end = end

    def heard(self, now: float) -> float:
        """Return how many seconds of it were heard by now."""
        return self._over + sum(
            min(end, now) - start for start, end in self._spans if start < now
        )


class Playout:
    """What the far end plays: one clip after another."""

    __slots__ = ("end",)

    def __init__(self) -> None:
        #: When all that was sent is heard.
        self.end = -math.inf

    def pause(self, now: float, seconds: float) -> float:
        """Return for how many seconds a part of a clip must wait before it is sent."""
        return max(self.end + seconds - AHEAD - now, 0.0)

    def add(self, now: float, seconds: float, clip: Clip) -> float:
        """Note that a part of a clip is sent now, and return when its first sample is heard."""
        start = max(now, self.end)
        self.end = start + seconds
        clip.add(now, start, self.end)
        return start

    def cut(self, now: float) -> None:
        """Note that the far end drops all it has not played."""
        self.end = min(self.end, now)
