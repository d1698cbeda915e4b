"""Phone numbers: how they are parsed, and which of TeleCMI's two endpoints a call takes.

On the wire a number is an integer: country code and number, no ``+``, no leading zero.
People write ``+1 (917) 000-0001``. Both are accepted; a country code is never guessed.
"""

from __future__ import annotations

import re
from enum import StrEnum, unique

from telecmi_async._internal.messages import listed, mask, shown
from telecmi_async.errors import InvalidCall

__all__ = ["Region", "parse_number", "parse_region", "route"]

# E.164 allows 15 digits. The lower bound is TeleCMI's own, from the validators of its
# newer API; it also catches numbers too short to hold a country code.
_E164 = re.compile(r"[1-9][0-9]{6,14}")
_PAST_E164 = 10**15
_SEPARATORS = re.compile(r"[\s().\-]+")
# A spreadsheet with a column of floats makes this of a number: 19170000001.0.
_FROM_A_FLOAT = re.compile(r"\.\d?\s*\Z")


@unique
class Region(StrEnum):
    """Which of TeleCMI's two make-call endpoints a call goes to."""

    #: India when the callee is ``91`` and ten digits, else global.
    AUTO = "auto"
    #: ``/ind_pcmo_make_call``
    INDIA = "india"
    #: ``/global_pcmo_make_call``
    GLOBAL = "global"


def parse_number(value: object, path: str = "number") -> int:
    """Return a phone number as the integer that goes on the wire.

    Args:
        value: An int, or a str in which ``+``, spaces, dashes, dots and brackets are
            allowed. The country code is required.
        path: The field's name, for the error.

    Raises:
        InvalidCall: It is not a number with a country code. The message does not repeat the
            number in full.
    """
    match value:
        case bool() | None:
            raise InvalidCall(f"must be a phone number, not {value!r}", path=path)
        case int():
            if value <= 0:
                raise InvalidCall("must be a positive number", path=path)
            if value >= _PAST_E164:  # str() itself fails on ints of thousands of digits
                raise InvalidCall("must have 7 to 15 digits with its country code", path=path)
            digits = str(value)
        case str():
            if _FROM_A_FLOAT.search(value):
                raise InvalidCall(
                    "must not end in a decimal point: a spreadsheet or table turned it into a "
                    "float; store the column as text",
                    path=path,
                )
            digits = _SEPARATORS.sub("", value).removeprefix("+")
        case float():
            raise InvalidCall(
                "must be an int or a str, not a float: spreadsheets turn long numbers "
                "into floats and lose digits; store the column as text",
                path=path,
            )
        case _:
            raise InvalidCall(
                f"must be a phone number (int or str), not {type(value).__name__}", path=path
            )
    if not _E164.fullmatch(digits):
        raise InvalidCall(_why_not(digits), path=path)
    return int(digits)


def _why_not(digits: str) -> str:
    """Return what is wrong with a number that does not fit E.164."""
    if not digits:
        return "must not be empty"
    if not (digits.isascii() and digits.isdigit()):
        return "must hold only digits, after one optional +, with spaces, dashes or brackets"
    if digits.startswith("0"):
        return (
            f"must start with the country code, not with 0 (got {mask(digits)}): "
            "write 91… for India, 1… for the United States"
        )
    return f"must have 7 to 15 digits with its country code, got {len(digits)} ({mask(digits)})"


def parse_region(value: object, path: str = "region") -> Region:
    """Return the `Region` that a name stands for.

    Raises:
        InvalidCall: It is not ``"auto"``, ``"india"`` or ``"global"``.
    """
    try:
        return Region(value)  # type: ignore[arg-type]  # a wrong type is what it refuses
    except ValueError:
        raise InvalidCall(f"must be {listed(Region)}, not {shown(value)}", path=path) from None


def route(region: Region, to: int) -> Region:
    """Return the region that a call goes to: ``INDIA`` or ``GLOBAL``.

    TeleCMI documents one endpoint "within India" and one for the rest, and its own SDKs
    disagree about which end decides (the Python one looks at the caller id, the Node one
    at the callee). The callee's full number decides here: ``91`` and ten digits.
    """
    if region is not Region.AUTO:
        return region
    digits = str(to)
    return Region.INDIA if len(digits) == 12 and digits.startswith("91") else Region.GLOBAL
