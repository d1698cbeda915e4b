"""Checking the simulator's options when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from telecmi_async._durations import is_number
from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator.answer import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FAILURES",
    "Latency",
    "a_share",
    "one_of",
    "parse_envelope",
    "parse_latency",
    "whole",
]

#: In whose words a made-up 502 comes.
FAILURES: Final = ("vendor", "gateway")

#: Seconds, or the shortest and the longest.
Latency: TypeAlias = float | tuple[float, float]


class _Field(Protocol):
    @property
    def name(self) -> str: ...


def parse_latency(value: Latency) -> tuple[float, float]:
    """Return a latency as its shortest and longest, in seconds."""
    match value:
        case (shortest, longest):
            pass
        case _:
            shortest = longest = value
    if not (is_number(shortest) and is_number(longest) and 0 <= shortest <= longest):
        raise ConfigurationError(
            "latency must be seconds, 0 or more, or a pair of them (shortest, longest), "
            f"not {value!r:.60}"
        )
    return shortest, longest


def parse_envelope(value: Envelope | Literal["A", "B", "C"]) -> Envelope:
    """Return the `Envelope` that a letter stands for."""
    try:
        return Envelope(value)
    except ValueError:
        raise ConfigurationError(
            f'envelope must be "A", "B" or "C", not {value!r:.60}'
        ) from None


def a_share(_: object, field: _Field, value: float) -> None:
    """Refuse what is not a number from 0 to 1 (an attrs validator)."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(
            f"{field.name} must be a number from 0 to 1, not {value!r:.60}"
        )


def one_of(*allowed: object) -> Callable[[object, _Field, object], None]:
    """Return an attrs validator that refuses what is not among ``allowed``."""

    def check(_: object, field: _Field, value: object) -> None:
        if value not in allowed:
            names = ", ".join(map(repr, allowed))
            raise ConfigurationError(f"{field.name} must be one of {names}, not {value!r:.60}")

    return check


def whole(minimum: int) -> Callable[[object, _Field, Any], None]:
    """Return an attrs validator that wants an int of ``minimum`` or more, or ``None``."""

    def check(_: object, field: _Field, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ConfigurationError(
                f"{field.name} must be a whole number, {minimum} or more, or None, "
                f"not {value!r:.60}"
            )

    return check
