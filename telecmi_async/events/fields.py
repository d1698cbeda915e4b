"""Event fields: how each is read from a payload, in every form in which TeleCMI sends it.

No reader raises: a value that makes no sense is read as ``None``, and stays in the event's
``raw``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from telecmi_async._internal.frozen_json import Json, JsonObject
from telecmi_async.errors import WebhookError
from telecmi_async.events.payload import read_object

if TYPE_CHECKING:
    from collections.abc import Callable

    _Reader: TypeAlias = Callable[[Json], object]

# From 00:13 or 00:00:13, and from 13 or 13.0.
_CLOCK = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,5}):([0-9]{1,2})(?:\.[0-9]{1,9})?")
_DECIMAL = re.compile(r"([0-9]{1,18})(?:\.[0-9]{0,18})?")
_SEPARATORS = re.compile(r"[\s().\-]+")
_MONEY = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_LONGEST_INTEGER = 18
_LARGEST_INTEGER = 10**_LONGEST_INTEGER - 1

# 10**11 seconds are the year 5138, 10**11 milliseconds March 1973.
_SECONDS_END = 10**11
_MILLISECONDS_END = 10**14


def read_text(value: Json) -> str | None:
    """Return a text without blanks around it, or a number's digits; ``None`` if it is empty."""
    if isinstance(value, str):  # most are
        return value.strip() or None
    match value:
        case bool():
            return None
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return None


def read_word(value: Json) -> str | None:
    """Return a status or the like: in lower case, with ``_`` instead of ``-`` and blanks."""
    if not isinstance(value, str):
        return None
    return value.strip().lower().replace("-", "_").replace(" ", "_") or None


def _number(value: Json) -> str | None:
    """Return a phone number's digits, leading zeros kept; or the text, if it is not one."""
    if type(value) is int and value >= 0:
        return str(value)
    text = read_text(value)
    if text is None or _is_digits(text):
        return text
    digits = _SEPARATORS.sub("", text).removeprefix("+")
    return digits if _is_digits(digits) else text


def read_integer(value: Json) -> int | None:
    """Return an integer that is not negative, from a number or its text."""
    if type(value) is int and 0 <= value <= _LARGEST_INTEGER:  # most are
        return value
    text = read_text(value)
    if text is None or not _is_digits(text) or len(text) > _LONGEST_INTEGER:
        return None
    return int(text)


def _duration(value: Json) -> int | None:
    """Return whole seconds, from a number, its text, or a clock such as ``00:00:13``."""
    if isinstance(value, float):
        return int(value) if 0 <= value <= _LARGEST_INTEGER else None
    text = read_text(value) or ""
    if found := _DECIMAL.fullmatch(text):
        return int(found[1])
    if found := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None


def _is_digits(text: str) -> bool:
    return text.isdecimal() and text.isascii()


def _money(value: Json) -> Decimal | None:
    """Return an amount, exact if it came as text."""
    text = repr(value) if isinstance(value, float) else read_text(value)
    return Decimal(text) if text and _MONEY.fullmatch(text) else None


def _time(value: Json) -> datetime | None:
    """Return a point in time, from seconds or milliseconds since 1970, or from ISO 8601.

    The size distinguishes seconds from milliseconds: there is no call before 1973 in milliseconds, nor
    after 5138 in seconds. 0 means no time. ISO 8601 without an offset is taken for UTC.
    """
    since = value if type(value) is int or type(value) is float else None
    if isinstance(value, str):
        text = value.strip()
        if not _DECIMAL.fullmatch(text):
            return _iso_time(text)
        since = float(text)
    if since is None or not 0 < since < _MILLISECONDS_END:
        return None
    return datetime.fromtimestamp(since if since < _SECONDS_END else since / 1000, UTC)


def _iso_time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.replace(" +", "+"))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter near the years 1 and 9999
        return None


def read_object_or_none(value: Json) -> JsonObject | None:
    """Return an object, also if it came as JSON in a text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return read_object(value)
        except WebhookError:
            return None
    return value if isinstance(value, JsonObject) else None


def _params(value: Json) -> JsonObject | str | None:
    """Return ``extra_params``: an object, also from JSON in a text, or else the text."""
    found = read_object_or_none(value)
    return value if found is None and isinstance(value, str) else found


# By field: how its value is read, and the keys that it may have. The first that has a value
# counts. An id of a leg is misspelt in the sample for digits, and otherwise in the vendor's
# Node SDK.
_FIELDS: Final[dict[str, tuple[_Reader, tuple[str, ...]]]] = {
    "appid": (read_integer, ("appid", "app_id")),
    "from_": (_number, ("from",)),
    "to": (_number, ("to",)),
    "time": (_time, ("time",)),
    "cmiuuid": (read_text, ("cmiuuid", "cmuuid", "cmiuid")),
    "leg": (read_word, ("leg",)),
    "request_id": (read_text, ("request_id",)),
    "conversation_uuid": (read_text, ("conversation_uuid",)),
    "extra_params": (_params, ("extra_params",)),
    "callerid": (_number, ("callerid",)),
    "vn": (_number, ("vn",)),
    "start_time": (_time, ("start_time",)),
    "answer_time": (_time, ("answer_time",)),
    "end_time": (_time, ("end_time",)),
    "duration": (_duration, ("duration", "answeredsec")),
    "call_rate": (_money, ("call_rate", "rate")),
    "balance": (_money, ("balance",)),
    "hangup_reason": (read_text, ("hangup_reason",)),
    "filename": (read_text, ("filename",)),
}
#: The fields that a payload holds as they are.
FIELD_NAMES: Final = frozenset(_FIELDS)


def _keys(*readers: _Reader) -> frozenset[str]:
    return frozenset(key for read, keys in _FIELDS.values() if read in readers for key in keys)


#: The keys of a payload that hold phone numbers.
NUMBER_KEYS: Final = _keys(_number)
#: Those that hold an id of TeleCMI's.
ID_KEYS: Final = frozenset(
    key for name in ("cmiuuid", "request_id", "conversation_uuid") for key in _FIELDS[name][1]
)
#: Those that never hold a number: times, durations, sums, and words of TeleCMI's own.
PLAIN_KEYS: Final = _keys(_time, _duration, _money, read_integer, read_word) | {
    "action", "api_init", "direction", "out", "status", "type", "waitedsec",
}  # fmt: skip


def read_field(raw: JsonObject, name: str) -> object:
    """Return a payload's field, one of `FIELD_NAMES`."""
    read, keys = _FIELDS[name]
    for key in keys:
        value = raw.get(key)
        if value is not None and (found := read(value)) is not None:
            return found
    return None
