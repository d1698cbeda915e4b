"""Options of `dial` that describe the rules of a campaign."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Final

from attrs import frozen
from cyclopts import Group, Parameter

from telecmi_async._internal.messages import shown
from telecmi_async.cli.options import number, unwrapped, value
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.campaigns import CallingWindow, CampaignRules, DailyCap, FrequencyCap

_SUM: Final = number(float, 0, above=True)
_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_FREQUENCY: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})([mhd])", re.ASCII)
_DAILY: Final = re.compile(r"([0-9]{1,9})(?:@(.+))?", re.ASCII)
_FIELD: Final = re.compile(r"^[A-Z]\w+\.\w+ ")


@Parameter(name="*", group=Group("Rules that hold at the moment of sending", sort_key=2))
@frozen(kw_only=True)
class RuleOptions:
    """The rules, as they were written.

    Args:
        window: When phones may ring, by the callee's clock; any for any time.
        days: On which days, such as mon,tue,sat; all unless given.
        holiday: A day on which no phone rings, such as 2026-12-25; may be repeated.
        do_not_call: Numbers that are never called.
        per_number: How often a number is called in all campaigns of the ledger, such as 1/24h or
            3/7d; may be repeated.
        per_day: How many calls a day, such as 500@Asia/Kolkata; the zone, UTC unless given, says
            when a day begins.
        max_cost: No more calls once they have cost so much; needs webhooks.
        not_after: When the calls are of use no more, such as 2026-12-24T18:00+05:30.
    """

    window: Annotated[str, value("HH:MM-HH:MM")] = "09:00-21:00"
    days: Annotated[str | None, value("DAYS")] = None
    holiday: Annotated[tuple[str, ...], value("DATE")] = ()
    do_not_call: Annotated[str | None, value("FILE")] = None
    per_number: Annotated[tuple[str, ...], value("N/TIME")] = ()
    per_day: Annotated[str | None, value("N[@ZONE]")] = None
    max_cost: Annotated[float | None, value("SUM", converter=_SUM)] = None
    not_after: Annotated[str | None, value("TIME")] = None

    def rules(self) -> CampaignRules:
        """Return the rules.

        Raises:
            ConfigurationError: One is invalid; the message names the option.
        """
        from telecmi_async.campaigns import CampaignRules, CostCap

        return CampaignRules(
            window=_window(self),
            per_number=[_frequency(each) for each in self.per_number],
            per_day=None if self.per_day is None else _daily(self.per_day),
            cost=None if self.max_cost is None else CostCap(self.max_cost),
            not_after=None if self.not_after is None else _moment(self.not_after),
        )


RuleOptions.__doc__ = unwrapped(RuleOptions.__doc__)


@contextmanager
def _option(name: str, text: str, form: str) -> Generator[None]:
    """Say which option cannot be right, and how it is written or why it is refused."""
    try:
        yield
    except ConfigurationError as error:
        # What a rule says begins with a field of the API.
        raise ConfigurationError(f"{name} {_FIELD.sub('', str(error))}") from None
    except ValueError:
        raise ConfigurationError(f"{name} must be {form}, not {shown(text)}") from None


def _window(given: RuleOptions) -> CallingWindow | None:
    from telecmi_async.campaigns.window import DAYS, CallingWindow

    if given.window == "any":
        if given.days is not None or given.holiday:
            raise ConfigurationError("--days and --holiday need a --window of hours, not any")
        return None
    days = DAYS if given.days is None else given.days.lower().replace(" ", "").split(",")
    with _option("--days", given.days or "", "days of the week, such as mon,tue,sat"):
        if not set(days) <= set(DAYS):
            raise ValueError
    for each in given.holiday:
        with _option("--holiday", each, "a date, such as 2026-12-25"):
            date.fromisoformat(each)
    start, _, end = given.window.replace(" ", "").partition("-")
    with _option("--window", given.window, "hours of a day, such as 09:00-21:00, or any"):
        if not end:
            raise ValueError
        return CallingWindow(start, end, days=tuple(days), holidays=given.holiday)


def _frequency(text: str) -> FrequencyCap:
    from telecmi_async.campaigns import FrequencyCap

    form = "how many calls in how many minutes, hours or days, such as 1/90m, 1/24h or 3/7d"
    with _option("--per-number", text, form):
        if (found := _FREQUENCY.fullmatch(text)) is None:
            raise ValueError
        return FrequencyCap(int(found[1]), per=int(found[2]) * _UNITS[found[3]])


def _daily(text: str) -> DailyCap:
    from telecmi_async.campaigns import DailyCap

    form = "a number, and perhaps a time zone, such as 500@Asia/Kolkata"
    with _option("--per-day", text, form):
        if (found := _DAILY.fullmatch(text)) is None:
            raise ValueError
        return DailyCap(int(found[1]), timezone=found[2] or "UTC")


def _moment(text: str) -> datetime:
    form = "a date, a time and its distance from UTC, such as 2026-12-24T18:00+05:30"
    with _option("--not-after", text, form):
        found = datetime.fromisoformat(text)
        if found.utcoffset() is None:
            raise ValueError
        return found
