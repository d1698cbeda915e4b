"""Validation of call fields: converters and validators for actions and requests.

They run when an object is made, so invalid ones cannot exist. A converter accepts several
forms (``"+1 917 000 0001"`` becomes an int); a validator only checks. Both raise `InvalidCall`
with the field's name on the wire as its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias
from urllib.parse import urlsplit

import attrs

from telecmi_async._internal.messages import mask_in, shown
from telecmi_async._internal.telecmi import REFERENCE_PREFIX
from telecmi_async._internal.validators import must_be, one_of
from telecmi_async.errors import InvalidCall
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from telecmi_async._internal.validators import Field

# attrs gives a field its validator's type; these validators serve fields of any type.
CallField: TypeAlias = "attrs.Attribute[Any]"
CallFieldValidator: TypeAlias = Callable[[object, CallField, object], None]

_LARGEST = 2**31 - 1
_LONGEST_REPR = 200
# A part of a path that is a secret token, as in a webhook's URL; or the code of a call's signed
# reference, as in a stream's.
_TOKEN_IN_A_URL = re.compile(
    rf"(?<=/)[\w~%-]{{22,}}(?=[/?#'\"]|$)|(?<={REFERENCE_PREFIX}\w{{26}}\.)\w{{26}}"
)
_SURROGATE = "\ud800-\udfff"
_NOT_IN_TEXT = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_SURROGATE}]")
_NOT_IN_A_TOKEN = re.compile(f"[\x00-\x1f\x7f-\x9f{_SURROGATE}]")
# Blanks, and the invisible characters that are copied with a URL from a web page.
_NOT_IN_A_URL = re.compile(
    f"[\\s\x00-\x1f\x7f-\x9f{_SURROGATE}\u200b-\u200f\u2028-\u202e\u2060\ufeff]"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def wire_name(attribute: Field) -> str:
    """Return a field's name on the wire: ``from`` for ``from_``."""
    return attribute.name.rstrip("_")


def given(self: attrs.AttrsInstance) -> Iterator[tuple[CallField, Any]]:
    """Yield the fields whose values differ from their defaults."""
    for field in attrs.fields(type(self)):
        # A traceback may show an object whose ``__init__`` failed: later fields are missing.
        value = getattr(self, field.name, field.default)
        if value != field.default:
            yield field, value


def hide_tokens(text: str) -> str:
    """Return a text without the secret tokens in the paths of its URLs."""
    return _TOKEN_IN_A_URL.sub("•••", text)


def given_repr(self: attrs.AttrsInstance) -> str:
    """Return a repr of the values that differ from their defaults, phone numbers masked."""
    fields = list(given(self))
    positional = [repr(value) for field, value in fields if not field.kw_only]
    named = [f"{field.name}={value!r}" for field, value in fields if field.kw_only]
    inner = mask_in(hide_tokens(", ".join([*positional, *named])))
    if len(inner) > _LONGEST_REPR:
        inner = f"{inner[:_LONGEST_REPR]}…"
    return f"{type(self).__name__}({inner})"


# --- converters -------------------------------------------------------------------------
# One function for each field name: type checkers read a field's types from its converter, and
# understand neither a factory nor attrs.Converter.


def required_number(value: SupportsIndex | str) -> int:
    """Return ``number``, as an int."""
    return parse_number(value, "number")


def optional_from(value: SupportsIndex | str | None) -> int | None:
    """Return ``from``, as an int."""
    return None if value is None else parse_number(value, "from")


def optional_timeout(value: int | timedelta | None) -> int | None:
    """Return ``timeout`` in seconds."""
    return None if value is None else parse_seconds(value, "timeout")


def optional_duration(value: int | timedelta | None) -> int | None:
    """Return ``duration`` in seconds."""
    return None if value is None else parse_seconds(value, "duration")


def parse_seconds(value: object, path: str) -> int:
    """Return a positive int, or a `timedelta` of whole seconds, as seconds."""
    if isinstance(value, timedelta):
        if value.microseconds:
            raise InvalidCall("must be whole seconds", path=path)
        value = value.days * 86_400 + value.seconds
    return _positive(value, path, "whole seconds: a positive int, or a timedelta")


# --- validators -------------------------------------------------------------------------


def count(_: object, attribute: CallField, value: object) -> None:
    """Require a positive int."""
    _positive(value, wire_name(attribute), "a positive int")


def _positive(value: object, path: str, wanted: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        hint = ": leave the quotes out" if isinstance(value, str) and value.isdigit() else ""
        raise InvalidCall(f"must be {wanted}, not {shown(value)}{hint}", path=path)
    if not 0 < value <= _LARGEST:
        raise InvalidCall(f"must be between 1 and {_LARGEST:_}, not {shown(value)}", path=path)
    return int(value)


def _field_error(_: object, field: Field, problem: str) -> InvalidCall:
    return InvalidCall(problem, path=wire_name(field))


true_or_false: CallFieldValidator = must_be(
    "True or False", lambda value: isinstance(value, bool), _field_error
)


def one_of_values(*allowed: str | int) -> CallFieldValidator:
    """Require one of the given strings and ints."""
    return one_of(*allowed, error=_field_error)


def printable_text(_: object, attribute: CallField, value: object) -> None:
    """Require text that is not blank, without control characters but new lines and tabs."""
    path = wire_name(attribute)
    string = _string(value, path)
    if string.isspace():
        raise InvalidCall("must not be blank", path=path)
    _check(string, _NOT_IN_TEXT, path)


def token(_: object, attribute: CallField, value: object) -> None:
    """Require a name: not empty, no blanks at its ends, no control characters."""
    path = wire_name(attribute)
    string = _string(value, path)
    if string != string.strip():
        raise InvalidCall("must not start or end with a blank", path=path)
    _check(string, _NOT_IN_A_TOKEN, path)


def http_url(_: object, attribute: CallField, value: object) -> None:
    """Require an absolute ``http`` or ``https`` URL."""
    _check_url(value, wire_name(attribute), ("https", "http"))


def ws_url(_: object, attribute: CallField, value: object) -> None:
    """Require an absolute ``ws`` or ``wss`` URL."""
    _check_url(value, wire_name(attribute), ("wss", "ws"))


def looks_like_url(value: str | None) -> bool:
    """Return whether a name starts as a URL does."""
    return isinstance(value, str) and _SCHEME.match(value) is not None


def _check_url(value: object, path: str, schemes: tuple[str, ...]) -> None:
    """Require a URL with a host and one of the schemes; errors do not repeat the URL."""
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


def _check(value: str, invalid: re.Pattern[str], path: str) -> None:
    if bad := invalid.search(value):
        raise InvalidCall(
            f"must not hold the character U+{ord(bad.group()):04X} (position {bad.start()})",
            path=path,
        )
