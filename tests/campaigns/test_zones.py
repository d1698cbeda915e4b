"""Time zones: the country of a phone number, and the zones of a country."""

from __future__ import annotations

import pytest
from call_strategies import numbers
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async._internal.time_zones import zone_named
from telecmi_async.campaigns.zones import (
    LONGEST,
    calling_code_of,
    calling_codes,
    country_of,
    zones_of,
)

# E.164, list of assigned country codes, position at 2016 and later notices: countries only.
_CODES = """
1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64
65 66 81 82 84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228
229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252
253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352
353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 389
420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670
673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 850 852 853 855 856
880 886 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 992 993 994 995 996
998
"""


ASSIGNED = _CODES.split()


@pytest.mark.parametrize(
    ("number", "country", "zone"),
    [
        (919876543210, "IN", "Asia/Kolkata"),
        (16715550123, "GU", "Pacific/Guam"),
        (12425550123, "BS", "America/Nassau"),
        (6565550123, "SG", "Asia/Singapore"),
        (97150123456, "AE", "Asia/Dubai"),
        (38344123456, "XK", "Europe/Belgrade"),
    ],
)
def test_a_number_tells_its_country(number: int, country: str, zone: str) -> None:
    """The longest calling code that a number begins with gives the country and its zone."""
    assert (country_of(number), zones_of(number)) == (country, (zone,))


def test_countries_that_share_a_code_are_named_together() -> None:
    """The United States and Canada share a code, so the zones of both are returned."""
    zones = zones_of(19175550123)

    assert country_of(19175550123) == "US/CA"
    assert {"America/New_York", "Pacific/Honolulu", "America/St_Johns"} <= set(zones)


def test_kazakhstan_is_not_russia() -> None:
    """Countries that share a code and differ in the next digit are distinguished."""
    assert country_of(77012345678) == "KZ"
    assert country_of(79161234567) == "RU"


@pytest.mark.parametrize("number", [8811234567, 2101234567, 9991234567, 80012345678])
def test_a_code_of_no_country_is_not_guessed(number: int) -> None:
    """Satellite phones, freephone numbers and unassigned codes have no zone."""
    assert country_of(number) is None
    assert zones_of(number) == ()


def test_all_assigned_codes_are_there() -> None:
    """Every code that the ITU assigned to a country is known, and no others but 672."""
    codes = calling_codes()

    assert [c for c in ASSIGNED if calling_code_of(int(c.ljust(10, "9"))) is None] == []
    assert [c for c in codes if not any(c.startswith(a) for a in [*ASSIGNED, "672"])] == []
    assert max(map(len, codes)) == LONGEST


@pytest.mark.parametrize("digits", calling_codes())
def test_each_zone_exists(digits: str) -> None:
    """All zones of a code exist in this machine's tz database, except for one added in 2025."""
    zones = calling_codes()[digits].zones

    assert zones
    assert {zone for zone in zones if zone_named(zone) is None} <= {"America/Coyhaique"}


@given(numbers)
def test_any_number_is_looked_up(number: int) -> None:
    """Any number has either a country with zones, or no country and no zones."""
    assert bool(zones_of(number)) is (country_of(number) is not None)


@given(st.text())
def test_a_name_is_a_zone_or_none(name: str) -> None:
    """Any text is looked up without an error: the result is the zone of that name, or None."""
    zone = zone_named(name)

    assert zone is None or zone.key == name


@pytest.mark.parametrize("name", ["", "../passwd", "America", "/etc/passwd", "\0", "a" * 5_000])
def test_what_is_no_zone_is_none(name: str) -> None:
    """Folders, paths and other invalid names return None."""
    assert zone_named(name) is None
