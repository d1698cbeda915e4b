"""Contacts files: the reasons why rows are rejected."""

from __future__ import annotations

from enum import StrEnum, unique

from attrs import frozen

__all__ = ["Flaw", "Kind"]


@unique
class Kind(StrEnum):
    """What is wrong with a row, for counting."""

    #: The number's cell is empty.
    NO_NUMBER = "no_number"
    #: The cell is not a phone number, or holds more than one.
    NOT_A_NUMBER = "not_a_number"
    #: A spreadsheet shortened the number.
    DIGITS_LOST = "digits_lost"
    #: The number has no country code, and none was given.
    NO_COUNTRY_CODE = "no_country_code"
    #: The number begins with a code that no country has.
    UNKNOWN_COUNTRY = "unknown_country"
    #: The number has more or fewer digits than its country's numbers have.
    WRONG_LENGTH = "wrong_length"
    #: The number has an extension, which cannot be dialled.
    EXTENSION = "extension"
    #: An earlier row has the same number.
    DUPLICATE = "duplicate"
    #: The row has more or fewer cells than the file has columns.
    RAGGED = "ragged"
    #: A quotation mark is not closed.
    QUOTE = "quote"
    #: The row is not a JSON object, or has the same key twice.
    JSON = "json"
    #: The row is too long.
    TOO_LONG = "too_long"
    #: The row holds bytes that do not fit the encoding.
    ENCODING = "encoding"
    #: The row's time zone is unknown.
    TIME_ZONE = "time_zone"
    #: The call flow cannot be filled from the row.
    FLOW = "flow"


@frozen
class Flaw:
    """Why a row is rejected.

    Args:
        kind: What is wrong, for counting.
        reason: What happened and what to do, for people. It holds no number.
    """

    kind: Kind
    reason: str
