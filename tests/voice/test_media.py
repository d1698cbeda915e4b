"""Media: files of all kinds become mono samples, and hostile ones an `InvalidAudio`."""

from __future__ import annotations

import functools
import io
import random
import sys
import threading

import anyio
import numpy as np
import pytest
import soundfile

from telecmi_async import ConfigurationError
from telecmi_async.errors import InvalidAudio
from telecmi_async.voice import media
from telecmi_async.voice.media import decode, load_audio, media_kind
from telecmi_async.voice.wav import wav_header

RATE = 24_000
TONE = 0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
KINDS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "ULAW"),
}


@functools.cache
def encoded(kind: str, subtype: str, channels: int = 1, rate: int = RATE) -> bytes:
    """Return half a second of a tone as a file."""
    file = io.BytesIO()
    frames = np.repeat(TONE[:, None], channels, axis=1)
    soundfile.write(file, frames, rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_decoded(kind: str, channels: int) -> None:
    """MP3, Ogg, FLAC and a WAV file of µ-law give the tone at its rate, in mono."""
    data = encoded(*KINDS[kind], channels)

    pcm, rate = decode(data)

    assert media_kind(data) == kind
    assert rate == RATE
    assert len(pcm) == 2 * len(TONE)
    assert np.abs(np.frombuffer(pcm, "<i2") / 32_768 - TONE).max() < 0.05


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_an_mp3_file_is_known_without_a_tag(rate: int) -> None:
    """An MP3 file of any version of MPEG is known by its frames, and with a tag by that."""
    data = encoded("MP3", "MPEG_LAYER_III", 1, rate)
    tagged = b"ID3\x04\0\0\0\0\0\x02\0\0" + data

    assert data[:1] == b"\xff"
    assert media_kind(data) == media_kind(tagged) == "mp3"
    assert decode(data)[1] == decode(tagged)[1] == rate


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"\xff\xfb\x90\x00", 417),  # MPEG 1, 128 kbit/s, 44.1 kHz
        (b"\xff\xfb\x92\x00", 418),  # the same with padding
        (b"\xff\xf3\x40\x00", 104),  # MPEG 2, 32 kbit/s, 22.05 kHz
        (b"\xff\xe3\x18\x00", 72),  # MPEG 2.5, 8 kbit/s, 8 kHz
    ],
)
def test_the_size_of_an_mp3_frame_is_known(header: bytes, size: int) -> None:
    """The next frame begins where the header says, at another bit rate, too."""
    other = header[:2] + bytes([header[2] & 0x0F | 0x20]) + header[3:]

    for following in (header, other):
        assert media_kind(header.ljust(size, b"\0") + following) == "mp3"
        assert media_kind(header.ljust(size + 1, b"\0") + following) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xff" * 2_000,
        b"\xff\xfb" * 2_000,
        b"\xff\xfb\x90\x00" + bytes(4_000),
        b"\xff\xfb\x9c\x00" * 2_000,
        b"\xff\xeb\x90\x00" * 2_000,
        b"\xff\xfb\xf0\x00" * 2_000,
        b"\xff\xfb\x00\x00" * 2_000,
        (b"\xff\xfb\x90\x00" + bytes(413) + b"\xff\xf3\x90\x00").ljust(2_000, b"\0"),
        b"ID3\xff" + bytes(100),
        b"RIFF\0\0\0\0AVI LIST",
    ],
)
def test_raw_samples_are_no_file(raw: bytes) -> None:
    """Samples that look like the beginning of an MP3 frame are not taken for a file."""
    assert media_kind(raw) is None
    with pytest.raises(InvalidAudio, match="no WAV, MP3, Ogg or FLAC file"):
        decode(raw)


def test_random_samples_are_no_file() -> None:
    """None of 20,000 random beginnings is taken for a file."""
    chance = random.Random(1)

    assert {media_kind(b"\xff" + chance.randbytes(3_000)) for _ in range(20_000)} == {None}


def test_what_is_no_bytes_is_refused() -> None:
    """Anything but bytes is refused by its type; all kinds of bytes are taken."""
    data = wav_header(channels=1, rate=8_000, size=2) + b"ab"

    assert decode(bytearray(data)) == decode(memoryview(data)) == (b"ab", 8_000)
    with pytest.raises(InvalidAudio, match="audio must be bytes, not str"):
        decode("hello.wav")  # type: ignore[arg-type]  # that is what is tested


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger file is refused before it is looked at."""
    data = wav_header(channels=1, rate=8_000, size=2) + b"ab"
    monkeypatch.setattr(media, "LARGEST_FILE", len(data))

    assert decode(data)[0] == b"ab"
    with pytest.raises(InvalidAudio, match="may have 46 bytes, not 47"):
        decode(data + b"c")


@pytest.mark.parametrize(
    ("limit", "value"), [("LONGEST_SECONDS", 0.4), ("MOST_SAMPLES", 9_600)]
)
@pytest.mark.parametrize("kind", [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_audio_has_a_longest_length(
    kind: tuple[str, str], limit: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer audio is refused as soon as that is known, however small its file is."""
    monkeypatch.setattr(media, limit, value)
    monkeypatch.setattr(media, "_STEP", 1_000)

    with pytest.raises(InvalidAudio, match="audio may last"):
        decode(encoded(*kind))


def test_what_a_file_says_of_its_length_is_not_believed() -> None:
    """A FLAC file that promises hours gives what it has, or is refused."""
    data = bytearray(encoded("FLAC", "PCM_16"))
    data[22:26] = b"\xff\xff\xff\xff"

    try:
        pcm, _ = decode(bytes(data))
    except InvalidAudio:
        return
    assert len(pcm) == 2 * len(TONE)


