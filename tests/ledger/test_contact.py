"""New contacts: the values that a ledger accepts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from telecmi_async import InvalidCall
from telecmi_async.ledger import NewContact

FIRST = 19170000001
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("columns", "path"),
    [
        ({"order": 5}, "columns.order"),
        ({"order": None}, "columns.order"),
        ({"sum": 1.5}, "columns.sum"),
        ({5: "order"}, "columns"),
        ([("order", "5")], "columns"),
        (None, "columns"),
    ],
)
def test_columns_are_text(columns: Any, path: str) -> None:
    """A column value that is not text is rejected, with its path."""
    with pytest.raises(InvalidCall) as caught:
        NewContact(number=FIRST, columns=columns)

    assert caught.value.path == path


def test_a_time_is_a_moment() -> None:
    """A time is given in seconds since 1970 or as a datetime with a time zone."""
    nine = datetime(2026, 11, 25, 9, tzinfo=INDIA)

    contact = NewContact(number=FIRST, not_before=nine, not_after=nine.astimezone(UTC))
    plain = NewContact(number=FIRST, not_before=5)

    assert contact.not_before == contact.not_after == nine.timestamp()
    assert (plain.not_before, plain.not_after) == (5.0, None)


@pytest.mark.parametrize("moment", [datetime(2026, 11, 25, 9), "09:00", True, float("nan")])  # noqa: DTZ001  # the rejected value
def test_a_time_that_is_no_moment_is_refused(moment: Any) -> None:
    """A time without a time zone, or not a time at all, is rejected."""
    with pytest.raises(InvalidCall, match="time zone"):
        NewContact(number=FIRST, not_before=moment)
    with pytest.raises(InvalidCall, match="time zone"):
        NewContact(number=FIRST, not_after=moment)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", " Europe/Berlin ", "", " ", "\u200b", "UTC"])
def test_a_time_zone_may_be_named_or_left_out(zone: str) -> None:
    """A column with a time zone holds a name of the tz database, or nothing."""
    assert NewContact(number=FIRST, columns={"timezone": zone}).columns == {"timezone": zone}


@pytest.mark.parametrize("zone", ["Kolkata", "IST5", "../etc/passwd", "+05:30", "Europe"])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    """A wrong time zone is an error when the contact is made, not when it should be dialled."""
    with pytest.raises(InvalidCall, match="must be a time zone that this machine knows") as e:
        NewContact(number=FIRST, columns={"timezone": zone})

    assert e.value.path == "columns.timezone"
