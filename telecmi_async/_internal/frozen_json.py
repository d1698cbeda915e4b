"""Immutable JSON: checked, read-only deep copies of JSON values.

``extra_params`` and `Raw` are copied when they are given, so that later changes to the user's
own dict do not reach a call. Copies are hashable and picklable: objects become `JsonObject`,
arrays become tuples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias, Union, cast

from telecmi_async._internal.messages import shown, step
from telecmi_async.errors import InvalidCall

Json: TypeAlias = Union[bool, int, float, str, "tuple[Json, ...]", "JsonObject", None]

_DEEPEST = 16
# RFC 8259, section 6: beyond these bounds readers of JSON need not agree on an integer,
# and JavaScript, which TeleCMI's own SDK is written in, rounds it.
LARGEST_INT = 2**53 - 1
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_IN_A_KEY = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class JsonObject(dict[str, "Json"]):
    """A read-only JSON object; it compares, prints and encodes as a dict."""

    __slots__ = ()

    def _read_only(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this is a read-only copy; change a copy of yours: dict(…)")

    __setitem__ = __delitem__ = __ior__ = _read_only
    clear = pop = popitem = _read_only
    setdefault = _read_only  # pyright: ignore[reportAssignmentType]  # it fits every overload
    update = _read_only  # pyright: ignore[reportAssignmentType]  # as above

    def __hash__(self) -> int:  # type: ignore[override]  # dict has None: it is mutable
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[object, ...]:
        return JsonObject, (dict(self),)


def freeze_object(value: object, path: str) -> JsonObject:
    """Return a read-only deep copy of a mapping, checked to be a JSON object.

    Args:
        value: A mapping with str keys and JSON values, nested at most 16 deep.
        path: Its name, for the error.

    Raises:
        InvalidCall: It is not a mapping, or contains something that is not JSON, at the path.
    """
    if not isinstance(value, Mapping):
        raise InvalidCall(
            f'must be a mapping such as {{"order": "42"}}, not {shown(value)}', path=path
        )
    return _freeze_object(cast("Mapping[object, object]", value), path, 1)


def freeze(value: object, path: str, depth: int = 1) -> Json:
    """Return a read-only deep copy of a JSON value, checked. See `freeze_object`."""
    match value:
        case None | bool():
            return value
        case str():
            if bad := _LONE_SURROGATE.search(value):
                raise InvalidCall(
                    f"must be text: U+{ord(bad.group()):04X} at position {bad.start()} is half "
                    "a character",
                    path=path,
                )
            return str.__str__(value)
        case int():
            if not -LARGEST_INT <= value <= LARGEST_INT:
                raise InvalidCall(
                    "must be an int between -(2**53 - 1) and 2**53 - 1, or it may arrive "
                    "rounded: write a longer one as a str",
                    path=path,
                )
            return int(value)
        case float():
            if not math.isfinite(value):
                raise InvalidCall(f"must be a finite number, not {value}", path=path)
            return float(value)
        case Mapping():
            return _freeze_object(cast("Mapping[object, object]", value), path, depth)
        case list() | tuple():
            _check_depth(path, depth)
            items = cast("Sequence[object]", value)
            return tuple(freeze(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(items))
        case _:
            raise InvalidCall(
                f"must be a JSON value (str, int, float, bool, None, list or dict), not "
                f"{shown(value)}: convert it first, for instance with str()",
                path=path,
            )


def _freeze_object(value: Mapping[object, object], path: str, depth: int) -> JsonObject:
    _check_depth(path, depth)
    frozen: dict[str, Json] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidCall(f"must have str keys, not {shown(key)}", path=path)
        if not key or _NOT_IN_A_KEY.search(key):
            raise InvalidCall(
                f"must have keys without control characters, and none empty, not {shown(key)}",
                path=path,
            )
        inner = step(path, key)
        frozen[str.__str__(key)] = freeze(item, inner, depth + 1)
    return JsonObject(frozen)


def _check_depth(path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidCall(f"must be nested at most {_DEEPEST} deep", path=path)


def thaw(value: Json) -> object:
    """Return a mutable copy, made of dicts and lists."""
    match value:
        case JsonObject():
            return {key: thaw(item) for key, item in value.items()}
        case tuple():
            return [thaw(item) for item in value]
        case _:
            return value
