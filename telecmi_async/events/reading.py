"""How one value of a payload is read, in whichever of its shapes it came.

None of these raises: a value that makes no sense is read as ``None``, and stays in the
event's ``raw``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from telecmi_async._internal.frozen_json import Json, JsonObject
from telecmi_async.errors import WebhookError
from telecmi_async.events.payload import read_object

__all__ = [
    "integer",
    "json_object",
    "money",
    "number",
    "params",
    "text_or_none",
    "time",
    "without_direction",
    "word",
]

_SEPARATORS = re.compile(r"[\s().\-]+")
_MONEY = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_PREFIX = re.compile(r"\A(?:in|out)_")
_LONGEST_INTEGER = 18

# 10**11 seconds are the year 5138, 10**11 milliseconds March 1973.
_SECONDS_END = 10**11
_MILLISECONDS_END = 10**14


def text_or_none(value: Json) -> str | None:
    """Return a text without blanks around it, ``None`` if nothing is left; a number's digits."""
    match value:
        case str():
            return value.strip() or None
        case bool():
            return None
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return None


def word(value: Json) -> str | None:
    """Return a status or the like: in lower case, with ``_`` where there was ``-`` or blank."""
    if not isinstance(value, str):
        return None
    return value.strip().lower().replace("-", "_").replace(" ", "_") or None


def without_direction(status: str) -> str:
    """Return a status without ``in_`` or ``out_`` before it."""
    return _PREFIX.sub("", status)


def number(value: Json) -> str | None:
    """Return a phone number's digits, leading zeros kept; or the text, if it is no number."""
    found = text_or_none(value)
    if found is None or _is_digits(found):
        return found
    digits = _SEPARATORS.sub("", found).removeprefix("+")
    return digits if _is_digits(digits) else found


def integer(value: Json) -> int | None:
    """Return an integer that is not negative, from a number or its text."""
    found = text_or_none(value)
    if found is None or not _is_digits(found) or len(found) > _LONGEST_INTEGER:
        return None
    return int(found)


def _is_digits(found: str) -> bool:
    return found.isdecimal() and found.isascii()


def money(value: Json) -> Decimal | None:
    """Return an amount, exact if it came as text."""
    found = repr(value) if isinstance(value, float) else text_or_none(value)
    return Decimal(found) if found and _MONEY.fullmatch(found) else None


def time(value: Json) -> datetime | None:
    """Return a point in time, from seconds or milliseconds since 1970.

    Which of them is told by the size: no call was made before 1973 in milliseconds, nor will
    be after 5138 in seconds. Zero stands for a time that never came.
    """
    since = value if isinstance(value, float) else integer(value)
    if since is None or not 0 < since < _MILLISECONDS_END:
        return None
    return datetime.fromtimestamp(since if since < _SECONDS_END else since / 1000, UTC)


def json_object(value: Json) -> JsonObject | None:
    """Return an object, also if it came as JSON in a text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return read_object(value)
        except WebhookError:
            return None
    return value if isinstance(value, JsonObject) else None


def params(value: Json) -> JsonObject | str | None:
    """Return ``extra_params``: an object if it is one, or JSON for one, else its text."""
    found = json_object(value)
    return value if found is None and isinstance(value, str) else found
