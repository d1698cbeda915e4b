"""Media: WAV, MP3, Ogg and FLAC files decoded to mono s16le audio.

WAV files of plain integers and floats are read here. Everything else is decoded by libsndfile,
which the extra ``voice`` has with soundfile.
"""

from __future__ import annotations

import functools
import io
from typing import Any, Final, Literal, TypeAlias, cast

import anyio.to_thread

from telecmi_async._internal.threads import run_in_thread
from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.extra import voice_library
from telecmi_async.voice.resampling import resample
from telecmi_async.voice.wav import check_shape, read_layout, wav_samples

#: A kind of audio file.
MediaKind: TypeAlias = Literal["flac", "mp3", "ogg", "wav"]

#: The largest file that is decoded, in bytes.
LARGEST_FILE: Final = 64 * 2**20
#: The longest audio, in seconds, and in samples of one channel.
LONGEST_SECONDS: Final = 1_800
MOST_SAMPLES: Final = 64 * 2**20
# Bytes of a WAV file or of raw samples that are converted within a few milliseconds.
_SHORT: Final = 1 << 16
# Frames that are decoded in one step.
_STEP: Final = 1 << 15
# What libsndfile calls the formats, by the kind of the file.
_NAMES: Final = {
    "flac": {"FLAC"},
    "mp3": {"MP3"},
    "ogg": {"OGG"},
    "wav": {"WAV", "WAVEX", "RF64"},
}
# MPEG audio's sample rates, by the two bits of the version, and Layer III's kilobits a second
# (ISO 11172-3 and 13818-3; version 2.5, the bits 0, is Fraunhofer's).
_RATES: Final = {
    0: (11_025, 12_000, 8_000),
    2: (22_050, 24_000, 16_000),
    3: (44_100, 48_000, 32_000),
}
_KILOBITS_1: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KILOBITS_2: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# The bits of a frame's header that are the same in all frames of a file: not the bit rate.
_SAME: Final = 0xFFFE0C00


def media_kind(data: bytes) -> MediaKind | None:
    """Return which kind of audio file this is, by its first bytes; None for raw samples.

    Raw samples begin with any bytes, so an MP3 file without an ID3 tag needs two frames whose
    headers agree.
    """
    if data[:4] in {b"RIFF", b"RIFX", b"RF64"} and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"OggS":
        return "ogg"
    if data[:4] == b"fLaC":
        return "flac"
    return "mp3" if _is_mp3(data) else None


def _is_mp3(data: bytes) -> bool:
    if data[:3] == b"ID3":
        return data[3:4] in {b"\x02", b"\x03", b"\x04"}
    size = _mp3_frame_size(data[:4])
    following = data[size : size + 4]
    if not size or not _mp3_frame_size(following):
        return False
    return (int.from_bytes(data[:4]) ^ int.from_bytes(following)) & _SAME == 0


def _mp3_frame_size(header: bytes) -> int:
    """Return the bytes of the frame that a header begins, 0 if it is none of Layer III."""
    bits = int.from_bytes(header)
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    kilobits, rate = bits >> 12 & 15, bits >> 10 & 3
    if len(header) < 4 or bits >> 21 != 0x7FF or version == 1 or layer != 1:
        return 0
    if kilobits in {0, 15} or rate == 3:
        return 0
    factor, table = (144_000, _KILOBITS_1) if version == 3 else (72_000, _KILOBITS_2)
    return factor * table[kilobits - 1] // _RATES[version][rate] + (bits >> 9 & 1)


def decode(data: bytes | bytearray | memoryview) -> tuple[bytes, int]:
    """Decode a WAV, MP3, Ogg or FLAC file to mono s16le samples and their rate.

    Channels are averaged. It blocks: a minute of stereo may take half a second. In an event loop,
    run it in a thread. `StreamSession.play` does so by itself.

    A file may have up to 64 MiB, 8 channels, 1,000 to 192,000 samples a second, and 30 minutes or
    64 Mi samples of audio.

    Raises:
        InvalidAudio: The file cannot be read, or exceeds a limit.
        ConfigurationError: Its kind needs the extra ``voice``, which is not installed.
    """
    if not isinstance(cast("object", data), bytes | bytearray | memoryview):
        raise InvalidAudio(f"audio must be bytes, not {type(data).__name__}")
    if len(data) > LARGEST_FILE:
        raise InvalidAudio(f"an audio file may have {LARGEST_FILE} bytes, not {len(data)}")
    data = bytes(data)
    kind = media_kind(data)
    if kind is None:
        raise InvalidAudio(
            "audio is no WAV, MP3, Ogg or FLAC file: raw samples need their rate"
        )
    if kind == "wav" and data[:4] == b"RIFF":
        layout = read_layout(data)
        if layout.is_plain:
            _check_length(layout.frames, layout.rate)
            return wav_samples(data, layout), layout.rate
    return _decode_by_library(data, kind)


async def load_audio(data: bytes, *, raw_rate: int, rate: int) -> bytes:
    """Return raw samples, or a file's, as mono s16le at ``rate``.

    What takes long is done in a worker thread.

    Args:
        data: The samples, or the file.
        raw_rate: The rate of raw samples, in Hz; a file says its own.
        rate: The rate that is wanted, in Hz.

    Raises:
        InvalidAudio: As `decode`.
        ConfigurationError: As `decode`; another rate than the audio's needs the extra ``voice``.
    """
    kind = media_kind(data)
    if kind is None and raw_rate == rate:
        return data
    convert = functools.partial(_convert, data, kind, raw_rate)
    if kind in {None, "wav"} and len(data) <= _SHORT:
        return convert(rate)
    threads = anyio.to_thread.current_default_thread_limiter()
    return await run_in_thread(convert, rate, limiter=threads)


def _convert(data: bytes, kind: MediaKind | None, raw_rate: int, rate: int) -> bytes:
    pcm, own_rate = (data, raw_rate) if kind is None else decode(data)
    return resample(pcm, from_rate=own_rate, to_rate=rate)


def _check_length(frames: int, rate: int) -> None:
    if frames > min(LONGEST_SECONDS * rate, MOST_SAMPLES):
        raise InvalidAudio(
            f"audio may last {LONGEST_SECONDS} seconds and have {MOST_SAMPLES} samples"
        )


def _decode_by_library(data: bytes, kind: MediaKind) -> tuple[bytes, int]:
    task = f"decoding this {kind} file"
    numpy, soundfile = voice_library("numpy", task), voice_library("soundfile", task)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format in _NAMES[kind]:
                return _all_samples(file, numpy), file.samplerate
        failure = "what follows is another format"
    except InvalidAudio:
        raise
    except Exception as error:  # noqa: BLE001  # a hostile file may make the library raise anything
        failure = type(error).__name__
    # Raised outside of the handler, so that it carries no foreign error.
    raise InvalidAudio(f"a file that begins as {kind} cannot be decoded ({failure})")


def _all_samples(file: Any, numpy: Any) -> bytes:
    """Return all samples of an open file, whose own idea of its length is not believed."""
    check_shape(file.channels, file.samplerate)
    parts: list[bytes] = []
    frames = 0
    while len(block := file.read(_STEP, dtype="float32", always_2d=True)):
        frames += len(block)
        _check_length(frames, file.samplerate)
        mono = numpy.nan_to_num(block.mean(axis=1, dtype="float64") * 0x8000)
        parts.append(numpy.rint(mono).clip(-0x8000, 0x7FFF).astype("<i2").tobytes())
    return b"".join(parts)
