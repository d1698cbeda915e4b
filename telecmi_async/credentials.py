"""The app id and its secret, and what keeps the secret from being seen.

TeleCMI takes its credentials inside the JSON body of every request, so hiding a header
does not help. Three things do: `Secret` never shows its value in a repr, a traceback with
locals or a pickle; `Wire` does the same for the encoded body; and `Redactor` takes the
secret and the call's numbers out of whatever came back.
"""

from __future__ import annotations

import re
from typing import NoReturn, TypeVar, cast

import attrs

from telecmi_async.errors import ConfigurationError
from telecmi_async.phone import mask

__all__ = ["Credentials", "Redactor", "Secret", "Wire"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HIDDEN = "•••"
_T = TypeVar("_T")


class _Veiled:
    """A value that can be used but not seen."""

    __slots__ = ("_value",)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled: it would show its value")


class Secret(_Veiled):
    """A TeleCMI secret. `reveal` is the only way to its value."""

    _value: object

    def __init__(self, value: object) -> None:
        self._value = value.reveal() if isinstance(value, Secret) else value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value  # type: ignore[return-value]  # Credentials checks it at birth


class Wire(_Veiled):
    """The encoded body of one call, with the secret in it."""

    _value: bytes

    def __init__(self, content: bytes) -> None:
        self._value = content

    def reveal(self) -> bytes:
        """Return the bytes to send."""
        return self._value


def _parse_app_id(value: object) -> int:
    """Return an app id as the integer that goes on the wire."""
    if isinstance(value, str) and _UUID.fullmatch(value.strip()):
        raise ConfigurationError(
            "app_id looks like an agent id of TeleCMI's v3 API; the v2 API wants the "
            "number shown as app id (about seven digits)"
        )
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip())
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ConfigurationError(
            f"app_id must be TeleCMI's number for your app, such as 2222226, not {value!r:.60}"
        )
    return value


def _check_secret(_: object, __: attrs.Attribute[Secret], secret: Secret) -> None:
    value = cast("object", secret.reveal())
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError("secret must be the secret that belongs to the app id")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(
            "secret holds spaces, control or non-ASCII characters: was more than the secret "
            "pasted?"
        )


@attrs.frozen
class Credentials:
    """An app id and its secret, as TeleCMI's dashboard shows them.

    Args:
        app_id: A positive number; digits in a str are taken too.
        secret: A str, or a `Secret`.

    Raises:
        ConfigurationError: One of them cannot be right.
    """

    app_id: int = attrs.field(converter=_parse_app_id)
    secret: Secret = attrs.field(converter=Secret, validator=_check_secret)


class Redactor:
    """Takes a secret and a call's two numbers out of text and JSON."""

    __slots__ = ("_numbers", "_secret")

    def __init__(self, secret: Secret, *numbers: int) -> None:
        self._secret = secret
        self._numbers = numbers

    def found_in(self, raw: bytes) -> bool:
        """Tell whether the secret stands in ``raw``."""
        return self._secret.reveal().encode() in raw

    def text(self, text: str) -> str:
        """Return ``text`` without the secret, its numbers masked."""
        text = text.replace(self._secret.reveal(), _HIDDEN)
        for number in self._numbers:
            text = text.replace(str(number), mask(number))
        return text

    def body(self, value: _T) -> _T:
        """Return a JSON value without the secret, its numbers masked, keys included."""
        return self._walk(value)  # type: ignore[return-value]  # same shape, masked leaves

    def _walk(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            case bool():
                return value
            case int() if value in self._numbers:
                return mask(value)
            case list():
                return [self._walk(item) for item in cast("list[object]", value)]
            case dict():
                items = cast("dict[str, object]", value).items()
                return {self.text(key): self._walk(item) for key, item in items}
            case _:
                return value
