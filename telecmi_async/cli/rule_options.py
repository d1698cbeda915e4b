"""Options of `dial`: what is dialled, and the rules of a campaign."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from attrs import evolve, frozen
from cyclopts import Group, Parameter

from telecmi_async._internal.messages import shown
from telecmi_async.cli.options import (
    FILE_OR_STDIN,
    CallerId,
    CallsPerSecond,
    Confirmed,
    LedgerOption,
    number,
    unwrapped,
    value,
)
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from telecmi_async.campaigns import CallingWindow, CampaignRules, Redial

_SUM: Final = number(float, 0, above=True)
_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_FREQUENCY: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})([mhd])", re.ASCII)
_WAIT: Final = "[0-9]{1,4}[mhd]"
_REDIAL: Final = re.compile(rf"(?:([0-9]{{1,2}})/)?({_WAIT}(?:,{_WAIT})*)", re.ASCII)
_DAILY: Final = re.compile(r"([0-9]{1,9})(?:@(.+))?", re.ASCII)
_FREQUENCIES: Final = (
    "how many calls in how many minutes, hours or days, such as 1/90m, 1/24h or 3/7d"
)
_REDIALS: Final = (
    "how many more calls, 20 at most, and how long after the last one ended, such as 2/2h; or a "
    "time for each call, such as 30m,2h,1d"
)
_DAILIES: Final = "a number, and perhaps a time zone, such as 500@Asia/Kolkata"
_MOMENTS: Final = "a date, a time and its distance from UTC, such as 2026-12-24T18:00+05:30"
_FIELD: Final = re.compile(r"^[A-Z]\w+\.\w+:? ")


@Parameter(name="*")
@frozen(kw_only=True)
class ContactsOptions:
    """How a contacts file is read; `dial` and `add` share it.

    Args:
        country: The country code of numbers that are written without one, such as 91.
        column: The name of the column with the phone numbers, if it is not recognised.
        encoding: The character encoding of the files, such as cp1252; a byte order mark
            overrides it.
        delimiter: The character between the cells of a CSV file. Unless given, it is the most
            frequent one of , ; | and tab in the first row.
        rejected: Write the rows that cannot be dialled, and why, to this CSV file. It holds
            numbers in full, so only you may read it.
    """

    country: Annotated[str | None, value("CODE")] = None
    column: Annotated[str | None, value("NAME")] = None
    encoding: Annotated[str, value("NAME")] = "utf-8"
    delimiter: Annotated[str | None, value("CHAR")] = None
    rejected: Annotated[str | None, value("FILE")] = None


@Parameter(name="*")
@frozen(kw_only=True)
class DialOptions:
    """What is dialled, and how.

    Args:
        flow: A file with the call flow as JSON; - for stdin. {name} in it stands for what the
            column "name" of the contacts file says.
        name: The campaign's name; that of the contacts file unless given.
        max_live_calls: The most calls that may be live at once; needs webhooks.
        unknown: What happens to contacts whose phone may have rung: hold them, or, once it is
            proven that it did not ring, call them again or give them up.
        pause_after_refusals: Pause the campaign after so many equal refusals in a row; 0 for
            never.
        dry_run: Run the campaign on a simulator instead: no phone rings.
    """

    flow: Annotated[str, FILE_OR_STDIN]
    ledger: LedgerOption = None
    name: Annotated[str | None, value("CAMPAIGN")] = None
    calls_per_second: CallsPerSecond = 1.0
    max_live_calls: Annotated[int | None, value("N", converter=number(int, 1))] = None
    from_: CallerId = None
    file: ContactsOptions = ContactsOptions()
    unknown: Literal["hold", "retry_after_proof", "give_up"] = "hold"
    pause_after_refusals: Annotated[int, value("N", converter=number(int, 0))] = 10
    dry_run: bool = False
    confirmed: Confirmed = None


@Parameter(name="*", group=Group("Rules that hold at the moment of sending", sort_key=2))
@frozen(kw_only=True)
class RuleOptions:
    """The rules, as they were written.

    Args:
        window: The hours in which phones may ring, in the callee's time zone; any for any time.
            Unless given, a new campaign has 09:00-21:00.
        days: The days on which phones may ring, such as mon,tue,sat; all unless given.
        holiday: A day on which no phone rings, such as 2026-12-25; may be repeated.
        do_not_call: A CSV file of numbers that are never called.
        per_number: How often a number is called in all campaigns of the ledger, such as 1/24h or
            3/7d; may be repeated.
        per_day: How many calls a day, such as 500@Asia/Kolkata; the zone, UTC unless given, says
            when a day begins.
        max_cost: Start no more calls once they have cost so much; needs webhooks.
        not_after: Start no call later than this time, such as 2026-12-24T18:00+05:30.
        redial_missed: Call those who do not answer again: 2/2h is up to two more calls, each two
            hours after the last one ended; 30m,2h,1d gives each call a time of its own; off is
            never. Only the record of a call proves that it was not answered, so this needs
            webhooks.
        redial_from: The caller id of the redials; repeat it for another one at each redial.
    """

    window: Annotated[str | None, value("HH:MM-HH:MM")] = None
    days: Annotated[str | None, value("DAYS")] = None
    holiday: Annotated[tuple[str, ...], value("DATE")] = ()
    do_not_call: Annotated[str | None, value("FILE")] = None
    per_number: Annotated[tuple[str, ...], value("N/TIME")] = ()
    per_day: Annotated[str | None, value("N[@ZONE]")] = None
    max_cost: Annotated[float | None, value("SUM", converter=_SUM)] = None
    not_after: Annotated[str | None, value("TIME")] = None
    redial_missed: Annotated[str | None, value("N/TIME")] = None
    redial_from: Annotated[tuple[str, ...], value("NUMBER")] = ()

    def rules(self, now: CampaignRules | None = None) -> CampaignRules:
        """Return the rules of a new campaign, or those that it has ``now`` with what was given.

        The message of an error names the option.
        """
        from telecmi_async.campaigns import (  # help is quick
            CampaignRules,
            CostCap,
            DailyCap,
            FrequencyCap,
        )

        given: dict[str, Any] = {}
        for text in self.per_number:
            with _option("--per-number", text, _FREQUENCIES):
                count, per, unit = _parts(_FREQUENCY, text)
                cap = FrequencyCap(int(count), per=int(per) * _UNITS[unit])
                given.setdefault("per_number", []).append(cap)
        if self.per_day is not None:
            with _option("--per-day", self.per_day, _DAILIES):
                count, zone = _parts(_DAILY, self.per_day)
                given["per_day"] = DailyCap(int(count), timezone=zone or "UTC")
        if self.not_after is not None:
            with _option("--not-after", self.not_after, _MOMENTS):
                given["not_after"] = datetime.fromisoformat(self.not_after)
                if given["not_after"].utcoffset() is None:
                    raise ValueError
        if self.max_cost is not None:
            given["cost"] = CostCap(self.max_cost)
        if now is None or self.window or self.days or self.holiday:
            given["window"] = self._window(None if now is None else now.window, new=now is None)
        return evolve(now or CampaignRules(), **given)

    def redial(self) -> Redial | None:
        """Return when missed calls are redialled; the message of an error names the option."""
        from telecmi_async.campaigns import Redial  # as above

        if self.redial_missed in {None, "off"}:
            if self.redial_from:
                raise ConfigurationError("--redial-from needs --redial-missed, such as 2/2h")
            return None
        with _option("--redial-missed", self.redial_missed, _REDIALS):
            count, times = _parts(_REDIAL, self.redial_missed.replace(" ", ""))
            waits = [int(each[:-1]) * _UNITS[each[-1]] for each in times.split(",")]
            missed = int(count or len(waits))
            if len(waits) > missed:
                raise ValueError
            try:
                redial = Redial(missed=missed, after=waits)
            except ConfigurationError:  # it names one field; the option has two
                raise ValueError from None
        with _option("--redial-from", "", ""):
            return evolve(redial, from_=self.redial_from)

    def _window(self, now: CallingWindow | None, *, new: bool) -> CallingWindow | None:
        from telecmi_async.campaigns.window import DAYS, CallingWindow  # as above

        hours = self.window or ("09:00-21:00" if new else "any")
        if now is not None and self.window is None:
            hours = f"{now.start}-{now.end}"
        if hours == "any":
            if self.days is not None or self.holiday:
                raise ConfigurationError(
                    "--days and --holiday need a --window of hours, not any"
                )
            return None
        days = DAYS if now is None else now.days
        if self.days is not None:
            days = tuple(self.days.lower().replace(" ", "").split(","))
        with _option("--days", self.days or "", "days of the week, such as mon,tue,sat"):
            if not set(days) <= set(DAYS):
                raise ValueError
        for each in self.holiday:
            with _option("--holiday", each, "a date, such as 2026-12-25"):
                date.fromisoformat(each)
        holidays = self.holiday or (() if now is None else now.holidays)
        with _option("--window", hours, "hours of a day, such as 09:00-21:00, or any"):
            start, end = hours.replace(" ", "").split("-", 1)
            return CallingWindow(start, end, days=days, holidays=holidays)


NO_OPTIONS: Final = ContactsOptions()
for _class in (ContactsOptions, DialOptions, RuleOptions):
    _class.__doc__ = unwrapped(_class.__doc__)


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


def _parts(pattern: re.Pattern[str], text: str) -> Sequence[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError
    return found.groups()
