"""Chance without a generator: each draw follows from the seed and what it is about.

A shared ``random.Random`` gives the n-th draw to whoever comes n-th, and who that is
differs from run to run (trio shuffles its run queue on purpose). Here the draw for one
try of one call is the same in whatever order calls arrive.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final
from uuid import UUID

__all__ = ["cmiuuid", "draw", "request_id"]

_LETTERS: Final = bytes.maketrans(b"-_", b"Xz")
_UNIT: Final = 2.0**-53


def draw(seed: int | str, purpose: str, to: int, attempt: int) -> float:
    """Return a number from 0 to below 1 that depends on the arguments alone.

    Args:
        seed: The simulator's seed.
        purpose: What is being decided, so that two decisions about one try differ.
        to: The number dialled.
        attempt: Which try for that number this is, from 1.
    """
    return (int.from_bytes(_digest(8, seed, purpose, to, attempt)) >> 11) * _UNIT


def request_id(seed: int | str, to: int, attempt: int) -> str:
    """Return a made-up ``request_id``: 43 letters and digits, as in TeleCMI's samples."""
    digest = _digest(32, seed, "request_id", to, attempt)
    return urlsafe_b64encode(digest)[:43].translate(_LETTERS).decode("ascii")


def cmiuuid(seed: int | str, to: int, attempt: int, leg: int) -> str:
    """Return a made-up ``cmiuuid``: a UUID of version 4, as in TeleCMI's samples.

    Args:
        seed: The simulator's seed.
        to: The number dialled.
        attempt: Which try for that number this is, from 1.
        leg: Which leg of the call it is, from 1.
    """
    return str(UUID(bytes=_digest(16, seed, "cmiuuid", to, attempt, leg), version=4))


def _digest(size: int, *parts: object) -> bytes:
    text = "/".join(map(str, parts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
