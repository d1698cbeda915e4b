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
_UUID: Final = r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
# What stays, or digits with what people write between those of a number.
_DIGITS: Final = re.compile(
    rf"(?<!\d)(?P<stays>{_DATE}|{_UUID})|(?:[+\uff0b]\s?)?\d(?:{_BETWEEN}{{0,3}}\d){{6,40}}"
)
_NO_DIGIT: Final = re.compile(r"\D+")
# So many digits at its end make a number known: people leave out its country code.
_TAIL: Final = 8
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

    def replaced(found: re.Match[str]) -> str:
        if found["stays"]:
            return found[0]
        digits = _NO_DIGIT.sub("", found[0])
        is_known = any(each[-_TAIL:] in digits for each in known if len(each) >= _TAIL)
        return mask(digits) if is_known or isinstance(read_number(found[0]), int) else found[0]

    return _DIGITS.sub(replaced, text)


def _is_national(text: str, known: str) -> bool:
    """Return whether a text is a number of a known number's country, without its code."""
    plan = plan_of(known)
    return plan is not None and isinstance(read_number(text, plan.code), int)
