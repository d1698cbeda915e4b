"""Calling windows: the hours in which phones may ring, in the callee's local time.

Local time is put back and forward in many countries, and differs within a country. So no hours
are added here: for each zone and day the instants are found at which anything may change (the
window's start and end, as often as local clocks show them, and the change of the clock itself),
and between two of them one look at the local time decides whether the window is open. Where
several zones are possible, it is open while it is open in all of them.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve, field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import listed, shown
from telecmi_async._internal.time_zones import zone_named
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

#: The days of the week, in their order.
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DAY = 86_400
# A window that does not open within a quarter of a year counts as one that never does.
_HORIZON = 92
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00", re.ASCII)


def _check_time(owner: object, attribute: validators.Field, value: str) -> None:
    del owner
    if not isinstance(cast("object", value), str) or not _TIME.fullmatch(value):
        raise ConfigurationError(
            f'CallingWindow.{attribute.name} must be a time such as "09:00", at most "24:00", not '
            f"{shown(value)}"
        )


def _weekdays(value: Iterable[str]) -> tuple[str, ...]:
    given = _set("days", value)
    if not given or not given <= set(DAYS):
        raise ConfigurationError(
            f"CallingWindow.days must hold one or more of {listed(DAYS)}, not "
            f"{', '.join(sorted(shown(day) for day in given.difference(DAYS))) or 'none'}"
        )
    return tuple(day for day in DAYS if day in given)


def _dates(value: Iterable[date | str]) -> tuple[date, ...]:
    return tuple(sorted({_date(day) for day in _set("holidays", value)}))


def _set(name: str, value: object) -> set[object]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise ConfigurationError(
            f"CallingWindow.{name} must be a list or a set, not {shown(value)}"
        )
    given = cast("Iterable[object]", value)
    try:
        return set(given)
    except TypeError:  # it holds lists or dicts
        raise ConfigurationError(f"CallingWindow.{name} cannot hold {shown(given)}") from None


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)  # type: ignore[arg-type]  # a wrong type raises
    except (TypeError, ValueError):
        raise ConfigurationError(
            f'CallingWindow.holidays must hold dates such as "2026-12-25", not {shown(value)}'
        ) from None


@frozen(cache_hash=True)
class CallingWindow:
    """When phones may ring, in the callee's time zone.

    Example:
        Working days, but not at Christmas::

            from telecmi_async.campaigns import CallingWindow

            CallingWindow(
                "09:00",
                "18:00",
                days=["mon", "tue", "wed", "thu", "fri"],
                holidays=["2026-12-25"],
            )

    Args:
        start: Its first minute: ``"09:00"``.
        end: Its end; ``"24:00"`` is the end of the day. A window does not go past midnight.
        days: Its days of the week: ``"mon"`` to ``"sun"``.
        holidays: Dates on which it stays closed, as `datetime.date` or ``"2026-12-25"``.
        ring_time: How long a phone may ring, in seconds or as a `timedelta`, less than an hour:
            no call starts later than this before the end.

    Raises:
        ConfigurationError: A value is out of range.
    """

    start: str = field(validator=_check_time)
    end: str = field(validator=_check_time)
    days: tuple[str, ...] = field(default=DAYS, kw_only=True, converter=_weekdays)
    holidays: tuple[date, ...] = field(default=(), kw_only=True, converter=_dates)
    ring_time: float = field(
        default=60.0,
        kw_only=True,
        converter=validators.to_seconds,
        validator=validators.positive,
    )

    def __attrs_post_init__(self) -> None:
        longest = min(3600, (_minutes(self.end) - _minutes(self.start)) * 60)
        if longest <= 0:
            raise ConfigurationError(
                "CallingWindow.end must be later than its start: a window past midnight is "
                "written as two campaigns"
            )
        if self.ring_time >= longest:
            raise ConfigurationError(
                f"CallingWindow.ring_time must be less than {longest} seconds: the window "
                "would never be open"
                if longest < 3600
                else "CallingWindow.ring_time must be less than an hour"
            )

    def opening(self, zones: tuple[str, ...], now: float) -> float | None:
        """Return when a call may start, at the earliest.

        Args:
            zones: Names of the time zones the callee may live in. Those that this machine does
                not know are ignored if it knows any.
            now: Seconds since 1970.

        Returns:
            ``now`` if the window is open in all zones; else the next instant at which it is;
            ``None`` if there is none within 92 days, or no zone is known.
        """
        known = tuple(zone for zone in zones if zone_named(zone) is not None)
        if not known:
            return None
        today = int(now // _DAY)
        for day in range(today, today + _HORIZON):
            for opens, closes in _hours(self, known, day):
                if now < closes:
                    return max(now, opens)
        return None

    def hours_a_day(self, zones: tuple[str, ...], now: float) -> float:
        """Return for how many hours it is open in all zones, on the mean of its days.

        Args:
            zones: Names of time zones, as in `opening`.
            now: Seconds since 1970: the week from then on counts, as if it had no holidays.
        """
        known = tuple(zone for zone in zones if zone_named(zone) is not None)
        if not known:
            return 0.0
        plain, today = evolve(self, holidays=()), int(now // _DAY)
        week = [hours for day in range(today, today + 7) for hours in _hours(plain, known, day)]
        return sum(closes - opens for opens, closes in week) / 3_600 / len(self.days)

    def __str__(self) -> str:
        days = "" if self.days == DAYS else f" {' '.join(self.days)}"
        return f"{self.start}-{self.end}{days}"

    def shows(self, zone: ZoneInfo, instant: float) -> bool:
        """Return whether a zone's local time is within the window."""
        local = datetime.fromtimestamp(instant, zone)
        if DAYS[local.weekday()] not in self.days or local.date() in self.holidays:
            return False
        return _minutes(self.start) <= local.hour * 60 + local.minute < _minutes(self.end)


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


