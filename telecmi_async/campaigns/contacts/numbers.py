"""Contacts files: phone numbers in cells, and the country that they belong to.

A cell is read as `telecmi_async.phone` reads a number anywhere. One thing differs: up to ten
digits without ``+`` or ``00`` are mostly numbers whose country code was left out, so a file needs
the country of such numbers.
"""

from __future__ import annotations

from telecmi_async._internal.messages import shown
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.errors import ConfigurationError
from telecmi_async.phone.number import LEADING_ZERO, WITH_PLUS, full_number
from telecmi_async.phone.plans import plan_codes, plan_of_code
from telecmi_async.phone.spelling import NumberFlaw, spelled

# Beyond this many digits a number without + begins with its country code.
_SHORT = 10
_LONGEST_NATIONAL = 12
_COUNTRY = 'give the country of such numbers (country="91", or --country 91, for India)'
_LEADING_ZERO = Flaw(Kind.NO_COUNTRY_CODE, f"{LEADING_ZERO.reason}; or {_COUNTRY}")


def parse_country(value: object) -> str | None:
    """Return the digits of a country calling code, given as int or str: ``"91"``."""
    if value is None:
        return None
    digits = str(value).removeprefix("+") if isinstance(value, int | str) else ""
    if digits not in plan_codes():
        raise ConfigurationError(
            'country must be a country calling code such as "91" for India or "1" for the United '
            f"States, not {shown(value)}"
        )
    return digits


def read_number(text: str, country: str | None = None) -> int | Flaw:
    """Return the number in a cell, or why it cannot be dialled."""
    found = spelled(text)
    if isinstance(found, NumberFlaw):
        return _known(found)
    digits = found.digits
    if not found.complete:
        if country is not None:
            return _national(digits, country)
        if digits.startswith("0"):
            return _LEADING_ZERO
        if len(digits) <= _SHORT:
            return Flaw(
                Kind.NO_COUNTRY_CODE,
                f"has {len(digits)} digits and no +, so its country is unclear in a file: "
                f"{WITH_PLUS}, or {_COUNTRY}",
            )
    return _known(full_number(digits))


def _known(found: int | NumberFlaw) -> int | Flaw:
    """Return what is known of a number, for a row."""
    return found if isinstance(found, int) else Flaw(Kind(found.problem), found.reason)


def _national(digits: str, country: str) -> int | Flaw:
    """Return a number of the given country, with its code or without."""
    plan = plan_of_code(country)
    if digits.startswith("0"):
        if not plan.drops_zero:
            reason = f"starts with 0, and numbers of +{country} may keep it: {WITH_PLUS}"
            return Flaw(Kind.NO_COUNTRY_CODE, reason)
        digits = digits[1:]
        if len(digits) in plan.lengths:
            return _known(full_number(country + digits))
    else:
        # In Germany, longer ones are a direct line behind a switchboard, or have the code.
        fits = len(digits) in plan.lengths and len(digits) <= _LONGEST_NATIONAL
        has_code = digits.startswith(country) and len(digits) - len(country) in plan.lengths
        if fits and has_code:
            reason = f"begins with {country}, which may be its country code: {WITH_PLUS}"
            return Flaw(Kind.NO_COUNTRY_CODE, reason)
        if fits or has_code:
            return _known(full_number(digits if has_code else country + digits))
    return Flaw(
        Kind.WRONG_LENGTH,
        f"has {len(digits)} digits, and numbers of +{country} have {plan.span}: "
        f"{WITH_PLUS} if it is another country's",
    )
