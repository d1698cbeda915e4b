"""Redial: when contacts are dialled again that nobody answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import SupportsIndex, cast

from attrs import asdict, field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import mask, shown
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.phone import parse_number

# More calls to one person who does not answer would be harassment.
_MOST = 20


def _parse_waits(
    value: validators.Duration | Sequence[validators.Duration],
) -> tuple[float, ...]:
    given = value if isinstance(value, list | tuple) else [value]
    waits = [validators.to_seconds(each) for each in cast("Sequence[float]", given)]
    if not waits or not all(validators.is_number(each) and each > 0 for each in waits):
        raise ConfigurationError(
            "Redial.after must be seconds or a timedelta, above 0, or a list of such, not "
            f"{shown(value)}"
        )
    return tuple(float(each) for each in waits)


def _parse_callers(value: Sequence[SupportsIndex | str]) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(cast("object", value), Sequence):
        raise ConfigurationError(f"Redial.from_ must be a list of numbers, not {shown(value)}")
    try:
        return tuple(parse_number(each, "Redial.from_") for each in value)
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def _check_missed(_: object, __: validators.Field, value: int) -> None:
    if (
        not isinstance(cast("object", value), int)
        or isinstance(value, bool)
        or not 1 <= value <= _MOST
    ):
        raise ConfigurationError(
            f"Redial.missed must be a whole number from 1 to {_MOST}, not {shown(value)}"
        )


def _masked(callers: tuple[int, ...]) -> str:
    return f"[{', '.join(map(mask, callers))}]"


@frozen(kw_only=True)
class Redial:
    """When a contact is dialled again because nobody answered.

    Only the record of a call proves that nobody answered: a call without one, or of unknown
    outcome, is never a reason to dial again. All of the campaign's rules hold for redials, too:
    calling hours, caps, do-not-call and each contact's ``not_after``.

    Example:
        Up to two more calls: after an hour, and a day later::

            from datetime import timedelta

            from telecmi_async.campaigns import CampaignSettings, Redial

            waits = [timedelta(hours=1), timedelta(days=1)]
            CampaignSettings(flow=[Hangup()], redial=Redial(missed=2, after=waits))

    Args:
        missed: How many more calls a contact gets, at most 20.
        after: How long after the record the next call is due, in seconds or as a `timedelta`; or a
            list: for the first redial, the second and so on, whose last value goes on.
        from_: The caller ids of the first, the second and further redials, whose last one goes
            on; the campaign's if not given.

    Raises:
        ConfigurationError: A value is out of range.
    """

    missed: int = field(validator=_check_missed)
    after: Sequence[float] = field(default=timedelta(hours=2), converter=_parse_waits)
    from_: Sequence[int] = field(default=(), converter=_parse_callers, repr=_masked)

    @property
    def waits(self) -> list[float]:
        """The seconds from a record to each redial."""
        return [self.after[min(n, len(self.after) - 1)] for n in range(self.missed)]

    def caller_id(self, redials: int) -> int | None:
        """Return the caller id of a contact with so many redials; ``None`` for the campaign's."""
        if not redials or not self.from_:
            return None
        return self.from_[min(redials, len(self.from_)) - 1]

    def dump(self) -> dict[str, object]:
        """Return it as JSON."""
        return {name.rstrip("_"): value for name, value in asdict(self).items()}
