"""A contact as users give it to a ledger: one number a person, and columns of text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from attrs import field, frozen

from telecmi_async._internal.messages import mask, shown, step
from telecmi_async._internal.validators import is_number
from telecmi_async.errors import InvalidCall
from telecmi_async.phone import parse_number

__all__ = ["Loaded", "NewContact"]


def _number(value: int | str) -> int:
    return parse_number(value)


def _moment(value: float | datetime) -> float:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if is_number(value):
        return float(value)
    raise InvalidCall(
        "must be a datetime with a time zone, or seconds since 1970 (UTC)",
        path="not_before, not_after",
    )


def _moment_or_none(value: float | datetime | None) -> float | None:
    return None if value is None else _moment(value)


def _check_columns(_: object, __: object, columns: object) -> None:
    if not isinstance(columns, Mapping):
        raise InvalidCall(f"must be a mapping, not {shown(columns)}", path="columns")
    for name, text in cast("Mapping[object, object]", columns).items():
        if not isinstance(name, str):
            raise InvalidCall("must have names that are text", path="columns")
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InvalidCall(f"must hold text, not {kind}", path=step("columns", name))


@frozen(kw_only=True)
class NewContact:
    """A contact to be loaded.

    Args:
        number: Whom to dial, with the country code: an int, or a text as people write it. One
            person is one number, however it is written.
        columns: What else is known of it, by name, all of it text; the flow's template is
            filled from it.
        not_before: When it may be dialled at the earliest: a `datetime` with a time zone, or
            seconds since 1970 (UTC).
        not_after: When it is not fresh any more, likewise; ``None`` for never.

    Raises:
        InvalidCall: A value cannot be right; its path names it.
    """

    number: int = field(converter=_number, repr=mask)
    columns: Mapping[str, str] = field(
        factory=dict[str, str], validator=_check_columns, repr=False
    )
    not_before: float = field(default=0.0, converter=_moment)
    not_after: float | None = field(default=None, converter=_moment_or_none)


@frozen(kw_only=True)
class Loaded:
    """What became of contacts that were loaded.

    Args:
        added: How many are new.
        known: How many were in the campaign already; they are left as they are.
    """

    added: int
    known: int
