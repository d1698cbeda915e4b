"""What one field may hold: the checks that actions and requests are made of.

Checks run when an object is made, so an invalid one cannot exist. A converter takes more
than it gives (``"+1 917 000 0001"`` becomes an int); a validator only looks. Both raise
`InvalidCall` with the field's name on the wire as its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs

from telecmi_async._internal.messages import listed, mask_in, shown
from telecmi_async.errors import InvalidCall
from telecmi_async.phone import parse_number

__all__ = [
    "count",
    "given_repr",
    "http_url",
    "looks_like_url",
    "one_of_values",
    "optional_duration",
    "optional_from",
    "optional_timeout",
    "parse_seconds",
    "printable_text",
    "required_number",
    "token",
    "true_or_false",
    "wire_name",
    "ws_url",
]

# attrs types a validator's attribute by the field's type; these serve fields of any.
Field: TypeAlias = "attrs.Attribute[Any]"
Validator: TypeAlias = Callable[[object, Field, object], None]

_LARGEST = 2**31 - 1
_LONGEST_REPR = 200
# A part of a path that is a word nobody can guess, as in the address of a webhook.
_TOKEN_IN_A_URL = re.compile(r"(?<=/)[\w~-]{22,}(?=[/?#'\"])")
_SURROGATE = "\ud800-\udfff"
_NOT_IN_TEXT = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_SURROGATE}]")
_NOT_IN_A_TOKEN = re.compile(f"[\x00-\x1f\x7f-\x9f{_SURROGATE}]")
# Blanks, and the invisible characters that come along when a URL is pasted from a page.
_NOT_IN_A_URL = re.compile(
    f"[\\s\x00-\x1f\x7f-\x9f{_SURROGATE}\u200b-\u200f\u2028-\u202e\u2060\ufeff]"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def wire_name(attribute: Field) -> str:
    """Return a field's name on the wire: ``from`` for ``from_``."""
    return attribute.name.rstrip("_")


def given_repr(self: attrs.AttrsInstance) -> str:
    """Return a repr that shows what was given, with phone numbers masked."""
    positional: list[str] = []
    named: list[str] = []
    for field in attrs.fields(type(self)):
        # A traceback may show one that was made by half: it lacks what comes later.
        value = getattr(self, field.name, field.default)
        if value == field.default:
            continue
        if field.kw_only:
            named.append(f"{field.name}={value!r}")
        else:
            positional.append(repr(value))
    inner = mask_in(_TOKEN_IN_A_URL.sub("•••", ", ".join([*positional, *named])))
    if len(inner) > _LONGEST_REPR:
        inner = f"{inner[:_LONGEST_REPR]}…"
    return f"{type(self).__name__}({inner})"


# --- converters -------------------------------------------------------------------------
# One named function a field: type checkers read what a field takes from its converter, and
# follow neither a factory nor attrs.Converter.


def required_number(value: int | str) -> int:
    """Return ``number``, as an int."""
    return parse_number(value, "number")


def optional_from(value: int | str | None) -> int | None:
    """Return ``from``, as an int."""
    return None if value is None else parse_number(value, "from")


def optional_timeout(value: int | timedelta | None) -> int | None:
    """Return ``timeout`` in seconds."""
    return None if value is None else parse_seconds(value, "timeout")


def optional_duration(value: int | timedelta | None) -> int | None:
    """Return ``duration`` in seconds."""
    return None if value is None else parse_seconds(value, "duration")


def parse_seconds(value: object, path: str) -> int:
    """Return a time as a positive number of whole seconds.

    Raises:
        InvalidCall: It is neither an int nor a `timedelta` of whole seconds, or not positive.
    """
    if isinstance(value, timedelta):
        if value.microseconds:
            raise InvalidCall("must be whole seconds", path=path)
        value = value.days * 86_400 + value.seconds
    return _positive(value, path, "whole seconds: a positive int, or a timedelta")


# --- validators -------------------------------------------------------------------------


def count(_: object, attribute: Field, value: object) -> None:
    """Refuse what is not a positive int."""
    _positive(value, wire_name(attribute), "a positive int")


def _positive(value: object, path: str, wanted: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        hint = ": leave the quotes out" if isinstance(value, str) and value.isdigit() else ""
        raise InvalidCall(f"must be {wanted}, not {shown(value)}{hint}", path=path)
    if not 0 < value <= _LARGEST:
        raise InvalidCall(f"must be between 1 and {_LARGEST:_}, not {shown(value)}", path=path)
    return int(value)


def true_or_false(_: object, attribute: Field, value: object) -> None:
    """Refuse what is not a bool."""
    if not isinstance(value, bool):
        raise InvalidCall(
            f"must be True or False, not {shown(value)}", path=wire_name(attribute)
        )


def one_of_values(*allowed: str | int) -> Validator:
    """Return a validator that refuses what is not among the given strings and ints."""

    def check(_: object, attribute: Field, value: object) -> None:
        # 8000.0 == 8000 and True == 1, so equality alone would let both in.
        if not isinstance(value, str | int) or isinstance(value, bool) or value not in allowed:
            raise InvalidCall(
                f"must be {listed(allowed)}, not {shown(value)}", path=wire_name(attribute)
            )

    return check


def printable_text(_: object, attribute: Field, value: object) -> None:
    """Refuse what is not text: empty, blank, or with control characters.

    New lines and tabs are text.
    """
    path = wire_name(attribute)
    string = _string(value, path)
    if string.isspace():
        raise InvalidCall("must not be blank", path=path)
    _check(string, _NOT_IN_TEXT, path)


def token(_: object, attribute: Field, value: object) -> None:
    """Refuse what cannot be a name: empty, blanks at an end, control characters."""
    path = wire_name(attribute)
    string = _string(value, path)
    if string != string.strip():
        raise InvalidCall("must not start or end with a blank", path=path)
    _check(string, _NOT_IN_A_TOKEN, path)


def http_url(_: object, attribute: Field, value: object) -> None:
    """Refuse what is not an absolute ``http`` or ``https`` URL."""
    _check_url(value, wire_name(attribute), ("https", "http"))


def ws_url(_: object, attribute: Field, value: object) -> None:
    """Refuse what is not an absolute ``ws`` or ``wss`` URL."""
    _check_url(value, wire_name(attribute), ("wss", "ws"))


def looks_like_url(value: str | None) -> bool:
    """Tell whether a name starts as a URL does."""
    return isinstance(value, str) and _SCHEME.match(value) is not None


def _check_url(value: object, path: str, schemes: tuple[str, ...]) -> None:
    """Refuse a URL without host or with another scheme; its text is never repeated."""
    url = _string(value, path)
    _check(url, _NOT_IN_A_URL, path)
    wanted = f"must be a full URL such as {schemes[0]}://example.com/path"
    if not _SCHEME.match(url):
        raise InvalidCall(f"{wanted}: it has no scheme", path=path)
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise InvalidCall(f"{wanted}: its host or port cannot be read", path=path) from None
    if parts.scheme not in schemes:
        raise InvalidCall(
            f"must start with {schemes[0]}:// or {schemes[1]}://, not {shown(parts.scheme)}",
            path=path,
        )
    if not host:
        raise InvalidCall(f"{wanted}: it has no host", path=path)


def _string(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidCall(f"must be a str, not {shown(value)}", path=path)
    if not value:
        raise InvalidCall("must not be empty", path=path)
    return value


def _check(value: str, forbidden: re.Pattern[str], path: str) -> None:
    if bad := forbidden.search(value):
        raise InvalidCall(
            f"must not hold the character U+{ord(bad.group()):04X} (position {bad.start()})",
            path=path,
        )
