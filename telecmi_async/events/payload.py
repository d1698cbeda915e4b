"""Webhook payload: from untrusted bytes to a read-only JSON object.

TeleCMI signs nothing, so a payload may be hostile. Everything here has a limit, and a payload
beyond it is refused as a whole.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

import attrs

from telecmi_async._internal.frozen_json import Json, JsonObject
from telecmi_async._internal.messages import shown
from telecmi_async.errors import WebhookError

__all__ = ["DEEPEST", "MAX_EVENT_CHARACTERS", "MOST_MEMBERS", "read_object"]

#: The longest payload, in bytes; of text and mappings, in characters. TeleCMI's have 600.
MAX_EVENT_CHARACTERS = 64 * 1024
#: How deep objects and arrays may be nested, the payload itself being the first level.
DEEPEST = 20
#: How many keys and array items it may hold in all. TeleCMI's have about 20.
MOST_MEMBERS = 200

_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "an array",
    tuple: "an array",
}
_PAST_64_BITS = 2**63
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@attrs.define
class _Budget:
    """How much more a payload may hold."""

    members: int = MOST_MEMBERS
    characters: int = MAX_EVENT_CHARACTERS


def read_object(payload: bytes | bytearray | str | Mapping[str, object]) -> JsonObject:
    """Return a payload's JSON object as a read-only deep copy.

    Args:
        payload: A body in UTF-8, or the mapping that a web framework made of it.

    Raises:
        WebhookError: It is not a JSON object; it is larger, deeper or has more members than
            this module's limits; a key is repeated; or a number is NaN, infinite or an int
            beyond 64 bits.
    """
    value: object = payload
    if isinstance(value, bytes | bytearray | str):
        if len(value) > MAX_EVENT_CHARACTERS:
            raise WebhookError(f"the payload is larger than {MAX_EVENT_CHARACTERS // 1024} KiB")
        value = _decode(value)
    if not isinstance(value, Mapping):
        raise WebhookError(f"the payload must be a JSON object, not {_kind(value)}")
    return _freeze_object(cast("Mapping[object, object]", value), 1, _Budget())


def _decode(payload: bytes | bytearray | str) -> object:
    try:
        # Python would guess UTF-16 and UTF-32 as well, and RFC 8259 allows neither.
        text = payload if isinstance(payload, str) else payload.decode("utf-8-sig")
        return cast("object", _decoder.decode(text))
    except WebhookError:
        raise
    except UnicodeDecodeError:
        raise WebhookError("the payload is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise WebhookError(f"the payload is no JSON: {error.msg}, at {error.pos}") from None
    except ValueError:
        raise WebhookError("the payload holds a number that is too long") from None
    except RecursionError:
        raise _too_deep() from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object's members. Parsers disagree on repeated keys, so they are refused."""
    members = dict(pairs)
    if len(members) < len(pairs):
        ((again, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise WebhookError(f"the payload holds the key {shown(again)} twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise WebhookError(f"the payload holds {name}, which is no JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _freeze_object(value: Mapping[object, object], depth: int, budget: _Budget) -> JsonObject:
    _enter(len(value), depth, budget)
    frozen: dict[str, Json] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise WebhookError(f"the payload has a key that is no text: {shown(key)}")
        name = _freeze_text(key, budget)
        # Most are texts: this saves each of them a call.
        frozen[name] = (
            _freeze_text(item, budget)
            if isinstance(item, str)
            else _freeze(item, depth, budget)
        )
    return JsonObject(frozen)


def _freeze(value: object, depth: int, budget: _Budget) -> Json:
    match value:
        case str():
            return _freeze_text(value, budget)
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
            return _freeze_object(cast("Mapping[object, object]", value), depth + 1, budget)
        case list() | tuple():
            items = cast("Sequence[object]", value)
            _enter(len(items), depth + 1, budget)
            return tuple(_freeze(item, depth + 1, budget) for item in items)
        case _:
            raise WebhookError(f"the payload holds {_kind(value)}, which is no JSON")


def _freeze_text(value: str, budget: _Budget) -> str:
    """Return text that can be encoded: a lone surrogate becomes the replacement character."""
    budget.characters -= len(value)
    if budget.characters < 0:
        raise WebhookError(f"the payload is larger than {MAX_EVENT_CHARACTERS // 1024} KiB")
    return str.__str__(value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value))


def _enter(members: int, depth: int, budget: _Budget) -> None:
    if depth > DEEPEST:
        raise _too_deep()
    budget.members -= members
    if budget.members < 0:
        raise WebhookError(f"the payload holds more than {MOST_MEMBERS} keys and items")


def _too_deep() -> WebhookError:
    return WebhookError(f"the payload is nested more than {DEEPEST} deep")


def _kind(value: object) -> str:
    """Name what a value is as JSON would, without repeating it."""
    kind = type(value)
    return _KINDS.get(kind, f"a value of type {kind.__name__[:40]}")
