"""Webhook payload: from untrusted bytes to a read-only JSON object.

TeleCMI signs nothing, so a payload may be hostile. Everything here has a limit, and a payload
beyond it is refused as a whole. Within the limits everything is read that can be read, since an
event that is refused is lost, and a question that is refused leaves a caller without an answer:

- The bytes decide what they are, not a content type: JSON, a form, or either packed by gzip.
- What is no UTF-8 is Latin-1.
- Of a repeated key the last value counts, as in JavaScript's and Python's own readers.
- JSON may be inside a JSON text, or the only field of a form.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeGuard, cast
from urllib.parse import parse_qsl

from telecmi_async._internal.frozen_json import Json, JsonObject
from telecmi_async._internal.messages import shown
from telecmi_async.errors import WebhookError

#: The longest payload, in bytes; of text and mappings, in characters. TeleCMI's have 600.
MAX_PAYLOAD: Final = 64 * 1024
#: How deep objects and arrays may be nested, the payload itself being the first level.
MAX_DEPTH: Final = 20
#: How many keys and array items it may hold in all. TeleCMI's have about 20.
MAX_MEMBERS: Final = 200

_TEXTS: Final = (bytes, bytearray, str)
# How gzip and zlib (HTTP's "deflate") begin. No JSON and no form begins so.
_PACKED: Final = frozenset({b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda"})
_EITHER: Final = zlib.MAX_WBITS | 32
_FORM: Final = re.compile(r"\s*[\w.%+\-\[\]]+=\S*\s*", re.ASCII)
_PAST_64_BITS: Final = 2**63
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "an array",
    tuple: "an array",
}


def read_object(payload: bytes | bytearray | str | Mapping[str, object]) -> JsonObject:
    """Return a payload's JSON object as a read-only deep copy.

    Raises:
        WebhookError: It is not a JSON object; it is larger, deeper or has more members than
            this module's limits; or a number is NaN, infinite or an int beyond 64 bits.
    """
    if isinstance(payload, _TEXTS):
        if len(payload) > MAX_PAYLOAD:
            raise _too_large()
        text = text_of(payload)
        value = _decode(text)
        # Such text holds no lone surrogate, not even escaped.
        plain = text.startswith("{") and text.isascii() and "\\u" not in text
        if plain and _is_flat(value):  # as most are
            return JsonObject(value)
        frozen = _frozen(_unwrapped(value, text))
    else:
        frozen = _frozen(payload)
        if _characters(frozen) > MAX_PAYLOAD:  # a text that was decoded has fewer
            raise _too_large()
    return frozen


def _frozen(value: object) -> JsonObject:
    """Return a read-only copy of what must be an object."""
    if not isinstance(value, Mapping):
        raise WebhookError(f"the payload must be a JSON object, not {_kind(value)}")
    return _Freezer().freeze_object(cast("Mapping[object, object]", value), 1)


def _characters(value: Json) -> int:
    """Return how many characters a value's texts have, keys included."""
    match value:
        case str():
            return len(value)
        case JsonObject():
            return sum(len(key) + _characters(item) for key, item in value.items())
        case tuple():
            return sum(map(_characters, value))
        case _:
            return 0


def _is_flat(value: object) -> TypeGuard[dict[str, Json]]:
    """Return whether decoded JSON is an object, within the limits, of texts and integers."""
    members = cast("dict[str, object]", value)  # by its first letter
    if len(members) > MAX_MEMBERS:
        return False
    for item in members.values():
        if type(item) is str:
            continue
        if type(item) is not int or not -_PAST_64_BITS <= item < _PAST_64_BITS:
            return False
    return True


def text_of(payload: bytes | bytearray | str) -> str:
    """Return a payload's text. Python would guess UTF-16 and UTF-32, which RFC 8259 rules out.

    Raises:
        WebhookError: It is packed, and cannot be unpacked within the limit.
    """
    if isinstance(payload, str):
        return payload
    if payload[:1] != b"{" and bytes(payload[:2]) in _PACKED:
        payload = _unpacked(payload)
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = payload.decode("latin-1")
    return text.removeprefix("\ufeff")


def _unpacked(payload: bytes | bytearray) -> bytes:
    """Return what gzip or zlib packed, of which no more is unpacked than may be read."""
    unpacker = zlib.decompressobj(_EITHER)
    try:
        plain = unpacker.decompress(payload, MAX_PAYLOAD + 1)
    except zlib.error:
        plain = b""
    if len(plain) > MAX_PAYLOAD:
        raise _too_large()
    if not unpacker.eof:
        raise WebhookError("the payload is packed, and cannot be unpacked")
    return plain


