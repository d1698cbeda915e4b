"""Reading those of the simulator's options that take more than one form."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from telecmi_async._settings import is_number
from telecmi_async._wording import shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator.answer import Envelope

if TYPE_CHECKING:
    from telecmi_async._settings import Field

__all__ = ["Latency", "check_seed", "parse_envelope", "parse_files", "parse_latency"]

#: Seconds, or the shortest and the longest.
Latency: TypeAlias = float | tuple[float, float]


def parse_latency(value: Latency) -> tuple[float, float]:
    """Return a latency as its shortest and longest, in seconds."""
    match value:
        case (shortest, longest):
            pass
        case _:
            shortest = longest = value
    if not (is_number(shortest) and is_number(longest) and 0 <= shortest <= longest):
        raise ConfigurationError(
            "Simulator.latency must be seconds, 0 or more, or a pair of them (shortest, "
            f"longest), not {shown(value)}"
        )
    return shortest, longest


def parse_envelope(value: Envelope | Literal["A", "B", "C"]) -> Envelope:
    """Return the `Envelope` that a letter stands for."""
    try:
        return Envelope(value)
    except ValueError:
        raise ConfigurationError(
            f'Simulator.envelope must be "A", "B" or "C", not {shown(value)}'
        ) from None


def parse_files(value: Collection[str] | None) -> frozenset[str] | None:
    """Return the names of files as a set."""
    if value is None:
        return None
    names = cast("object", value)  # nothing is known of it yet
    if isinstance(names, Collection) and not isinstance(names, str | bytes):
        found = cast("Collection[object]", names)
        if all(isinstance(name, str) for name in found):
            return frozenset(value)
    raise ConfigurationError(
        f"Simulator.files must be names of files, or None for any, not {shown(value)}"
    )


def check_seed(_: object, __: Field, value: object) -> None:
    """Refuse what is neither an int nor a str (an attrs validator)."""
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ConfigurationError(f"Simulator.seed must be an int or a str, not {shown(value)}")
