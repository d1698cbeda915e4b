"""Options of `dial`, and the campaign rules that they describe."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.campaigns import (
    CallingWindow,
    CampaignRules,
    CostCap,
    DailyCap,
    FrequencyCap,
    UnknownPolicy,
)
from telecmi_async.campaigns.window import DAYS
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_FREQUENCY: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})([mhd])", re.ASCII)
_DAILY: Final = re.compile(r"([0-9]{1,9})(?:@(.+))?", re.ASCII)


@frozen(kw_only=True)
class DialOptions:
    """What `dial` was asked for; see its help."""

    contacts: str
    flow: str
    ledger: str | None
    name: str | None
    calls_per_second: float
    max_live_calls: int | None
    from_: str | None
    country: str | None
    column: str | None
    encoding: str
    delimiter: str | None
    window: str
    days: str | None
    holidays: list[str]
    per_number: list[str]
    per_day: str | None
    most_cost: float | None
    not_after: str | None
    do_not_call: str | None
    unknown: UnknownPolicy
    pause_after_refusals: int
    webhook_url: str | None
    webhook_host: str
    webhook_port: int | None
    without_webhooks: bool
    confirmed: int | None
    dry_run: bool
    patient: bool
    secret_stdin: bool
    as_json: bool

    @property
    def campaign(self) -> str:
        """The campaign's name: the file's if none is given."""
        return self.name or Path(self.contacts).stem


def rules_of(options: DialOptions) -> CampaignRules:
    """Return the rules that the options describe.

    Raises:
        ConfigurationError: One is invalid; the message names the argument.
    """
    with _named("--not-after"):
        ends = None if options.not_after is None else _moment(options.not_after)
    with _named("--max-cost"):
        cost = None if options.most_cost is None else CostCap(options.most_cost)
    return CampaignRules(
        window=_window(options.window, options.days, options.holidays),
        per_number=[_frequency(each) for each in options.per_number],
        per_day=None if options.per_day is None else _daily(options.per_day),
        cost=cost,
        not_after=ends,
    )


@contextmanager
def _named(argument: str) -> Generator[None]:
    """Say which argument it is that cannot be right."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{argument}: {error}") from None


def _window(text: str, days: str | None, holidays: Sequence[str]) -> CallingWindow | None:
    if text == "any":
        if days is not None or holidays:
            raise ConfigurationError("--days and --holiday need a --window of hours, not any")
        return None
    start, _, end = text.partition("-")
    given = DAYS if days is None else tuple(day.strip().lower() for day in days.split(","))
    with _named("--window, --days, --holiday"):
        return CallingWindow(start.strip(), end.strip(), days=given, holidays=tuple(holidays))


def _frequency(text: str) -> FrequencyCap:
    with _named("--per-number"):
        found = _FREQUENCY.fullmatch(text)
        if found is None:
            raise ConfigurationError(
                "write how many calls in how many minutes, hours or days, such as 1/90m, 1/24h "
                f"or 3/7d, not {text!r}"
            )
        return FrequencyCap(int(found[1]), per=int(found[2]) * _UNITS[found[3]])


def _daily(text: str) -> DailyCap:
    with _named("--per-day"):
        found = _DAILY.fullmatch(text)
        if found is None:
            raise ConfigurationError(
                f"write a number, and perhaps a time zone: 500@Asia/Kolkata, not {text!r}"
            )
        return DailyCap(int(found[1]), timezone=found[2] or "UTC")


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise ConfigurationError(
            "write a date, a time and its distance from UTC, such as "
            f"2026-12-24T18:00+05:30, not {text!r}"
        )
    return found
