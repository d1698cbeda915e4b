"""Speech of a simulated callee: WAV files, tones and silences.

Samples are signed 16-bit, little-endian, mono, as TeleCMI streams them.
"""

from __future__ import annotations

import io
import math
import struct
import wave
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Final, Protocol, TypeAlias, cast

from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError

#: Seconds of a frame: all times in a stream are multiples of it.
FRAME_SECONDS: Final = 0.02
_LEVEL: Final = 8_000
# A level below it (-50 dB) is silence to an ear, and so it is to those that count as listeners.
_AUDIBLE: Final = 100


class Speech(Protocol):
    """Something a callee can say."""

    def pcm(self, rate: int) -> bytes:
        """Return its samples at a rate in Hz."""
        ...


@frozen
class Tone:
    """A tone that stands for speech.

    Example:
        A callee that speaks for two seconds::

            from telecmi_async.simulator import Callee, Tone

            Callee(says=[Tone(2)])

    Args:
        seconds: Its length.
        hz: Its frequency.

    Raises:
        ConfigurationError: A value is not a positive number.
    """

    seconds: float = field(validator=validators.positive)
    hz: float = field(default=440.0, kw_only=True, validator=validators.positive)

    def pcm(self, rate: int) -> bytes:
        """Return its samples at a rate in Hz."""
        step = 2 * math.pi * self.hz / rate
        return _packed(
            [round(_LEVEL * math.sin(step * n)) for n in range(round(self.seconds * rate))]
        )


@frozen
class Silence:
    """Silence between what a callee says; the callee counts as speaking.

    Example:
        A callee that thinks for a second before it goes on::

            from telecmi_async.simulator import Callee, Silence, Tone

            Callee(says=[Tone(1), Silence(1), Tone(0.5)], talks_over_after=2)

    Args:
        seconds: Its length.

    Raises:
        ConfigurationError: It is not a positive number.
    """

    seconds: float = field(validator=validators.positive)

    def pcm(self, rate: int) -> bytes:
        """Return its samples at a rate in Hz."""
        return bytes(2 * round(self.seconds * rate))


@frozen
class _Recorded:
    """Samples of a WAV file, and their rate."""

    samples: bytes = field(repr=False)
    rate: int

    def pcm(self, rate: int) -> bytes:
        return convert_rate(self.samples, self.rate, rate)


#: A WAV file's path or bytes, a `Tone` or a `Silence`.
Sayable: TypeAlias = "str | PathLike[str] | bytes | Speech"


def parse_speech(value: Sayable) -> Speech:
    """Return what a callee says; WAV files are read here.

    Raises:
        ConfigurationError: It is not a WAV file with 16-bit samples, or something else.
    """
    if isinstance(value, str | bytes | PathLike):
        try:
            data = value if isinstance(value, bytes) else Path(value).read_bytes()
            return _Recorded(*parse_wav(data))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"a callee's WAV file cannot be used: {error}") from None
    if callable(getattr(cast("object", value), "pcm", None)):
        return value
    raise ConfigurationError(
        "what a callee says must be a WAV file's path or bytes, a Tone or a Silence, not "
        f"{shown(value)}"
    )


def parse_speeches(value: Sayable | Iterable[Sayable]) -> tuple[Speech, ...]:
    """Return what a callee says, one thing after another (an attrs converter)."""
    if isinstance(value, str | bytes | PathLike) or not isinstance(value, Iterable):
        return (parse_speech(value),)
    return tuple(map(parse_speech, value))


def parse_wav(data: bytes) -> tuple[bytes, int]:
    """Return a WAV file's samples, mixed to mono, and their rate.

    Raises:
        ValueError: It is not a WAV file, or its samples have not 16 bits.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
            )
            pcm = file.readframes(file.getnframes())
    except Exception as error:  # noqa: BLE001  # a broken file makes it raise many
        raise ValueError(f"it is no WAV file with PCM samples ({error})") from None
    if width != 2 or rate < 1:
        raise ValueError(f"its samples have {8 * width} bits, not 16")
    if channels == 1:
        return pcm[: len(pcm) // 2 * 2], rate
    samples = _unpacked(pcm)
    mixed = zip(*(samples[n::channels] for n in range(channels)), strict=False)
    return _packed([sum(each) // channels for each in mixed]), rate


def convert_rate(pcm: bytes, rate: int, to: int) -> bytes:
    """Return samples at another rate, by straight lines between them."""
    if rate == to or not pcm:
        return pcm
    samples = _unpacked(pcm)
    last = len(samples) - 1
    found: list[int] = []
    for n in range(len(samples) * to // rate):
        whole, part = divmod(n * rate, to)
        low, high = samples[whole], samples[min(whole + 1, last)]
        found.append(low + (high - low) * part // to)
    return _packed(found)


def mix(one: bytes, other: bytes) -> bytes:
    """Return the sum of two pieces of sound; the shorter one is continued by silence."""
    size = max(len(one), len(other))
    pairs = zip(
        _unpacked(one.ljust(size, b"\0")), _unpacked(other.ljust(size, b"\0")), strict=True
    )
    return _packed([max(-32_768, min(32_767, left + right)) for left, right in pairs])


def is_audible(pcm: bytes) -> bool:
    """Return whether any sample is loud enough to be heard."""
    if not pcm:
        return False
    samples = _unpacked(pcm)
    return max(samples) >= _AUDIBLE or min(samples) <= -_AUDIBLE


def _unpacked(pcm: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(pcm) // 2}h", pcm[: len(pcm) // 2 * 2])


def _packed(samples: list[int]) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)