@lru_cache(maxsize=4096)
def _hours(
    window: CallingWindow, zones: tuple[str, ...], day: int
) -> tuple[tuple[float, float], ...]:
    """Return when calls may start on a UTC day, counted from 1970."""
    first, *others = [_hours_in(window, name, day) for name in zones]
    for other in others:
        first = tuple(
            (max(a, c), min(b, d)) for a, b in first for c, d in other if max(a, c) < min(b, d)
        )
    return first


@lru_cache(maxsize=16_384)
def _hours_in(window: CallingWindow, name: str, day: int) -> tuple[tuple[float, float], ...]:
    """The same for one time zone."""
    zone = zone_named(name)
    assert zone is not None, "only known ones are passed"  # noqa: S101  # for type checkers
    begin, end = float(day * _DAY), float((day + 1) * _DAY)
    changes = set(_changes(window, zone, begin, end))
    changes |= {change - window.ring_time for change in changes}
    marks = sorted({begin, end} | {change for change in changes if begin < change < end})
    found: list[tuple[float, float]] = []
    for mark, following in pairwise(marks):
        middle = (mark + following) / 2
        if window.shows(zone, middle) and window.shows(zone, middle + window.ring_time):
            found.append((mark, following))
    return tuple(found)


def _changes(
    window: CallingWindow, zone: ZoneInfo, begin: float, end: float
) -> Iterator[float]:
    """Yield the instants around a day at which the window may open or close."""
    today = datetime.fromtimestamp(begin, UTC).date()
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        midnight = datetime.combine(day, time())
        for text in (window.start, window.end):
            local = midnight + timedelta(minutes=_minutes(text))
            # An hour that a local clock shows twice begins twice.
            for fold in (0, 1):
                yield local.replace(tzinfo=zone, fold=fold).timestamp()
    low, high = begin, end + window.ring_time
    before = _offset(zone, low)
    if _offset(zone, high) != before:
        while high - low > 0.5:
            middle = (low + high) / 2
            low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
        yield float(round(high))


def _offset(zone: ZoneInfo, instant: float) -> timedelta | None:
    return datetime.fromtimestamp(instant, zone).utcoffset()
