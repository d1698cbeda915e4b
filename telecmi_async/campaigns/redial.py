"""Redial: when contacts whose calls were not answered are dialled again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, SupportsIndex, cast

from attrs import asdict, field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import mask, shown
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.phone import parse_number

# More calls to one person who does not answer would be harassment.
_MOST: Final = 20

_missed: validators.Validator[int] = validators.must_be(
    f"a whole number from 1 to {_MOST}",
    lambda value: validators.is_whole(value, 1) and value <= _MOST,
)


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


def _masked(callers: tuple[int, ...]) -> str:
    return f"[{', '.join(map(mask, callers))}]"


@frozen(kw_only=True)
class Redial:
    """When a contact is dialled again because its call was not answered.

    Only the call's record proves that: a call without one, or of unknown outcome, is never a
    reason to dial again. All of the campaign's rules hold for redials, too: calling hours, caps,
    do-not-call and each contact's ``not_after``.

    Example:
        Up to two more calls: after an hour, and a day later::

            from datetime import timedelta

            from telecmi_async.campaigns import CampaignSettings, Redial

            waits = [timedelta(hours=1), timedelta(days=1)]
            CampaignSettings(flow=[Hangup()], redial=Redial(missed=2, after=waits))

    Args:
        missed: How many more calls a contact gets, at most 20.
        after: How long after the record the next call is due, in seconds or as a `timedelta`. A
            list has a value for each redial, for example ``[3600, 86400]``; its last value is
            used for all further ones.
        from_: The caller ids of the redials, as a list that is used like ``after``; the
            campaign's if not given.

    Raises:
        ConfigurationError: A value is out of range.
    """

    missed: int = field(validator=_missed)
    after: tuple[float, ...] = field(default=(7_200.0,), converter=_parse_waits)
    from_: tuple[int, ...] = field(default=(), converter=_parse_callers, repr=_masked)

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
