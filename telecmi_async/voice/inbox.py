"""Inbox: the call's audio until the program reads it, bounded; the oldest is dropped."""

from __future__ import annotations

import anyio

from telecmi_async.voice.protocol import SAMPLE


class AudioInbox:
    """Bytes of audio in the order of arrival, at most ``limit`` of them.

    It holds them in one buffer, so that a million tiny frames cost no more than one large one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit - limit % SAMPLE
        self._buffer = bytearray()
        # There is one for each frame, and `anyio.Event` looks for its backend each time.
        self._make_event = type(anyio.Event())
        #: While a task waits.
        self._news: anyio.Event | None = None
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

    async def get(self) -> bytes | None:
        """Return the samples that are there, waiting for the first; None after the last."""
        while len(self._buffer) < SAMPLE:
            if self._ended:
                await anyio.lowlevel.checkpoint()
                return None
            if self._news is None:  # several tasks may wait
                self._news = self._make_event()
            await self._news.wait()
        end = len(self._buffer) - len(self._buffer) % SAMPLE
        pcm = bytes(self._buffer[:end])
        del self._buffer[:end]
        return pcm

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None