def split_payload(payload: bytes | bytearray) -> list[Any]:
    """Return the payloads in a webhook's body: itself, or what an array holds.

    Raises:
        WebhookError: It cannot be unpacked, or is no JSON; or an array of none or too many.
    """
    if payload[:1] == b"{":  # as most do
        return [bytes(payload)]
    text = text_of(payload)
    if not text.lstrip().startswith("["):
        return [bytes(payload)]
    items = cast("list[object]", _decode(text))
    if not 0 < len(items) <= MAX_MEMBERS:
        raise WebhookError(f"the payload is an array of {len(items)} objects")
    return items


def _decode(text: str) -> object:
    try:
        if text.startswith("{"):  # without blanks around it, which take longer to look for
            value, end = _decoder.raw_decode(text)
            if end == len(text):
                return value
        return cast("object", _decoder.decode(text))
    except WebhookError:
        raise
    except json.JSONDecodeError as error:
        if _FORM.fullmatch(text):
            return _form(text)
        raise WebhookError(f"the payload is no JSON: {error.msg}, at {error.pos}") from None
    except ValueError:
        raise WebhookError("the payload holds a number that is too long") from None
    except RecursionError:
        raise _too_deep() from None


def _form(text: str) -> dict[str, str]:
    """Return the fields of a form, the last value of a repeated one."""
    try:
        return dict(parse_qsl(text.strip(), keep_blank_values=True, max_num_fields=MAX_MEMBERS))
    except ValueError:
        raise WebhookError(f"the payload holds more than {MAX_MEMBERS} fields") from None


def _unwrapped(value: object, text: str) -> object:
    """Return the object that is JSON in a text, or in the only field of a form."""
    inner = value
    if isinstance(value, dict) and not text.lstrip().startswith("{"):
        fields = tuple(cast("dict[str, object]", value).values())
        inner = fields[0] if len(fields) == 1 else None
    if isinstance(inner, str) and inner.lstrip().startswith("{"):
        return _decode(inner)
    return cast("dict[str, object]", value)


def _no_constant(name: str) -> NoReturn:
    raise WebhookError(f"the payload holds {name}, which is no JSON")


# Control characters in texts are read, too, although RFC 8259 has them escaped.
_decoder = json.JSONDecoder(parse_constant=_no_constant, strict=False)


class _Freezer:
    """Copies one payload, within its limits."""

    def __init__(self) -> None:
        self._members = MAX_MEMBERS

    def freeze_object(self, value: Mapping[object, object], depth: int) -> JsonObject:
        self._enter(len(value), depth)
        frozen: dict[str, Json] = {}
        for key, item in value.items():
            name = key if type(key) is str and key.isascii() else _name(key)
            # Most members are one of these two, which need no call.
            if (type(item) is str and item.isascii()) or (
                type(item) is int and -_PAST_64_BITS <= item < _PAST_64_BITS
            ):
                frozen[name] = item
            else:
                frozen[name] = self._freeze(item, depth + 1)
        return JsonObject(frozen)

    def _freeze(self, value: object, depth: int) -> Json:
        match value:
            case str():
                return _well_formed(value)
            case None | bool():
                return value
            case int():
                if not -_PAST_64_BITS <= value < _PAST_64_BITS:
                    raise WebhookError("the payload holds an integer of more than 64 bits")
                return int(value)
            case float():
                if not math.isfinite(value):
                    raise WebhookError("the payload holds a number that is not finite")
                return float(value)
            case Mapping():
                return self.freeze_object(cast("Mapping[object, object]", value), depth)
            case list() | tuple():
                items = cast("Sequence[object]", value)
                self._enter(len(items), depth)
                return tuple(self._freeze(item, depth + 1) for item in items)
            case _:
                raise WebhookError(f"the payload holds {_kind(value)}, which is no JSON")

    def _enter(self, members: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        self._members -= members
        if self._members < 0:
            raise WebhookError(f"the payload holds more than {MAX_MEMBERS} keys and items")


def _name(key: object) -> str:
    """Return an object's key."""
    if not isinstance(key, str):
        raise WebhookError(f"the payload has a key that is no text: {shown(key)}")
    return _well_formed(key)


def _well_formed(value: str) -> str:
    """Return text that can be encoded: a lone surrogate becomes U+FFFD."""
    return str.__str__(value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value))


def _too_large() -> WebhookError:
    return WebhookError(f"the payload is larger than {MAX_PAYLOAD // 1024} KiB")


def _too_deep() -> WebhookError:
    return WebhookError(f"the payload is nested more than {MAX_DEPTH} deep")


def _kind(value: object) -> str:
    """Name what a value is as JSON would, without repeating it."""
    kind = type(value)
    return _KINDS.get(kind, f"a value of type {kind.__name__[:40]}")
