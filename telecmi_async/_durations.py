"""Durations as users give them: seconds or `timedelta`."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Protocol, TypeAlias

from telecmi_async.errors import ConfigurationError

Duration: TypeAlias = float | timedelta


class _Field(Protocol):
    @property
    def name(self) -> str: ...


def to_seconds(value: Duration) -> float:
    """Turn a `timedelta` into seconds and leave everything else to the validator."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def to_seconds_or_none(value: Duration | None) -> float | None:
    """The same for a duration that may be left out."""
    return None if value is None else to_seconds(value)


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a finite int or float; a bool is not."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def positive(owner: object, field: _Field, value: float | None) -> None:
    """Refuse what is not a positive, finite number of seconds (an attrs validator)."""
    if not is_number(value) or value is None or value <= 0:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field.name} must be a positive number of seconds or a "
            f"timedelta, not {value!r:.60}"
        )


def positive_or_none(owner: object, field: _Field, value: float | None) -> None:
    """Refuse what is neither None nor a positive, finite number of seconds."""
    if value is not None:
        positive(owner, field, value)


def at_least(minimum: int, owner: object, field: _Field, value: object) -> None:
    """Refuse what is not an int of ``minimum`` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ConfigurationError(
            f"{type(owner).__name__}.{field.name} must be a whole number, {minimum} or more, "
            f"not {value!r:.60}"
        )
