"""Secrets: values that are used and never shown, and their redaction from replies.

TeleCMI takes its credentials inside the JSON body of every request, so hiding a header does not
help. `Secret` never shows its value in a repr, a traceback with locals or a pickle, `RequestBody`
does the same for the encoded body, and `Redactor` removes the secret and phone numbers from
replies.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from telecmi_async._internal.messages import mask, mask_in
from telecmi_async._internal.telecmi import REFERENCE_PREFIX
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("telecmi_async")

HIDDEN = "•••"

# Texts are cut at this length.
_LONGEST = 4_000
# A shorter secret is in many words by chance, so it is not redacted.
_SHORTEST = 4
# A secret of this length is in no word by chance.
_CERTAIN = 8
_NOTHING = r"(?!)"
# A call's reference with its code, as in a call's parameters and the addresses of streams.
_SIGNED = re.compile(rf"({REFERENCE_PREFIX}[a-z2-7]{{26}}(?:\.|%2[Ee]))[a-z2-7]{{26}}")

_T = TypeVar("_T")


def without_codes(text: str) -> str:
    """Return a text without the codes of calls' references."""
    return _SIGNED.sub(rf"\1{HIDDEN}", text) if REFERENCE_PREFIX in text else text


class _Hidden:
    """A value that is used but never shown."""

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
        return self._value  # type: ignore[return-value]  # Credentials checks it


class RequestBody(_Hidden):
    """The encoded body of one call, with the secret in it."""

    _value: bytes

    def __init__(self, content: bytes) -> None:
        self._value = content

    def reveal(self) -> bytes:
        """Return the bytes to send."""
        return self._value


class Redactor:
    """Removes a secret and phone numbers from replies.

    A made-up secret of fewer than four letters is in many words by chance: it is not removed.
    """

    __slots__ = ("_certain", "_needle", "_pattern")

    def __init__(self, secret: Secret) -> None:
        self._needle = secret.reveal().encode()
        self._certain = len(self._needle) >= _CERTAIN
        # JSON inside JSON has backslashes before quotes, slashes and backslashes.
        spelt = r"\\{0,8}".join(map(re.escape, secret.reveal()))
        self._pattern = re.compile(spelt if len(self._needle) >= _SHORTEST else _NOTHING)

    def may_be_in(self, raw: bytes) -> bool:
        """Return whether undecoded JSON may contain the secret, perhaps escaped or in UTF-16."""
        return self._needle in raw or b"\\" in raw or b"\0" in raw

    def repeated_in(self, word: str) -> bool:
        """Return whether a word contains the secret, and not by chance."""
        return self._certain and self.secret(word) != word

    def secret(self, text: str) -> str:
        """Return ``text`` without the secret."""
        return self._pattern.sub(HIDDEN, text)

    def text(self, text: str) -> str:
        """Return ``text`` without secret and codes, with masked numbers and limited length."""
        return mask_in(without_codes(self.secret(text))[:_LONGEST])

    def traceback(self, error: BaseException) -> str:
        """Return an error's traceback for a log: its texts may quote a request or a reply."""
        return mask_in(without_codes(self.secret("".join(traceback.format_exception(error)))))

    def reply(self, value: _T) -> _T:
        """Return a JSON value without the secret, keys included."""
        return _walk(value, self.secret, lambda number: number)  # type: ignore[return-value]  # the same shape

    def body(self, value: _T) -> _T:
        """Return a JSON value without the secret and with every phone number masked.

        A number of seven or more digits counts as one.
        """
        return _walk(value, self.text, _mask_long)  # type: ignore[return-value]  # the same shape


def log_failure(error: BaseException, what: str, redact: Redactor | None = None) -> None:
    """Log ``what`` failed, with a traceback that has no secrets in it.

    Without a working redactor, the texts of errors are left out: they may quote a request. A log
    that fails changes nothing.
    """
    with suppress(Exception):
        logger.error("%s\n%s", what, _traceback_of(error, redact))


def _traceback_of(error: BaseException, redact: Redactor | None) -> str:
    if redact is not None:
        with suppress(Exception):  # the redactor may be what failed
            return redact.traceback(error)
    text = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    if isinstance(error, ConfigurationError):  # it quotes no call, and says what to do
        return f"{text}: {mask_in(str(error))}"
    if not isinstance(error, BaseExceptionGroup):
        return text
    # What failed in a task group is in the errors that its own one holds.
    inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return "\n".join((text, *(_traceback_of(each, None) for each in inner)))


def _mask_long(number: float) -> object:
    return mask(int(number)) if 1_000_000 <= abs(number) < math.inf else number


def _walk(
    value: object, text: Callable[[str], str], number: Callable[[float], object]
) -> object:
    """Return a JSON value with a function applied to every string and another to every number."""
    match value:
        case str():
            return text(value)
        case bool():
            return value
        case int() | float():
            return number(value)
        case list():
            return [_walk(item, text, number) for item in cast("list[object]", value)]
        case dict():
            items = cast("dict[str, object]", value).items()
            return {text(key): _walk(item, text, number) for key, item in items}
        case _:
            return value
