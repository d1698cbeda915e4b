"""Secrets: values that are used and never shown, and what takes them out of replies.

TeleCMI takes its credentials inside the JSON body of every request, so hiding a header
does not help. Three things do: `Secret` never shows its value in a repr, a traceback with
locals or a pickle; `RequestBody` does the same for the encoded body; and `Redactor` takes the
secret and phone numbers out of whatever came back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from telecmi_async._internal.messages import mask, mask_in

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HIDDEN", "Redactor", "RequestBody", "Secret"]


HIDDEN = "•••"


_LONGEST = 4_000


# Shorter than this a secret is no secret; from this length on it is in no random word.
_SHORTEST = 4


_TELLING = 8


_NOTHING = r"(?!)"


_T = TypeVar("_T")


class _Hidden:
    """A value that can be used but not seen."""

    __slots__ = ("_value",)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled: it would show its value")


class Secret(_Hidden):
    """A TeleCMI secret. `reveal` is the only way to its value."""

    _value: object

    def __init__(self, value: object) -> None:
        self._value = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value  # type: ignore[return-value]  # Credentials checks it at birth


class RequestBody(_Hidden):
    """The encoded body of one call, with the secret in it."""

    _value: bytes

    def __init__(self, content: bytes) -> None:
        self._value = content

    def reveal(self) -> bytes:
        """Return the bytes to send."""
        return self._value


class Redactor:
    """Takes a secret and phone numbers out of what came back.

    A made-up secret of a few letters stands in many words by chance. It hides nothing then.

    Args:
        secret: The secret.
    """

    __slots__ = ("_needle", "_pattern", "_telling")

    def __init__(self, secret: Secret) -> None:
        self._needle = secret.reveal().encode()
        self._telling = len(self._needle) >= _TELLING
        # JSON inside JSON puts backslashes before quotes, slashes and backslashes.
        spelt = r"\\{0,8}".join(map(re.escape, secret.reveal()))
        self._pattern = re.compile(spelt if len(self._needle) >= _SHORTEST else _NOTHING)

    def may_be_in(self, raw: bytes) -> bool:
        """Tell whether the secret may stand in undecoded JSON.

        JSON may write any character as an escape, and may be UTF-16.
        """
        return self._needle in raw or b"\\" in raw or b"\0" in raw

    def repeated_in(self, word: str) -> bool:
        """Tell whether a word repeats the secret, and not by chance."""
        return self._telling and self.secret(word) != word

    def secret(self, text: str) -> str:
        """Return ``text`` without the secret."""
        return self._pattern.sub(HIDDEN, text)

    def text(self, text: str) -> str:
        """Return ``text`` without the secret, its phone numbers masked, and not endless."""
        return mask_in(self.secret(text)[:_LONGEST])

    def reply(self, value: _T) -> _T:
        """Return a JSON value without the secret, keys included."""
        return _walk(value, self.secret, _as_it_is)  # type: ignore[return-value]  # the same shape

    def body(self, value: _T) -> _T:
        """Return a JSON value without the secret and with every phone number masked.

        An int of seven or more digits counts as one.
        """
        return _walk(value, self.text, _mask_long)  # type: ignore[return-value]  # the same shape


def _as_it_is(number: int) -> object:
    return number


def _mask_long(number: int) -> object:
    return mask(number) if number >= 1_000_000 else number


def _walk(value: object, text: Callable[[str], str], number: Callable[[int], object]) -> object:
    """Return a JSON value whose strings and ints went through a function each."""
    match value:
        case str():
            return text(value)
        case bool():
            return value
        case int():
            return number(value)
        case list():
            return [_walk(item, text, number) for item in cast("list[object]", value)]
        case dict():
            items = cast("dict[str, object]", value).items()
            return {text(key): _walk(item, text, number) for key, item in items}
        case _:
            return value
