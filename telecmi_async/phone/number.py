"""Phone number: the one reading that every entrance uses.

On the wire a number is an integer: country code and number, no ``+``, no leading zero. People
write ``+1 (917) 000-0001``. Both are accepted; a country code is never guessed. The number to
dial, caller ids, contacts, the do-not-call list and look-ups read alike, so that the same person
is the same number everywhere. Contacts files know a country as well, see
`telecmi_async.campaigns.contacts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import index
from typing import TYPE_CHECKING, SupportsIndex, cast

from telecmi_async._internal.messages import uncalled
from telecmi_async.errors import InvalidCall
from telecmi_async.phone.plans import plan_of
from telecmi_async.phone.spelling import NumberFlaw, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.phone.plans import NumberingPlan

# E.164 allows 15 digits. The lower bound is TeleCMI's own, from the validators of its newer API.
_FEWEST, _MOST = 7, 15
_PAST_E164 = 10**_MOST

WITH_PLUS = "write it with + and its country code"
LEADING_ZERO = NumberFlaw(
    "no_country_code",
    f"starts with 0 instead of its country code: {WITH_PLUS} "
    "(+ replaces 011 and other prefixes, too)",
)
_ZERO_CODE = NumberFlaw(
    "unknown_country", "has a country code that starts with 0, and none does"
)
_NO_COUNTRY = NumberFlaw(
    "unknown_country",
    "begins with a code that no country has: its country code is missing (91 for India), or it "
    "is the number of a satellite phone or service, which is not dialled",
)
_ANOTHER = "correct it, or write it with + and its country code if it is another country's"


def parse_number(value: object, path: str = "number") -> int:
    """Return a phone number as the integer that goes on the wire.

    Args:
        value: An integer of any library (anything with ``__index__``; no float, no bool), or a
            str as people write it. The country code is required.
        path: The field's name, for the error.

    Raises:
        InvalidCall: It is not one number that a phone can have. The message says what would be
            right, and does not repeat the number.
    """
    number = _read(value) if isinstance(value, str) else full_number(_whole(value, path))
    if isinstance(number, NumberFlaw):
        raise InvalidCall(number.reason, path=path)
    return number


def parse_numbers(values: object, path: str = "numbers") -> Iterator[int]:
    """Yield phone numbers as `parse_number` returns them.

    Args:
        values: An iterable of numbers; not one number.
        path: Its name. An error's path has the place as well, from 0: ``numbers[17]``.

    Raises:
        InvalidCall: One cannot be read, or it is not an iterable.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        kind = type(values).__name__
        raise InvalidCall(f"must be a list or iterable of numbers, not {kind}", path=path)
    for place, value in enumerate(cast("Iterable[object]", values)):
        yield parse_number(value, f"{path}[{place}]")


def _whole(value: object, path: str) -> str:
    """Return the digits of an integer."""
    match value:
        case bool() | None:
            raise InvalidCall(f"must be a phone number, not {value!r}", path=path)
        case float():
            raise InvalidCall(
                "must be an int or a str, not a float: spreadsheets turn long numbers "
                "into floats and lose digits; store the column as text",
                path=path,
            )
        case _:
            pass
    try:
        number = index(cast("SupportsIndex", value))
    except Exception:  # noqa: BLE001  # a foreign class may raise anything
        kind = uncalled(value) or type(value).__name__
        several = ": give one number" if isinstance(value, Collection) else ""
        raise InvalidCall(
            f"must be a phone number (int or str), not {kind}{several}", path=path
        ) from None
    if number <= 0:
        raise InvalidCall("must be a positive number", path=path)
    # str() itself fails on ints of thousands of digits.
    return str(min(number, _PAST_E164))


def _read(text: str) -> int | NumberFlaw:
    """Return the number in a text, or why it is not a number."""
    found = spelled(text)
    if isinstance(found, NumberFlaw):
        return found
    if found.digits.startswith("0") and not found.complete:
        return LEADING_ZERO
    return full_number(found.digits)


def full_number(digits: str) -> int | NumberFlaw:
    """Return the number of digits that begin with a country code, or what is wrong with them."""
    if digits.startswith("0"):
        return _ZERO_CODE
    if not _FEWEST <= len(digits) <= _MOST:
        count = "more than 15 digits" if len(digits) > _MOST else _counted(digits)
        return NumberFlaw(
            "wrong_length",
            f"has {count} with its country code, and must have 7 to 15",
        )
    plan = plan_of(digits)
    if plan is None:
        return _NO_COUNTRY
    return _wrong_for(plan, digits[len(plan.code) :]) or int(digits)


def _is_north_american(national: str) -> bool:
    """Return whether the area code and the exchange can be ones of the North American plan."""
    # No exchange starts with 0 either, but TeleCMI's own examples do, 1917000000N.
    return national[0] not in "01" and national[3] != "1"


def _counted(digits: str) -> str:
    return "1 digit" if len(digits) == 1 else f"{len(digits)} digits"


def _wrong_for(plan: NumberingPlan, national: str) -> NumberFlaw | None:
    """Return what is certainly wrong with the digits behind a country code."""
    if national.startswith("0") and not plan.keeps_zero:
        return NumberFlaw(
            "not_a_number",
            f"has a 0 after its country code +{plan.code}, which is not dialled from abroad: omit it",
        )
    if len(national) not in plan.lengths:
        return NumberFlaw(
            "wrong_length",
            f"has {_counted(national)} after +{plan.code}, and its numbers have {plan.span}: "
            f"{_ANOTHER}",
        )
    if plan.code == "1" and not _is_north_american(national):
        return NumberFlaw(
            "not_a_number",
            "is not a number of +1, whose area codes start with 2 to 9 and whose exchanges do not "
            f"start with 1, as in +1 212 555 0123: {_ANOTHER}",
        )
    return None