def test_a_file_within_another_is_refused() -> None:
    """What begins as one kind and is decoded as another is refused."""
    with pytest.raises(InvalidAudio, match="begins as mp3 cannot be decoded"):
        decode(b"ID3\x04\0\0\0\0\0\x02\0\0" + encoded("FLAC", "PCM_16"))


def test_too_many_channels_are_refused() -> None:
    """Audio of more than eight channels is refused, also if a library could read it."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((100, 9)), 8_000, format="RF64", subtype="PCM_16")

    with pytest.raises(InvalidAudio, match="1 to 8 channels, not 9"):
        decode(file.getvalue())


def test_a_library_gives_samples_that_are_none() -> None:
    """Floats beyond full scale are clipped, and one that is no number is silence."""
    file = io.BytesIO()
    values = np.array([2.0, -2.0, np.nan, np.inf, -0.5], "float32")
    soundfile.write(file, values, 8_000, format="RF64", subtype="FLOAT")

    assert np.frombuffer(decode(file.getvalue())[0], "<i2").tolist() == [
        32_767, -32_768, 0, 32_767, -16_384,
    ]  # fmt: skip


def test_an_error_holds_nothing_foreign() -> None:
    """The error of a file that cannot be decoded has no error of the library's in it."""
    with pytest.raises(
        InvalidAudio, match=r"begins as ogg cannot be decoded \(\w+\)"
    ) as caught:
        decode(b"OggS" + bytes(100))

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


SEEDS = [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("OGG", "VORBIS"),
    ("FLAC", "PCM_16"),
]  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return a file with bytes changed, left out, put in or cut off, mostly near its header."""
    file = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at = chance.randrange(min(len(file), chance.choice([16, 64, 200, 1 << 20])) or 1)
        match chance.randrange(5):
            case 0:
                file[at : at + 1] = chance.randbytes(1)
            case 1:
                del file[at : at + chance.randrange(50)]
            case 2:
                file[at:at] = chance.randbytes(chance.randrange(50))
            case 3:
                file[at : at + 4] = chance.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"])
            case _:
                del file[at + 20 :]
    return bytes(file)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_file_raises_own_errors_only(seed: tuple[str, str]) -> None:
    """Whatever is wrong with a file, it gives whole samples or an `InvalidAudio`."""
    chance, refused = random.Random(7), 0

    for _ in range(300):
        try:
            pcm, rate = decode(damaged(encoded(*seed), chance))
        except InvalidAudio:
            refused += 1
        else:
            assert len(pcm) % 2 == 0
            assert 1_000 <= rate <= 192_000

    assert 0 < refused < 300


@pytest.mark.parametrize("missing", ["numpy", "soundfile"])
def test_without_the_extra_plain_files_are_read(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A WAV file of integers needs no library; for others the error says what to install."""
    plain, other = encoded("WAV", "PCM_24"), encoded("MP3", "MPEG_LAYER_III")
    monkeypatch.setitem(sys.modules, missing, None)

    assert len(decode(plain)[0]) == 2 * len(TONE)
    with pytest.raises(ConfigurationError) as caught:
        decode(other)
    assert str(caught.value) == (
        f"decoding this mp3 file needs {missing}: pip install 'telecmi-async[voice]'"
    )


def test_a_library_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If libsndfile is missing on a machine, the error says of which kind the failure is."""

    def fail(name: str) -> object:
        raise OSError("sndfile library not found")

    monkeypatch.setattr("telecmi_async.voice.extra.import_module", fail)

    with pytest.raises(ConfigurationError, match=r"needs numpy \(OSError\): pip install"):
        decode(encoded("FLAC", "PCM_16"))


RAW = np.arange(-200, 200, dtype="<i2").tobytes()
PLAIN = wav_header(channels=1, rate=8_000, size=len(RAW)) + RAW


@pytest.mark.anyio
async def test_audio_comes_at_the_rate_that_is_wanted() -> None:
    """Raw samples and files come at the rate that is wanted, and take no virtual time."""
    before = anyio.current_time()

    assert await load_audio(RAW, raw_rate=8_000, rate=8_000) == RAW
    assert await load_audio(PLAIN, raw_rate=16_000, rate=8_000) == RAW
    assert len(await load_audio(RAW, raw_rate=8_000, rate=16_000)) == 2 * len(RAW)
    assert len(await load_audio(PLAIN, raw_rate=8_000, rate=16_000)) == 2 * len(RAW)
    flac = await load_audio(encoded("FLAC", "PCM_16"), raw_rate=8_000, rate=8_000)
    assert len(flac) == 2 * len(TONE) // 3
    assert anyio.current_time() == before


@pytest.mark.anyio
async def test_what_takes_long_is_done_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed and large files leave the event loop to others; small ones need no thread."""
    here, threads = threading.get_ident(), []

    def convert(*_: object) -> bytes:
        threads.append(threading.get_ident() == here)
        return b""

    monkeypatch.setattr(media, "_convert", convert)
    large = bytes(2**16 + 2)

    for data in (PLAIN, RAW, encoded("MP3", "MPEG_LAYER_III"), PLAIN + large, RAW + large):
        assert await load_audio(data, raw_rate=8_000, rate=16_000) == b""
    assert threads == [True, True, False, False, False]


@pytest.mark.anyio
async def test_a_thread_refuses_as_the_function_does() -> None:
    """`load_audio` raises what `decode` raises, from its thread, too."""
    for data in (b"OggS" + bytes(100), wav_header(channels=9, rate=8_000, size=0)):
        with pytest.raises(InvalidAudio):
            await load_audio(data, raw_rate=8_000, rate=8_000)
