"""Why a row of a contacts file is not dialled."""

from __future__ import annotations

from enum import StrEnum, unique

from attrs import frozen

__all__ = ["Flaw", "Kind"]


@unique
class Kind(StrEnum):
    """What is wrong with a row, for counting."""

    #: The number's cell is empty.
    NO_NUMBER = "no_number"
    #: What it holds is no phone number, or more than one.
    NOT_A_NUMBER = "not_a_number"
    #: A spreadsheet shortened it.
    DIGITS_LOST = "digits_lost"
    #: It has no country code, and none was named.
    NO_COUNTRY_CODE = "no_country_code"
    #: It begins with a code that no country has.
    UNKNOWN_COUNTRY = "unknown_country"
    #: It has more or fewer digits than its country's numbers have.
    WRONG_LENGTH = "wrong_length"
    #: It has an extension, which nobody can dial for it.
    EXTENSION = "extension"
    #: The number is in a row further up.
    DUPLICATE = "duplicate"
    #: The row has more or fewer cells than the file has columns.
    RAGGED = "ragged"
    #: A quotation mark is not closed.
    QUOTE = "quote"
    #: It is no JSON object, or holds the same key twice.
    JSON = "json"
    #: The row is too long.
    TOO_LONG = "too_long"
    #: It holds bytes that are not text.
    ENCODING = "encoding"
    #: Its time zone is none.
    TIME_ZONE = "time_zone"
    #: The call flow cannot be filled from it.
    FLOW = "flow"


@frozen
class Flaw:
    """Something that is wrong.

    Args:
        kind: What, for counting.
        reason: It in words: what happened, and what to do. It holds no number.
    """

    kind: Kind
    reason: str
