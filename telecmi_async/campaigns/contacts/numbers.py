"""Contacts files: phone numbers as people and spreadsheets write them.

A number follows from its cell alone, or from the country that the user gave; nothing else is
guessed. Lengths are checked for some countries only, from their national numbering plans (ITU-T
E.164, communications of the countries).
"""

from __future__ import annotations

import re
from typing import Final

from telecmi_async._internal.messages import shown
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.zones import calling_code_of, calling_codes
from telecmi_async.errors import ConfigurationError

# Marks of writing direction and other invisible characters that come along from address books.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SEPARATORS = re.compile(r"[\s().\-\u2010-\u2015\u2212]+")
_FORMULA = re.compile(r'="(.*)"')
_SCIENTIFIC = re.compile(r"\+?([0-9])(?:[.,]([0-9]*))?[eE]\+?([0-9]{1,3})", re.ASCII)
_FLOAT = re.compile(r"([0-9]{7,15})\.0+", re.ASCII)
_POINT = re.compile(r"[+0-9][0-9\s()\-.]*\.[0-9]?")
_SEVERAL = re.compile(
    r"[0-9](?:[ ()-]?[0-9]){6,}\D*?[/,;|&\n].*[0-9](?:[ ()-]?[0-9]){6,}", re.ASCII
)
_EXTENSION = re.compile(r"[0-9][\s)]*(?:[,;]?\s*(?:ext\w*|x)\b|x[0-9]|[;#*])", re.IGNORECASE)
_NANP = re.compile(r"[2-9][0-9]{2}[2-9][0-9]{6}")
_LONGEST_CELL = 64

# How many digits follow the country code, where that is sure.
_LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "1": (10, 10), "27": (9, 9), "33": (9, 9), "34": (9, 9), "44": (9, 10), "52": (10, 10),
    "55": (10, 11), "61": (9, 9), "65": (8, 8), "91": (10, 10), "94": (9, 9), "971": (8, 9),
}  # fmt: skip
_ANY_LENGTH = (5, 12)
# Where a leading 0 is dialled within the country only. Italy, for example, keeps it.
_TRUNK_0: Final = (
    "|20|27|31|32|33|40|41|43|44|46|49|60|61|62|63|64|66|81|82|84|86|90|91|92|93|94|95|98|212|213|"
    "218|233|234|254|255|256|260|263|353|355|358|359|380|381|385|386|387|389|421|855|856|880|886|"
    "961|962|963|964|966|967|970|971|972|977|"
)
_TOO_LONG = Flaw(Kind.NOT_A_NUMBER, "is not a phone number: it is too long")
_WITH_PLUS = "write it with + and its country code"
_ANOTHER = "correct it, or write it with + and its country code if it is another country's"


def parse_country(value: object) -> str | None:
    """Return the digits of a country calling code, given as int or str: ``"91"``.

    Raises:
        ConfigurationError: No country has that code.
    """
    if value is None:
        return None
    digits = str(value).removeprefix("+") if isinstance(value, int | str) else ""
    codes = {code for code in calling_codes() if not (code.startswith("1") and len(code) > 1)}
    if digits not in codes:
        raise ConfigurationError(
            'country must be a country calling code such as "91" for India or "1" for the United '
            f"States, not {shown(value)}"
        )
    return digits


def read_number(text: str, country: str | None = None) -> int | Flaw:
    """Return the number in a cell, or why it cannot be dialled.

    Args:
        text: The cell.
        country: The calling code of numbers without one, if given.
    """
    # Most cells are this plain, and there may be millions.
    if country is None and 11 <= len(text) <= 15 and text.isascii() and text.isdigit():
        return _LEADING_ZERO if text[0] == "0" != text[1] else _plain(text, None)
    text = _INVISIBLE.sub("", text).strip()
    if formula := _FORMULA.fullmatch(text):
        text = formula[1]
    text = text.removeprefix("'").removeprefix("tel:").strip()
    digits = _spreadsheet(text) if len(text) <= _LONGEST_CELL else _TOO_LONG
    if isinstance(digits, Flaw):
        return digits
    if flaw := _more_than_a_number(digits):
        return flaw
    digits = _SEPARATORS.sub("", digits)
    if not (digits.isascii() and digits.removeprefix("+").isdigit()):
        return Flaw(Kind.NOT_A_NUMBER, "is not a phone number: it must hold only digits")
    return _plain(digits, country)


