"""WAV files: what is read of a header, and what is not believed."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.media import decode
from telecmi_async.voice.wav import read_layout, wav_header

SAMPLES = np.array([0.0, 0.5, -0.5, 0.25, -1.0, 0.999], "float64")
GUID = bytes.fromhex("00001000800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """Return a chunk, whose size may be a lie."""
    padding = b"\0" * (len(body) % 2)
    return name + struct.pack("<I", len(body) if size is None else size) + body + padding


def layout(encoding: int = 1, channels: int = 1, rate: int = 8_000, bits: int = 16) -> bytes:
    """Return the body of a format chunk."""
    block = -(-bits // 8) * channels & 0xFFFF
    return struct.pack("<HHIIHH", encoding, channels, rate, 0, block, bits)


def wav(*chunks: bytes, size: int = 0xFFFF) -> bytes:
    """Return a file of chunks."""
    return b"RIFF" + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


FORMAT = chunk(b"fmt ", layout())


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("subtype", "steps"),
    [("PCM_U8", 127), ("PCM_16", 32_767), ("PCM_24", 32_767), ("PCM_32", 32_767),
     ("FLOAT", 32_767), ("DOUBLE", 32_767)],
)  # fmt: skip
def test_every_width_is_read(container: str, channels: int, subtype: str, steps: int) -> None:
    """Integers of 8 to 32 bits and floats of 32 and 64 give the same samples, in mono."""
    file = io.BytesIO()
    frames = np.repeat(SAMPLES[:, None], channels, axis=1)
    soundfile.write(file, frames, 11_025, format=container, subtype=subtype)

    pcm, rate = decode(file.getvalue())

    found = np.frombuffer(pcm, "<i2") / 32_768
    assert rate == 11_025
    assert len(found) == len(SAMPLES)
    assert np.abs(found - SAMPLES).max() <= 1.5 / steps


def test_channels_are_averaged() -> None:
    """A stereo file becomes the mean of left and right, without overflow."""
    left_right = struct.pack("<6h", 32_767, 32_767, -32_768, -32_768, 1_000, 3_000)
    data = wav(chunk(b"fmt ", layout(channels=2)), chunk(b"data", left_right))

    assert decode(data) == (struct.pack("<3h", 32_767, -32_768, 2_000), 8_000)


def test_floats_that_are_no_samples_do_no_harm() -> None:
    """Floats beyond full scale are clipped, and one that is no number is silence."""
    values = struct.pack("<5f", float("inf"), float("-inf"), float("nan"), 7.0, -0.5)
    data = wav(chunk(b"fmt ", layout(3, bits=32)), chunk(b"data", values))

    assert decode(data)[0] == struct.pack("<5h", 32_767, -32_768, 0, 32_767, -16_384)


def test_other_chunks_are_skipped() -> None:
    """Chunks before the audio are skipped with their padding; those behind it are no audio."""
    data = wav(
        chunk(b"LIST", b"odd"),
        FORMAT,
        chunk(b"junk", b""),
        chunk(b"data", b"abcd"),
        b"LIST....",
    )

    assert decode(data)[0] == b"abcd"


@pytest.mark.parametrize(
    ("size", "whole"),
    [(0xFFFFFFFF, 0xFFFFFFFF), (0, 0), (0, 0xFFFFFFFF), (0, 36), (1_000, 36), (0x7FFFFFFF, 0)],
)
def test_a_size_that_cannot_be_is_not_believed(size: int, whole: int) -> None:
    """Streaming writers, and those that were killed, leave sizes that say nothing."""
    data = wav(FORMAT, chunk(b"data", b"abcdef", size), size=whole)

    assert decode(data)[0] == b"abcdef"


def test_no_audio_is_no_audio() -> None:
    """A data chunk of size 0 with another chunk behind it is empty."""
    empty = wav(FORMAT, chunk(b"data", b""))
    data = wav(FORMAT, chunk(b"data", b""), chunk(b"LIST", b"name"), size=4 + 24 + 8 + 12)

    assert decode(empty) == decode(data) == (b"", 8_000)


def test_a_size_that_can_be_is_believed() -> None:
    """A writer that never set the size of the file may have set that of the audio."""
    data = wav(FORMAT, chunk(b"data", b"abcd"), chunk(b"LIST", b"name"), size=0)

    assert decode(data)[0] == b"abcd"


def test_an_incomplete_frame_is_left_out() -> None:
    """A file that was cut off ends with its last whole frame."""
    data = wav(chunk(b"fmt ", layout(channels=2)), chunk(b"data", bytes(10), 400))

    assert read_layout(data).frames == 2
    assert decode(data)[0] == bytes(4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wav(), "has no audio"),
        (wav(FORMAT), "has no audio"),
        (wav(*[chunk(b"junk", b"")] * 1_001, FORMAT, chunk(b"data", b"ab")), "has no audio"),
        (wav(chunk(b"data", b"ab"), FORMAT), "audio before its format"),
        (wav(chunk(b"fmt ", layout()[:12]), chunk(b"data", b"ab")), "format is cut off"),
        (wav(chunk(b"fmt ", layout(channels=0))), "1 to 8 channels, not 0"),
        (wav(chunk(b"fmt ", layout(channels=9))), "1 to 8 channels, not 9"),
        (wav(chunk(b"fmt ", layout(rate=999))), "1000 to 192000 samples a second, not 999"),
        (wav(chunk(b"fmt ", layout(rate=2**32 - 1))), "samples a second, not 4294967295"),
        (wav(chunk(b"fmt ", layout(bits=0))), "contradicts itself"),
        (wav(chunk(b"fmt ", layout()[:12] + b"\4\0\x10\0")), "contradicts itself"),
        (wav(chunk(b"fmt ", layout(0xFFFE))), "format that is not known"),
        (wav(chunk(b"fmt ", layout(0xFFFE) + bytes(24))), "format that is not known"),
    ],
)  # fmt: skip
def test_a_wrong_header_is_refused(data: bytes, message: str) -> None:
    """A header that contradicts itself or is out of range is refused with its fault."""
    with pytest.raises(InvalidAudio, match=message):
        decode(data)


def test_an_extensible_format_is_known_by_its_guid() -> None:
    """The encoding of WAVE_FORMAT_EXTENSIBLE is in its sub-format."""
    body = layout(0xFFFE) + struct.pack("<HHII", 22, 16, 4, 1) + GUID
    data = wav(chunk(b"fmt ", body), chunk(b"data", b"ab"))

    assert decode(data) == (b"ab", 8_000)


@given(st.integers(1, 2), st.sampled_from([8_000, 16_000]), st.integers(0, 50))
def test_a_header_is_what_others_read(channels: int, rate: int, frames: int) -> None:
    """The standard library's reader finds in a written header what was said."""
    size = frames * channels * 2
    header = wav_header(channels=channels, rate=rate, size=size)

    with wave.open(io.BytesIO(header + bytes(size))) as file:
        assert file.getparams()[:4] == (channels, 2, rate, frames)
    assert read_layout(header + bytes(size)).frames == frames
