"""Resampling: mono s16le audio from one sample rate to another, in chunks, by libsoxr.

It needs the extra ``voice``, which has soxr and numpy.
"""

from __future__ import annotations

from typing import Any, Final, cast

from telecmi_async._internal.messages import shown
from telecmi_async._internal.validators import is_whole
from telecmi_async.errors import ConfigurationError, InvalidAudio
from telecmi_async.voice.extra import voice_library

#: Sample rates that audio may have, in Hz.
LOWEST_RATE: Final = 1_000
HIGHEST_RATE: Final = 192_000
# Bytes that are resampled in one step.
_STEP: Final = 1 << 16


def check_rate(name: str, rate: int) -> None:
    """Require a sample rate.

    Raises:
        ConfigurationError: It is none.
    """
    if not is_whole(rate, LOWEST_RATE) or rate > HIGHEST_RATE:
        raise ConfigurationError(
            f"{name} must be a whole number from {LOWEST_RATE} to {HIGHEST_RATE}, "
            f"not {shown(rate)}"
        )


class Resampler:
    """Resamples mono s16le audio that comes in chunks.

    Chunks may have any length, also an odd number of bytes: half a sample waits for its other
    half. All chunks together give exactly what one pass over the whole audio gives. The filter
    looks ahead, so output follows its input by up to about 0.12 seconds; `flush` returns the rest.

    An object belongs to one stream of audio and is not thread-safe. If both rates are equal,
    audio passes through unchanged, and the extra ``voice`` is not needed.

    Example:
        An engine's audio at 24 kHz, for a stream at 8 kHz::

            from telecmi_async.voice import Resampler

            resampler = Resampler(24_000, 8_000)
            pcm = resampler.feed(bytes(4_800)) + resampler.flush()

    Args:
        from_rate: The rate of the audio given to `feed`, in Hz, from 1,000 to 192,000.
        to_rate: The rate of the audio that is returned, in Hz, from 1,000 to 192,000.

    Raises:
        ConfigurationError: A rate is out of range, or the extra ``voice`` is not installed.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
            check_rate(name, rate)
        self.from_rate, self.to_rate = from_rate, to_rate
        self._half = b""
        self._numpy: Any = None
        self._stream: Any = None
        if from_rate != to_rate:
            soxr = voice_library("soxr", "resampling")
            self._numpy = voice_library("numpy", "resampling")
            # Floats of 32 bits hold samples of 16 bits exactly, and are not dithered.
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    def feed(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """Return what is ready once ``pcm`` is added: whole samples, possibly none.

        Raises:
            InvalidAudio: ``pcm`` is not bytes.
        """
        if not isinstance(cast("object", pcm), bytes | bytearray | memoryview):
            raise InvalidAudio(f"audio must be bytes, not {type(pcm).__name__}")
        data = self._half + bytes(pcm)
        end = len(data) & ~1
        self._half = data[end:]
        if self._stream is None or not end:
            return data[:end]
        return self._resampled(data[:end], last=False)

    def flush(self) -> bytes:
        """Return the rest at the end of the audio; what is fed afterwards begins anew.

        Half a sample at the end is dropped.
        """
        self._half = b""
        if self._stream is None:
            return b""
        rest = self._resampled(b"", last=True)
        self._stream.clear()
        return rest

    def _resampled(self, pcm: bytes, *, last: bool) -> bytes:
        numpy = self._numpy
        samples = numpy.frombuffer(pcm, "<i2").astype("float32")
        found = numpy.rint(self._stream.resample_chunk(samples, last=last))
        resampled: bytes = found.clip(-0x8000, 0x7FFF).astype("<i2").tobytes()
        return resampled


def resample(pcm: bytes, *, from_rate: int, to_rate: int) -> bytes:
    """Resample the whole of a mono s16le audio; it blocks, about 1 ms for a second of audio.

    Raises:
        ConfigurationError: As `Resampler`.
    """
    resampler = Resampler(from_rate, to_rate)
    # In steps, which need less memory.
    parts = [resampler.feed(pcm[at : at + _STEP]) for at in range(0, len(pcm), _STEP)]
    return b"".join((*parts, resampler.flush()))
