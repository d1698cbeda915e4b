"""WAV files: read to mono s16le samples, and the header of a file to write, without a library.

Only the headers of a file are believed that its length bears out: streaming writers leave sizes
at 0 or at their largest value, and an aborted one leaves less audio than announced. Formats:
Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" and, for
WAVE_FORMAT_EXTENSIBLE, "Multiple Channel Audio Data and WAVE Files".
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Final

from attrs import frozen

from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.resampling import HIGHEST_RATE, LOWEST_RATE

#: Channels that a file may have.
MOST_CHANNELS: Final = 8
# Chunks of a file that are searched for its audio.
_MOST_CHUNKS: Final = 1_000
_LARGEST_SIZE: Final = 0xFFFFFFFF
_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE
# The rest of the GUID that an extensible format's encoding begins.
_GUID: Final = bytes.fromhex("00001000800000aa00389b71")
# Bytes in the header that `wav_header` makes.
_HEADER_SIZE: Final = 44
_FLIP_SIGN: Final = bytes(value ^ 0x80 for value in range(256))


@frozen
class WavLayout:
    """What a WAV file's header says, and where its audio is.

    Attributes:
        encoding: Microsoft's number: 1 integers, 3 floats.
        channels: From 1 to 8.
        rate: Samples a second.
        width: Bytes of a sample.
        start: Where the audio begins in the file.
        end: Where it ends; no frame is cut.
    """

    encoding: int
    channels: int
    rate: int
    width: int
    start: int
    end: int

    @property
    def is_plain(self) -> bool:
        """Whether `wav_samples` can read it: integers of 1 to 4 bytes, floats of 4 or 8."""
        widths = {_INTEGERS: (1, 2, 3, 4), _FLOATS: (4, 8)}
        return self.width in widths.get(self.encoding, ())

    @property
    def frames(self) -> int:
        """Samples of each channel."""
        return (self.end - self.start) // (self.width * self.channels)


def wav_header(*, channels: int, rate: int, size: int) -> bytes:
    """Return the header of a WAV file of 16 bits, which ``size`` bytes of audio follow."""
    block = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", size + _HEADER_SIZE - 8, b"WAVE",
        b"fmt ", 16, _INTEGERS, channels, rate, rate * block, block, 16,
        b"data", size,
    )  # fmt: skip


def read_layout(data: bytes) -> WavLayout:
    """Read the header of a WAV file.

    Raises:
        InvalidAudio: There is no audio, or the header contradicts itself or is out of range.
    """
    found: tuple[int, int, int, int] | None = None
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            break
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt ":
            found = _format(data[at : at + min(size, 40)])
        elif name == b"data":
            if found is None:
                raise InvalidAudio("a WAV file has its audio before its format")
            encoding, channels, rate, width = found
            held = min(_believed(data, at, size), len(data) - at)
            end = at + held - held % (width * channels)
            return WavLayout(encoding, channels, rate, width, at, end)
        at += size + (size & 1)
    raise InvalidAudio("a WAV file has no audio")


def _believed(data: bytes, at: int, size: int) -> int:
    """Return the size of the audio, which a writer that was aborted may have left at 0."""
    (whole,) = struct.unpack_from("<I", data, 4)
    unfinished = size == 0 and (whole in {0, _LARGEST_SIZE} or whole + 8 <= at < len(data))
    return len(data) - at if unfinished else size


def _format(chunk: bytes) -> tuple[int, int, int, int]:
    """Return encoding, channels, rate and bytes of a sample."""
    if len(chunk) < 16:
        raise InvalidAudio("a WAV file's format is cut off")
    encoding, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if encoding == _EXTENSIBLE:
        if len(chunk) < 40 or chunk[28:40] != _GUID:
            raise InvalidAudio("a WAV file has a format that is not known")
        (encoding,) = struct.unpack_from("<I", chunk, 24)
    check_shape(channels, rate)
    width = -(-bits // 8)
    if encoding in {_INTEGERS, _FLOATS} and (not width or block != width * channels):
        raise InvalidAudio("a WAV file's header contradicts itself")
    return encoding, channels, rate, width or 1


def check_shape(channels: int, rate: int) -> None:
    """Require a number of channels and a rate that audio may have."""
    if not 1 <= channels <= MOST_CHANNELS:
        raise InvalidAudio(f"audio may have 1 to {MOST_CHANNELS} channels, not {channels}")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidAudio(
            f"audio may have {LOWEST_RATE} to {HIGHEST_RATE} samples a second, not {rate}"
        )


def wav_samples(data: bytes, layout: WavLayout) -> bytes:
    """Return a plain file's audio as mono s16le: channels are averaged."""
    audio = data[layout.start : layout.end]
    if layout.encoding == _FLOATS:
        audio = _from_floats(audio, "f" if layout.width == 4 else "d")
    elif layout.width == 1:  # one byte is unsigned
        wide = bytearray(2 * len(audio))
        wide[1::2] = audio.translate(_FLIP_SIGN)
        audio = bytes(wide)
    elif layout.width > 2:  # the two highest bytes are the sample
        wide = bytearray(len(audio) // layout.width * 2)
        wide[0::2] = audio[layout.width - 2 :: layout.width]
        wide[1::2] = audio[layout.width - 1 :: layout.width]
        audio = bytes(wide)
    return audio if layout.channels == 1 else _mono(audio, layout.channels)


def _from_floats(audio: bytes, kind: str) -> bytes:
    values = array(kind, audio)
    if sys.byteorder == "big":  # pragma: no cover  # tested on little-endian machines only
        values.byteswap()
    # Not a number becomes silence.
    samples = (
        int(max(-32_768.0, min(32_767.0, value * 32_768.0))) if value == value else 0  # noqa: PLR0124  # NaN
        for value in values
    )
    return _packed(array("h", samples))


def _mono(audio: bytes, channels: int) -> bytes:
    samples = array("h", audio)
    if sys.byteorder == "big":  # pragma: no cover  # as above
        samples.byteswap()
    frames = zip(*(samples[channel::channels] for channel in range(channels)), strict=True)
    if channels == 2:
        return _packed(array("h", [(left + right) >> 1 for left, right in frames]))
    return _packed(array("h", [sum(frame) // channels for frame in frames]))


def _packed(samples: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover  # as above
        samples.byteswap()
    return samples.tobytes()
