"""Reading those of the simulator's options that take more than one form."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from telecmi_async._internal.messages import shown
from telecmi_async._internal.validators import is_number
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.events.receiver import Receiver
from telecmi_async.phone import parse_number
from telecmi_async.simulator.callee import Callee
from telecmi_async.simulator.replies import Envelope

if TYPE_CHECKING:
    from telecmi_async._internal.validators import Field

__all__ = [
    "Latency",
    "check_aware",
    "check_seed",
    "check_span",
    "parse_callees",
    "parse_envelope",
    "parse_files",
    "receiver_in",
    "to_span",
]

#: Seconds, or the shortest and the longest.
Latency: TypeAlias = float | tuple[float, float]


def to_span(value: Latency) -> tuple[float, float]:
    """Turn a number of seconds into the shortest and the longest."""
    match value:
        case (shortest, longest):
            return shortest, longest
        case _:
            return value, value


def check_span(owner: object, field: Field, value: tuple[object, object]) -> None:
    """Refuse what are not two numbers of seconds, the shorter first (an attrs validator)."""
    shortest, longest = value
    if not (is_number(shortest) and is_number(longest) and 0 <= shortest <= longest):
        given = shortest if shortest is longest else value
        raise ConfigurationError(
            f"{type(owner).__name__}.{field.name} must be seconds, 0 or more, or a pair of "
            f"them (shortest, longest), not {shown(given)}"
        )


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


def check_aware(_: object, __: Field, value: object) -> None:
    """Refuse what is no time with a zone (an attrs validator)."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(
            f"Simulator.starts_at must be a datetime with a time zone, not {shown(value)}"
        )


def parse_callees(value: Mapping[int | str, Callee]) -> dict[int, Callee]:
    """Return what people at certain numbers do, by their numbers."""
    given = cast("object", value)
    if not isinstance(given, Mapping):
        raise ConfigurationError("Simulator.callees must be a mapping of numbers to Callees")
    found: dict[int, Callee] = {}
    for number, callee in value.items():
        if not isinstance(cast("object", callee), Callee):
            raise ConfigurationError("Simulator.callees must hold Callees")
        try:
            found[parse_number(number, "Simulator.callees")] = callee
        except InvalidCall as error:
            raise ConfigurationError(str(error)) from None
    return found


def receiver_in(events: object) -> Receiver | None:
    """Return the receiver that a service is given as a source of events, if it is given one."""
    given = cast("list[object]", events) if isinstance(events, list | tuple) else [events]
    return next((source for source in given if isinstance(source, Receiver)), None)
