"""Checks for the settings of a service, a simulator or a policy, as attrs fields use them.

What fails them is a `ConfigurationError` that names the class and the field.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

from attrs import frozen

from telecmi_async._internal.messages import listed, shown
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Duration",
    "Field",
    "Named",
    "environment_variable",
    "flag",
    "instance",
    "is_number",
    "name",
    "one_of",
    "one_of_or_none",
    "positive",
    "positive_or_none",
    "required_variable",
    "seconds_or_none",
    "share",
    "to_seconds",
    "to_seconds_or_none",
    "whole",
    "whole_or_none",
]

Duration: TypeAlias = float | timedelta


class Field(Protocol):
    """What the checks ask of an attrs field, whatever its type."""

    @property
    def name(self) -> str:
        """The field's name."""
        ...


@frozen
class Named:
    """A setting of a class that is not attrs', as the checks ask for it."""

    name: str


def _wrong(owner: object, field: Field, wanted: str, value: object) -> ConfigurationError:
    return ConfigurationError(
        f"{type(owner).__name__}.{field.name} must be {wanted}, not {shown(value)}"
    )


# --- converters -------------------------------------------------------------------------


def to_seconds(value: Duration) -> float:
    """Turn a `timedelta` into seconds and leave everything else to the validator."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def to_seconds_or_none(value: Duration | None) -> float | None:
    """The same for a duration that may be left out."""
    return None if value is None else to_seconds(value)


def seconds_or_none(name: str, value: Duration | None) -> float | None:
    """Return an argument as seconds, or ``None`` for no limit.

    Raises:
        ConfigurationError: It is neither ``None`` nor a positive duration.
    """
    seconds = to_seconds_or_none(value)
    if seconds is not None and not (is_number(seconds) and seconds > 0):
        raise ConfigurationError(
            f"{name} must be a positive number of seconds, a timedelta or None, not "
            f"{shown(value)}"
        )
    return seconds


# --- validators -------------------------------------------------------------------------


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether ``value`` is a finite int or float; a bool is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond any float
        return False


def positive(owner: object, field: Field, value: float | None) -> None:
    """Refuse what is not a positive, finite number of seconds."""
    if not is_number(value) or value <= 0:
        raise _wrong(owner, field, "a positive number of seconds or a timedelta", value)


def positive_or_none(owner: object, field: Field, value: float | None) -> None:
    """Refuse what is neither None nor a positive, finite number of seconds."""
    if value is not None:
        positive(owner, field, value)


def share(owner: object, field: Field, value: object) -> None:
    """Refuse what is not a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise _wrong(owner, field, "a number from 0 to 1", value)


def whole(minimum: int) -> Callable[[object, Field, object], None]:
    """Return a validator that refuses what is not an int of ``minimum`` or more."""

    def check(owner: object, field: Field, value: object) -> None:
        if not _is_whole(value, minimum):
            raise _wrong(owner, field, f"a whole number, {minimum} or more", value)

    return check


def whole_or_none(minimum: int) -> Callable[[object, Field, int | None], None]:
    """Return a validator that refuses what is neither None nor such an int."""

    def check(owner: object, field: Field, value: object) -> None:
        if value is not None and not _is_whole(value, minimum):
            raise _wrong(owner, field, f"a whole number, {minimum} or more, or None", value)

    return check


def _is_whole(value: object, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def instance(kind: type) -> Callable[[object, Field, object], None]:
    """Return a validator that refuses what is no such object."""

    def check(owner: object, field: Field, value: object) -> None:
        if not isinstance(value, kind):
            raise _wrong(owner, field, f"of type {kind.__name__}", value)

    return check


def name(owner: object, field: Field, value: object) -> None:
    """Refuse what cannot be a name in a database."""
    if not isinstance(value, str) or value == "" or not value.isprintable():
        raise _wrong(owner, field, "a text without control characters", value)


def one_of(*allowed: str | int) -> Callable[[object, Field, object], None]:
    """Return a validator that refuses what is not among the given strings and ints."""

    def check(owner: object, field: Field, value: object) -> None:
        # 422.0 == 422 and True == 1, so equality alone would let both in.
        if not isinstance(value, str | int) or isinstance(value, bool) or value not in allowed:
            raise _wrong(owner, field, listed(allowed), value)

    return check


def one_of_or_none(*allowed: str | int) -> Callable[[object, Field, object], None]:
    """Return a validator that refuses what is neither None nor among the given ones."""
    check_one = one_of(*allowed)

    def check(owner: object, field: Field, value: object) -> None:
        if value is not None:
            check_one(owner, field, value)

    return check


def flag(owner: object, field: Field, value: object) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise _wrong(owner, field, "True or False", value)


# --- the environment --------------------------------------------------------------------


def environment_variable(environ: Mapping[str, str], name: str) -> str:
    """Return an environment variable without blanks around it, or "" if it is not set."""
    return environ.get(name, "").strip()


def required_variable(environ: Mapping[str, str], name: str) -> str:
    """Return an environment variable without blanks around it.

    Raises:
        ConfigurationError: It is not set, or blank.
    """
    if value := environment_variable(environ, name):
        return value
    del environ  # it holds the secret, and a traceback may show locals
    raise ConfigurationError(f"the environment variable {name} is not set")
