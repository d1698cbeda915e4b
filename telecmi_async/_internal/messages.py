"""Messages: values shortened and masked for errors and logs, and spelling suggestions."""

from __future__ import annotations

import json
import re
from importlib import import_module
from inspect import isawaitable, isroutine, signature
from typing import TYPE_CHECKING

from telecmi_async._internal.characters import DASHES, INVISIBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST = 40
_MOST_HIDDEN = 11
_LONGEST_ID = 64
# Too long for a phone number, of characters that are harmless in a log.
_ID = re.compile(rf"[\w-]{{20,{_LONGEST_ID}}}", re.ASCII)
_NO_DIGIT = re.compile(r"\D+")
# Digits in one run; or, as a word of their own, with blanks, dots, brackets, dashes and invisible
# marks between them. Bounded, because a hostile text could make the search take seconds.
_BETWEEN = rf"(?:[^\S\n]|[().\-{DASHES}{INVISIBLE}])"
_DIGIT_RUN = re.compile(rf"\d{{7,}}|(?<![\w-])\d(?:{_BETWEEN}{{0,3}}\d){{6,24}}(?![\w-])")


def mask(number: int | str) -> str:
    """Return a number with all but its last four digits hidden, for logs and reprs."""
    text = str(number)
    hidden = len(text) - 4
    return "•" * len(text) if hidden <= 0 else "•" * min(hidden, _MOST_HIDDEN) + text[-4:]


def mask_in(text: str) -> str:
    """Return a text with runs of seven or more digits masked, with blanks in them too."""
    return _DIGIT_RUN.sub(lambda run: mask(_NO_DIGIT.sub("", run.group())), text)


def is_long_id(value: str) -> bool:
    """Return whether a text is an id that cannot be a number and is harmless in a log."""
    return _ID.fullmatch(value) is not None


def shown_id(value: str) -> str:
    """Return an id for a log: as it is, unless it could be a number or disturb a terminal."""
    if is_long_id(value):
        return value
    return mask_in("".join(filter(str.isprintable, value[:_LONGEST_ID])))


def shown(value: object) -> str:
    """Return a value for a message.

    Strings, numbers, booleans and ``None`` are shown, up to 40 characters, with phone numbers
    masked. For any other value its type is named, and what to write if a call or an ``await``
    was forgotten.
    """
    match value:
        case str():
            # Masked first, because escapes of unprintable characters contain letters and digits.
            text = mask_in(value[:_LONGEST])
            ending = "…" if len(value) > _LONGEST else ""
            return json.dumps(text, ensure_ascii=not text.isprintable()) + ending
        case int() if value.bit_length() > 128:
            return "an enormous int"
        case None | bool() | int() | float():
            return mask_in(repr(value))
        case _:
            return uncalled(value) or f"a value of type {type(value).__name__[:_LONGEST]}"


def uncalled(value: object) -> str:
    """Return what to write in place of a class, a function or a coroutine, else ""."""
    if isawaitable(value):
        return "an awaitable: write await before it"
    if not isinstance(value, type) and not isroutine(value):
        return ""
    what = "class" if isinstance(value, type) else "function"
    name = value.__name__[:_LONGEST]
    if not name.isidentifier():  # a lambda's is "<lambda>"
        return f"a {what}: call it"
    return f"the {what} {name}: write {name}{call_shape(value)}"


def call_shape(function: Callable[..., object], *, example: bool = False) -> str:
    """Return how a function is called: ``(to=…)``; ``example`` names an optional argument."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):  # one that was written in C may have no signature
        return "(…)"
    named = [each for each in parameters if each.name not in {"self", "cls"}]
    known = [each for each in named if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}]
    needed = [each for each in known if each.default is each.empty]
    return f"({', '.join(f'{each.name}=…' for each in needed or known[: int(example)])})"


def step(path: str, key: object) -> str:
    """Return the path to a member: long parts are cut, and phone numbers masked."""
    if not isinstance(key, str) or not key.isprintable():
        name = "…"
    else:
        name = mask_in(key[:_LONGEST]) + ("…" if len(key) > _LONGEST else "")
    if len(path) > 2 * _LONGEST:
        path = f"{path[:_LONGEST]}…"
    return f"{path}.{name}" if path else name


def http_words(status: int | None, code: int | None) -> str:
    """Return an HTTP status, and the code in the body if it says something else."""
    return f"HTTP {status}" if code in {None, status} else f"HTTP {status}, code {code}"


def listed(names: Iterable[object]) -> str:
    """Return ``"single" or "group"``: the choices, as JSON writes them."""
    *most, last = [f'"{name}"' if isinstance(name, str) else str(name) for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def load_spelling() -> None:
    """Import what `did_you_mean` needs."""
    import_module("difflib")  # slow to import; errors only need it


def did_you_mean(word: object, names: Iterable[str]) -> str:
    """Return ``did you mean "timeout"?``, or the known names if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415  # see above

    known = list(names)
    if not known:
        return "it takes no options"
    if isinstance(word, str):
        near = get_close_matches(word[:_LONGEST].lower(), known, n=1, cutoff=0.5)
        if near:
            return f'did you mean "{near[0]}"?'
    return f"known are {listed(known)}"
