"""Chunks: audio that a program plays, as messages of about 100 ms at the stream's rate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from telecmi_async._internal.messages import shown
from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.media import load_audio, media_kind
from telecmi_async.voice.protocol import SAMPLE
from telecmi_async.voice.resampling import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of audio, raw or in a container.
AudioBytes: TypeAlias = bytes | bytearray | memoryview

# How much audio one message carries, in seconds: many tiny ones sound choppy.
_MESSAGE: Final = 0.1


class AudioSource:
    """The audio of one `StreamSession.play`, raw at the stream's rate.

    Args:
        audio: All of it in bytes, or raw audio in pieces that come in time.
        rate: The rate of raw audio, in Hz.
        to: The rate of the stream.

    Raises:
        InvalidAudio: It is nothing of this, or cannot be decoded.
        ConfigurationError: It needs the extra ``voice``, which is not installed.
    """

    def __init__(self, audio: AudioBytes | AsyncIterable[bytes], rate: int, to: int) -> None:
        self._rate, self._to = rate, to
        self._size = int(to * _MESSAGE) * SAMPLE
        #: Bytes that were given so far, at the stream's rate.
        self.offered = 0
        self._resampler = Resampler(rate, to)
        if isinstance(audio, bytes | bytearray | memoryview):
            self._pieces, self._whole = None, bytes(audio)
            self._check_whole()
        elif isinstance(audio, AsyncIterable):
            self._pieces, self._whole = audio, b""
        else:
            raise InvalidAudio(
                "audio must be bytes or an asynchronous iterable of bytes, not "
                f"{shown(cast('object', audio))}"
            )

    async def messages(self) -> AsyncGenerator[bytes]:
        """Yield the audio in the size of messages; close the user's iterator in any case."""
        if self._pieces is None:
            whole = await load_audio(self._whole, raw_rate=self._rate, rate=self._to)
            self.offered = len(whole)
            for start in range(0, len(whole), self._size):
                yield whole[start : start + self._size]
            return
        buffer = bytearray()
        try:
            async for piece in self._pieces:
                self._add(self._resampler.feed(piece), buffer)
                for message in self._cut(buffer):
                    yield message
            self._add(self._resampler.flush(), buffer)
            for message in self._cut(buffer):
                yield message
            if buffer:
                yield bytes(buffer)
        finally:
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()

    def _check_whole(self) -> None:
        if media_kind(self._whole) is None and len(self._whole) % SAMPLE:
            raise InvalidAudio(
                "raw audio has 16-bit samples, so an even number of bytes, and these are "
                f"{len(self._whole)}; a file must be WAV, Ogg, FLAC or MP3"
            )

    def _add(self, pcm: bytes, buffer: bytearray) -> None:
        buffer += pcm
        self.offered += len(pcm)

    def _cut(self, buffer: bytearray) -> Iterator[bytes]:
        while len(buffer) >= self._size:
            message = bytes(buffer[: self._size])
            del buffer[: self._size]
            yield message
