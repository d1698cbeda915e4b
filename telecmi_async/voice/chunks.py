"""Chunks: audio that a program plays, as messages of about 100 ms at the stream's rate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from os import PathLike
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from telecmi_async._internal.messages import shown
from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.media import load_audio, media_kind
from telecmi_async.voice.protocol import SAMPLE
from telecmi_async.voice.resampling import Resampler, check_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of audio: raw, or a file's.
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
        InvalidAudio: It is neither.
        ConfigurationError: The rate is invalid, or the extra ``voice`` is not installed, which
            resampling needs.
    """

    def __init__(self, audio: AudioBytes | AsyncIterable[bytes], rate: int, to: int) -> None:
        if not isinstance(
            cast("object", audio), bytes | bytearray | memoryview | AsyncIterable
        ):
            named = isinstance(cast("object", audio), str | PathLike)
            hint = "; of a file: Path(…).read_bytes()" if named else ""
            raise InvalidAudio(
                "audio must be bytes or an asynchronous iterable of bytes, not "
                f"{shown(audio)}{hint}"
            )
        check_rate("rate", rate)
        self._audio = audio
        self._rate, self._to = rate, to
        self._resampler = Resampler(rate, to)
        self._size = int(to * _MESSAGE) * SAMPLE
        #: Bytes that were there so far, at the stream's rate.
        self.offered = 0

    async def messages(self) -> AsyncGenerator[bytes]:
        """Yield the audio in the size of messages; close the user's iterator in any case.

        Raises:
            InvalidAudio: It cannot be decoded, or a piece of it is not bytes.
            ConfigurationError: It needs the extra ``voice``, which is not installed.
        """
        if isinstance(self._audio, AsyncIterable):
            pieces = self._audio
        else:
            pcm = await self._whole(bytes(self._audio))
            self.offered = len(pcm)
            for start in range(0, len(pcm), self._size):
                yield pcm[start : start + self._size]
            return
        buffer = bytearray()
        try:
            async for piece in pieces:
                self._add(self._resampler.feed(piece), buffer)
                for message in self._cut(buffer):
                    yield message
            self._add(self._resampler.flush(), buffer)
            for message in self._cut(buffer):
                yield message
            if buffer:
                yield bytes(buffer)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def _whole(self, audio: bytes) -> bytes:
        """Return audio that was given at once: a file is decoded, raw audio resampled."""
        if len(audio) % SAMPLE and media_kind(audio) is None:
            raise InvalidAudio(
                "raw audio has 16-bit samples, so an even number of bytes, not "
                f"{len(audio)}; as a file it is neither WAV, MP3, Ogg nor FLAC"
            )
        return await load_audio(audio, raw_rate=self._rate, rate=self._to)

    def _add(self, pcm: bytes, buffer: bytearray) -> None:
        buffer += pcm
        self.offered += len(pcm)

    def _cut(self, buffer: bytearray) -> Iterator[bytes]:
        while len(buffer) >= self._size:
            message = bytes(buffer[: self._size])
            del buffer[: self._size]
            yield message
