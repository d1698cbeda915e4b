"""Validation of settings: converters and validators for attrs fields.

A wrong setting of a service, a policy or a simulator raises `ConfigurationError`, which names
the class and the field. Fields of a call raise `InvalidCall` instead: see
`telecmi_async.pcmo.fields`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, TypeVar

from attrs import frozen
from attrs.validators import optional

from telecmi_async._internal.messages import call_shape, listed, shown
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

Duration: TypeAlias = float | timedelta

_V = TypeVar("_V")


class Field(Protocol):
    """The part of an attrs field that validators use; the field may be of any type."""

    @property
    def name(self) -> str:
        """The field's name."""
        ...


@frozen
class Named:
    """A field of a class that does not use attrs."""

    name: str


#: Called with the object being made, the field and its value.
Validator: TypeAlias = Callable[[object, Field, _V], None]
#: Makes the error for an object's field from the problem: ``"must be …, not …"``.
FieldError: TypeAlias = Callable[[object, Field, str], Exception]


# --- converters -------------------------------------------------------------------------


def to_seconds(value: Duration) -> float:
    """Convert a `timedelta` to seconds; leave any other value to the validator."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def to_seconds_or_none(value: Duration | None) -> float | None:
    """Convert a `timedelta` to seconds; leave ``None`` and other values as they are."""
    return None if value is None else to_seconds(value)


def seconds_or_none(name: str, value: Duration | None) -> float | None:
    """Return an argument as positive seconds, or ``None`` for no limit."""
    seconds = to_seconds_or_none(value)
    if seconds is not None and not _is_positive(seconds):
        raise ConfigurationError(
            f"{name} must be a positive number of seconds, a timedelta or None, not "
            f"{shown(value)}"
        )
    return seconds


# --- validators -------------------------------------------------------------------------


def _setting_error(owner: object, field: Field, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{type(owner).__name__}.{field.name} {problem}")


def must_be(
    wanted: str, fits: Callable[[_V], bool], error: FieldError = _setting_error
) -> Validator[_V]:
    """Return a validator whose error says what is wanted if a value does not fit."""

    def check(owner: object, field: Field, value: _V) -> None:
        if not fits(value):
            raise error(owner, field, f"must be {wanted}, not {shown(value)}")

    return check


def is_number(value: object) -> TypeGuard[float]:
    """Return whether ``value`` is a finite int or float; a bool is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond any float
        return False


def _is_positive(value: float | None) -> bool:
    return is_number(value) and value > 0


def is_whole(value: object, minimum: int) -> bool:
    """Return whether ``value`` is an int of ``minimum`` or more; a bool is not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


positive: Validator[Any] = must_be("a positive number of seconds or a timedelta", _is_positive)
positive_or_none = optional(positive)
share: Validator[object] = must_be(
    "a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1
)
flag: Validator[object] = must_be("True or False", lambda value: isinstance(value, bool))
#: A name in a database.
name: Validator[object] = must_be(
    "a text without control characters",
    lambda value: isinstance(value, str) and value != "" and value.isprintable(),
)


def whole(minimum: int) -> Validator[Any]:
    """Require an int of ``minimum`` or more."""
    return must_be(f"a whole number, {minimum} or more", lambda value: is_whole(value, minimum))


def whole_or_none(minimum: int) -> Validator[int | None]:
    """Require None or an int of ``minimum`` or more."""
    return must_be(
        f"a whole number, {minimum} or more, or None",
        lambda value: value is None or is_whole(value, minimum),
    )


def instance(kind: type) -> Validator[object]:
    """Require an instance of a class."""
    wanted = f"a {kind.__name__}, such as {kind.__name__}{call_shape(kind, example=True)}"
    return must_be(wanted, lambda value: isinstance(value, kind))


def instance_or_none(kind: type) -> Validator[Any]:
    """Require None or an instance of a class."""
    return must_be(
        f"a {kind.__name__} or None", lambda value: value is None or isinstance(value, kind)
    )


def one_of(*allowed: str | int, error: FieldError = _setting_error) -> Validator[object]:
    """Require one of the given strings and ints."""

    def fits(value: object) -> bool:
        # 422.0 == 422 and True == 1, so equality alone would accept both.
        return isinstance(value, str | int) and not isinstance(value, bool) and value in allowed

    return must_be(listed(allowed), fits, error)


def one_of_or_none(*allowed: str | int) -> Validator[object]:
    """Require None or one of the given strings and ints."""
    check = one_of(*allowed)
    return lambda owner, field, value: None if value is None else check(owner, field, value)


# --- the environment --------------------------------------------------------------------


def environment_variable(environ: Mapping[str, str], name: str) -> str:
    """Return an environment variable without blanks around it, or "" if it is not set."""
    return environ.get(name, "").strip()


def required_variable(environ: Mapping[str, str], name: str) -> str:
    """Return an environment variable without blanks around it, which must not be blank."""
    if value := environment_variable(environ, name):
        return value
    del environ  # it holds the secret, and a traceback may show locals
    raise ConfigurationError(f"the environment variable {name} is not set")
