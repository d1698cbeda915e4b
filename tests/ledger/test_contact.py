"""What a contact must be before a ledger takes it."""

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
    """A number or a gap in a data frame is found before anybody is dialled."""
    with pytest.raises(InvalidCall) as caught:
        NewContact(number=FIRST, columns=columns)

    assert caught.value.path == path


def test_a_time_is_a_moment() -> None:
    """Seconds since 1970, or a datetime that says where it is."""
    nine = datetime(2026, 11, 25, 9, tzinfo=INDIA)

    contact = NewContact(number=FIRST, not_before=nine, not_after=nine.astimezone(UTC))
    plain = NewContact(number=FIRST, not_before=5)

    assert contact.not_before == contact.not_after == nine.timestamp()
    assert (plain.not_before, plain.not_after) == (5.0, None)


@pytest.mark.parametrize("moment", [datetime(2026, 11, 25, 9), "09:00", True, float("nan")])  # noqa: DTZ001  # what it refuses
def test_a_time_that_is_no_moment_is_refused(moment: Any) -> None:
    """Nine o'clock is another time everywhere."""
    with pytest.raises(InvalidCall, match="time zone"):
        NewContact(number=FIRST, not_before=moment)
    with pytest.raises(InvalidCall, match="time zone"):
        NewContact(number=FIRST, not_after=moment)
