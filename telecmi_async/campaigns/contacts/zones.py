"""Time zones: a number's country, and the time zones of that country.

A number shows its country, and no more. Where the country has several time zones, all of them are
returned, and a caller has to respect each. A column with the contact's own time zone is more
exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from telecmi_async.campaigns.contacts.calling_codes import LONGEST, calling_codes

if TYPE_CHECKING:
    from telecmi_async.campaigns.contacts.calling_codes import CallingCode

__all__ = ["calling_code_of", "country_of", "zone_named", "zones_of"]


def country_of(number: int) -> str | None:
    """Return the country that a number belongs to, as ISO 3166 abbreviates it.

    Countries that share a code are returned together: ``"US/CA"``. ``None`` if no country has
    that code.
    """
    code = calling_code_of(number)
    return None if code is None else code.countries


def zones_of(number: int) -> tuple[str, ...]:
    """Return the names of all time zones that a number's owner may live in, if any."""
    code = calling_code_of(number)
    return () if code is None else code.zones


def calling_code_of(number: int) -> CallingCode | None:
    """Return the country calling code that a number begins with; ``None`` if there is none."""
    return _code_at(str(number)[:LONGEST])


@lru_cache(maxsize=65_536)
def _code_at(start: str) -> CallingCode | None:
    codes = calling_codes()
    for length in range(len(start), 0, -1):
        if code := codes.get(start[:length]):
            return code
    return None


@lru_cache(maxsize=4096)
def zone_named(name: str) -> ZoneInfo | None:
    """Return a time zone of the tz database.

    Args:
        name: Its name, such as ``Asia/Kolkata``.

    Returns:
        ``None`` if this machine does not know it. Where the system has no tz database, as on
        Windows, the package tzdata provides it.
    """
    try:
        return ZoneInfo(name)
    # Unknown; a path out of the database, or a file of another kind; a folder of it.
    except (KeyError, ValueError, OSError):
        return None
