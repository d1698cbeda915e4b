"""Characters: dashes and invisible marks that come along when phone numbers are copied."""

from __future__ import annotations

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
