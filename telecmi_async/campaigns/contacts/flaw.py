"""Contacts files: the reasons why rows are rejected."""

from __future__ import annotations

from enum import StrEnum, unique

from attrs import frozen


@unique
class Kind(StrEnum):
    """What is wrong with a row, for counting."""

    NO_NUMBER = "no_number"  #: The number's cell is empty.
    NOT_A_NUMBER = "not_a_number"  #: The cell is not a phone number, or holds more than one.
    DIGITS_LOST = "digits_lost"  #: A spreadsheet shortened the number.
    NO_COUNTRY_CODE = "no_country_code"  #: The number has no country code, and none was given.
    UNKNOWN_COUNTRY = "unknown_country"  #: The number begins with a code that no country has.
    WRONG_LENGTH = "wrong_length"  #: The number is longer or shorter than its country's.
    EXTENSION = "extension"  #: The number has an extension, which cannot be dialled.
    DUPLICATE = "duplicate"  #: An earlier row has the same number.
    RAGGED = "ragged"  #: The row has more or fewer cells than the file has columns.
    QUOTE = "quote"  #: A quotation mark is not closed.
    JSON = "json"  #: The row is not a JSON object, or has the same key twice.
    TOO_LONG = "too_long"  #: The row is too long.
    ENCODING = "encoding"  #: The row holds bytes that do not fit the encoding.
    TIME_ZONE = "time_zone"  #: The row's time zone is unknown.
    EMPTY_CELL = "empty_cell"  #: The call flow needs text in a cell that has none.
    FLOW = "flow"  #: The call flow cannot be filled from the row.


@frozen
class Flaw:
    """Why a row is rejected.

    ``reason`` says what happened and what to do, and holds no number.
    """

    kind: Kind
    reason: str
