"""Spelling of phone numbers: the digits in what people and spreadsheets write.

What can mean one number only is read; all else is a `NumberFlaw`. Nothing is guessed.
"""

from __future__ import annotations

import re
from enum import StrEnum, unique
from typing import NamedTuple

from attrs import frozen

from telecmi_async._internal.characters import DASHES, INVISIBLE


@unique
class NumberProblem(StrEnum):
    """What is wrong with a phone number, for counting."""

    NO_NUMBER = "no_number"  #: There is none.
    NOT_A_NUMBER = "not_a_number"  #: It is no phone number, or more than one.
    DIGITS_LOST = "digits_lost"  #: A spreadsheet shortened it.
    NO_COUNTRY_CODE = "no_country_code"  #: It has no country code.
    UNKNOWN_COUNTRY = "unknown_country"  #: It begins with a code that no country has.
    WRONG_LENGTH = "wrong_length"  #: It is longer or shorter than its country's numbers.
    EXTENSION = "extension"  #: It has an extension, which cannot be dialled.


@frozen
class NumberFlaw:
    """Why a phone number cannot be read: what is wrong and what would be right, without it."""

    problem: NumberProblem
    reason: str


class Spelled(NamedTuple):
    """The digits of a number, and whether a ``+`` or ``00`` says that they are complete."""

    digits: str
    complete: bool


_LONGEST = 64
# Fewer digits are no phone number; this tells a second number from an extension.
_FEWEST = 7

_TRANSLATED = str.maketrans(
    dict.fromkeys(INVISIBLE)
    | dict.fromkeys(DASHES, "-")
    | {"\uff0b": "+", "\uff08": "(", "\uff09": ")", "\uff0e": ".", "\uff0f": "/", "\uff1a": ":"}
    | {"\u2018": "'", "\u2019": "'", "\uff07": "'"}
)
_SEPARATORS = str.maketrans("", "", " ().-\t\n\r\v\f")
_FORMULA = re.compile(r'=?"(.*)"', re.DOTALL)
# "p:" is how lead forms export a phone number.
_LABEL = re.compile(
    r"(?:tel|callto|sms|whatsapp|phone|ph|p|mobile|mob|cell):(?://)?", re.IGNORECASE
)
_SCIENTIFIC = re.compile(r"(\+?)([0-9])(?:[.,]([0-9]*))?[eE]\+?([0-9]{1,3})")
_FLOAT = re.compile(r"(\+?[0-9]{7,15})\.0+")
# The decimals of a quantity. French numbers may end in .00, but have more dots before it.
_DECIMALS = re.compile(r"[^.]*\.0+|[+0-9][0-9\s()\-.]*\.[0-9]?")
_SEVERAL = re.compile(r"[/,;|&\n+]|\bor\b|\band\b", re.IGNORECASE)
_EXTENSION = re.compile(
    r"[0-9][\s)]*(?:[,;]?\s*(?:ext|x|int|poste|ramal|anexo|dw)[a-z]*[\s.:=]*[0-9]"
    r"|[;#*]+\s*[^\s;#*])|\A[^,]*[0-9]\s*,+\s*[0-9]{1,6}\s*#?\Z",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"\u2022|\*{2}|x{2}", re.IGNORECASE)
_TRUNK = re.compile(r"\(\s*0\s*\)")
_DASH = re.compile(r"\A-")

_EMPTY = NumberFlaw(NumberProblem.NO_NUMBER, "the number is missing")
_TOO_LONG = NumberFlaw(NumberProblem.NOT_A_NUMBER, "is not a phone number: it is too long")
_SHORTENED = NumberFlaw(
    NumberProblem.DIGITS_LOST,
    "a spreadsheet shortened the number (as in 9.19E+11) and its digits are lost: format the "
    "column as text there, and export it again",
)
_POINT = NumberFlaw(
    NumberProblem.DIGITS_LOST, "ends in a decimal point or decimals: store the column as text"
)
_MINUS = NumberFlaw(
    NumberProblem.NOT_A_NUMBER, "begins with a dash or minus sign: omit it, or write +"
)
_MASKED = NumberFlaw(
    NumberProblem.NOT_A_NUMBER, "is masked: some of its digits are hidden, and all are needed"
)
_TWO = NumberFlaw(
    NumberProblem.NOT_A_NUMBER,
    "holds more than one number: give each a place or row of its own",
)
_WITH_EXTENSION = NumberFlaw(
    NumberProblem.EXTENSION, "has an extension or parameter, which cannot be dialled: omit it"
)
_WITH_TRUNK = NumberFlaw(
    NumberProblem.NOT_A_NUMBER,
    'holds "(0)": write it as it is dialled from abroad, in most countries without the 0',
)

_REFUSED = (
    (_HIDDEN, _MASKED),
    (_EXTENSION, _WITH_EXTENSION),
    (_TRUNK, _WITH_TRUNK),
    (_DASH, _MINUS),
)


def spelled(text: str) -> Spelled | NumberFlaw:
    """Return the digits in a text that is one phone number, or why it is none."""
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
    plain = bare.isascii() and bare.isdigit() and "(" not in written and written[0] != "-"
    if (not plain or len(bare) >= 2 * _FEWEST) and (flaw := _flaw(written, bare)):
        return flaw
    complete = digits != bare or bare.startswith("00")
    return Spelled(bare.removeprefix("00"), complete)


def _unwrapped(text: str) -> str:
    """Return text without what spreadsheets, links and forms put around a number."""
    if not text.isascii():
        text = _in_ascii(text)
    text = text.strip()
    if formula := _FORMULA.fullmatch(text):
        text = formula[1]
    text = text.removeprefix("'")
    if label := _LABEL.match(text):
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
    if found := _SCIENTIFIC.fullmatch(text):
        plus, first, fraction, exponent = found[1], found[2], found[3] or "", int(found[4])
        # 9.19171234567E+11 has all twelve digits; 9.19E+11 has lost nine.
        return plus + first + fraction if len(fraction) == exponent else _SHORTENED
    if found := _FLOAT.fullmatch(text):
        return found[1]
    return _POINT if _DECIMALS.fullmatch(text) else text


def _flaw(text: str, bare: str) -> NumberFlaw | None:
    """Return what a text holds besides one number, if anything; ``bare`` is the text in short."""
    for parts in (_SEVERAL.split(text), text.split()):
        if sum(_count(part) >= _FEWEST for part in parts) > 1:
            return _TWO
    for pattern, flaw in _REFUSED:
        if pattern.search(text):
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
    return NumberFlaw(NumberProblem.NOT_A_NUMBER, f"is not a phone number: {why}")


def _count(text: str) -> int:
    return sum("0" <= each <= "9" for each in text)
