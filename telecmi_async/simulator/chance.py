"""Seeded randomness: each draw follows from the seed and what it is about.

A shared ``random.Random`` gives the n-th draw to the n-th caller, and the order of callers differs
from run to run (trio shuffles its run queue on purpose). Here the draw for one attempt of one call
does not depend on the order of calls.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

from telecmi_async._internal.messages import shown
from telecmi_async._internal.validators import is_number
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from telecmi_async._internal.validators import Field

#: Seconds, or the shortest and the longest.
SecondsRange: TypeAlias = float | tuple[float, float]

_LETTERS: Final = bytes.maketrans(b"-_", b"Xz")
_UNIT: Final = 2.0**-53


def draw(seed: int | str, purpose: str, to: int, attempt: int) -> float:
    """Return a number from 0 to below 1 that depends on the arguments alone.

    ``purpose`` names the decision, so that two decisions about one attempt differ.
    """
    return (int.from_bytes(_digest(8, seed, purpose, to, attempt)) >> 11) * _UNIT


def draw_between(
    limits: tuple[float, float], seed: int | str, purpose: str, to: int, attempt: int
) -> float:
    """Return seconds between two limits, drawn as by `draw`."""
    shortest, longest = limits
    if shortest == longest:
        return shortest
    return shortest + (longest - shortest) * draw(seed, purpose, to, attempt)


def request_id(seed: int | str, to: int, attempt: int) -> str:
    """Return a made-up ``request_id``: 43 letters and digits, as in TeleCMI's samples."""
    digest = _digest(32, seed, "request_id", to, attempt)
    return urlsafe_b64encode(digest)[:43].translate(_LETTERS).decode("ascii")


def cmiuuid(seed: int | str, to: int, attempt: int, leg: int) -> str:
    """Return a made-up ``cmiuuid`` of a leg: a UUID of version 4, as in TeleCMI's samples."""
    return str(UUID(bytes=_digest(16, seed, "cmiuuid", to, attempt, leg), version=4))


def _digest(size: int, *parts: object) -> bytes:
    text = "/".join(map(str, parts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def to_range(value: SecondsRange) -> tuple[float, float]:
    """Turn a number of seconds into the shortest and the longest."""
    match value:
        case (shortest, longest):
            return shortest, longest
        case _:
            return value, value


def check_range(owner: object, field: Field, value: tuple[object, object]) -> None:
    """Require two numbers of seconds, the shorter first (an attrs validator)."""
    shortest, longest = value
    if not (is_number(shortest) and is_number(longest) and 0 <= shortest <= longest):
        given = shortest if shortest is longest else value
        raise ConfigurationError(
            f"{type(owner).__name__}.{field.name} must be seconds, 0 or more, or a pair of "
            f"them (shortest, longest), not {shown(given)}"
        )
