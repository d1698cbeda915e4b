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
        self._news = anyio.Event()
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
        self._news.set()

    def end(self) -> None:
        """No more audio comes."""
        self._ended = True
        self._news.set()

    async def get(self) -> bytes | None:
        """Return the samples that are there, waiting for the first; None after the last."""
        while len(self._buffer) < SAMPLE:
            if self._ended:
                await anyio.lowlevel.checkpoint()
                return None
            if self._news.is_set():  # several tasks may wait
                self._news = anyio.Event()
            await self._news.wait()
        end = len(self._buffer) - len(self._buffer) % SAMPLE
        pcm = bytes(self._buffer[:end])
        del self._buffer[:end]
        return pcm
