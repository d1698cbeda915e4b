"""Inbox: the call's audio until the program reads it, bounded; the oldest is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.event_loop import make_signal
from telecmi_async.voice.protocol import SAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable


class AudioInbox:
    """Bytes of audio in the order of arrival, at most ``limit`` of them.

    It holds them in one buffer, so that a million tiny frames cost no more than one large one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit - limit % SAMPLE
        self._buffer = bytearray()
        #: Wake the tasks that wait.
        self._waiting: list[Callable[[], None]] = []
        self._ended = False
        #: How many bytes were dropped since the program read too slowly.
        self.dropped = 0

    def put(self, pcm: bytes) -> None:
        """Add audio; drop the oldest samples beyond the limit."""
        self._buffer += pcm
        excess = len(self._buffer) - self._limit
        if excess > 0:
            excess += excess % SAMPLE
            del self._buffer[:excess]
            self.dropped += excess
        self._wake()

    def end(self) -> None:
        """No more audio comes."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    async def get(self) -> bytes | None:
        """Return the samples that are there, waiting for the first; None after the last."""
        while len(self._buffer) < SAMPLE:
            if self._ended:
                await anyio.lowlevel.checkpoint()
                return None
            news, wake = make_signal()  # cheaper than an event, fifty times a second
            self._waiting.append(wake)
            try:
                await news
            finally:
                if wake in self._waiting:  # it was cancelled
                    self._waiting.remove(wake)
        end = len(self._buffer) - len(self._buffer) % SAMPLE
        pcm = bytes(self._buffer[:end])
        del self._buffer[:end]
        return pcm
