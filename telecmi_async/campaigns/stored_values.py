"""Stored values: reads attrs values from JSON, and names the place of what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

from telecmi_async._internal.messages import did_you_mean, shown
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_T = TypeVar("_T")


def parse_value(kind: type[_T], data: object, path: str) -> _T:
    """Return the attrs value that a JSON object represents."""
    return kind(**parse_members(kind, data, path))


def parse_members(
    kind: type[object], data: object, path: str, *, besides: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the members of a JSON object that represents an attrs value, checked by name.

    A member is named like its field; the underscore after ``from_`` is Python's. A member that
    is missing has its default; ``besides`` are more members it may have.
    """
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"{path} must be an object, not {shown(data)}")
    members = cast("Mapping[str, Any]", data)
    fields = attrs.fields_dict(cast("type[attrs.AttrsInstance]", kind))
    named = {name.rstrip("_"): attribute for name, attribute in fields.items()}
    for name in members:
        if name not in named and name not in besides:
            raise ConfigurationError(
                f"{path} has no member {shown(name)}: {did_you_mean(name, named)}"
            )
    for name, attribute in named.items():
        if attribute.default is attrs.NOTHING and name not in members:
            raise ConfigurationError(f"{path}.{name} is missing")
    return {named[name].name if name in named else name: members[name] for name in members}
