"""Spelling of phone numbers: the digits in what people and spreadsheets write.

What can mean one number only is read; all else is a `NumberFlaw`. Nothing is guessed.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

from telecmi_async._internal.characters import DASHES, INVISIBLE

#: What is wrong with a phone number, for counting.
NumberProblem: TypeAlias = Literal[
    "no_number", "not_a_number", "digits_lost", "no_country_code", "unknown_country",
    "wrong_length", "extension",
]  # fmt: skip


class NumberFlaw(NamedTuple):
    """Why a phone number cannot be read: what is wrong and what would be right, without it."""

    problem: NumberProblem
    reason: str


class Spelled(NamedTuple):
    """The digits of a number, and whether a ``+`` or ``00`` says that they are complete."""

    digits: str
    complete: bool


_LONGEST = 64
# Fewer digits are no phone number; this distinguishes a second number from an extension.
_FEWEST = 7

_TRANSLATED = str.maketrans(
    dict.fromkeys(INVISIBLE)
    | dict.fromkeys(DASHES, "-")
    | {"\uff0b": "+", "\uff08": "(", "\uff09": ")", "\uff0e": ".", "\uff0f": "/", "\uff1a": ":"}
    | {"\u2018": "'", "\u2019": "'", "\uff07": "'"}
)
_DIGITS = tuple("0123456789")
_SEPARATORS = str.maketrans("", "", " ().-\t\n\r\v\f")

# Patterns are compiled when the first text needs them: most programs have plain numbers only.
_FORMULA = r'(?s)=?"(.*)"'
# "p:" is how lead forms export a phone number.
_LABEL = r"(?i)(?:tel|callto|sms|whatsapp|phone|ph|p|mobile|mob|cell):(?://)?"
_SCIENTIFIC = r"(\+?)([0-9])(?:[.,]([0-9]*))?[eE]\+?([0-9]{1,3})"
_FLOAT = r"(\+?[0-9]{7,15})\.0+"
# The decimals of a quantity. French numbers may end in .00, but have more dots before it.
_DECIMALS = r"[^.]*\.0+|[+0-9][0-9\s()\-.]*\.[0-9]?"
_SEVERAL = r"(?i)[/,;|&\n+]|\bor\b|\band\b"
_EXTENSION = (
    r"(?i)[0-9][\s)]*(?:[,;]?\s*(?:ext|x|int|poste|ramal|anexo|dw)[a-z]*[\s.:=]*[0-9]"
    r"|[;#*]+\s*[^\s;#*])|\A[^,]*[0-9]\s*,+\s*[0-9]{1,6}\s*#?\Z"
)
_HIDDEN = r"(?i)\u2022|\*{2}|x{2}"
_TRUNK = r"\(\s*0\s*\)"
_DASH = r"\A-"

_EMPTY = NumberFlaw("no_number", "the number is missing")
_TOO_LONG = NumberFlaw("not_a_number", "is not a phone number: it is too long")
_SHORTENED = NumberFlaw(
    "digits_lost",
    "a spreadsheet shortened the number (as in 9.19E+11) and its digits are lost: format the "
    "column as text there, and export it again",
)
_POINT = NumberFlaw(
    "digits_lost", "ends in a decimal point or decimals: store the column as text"
)
_MINUS = NumberFlaw("not_a_number", "begins with a dash or minus sign: omit it, or write +")
_MASKED = NumberFlaw(
    "not_a_number", "is masked: some of its digits are hidden, and all are needed"
)
_TWO = NumberFlaw(
    "not_a_number",
    "holds more than one number: give each a separate place or row",
)
_WITH_EXTENSION = NumberFlaw(
    "extension", "has an extension or parameter, which cannot be dialled: omit it"
)
_WITH_TRUNK = NumberFlaw(
    "not_a_number",
    'holds "(0)": write it as it is dialled from abroad, in most countries without the 0',
)

_REFUSED = (
    (_HIDDEN, _MASKED),
    (_EXTENSION, _WITH_EXTENSION),
    (_TRUNK, _WITH_TRUNK),
    (_DASH, _MINUS),
)


def spelled(text: str) -> Spelled | NumberFlaw:
    """Return the digits in a text that is one phone number, or why it is not one."""
    # Most numbers are this plain, and a file may hold millions.
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= _LONGEST:
        return Spelled(text, complete=False)
    if len(text) <= _LONGEST * 8:  # work that grows with it
        text = _unwrapped(text)
    if len(text) > _LONGEST:
        return _TOO_LONG
    written = _spreadsheet(text)
    if isinstance(written, NumberFlaw):
        return written
    digits = written.translate(_SEPARATORS)
    bare = digits.lstrip("+")
    if not bare:
        return _EMPTY
    plain = bare.isascii() and bare.isdigit() and len(bare) < 2 * _FEWEST
    odd = written[0] == "-" or ("(" in written and re.search(_TRUNK, written))
    complete = digits != bare or bare.startswith("00")
    if (odd or not plain) and (flaw := _flaw(written, bare, complete=complete)):
        return flaw
    return Spelled(bare.removeprefix("00"), complete)


def _unwrapped(text: str) -> str:
    """Return text without what spreadsheets, links and forms put around a number."""
    if not text.isascii():
        text = _in_ascii(text)
    text = text.strip()
    if text.endswith('"') and (formula := re.fullmatch(_FORMULA, text)):
        text = formula[1]
    text = text.removeprefix("'")
    if ":" in text and (label := re.match(_LABEL, text)):
        text = text[label.end() :]
    return text.strip()


def _in_ascii(text: str) -> str:
    """Return text with digits of any script, dashes and blanks as ASCII has them."""
    # U+202E shows what follows it in reverse, so it is not invisible, and stays.
    return "".join(
        str(int(each)) if each.isdecimal() else " " if each.isspace() and each > " " else each
        for each in text.translate(_TRANSLATED)
    )


def _spreadsheet(text: str) -> str | NumberFlaw:
    """Return the digits of a number that a spreadsheet took for a quantity, if all are there."""
    if text.endswith(_DIGITS) and "E" in text.upper():
        if found := re.fullmatch(_SCIENTIFIC, text):
            plus, first, fraction, exponent = found[1], found[2], found[3] or "", int(found[4])
            # 9.19171234567E+11 has all twelve digits; 9.19E+11 has lost nine.
            return plus + first + fraction if len(fraction) == exponent else _SHORTENED
    elif "." in text:
        if found := re.fullmatch(_FLOAT, text):
            return found[1]
        return _POINT if re.fullmatch(_DECIMALS, text) else text
    return text


def _flaw(text: str, bare: str, *, complete: bool) -> NumberFlaw | None:
    """Return what a text holds besides one number, if anything; ``bare`` is the text in short."""
    # Without a prefix, a blank may stand between two short numbers of one place.
    for parts in (re.split(_SEVERAL, text), [] if complete else text.split()):
        if sum(_count(part) >= _FEWEST for part in parts) > 1:
            return _TWO
    for pattern, flaw in _REFUSED:
        if re.search(pattern, text):
            return flaw
    strange = next((each for each in bare if not "0" <= each <= "9"), None)
    return None if strange is None else _not_a_digit(strange)


def _not_a_digit(strange: str) -> NumberFlaw:
    """Return the flaw that names a character; an invisible one by its code point."""
    if strange == "+":
        why = "a + may be at its beginning only"
    else:
        named = [f'"{strange}"'] if strange.isprintable() else []
        if not (strange.isascii() and named):
            named.append(f"U+{ord(strange):04X}")
        why = f"{' '.join(named)} is not a digit"
    return NumberFlaw("not_a_number", f"is not a phone number: {why}")


def _count(text: str) -> int:
    return sum("0" <= each <= "9" for each in text)
