"""Resampling: chunks of any length give what one pass gives, and no sample is lost."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import ConfigurationError
from telecmi_async.errors import InvalidAudio
from telecmi_async.voice.resampling import Resampler, resample

PAIRS = [
    (8_000, 24_000),
    (24_000, 8_000),
    (8_000, 16_000),
    (16_000, 8_000),
    (16_000, 24_000),
    (24_000, 16_000),
    (44_100, 8_000),
    (22_050, 16_000),
    (7_999, 8_001),
]


def noise(samples: int, seed: int = 1) -> bytes:
    """Return loud noise as s16le: it has all frequencies, and clips."""
    wave = np.random.default_rng(seed).normal(0, 9_000, samples)
    return wave.clip(-0x8000, 0x7FFF).astype("<i2").tobytes()


def one_pass(pcm: bytes, from_rate: int, to_rate: int) -> np.ndarray:
    """Return what soxr itself makes of a whole audio, in floats."""
    samples = np.frombuffer(pcm, "<i2").astype("float32")
    return np.asarray(soxr.resample(samples, from_rate, to_rate))


def in_chunks(pcm: bytes, from_rate: int, to_rate: int, seed: int, longest: int) -> bytes:
    """Resample audio in chunks of random lengths, odd and empty ones too."""
    chance, resampler, parts = random.Random(seed), Resampler(from_rate, to_rate), []
    while pcm:
        size = chance.randint(0, longest)
        parts.append(resampler.feed(pcm[:size]))
        pcm = pcm[size:]
    return b"".join([*parts, resampler.flush()])


def decibels(error: np.ndarray) -> float:
    """Return the largest error relative to full scale."""
    largest = float(np.abs(error).max(initial=0.0))
    return -200.0 if not largest else 20 * float(np.log10(largest / 0x8000))


@pytest.mark.parametrize(("from_rate", "to_rate"), PAIRS)
@pytest.mark.parametrize("longest", [7, 401, 20_001])
def test_chunks_equal_one_pass(from_rate: int, to_rate: int, longest: int) -> None:
    """Chunks of random length give as many samples as one pass of soxr, and the same ones."""
    pcm = noise(6_007)

    found = np.frombuffer(in_chunks(pcm, from_rate, to_rate, 5, longest), "<i2")

    whole = one_pass(pcm, from_rate, to_rate).clip(-0x8000, 0x7FFF)
    assert len(found) == len(whole)
    assert decibels(found - whole) < -96  # half of the last bit


@given(
    st.sampled_from(PAIRS),
    st.integers(0, 3_000),
    st.integers(0, 2**32),
    st.integers(1, 3_000),
)
def test_no_sample_is_lost(
    rates: tuple[int, int], samples: int, seed: int, longest: int
) -> None:
    """For any length and any chunks the output is that of one pass, to the last sample."""
    pcm = noise(samples, seed)

    found = in_chunks(pcm, *rates, seed, longest)

    assert found == resample(pcm, from_rate=rates[0], to_rate=rates[1])
    assert len(found) == 2 * len(one_pass(pcm, *rates))
    assert abs(len(found) / 2 - samples * rates[1] / rates[0]) <= 1


def test_a_tone_stays_what_it_is() -> None:
    """A tone of 1 kHz comes back from 24 kHz as it was, first and last samples included."""
    tone = (12_000 * np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000)).astype("<i2")

    up = resample(tone.tobytes(), from_rate=8_000, to_rate=24_000)
    back = np.frombuffer(resample(up, from_rate=24_000, to_rate=8_000), "<i2")

    error = back - tone.astype(float)
    assert len(up) == 3 * tone.nbytes
    assert len(back) == len(tone)
    assert decibels(error[200:-200]) < -60
    assert decibels(error) < -20  # where it begins and ends all at once


def test_a_resampler_begins_anew_after_its_flush() -> None:
    """What is fed after `flush` is not mixed with what came before, nor is half a sample."""
    resampler = Resampler(8_000, 24_000)
    first = resampler.feed(noise(999) + b"\x01") + resampler.flush()

    again = resampler.feed(noise(999)) + resampler.flush()

    assert first == again == resample(noise(999), from_rate=8_000, to_rate=24_000)


def test_output_follows_soon() -> None:
    """A resampler holds back at most 0.12 seconds, which the docstring says."""
    for from_rate, to_rate in PAIRS:
        resampler, given, got = Resampler(from_rate, to_rate), 0, 0
        for _ in range(200):
            given += from_rate // 100
            got += len(resampler.feed(bytes(from_rate // 100 * 2))) // 2

            assert given / from_rate - got / to_rate < 0.12


@given(st.lists(st.binary(max_size=5)))
def test_equal_rates_pass_audio_through(chunks: list[bytes]) -> None:
    """Audio at the same rate is not changed; half a sample waits for its other half."""
    resampler = Resampler(8_000, 8_000)

    parts = [resampler.feed(chunk) for chunk in chunks]

    whole = b"".join(chunks)
    assert b"".join([*parts, resampler.flush()]) == whole[: len(whole) // 2 * 2]
    assert {len(part) % 2 for part in parts} <= {0}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_taken(kind: type[bytes | bytearray | memoryview]) -> None:
    """Bytes, bytearrays and memoryviews are resampled alike; what is fed is not changed."""
    resampler = Resampler(8_000, 16_000)

    found = resampler.feed(kind(noise(500))) + resampler.flush()

    assert found == resample(noise(500), from_rate=8_000, to_rate=16_000)


def test_audio_must_be_bytes() -> None:
    """Anything else is refused by its type."""
    with pytest.raises(InvalidAudio, match="audio must be bytes, not str"):
        Resampler(8_000, 16_000).feed("text")  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize("rate", [0, 999, 192_001, 8_000.0, "8000", True, None])
def test_a_rate_is_a_number_in_range(rate: object) -> None:
    """A rate out of range is refused by its name."""
    with pytest.raises(ConfigurationError, match="from_rate must be a whole number"):
        Resampler(rate, 8_000)  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(ConfigurationError, match="to_rate must be a whole number"):
        Resampler(8_000, rate)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("missing", ["soxr", "numpy"])
def test_without_the_extra_its_name_is_given(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without soxr or numpy the error says what to install; equal rates need neither."""
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(ConfigurationError) as caught:
        Resampler(8_000, 16_000)

    assert str(caught.value) == (
        f"resampling needs {missing}: pip install 'telecmi-async[voice]'"
    )
    assert Resampler(8_000, 8_000).feed(b"12") == b"12"
