"""Chunks: audio that a program plays, as messages of about 100 ms at the stream's rate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from telecmi_async._internal.messages import shown
from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.protocol import SAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.voice.resampling import Resampler

#: Bytes of audio, raw or in a container.
AudioBytes: TypeAlias = bytes | bytearray | memoryview

# How much audio one message carries, in seconds: many tiny ones sound choppy.
_MESSAGE: Final = 0.1
# How files begin that say themselves what they hold: WAV, Ogg, FLAC, and MP3 with a tag.
_CONTAINERS: Final = (b"RIFF", b"OggS", b"fLaC", b"ID3")


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
        self._to = to
        self._size = int(to * _MESSAGE) * SAMPLE
        #: Bytes that were given so far, at the stream's rate.
        self.offered = 0
        if isinstance(audio, bytes | bytearray | memoryview):
            self._pieces, self._whole = None, _converted(bytes(audio), rate, to)
            self.offered = len(self._whole)
        elif isinstance(audio, AsyncIterable):
            self._pieces, self._whole = audio, b""
            self._resampler = None if rate == to else _resampler(rate, to)
        else:
            raise InvalidAudio(
                "audio must be bytes or an asynchronous iterable of bytes, not "
                f"{shown(cast('object', audio))}"
            )

    async def messages(self) -> AsyncGenerator[bytes]:
        """Yield the audio in the size of messages; close the user's iterator in any case."""
        if self._pieces is None:
            for start in range(0, len(self._whole), self._size):
                yield self._whole[start : start + self._size]
            return
        buffer = bytearray()
        try:
            async for piece in self._pieces:
                self._add(self._checked(piece), buffer)
                for message in self._cut(buffer):
                    yield message
            if self._resampler is not None:
                self._add(self._resampler.flush(), buffer)
            del buffer[len(buffer) - len(buffer) % SAMPLE :]  # half a sample
            for message in self._cut(buffer):
                yield message
            if buffer:
                yield bytes(buffer)
        finally:
            if isinstance(self._pieces, AsyncGenerator):
                await self._pieces.aclose()

    def _checked(self, piece: object) -> bytes:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise InvalidAudio(f"audio must come in bytes, not as {shown(piece)}")
        return bytes(piece) if self._resampler is None else self._resampler.feed(piece)

    def _add(self, pcm: bytes, buffer: bytearray) -> None:
        buffer += pcm
        self.offered += len(pcm)

    def _cut(self, buffer: bytearray) -> Iterator[bytes]:
        while len(buffer) >= self._size:
            message = bytes(buffer[: self._size])
            del buffer[: self._size]
            yield message


def _converted(audio: bytes, rate: int, to: int) -> bytes:
    """Return audio as it is streamed: raw, at the stream's rate."""
    if audio.startswith(_CONTAINERS):
        from telecmi_async.voice.media import decode  # noqa: PLC0415  # raw audio needs no decoder

        audio, rate = decode(audio)
    if len(audio) % SAMPLE:
        raise InvalidAudio(
            "raw audio has 16-bit samples, so an even number of bytes, and these are "
            f"{len(audio)}; a file of another format must begin as WAV, Ogg, FLAC or MP3 with a "
            "tag do"
        )
    if rate == to:
        return audio
    resampler = _resampler(rate, to)
    return resampler.feed(audio) + resampler.flush()


def _resampler(rate: int, to: int) -> Resampler:
    from telecmi_async.voice.resampling import Resampler  # noqa: PLC0415  # as above

    return Resampler(rate, to)
