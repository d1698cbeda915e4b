"""How an error message repeats what it was given: short, masked, with the nearest right name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean", "listed", "shown", "step"]

_LONGEST = 40
_DIGIT = re.compile(r"\d")
_DIGIT_BEFORE_THE_LAST_FOUR = re.compile(r"\d(?=(?:\D*\d){4})")


def shown(value: object) -> str:
    """Return a value as a message may repeat it.

    Only strings, numbers, booleans and ``None`` are repeated, at most 40 characters of
    them, and all but the last four digits are hidden where there are seven or more, since
    that may be a phone number. Anything else is named by its type.
    """
    match value:
        case str():
            text = repr(value[:_LONGEST])
            if len(value) > _LONGEST:
                text += "…"
        case int() if value.bit_length() > 128:
            return "an enormous int"
        case None | bool() | int() | float():
            text = repr(value)
        case _:
            return f"a value of type {type(value).__name__[:_LONGEST]}"
    return _masked(text)


def _masked(text: str) -> str:
    if len(_DIGIT.findall(text)) < 7:
        return text
    return _DIGIT_BEFORE_THE_LAST_FOUR.sub("•", text)


def step(path: str, key: object) -> str:
    """Return the path to a member; what is long is cut, and numbers in it are masked."""
    if not isinstance(key, str) or not key.isprintable():
        name = "…"
    else:
        name = _masked(key[:_LONGEST]) + ("…" if len(key) > _LONGEST else "")
    if len(path) > 2 * _LONGEST:
        path = f"{path[:_LONGEST]}…"
    return f"{path}.{name}" if path else name


def listed(names: Iterable[object]) -> str:
    """Return ``"single" or "group"``: the choices, as JSON writes them."""
    *most, last = [f'"{name}"' if isinstance(name, str) else str(name) for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def did_you_mean(word: object, names: Iterable[str]) -> str:
    """Return ``did you mean "timeout"?``, or the known names where none comes near."""
    # Only an error needs it, and importing it costs as much as this whole package's rules.
    from difflib import get_close_matches  # noqa: PLC0415  # see above

    known = list(names)
    if not known:
        return "it takes no options"
    if isinstance(word, str):
        near = get_close_matches(word[:_LONGEST].lower(), known, n=1, cutoff=0.5)
        if near:
            return f'did you mean "{near[0]}"?'
    return f"known are {listed(known)}"
