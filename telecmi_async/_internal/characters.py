"""Characters: dashes and invisible marks that come along when phone numbers are copied."""

from __future__ import annotations

import unicodedata
from typing import Final


def _range(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


#: Hyphens, dashes and minus signs of all lengths, without ASCII's.
DASHES: Final = _range(0x2010, 0x2015) + "\u2043\u207b\u2212\ufe58\ufe63\uff0d\u30fc"
#: Marks without width that change nothing of what is read: soft hyphens, joiners, marks of writing
#: direction, byte order marks. U+202E is not among them: it shows digits in reverse.
INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u180e\ufeff"
    + _range(0x200B, 0x200F)
    + _range(0x202A, 0x202D)
    + _range(0x2060, 0x2069)
    + _range(0xFE00, 0xFE0F)
)
# Letters, numbers, punctuation and symbols show something. Of these, fillers of Hangul and the empty
# pattern of Braille do not, and quotation marks hold nothing if they are alone.
_SHOWING: Final = frozenset("LNPS")
_EMPTY: Final = (
    "\u201a\u201e\u115f\u1160\u3164\uffa0\u2800\"'`\u2032\u2033\u301d\u301e\u301f\uff02\uff07"
)
_QUOTATION: Final = frozenset({"Pi", "Pf"})


def has_text(text: str) -> bool:
    """Return whether a text shows more than white space, invisible marks and quotation marks."""
    return any(
        (category := unicodedata.category(character))[0] in _SHOWING
        and category not in _QUOTATION
        and character not in _EMPTY
        for character in text
    )
