"""Masking: which texts of a row or an event hold phone numbers.

Names and whole numbers decide, not the mere look of digits, so that dates, times, amounts and
order numbers stay as they are. A text holds

- the numbers that are known, such as the contact's own, however they are written;
- in a column named ``phone``, ``mobile`` or the like, any seven digits or more;
- elsewhere, what reads as a phone number with its country code, such as ``+44 20 7946 0958`` or
  ``919876543210``; and a text that is nothing but a number of a known number's country, if it
  has ten digits or more.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.characters import DASHES, INVISIBLE
from telecmi_async._internal.messages import mask, mask_in
from telecmi_async.campaigns.contacts.layout import is_number_name
from telecmi_async.campaigns.contacts.numbers import read_number
from telecmi_async.phone.plans import plan_of

if TYPE_CHECKING:
    from collections.abc import Collection

_BETWEEN: Final = rf"(?:[^\S\n]|[().\-{DASHES}{INVISIBLE}])"
_DATE: Final = (
    r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d-])"
    r"|(?:0?[1-9]|[12]\d|3[01])[.\-](?:0?[1-9]|[12]\d|3[01])[.\-](?:19|20)\d\d(?![\d.-])"
)
_ONLY_DATE: Final = re.compile(_DATE)
_UUID: Final = r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
# What stays, or digits with what people write between those of a number.
_DIGITS: Final = re.compile(
    rf"(?<!\d)(?P<stays>{_DATE}|{_UUID})|(?:[+\uff0b]\s?)?\d(?:{_BETWEEN}{{0,3}}\d){{6,40}}"
)
# What stands between the digits of a known number, whatever it is.
_GAP: Final = r"\D{0,5}"
_PART: Final = re.compile(r"\d+")
_NO_DIGIT: Final = re.compile(r"\D+")
# So many digits at its end make a number known: people leave out its country code.
_TAIL: Final = 8
# No phone number has more digits (E.164).
_LONGEST: Final = 15
_NATIONAL: Final = re.compile(rf"(?!{_DATE})\d(?:{_BETWEEN}{{0,3}}\d){{9,}}")


def mask_text(text: str, name: str = "", known: Collection[str] = ()) -> str:
    """Return a text with its phone numbers masked.

    Args:
        text: The text.
        name: The name of its column or key.
        known: Digits of numbers that are masked wherever they stand.
    """
    if is_number_name(name):
        return mask_in(text)
    if _NATIONAL.fullmatch(text.strip()) and any(_is_national(text, each) for each in known):
        return mask(_NO_DIGIT.sub("", text))

    text = _DIGITS.sub(lambda run: run[0] if run["stays"] else _masked_run(run[0], known), text)
    for each in known:
        if len(each) >= _TAIL:
            text = _spelled(each).sub(_masked_unless_date, text)
    return text


@lru_cache(maxsize=256)
def _spelled(known: str) -> re.Pattern[str]:
    """Return what finds a known number, or its end, with anything short between its digits."""
    head = "".join(f"(?:{digit}{_GAP})?" for digit in known[:-_TAIL])
    return re.compile(rf"(?<!\d){head}{_GAP.join(known[-_TAIL:])}(?!\d)")


def _masked_unless_date(run: re.Match[str]) -> str:
    return run[0] if _ONLY_DATE.fullmatch(run[0]) else mask(_NO_DIGIT.sub("", run[0]))


def _masked_run(run: str, known: Collection[str]) -> str:
    """Return digits, with what is between them, masked as far as they are phone numbers."""
    digits = _NO_DIGIT.sub("", run)
    if any(each[-_TAIL:] in digits for each in known if len(each) >= _TAIL) or _is_whole(run):
        return mask(digits)
    if len(digits) <= _LONGEST or run.isdigit():
        return run
    # More than one number, or a number and something else.
    parts = _PART.sub(lambda part: mask(part[0]) if _is_whole(part[0]) else part[0], run)
    return mask(digits) if parts == run else parts


def _is_whole(text: str) -> bool:
    return isinstance(read_number(text), int)


def _is_national(text: str, known: str) -> bool:
    """Return whether a text is a number of a known number's country, without its code."""
    plan = plan_of(known)
    return plan is not None and isinstance(read_number(text, plan.code), int)