def _spreadsheet(text: str) -> str | Flaw:
    """Return the digits of a number that a spreadsheet took for a quantity, if all are there."""
    if not text:
        return Flaw(Kind.NO_NUMBER, "the number is missing")
    if found := _SCIENTIFIC.fullmatch(text):
        first, fraction, exponent = found[1], found[2] or "", int(found[3])
        # 9.19171234567E+11 has all twelve digits; 9.19E+11 has lost nine.
        if len(fraction) == exponent:
            return first + fraction
        return Flaw(
            Kind.DIGITS_LOST,
            "a spreadsheet shortened the number (as in 9.19E+11) and its digits are lost: format "
            "the column as text there, and export it again",
        )
    if found := _FLOAT.fullmatch(text):
        return found[1]
    if _POINT.fullmatch(text):
        return Flaw(Kind.DIGITS_LOST, "ends in a decimal point: store the column as text")
    return text


def _more_than_a_number(text: str) -> Flaw | None:
    if _SEVERAL.search(text):
        return Flaw(Kind.NOT_A_NUMBER, "holds more than one number: give each a row of its own")
    if _EXTENSION.search(text):
        return Flaw(Kind.EXTENSION, "has an extension, which cannot be dialled: omit it")
    if "(0)" in text:
        return Flaw(Kind.NOT_A_NUMBER, 'holds "(0)", dialled within the country only: omit it')
    return None


_LEADING_ZERO = Flaw(
    Kind.NO_COUNTRY_CODE,
    f"starts with 0 instead of its country code: {_WITH_PLUS}, or give the country of such "
    "numbers (91 for India)",
)


def _plain(digits: str, country: str | None) -> int | Flaw:
    """Return the number of digits after one optional plus."""
    if digits.startswith("+"):
        return _international(digits[1:])
    if digits.startswith("00"):
        return _international(digits[2:])
    if country is not None:
        return _national(digits, country)
    if digits.startswith("0"):
        return _LEADING_ZERO
    if len(digits) <= 10:
        return Flaw(
            Kind.NO_COUNTRY_CODE,
            f"has {len(digits)} digits and no +, so its country is unclear: {_WITH_PLUS}, or "
            "give the country of such numbers (91 for India)",
        )
    return _international(digits)


def _national(digits: str, country: str) -> int | Flaw:
    """Return a number of the given country, with its code or without."""
    fewest, most = _LENGTHS.get(country, _ANY_LENGTH)
    if digits.startswith("0"):
        if f"|{country}|" not in _TRUNK_0:
            reason = f"starts with 0, and numbers of +{country} may keep it: {_WITH_PLUS}"
            return Flaw(Kind.NO_COUNTRY_CODE, reason)
        digits = digits[1:]
        if fewest <= len(digits) <= most:
            return _international(country + digits)
    else:
        fits = fewest <= len(digits) <= most
        has_code = digits.startswith(country) and fewest <= len(digits) - len(country) <= most
        if fits and has_code:
            reason = f"begins with {country}, which may be its country code: {_WITH_PLUS}"
            return Flaw(Kind.NO_COUNTRY_CODE, reason)
        if fits or has_code:
            return _international(digits if has_code else country + digits)
    return Flaw(
        Kind.WRONG_LENGTH,
        f"has {len(digits)} digits, and numbers of +{country} have {_span(fewest, most)}: "
        f"{_WITH_PLUS} if it is another country's",
    )


def _span(fewest: int, most: int) -> str:
    return str(fewest) if fewest == most else f"{fewest} to {most}"


def _international(digits: str) -> int | Flaw:
    """Return a number that begins with its country code."""
    if digits.startswith("0"):
        return Flaw(Kind.UNKNOWN_COUNTRY, "has a country code that starts with 0")
    if not 7 <= len(digits) <= 15:
        count = len(digits)
        return Flaw(Kind.WRONG_LENGTH, f"has {count} digits with its country code, not 7 to 15")
    number = int(digits)
    code = calling_code_of(number)
    if code is None:
        return Flaw(Kind.UNKNOWN_COUNTRY, "begins with a code that no country has")
    base = "1" if code.digits.startswith("1") else code.digits
    return _wrong_for(base, digits[len(base) :]) or number


def _wrong_for(code: str, national: str) -> Flaw | None:
    """Return what is certainly wrong with the digits after a country code."""
    if national.startswith("0") and f"|{code}|" in _TRUNK_0:
        return Flaw(Kind.NOT_A_NUMBER, "has a 0 after its country code: omit it")
    fewest, most = _LENGTHS.get(code, (1, 15))
    if not fewest <= len(national) <= most:
        return Flaw(
            Kind.WRONG_LENGTH,
            f"has {len(national)} digits after +{code}, and its numbers have "
            f"{_span(fewest, most)}: {_ANOTHER}",
        )
    if code == "1" and not _NANP.fullmatch(national):
        return Flaw(
            Kind.NOT_A_NUMBER,
            "is not a number of +1, whose area codes and exchanges start with 2 to 9, as in "
            f"+1 212 555 0123: {_ANOTHER}",
        )
    return None
