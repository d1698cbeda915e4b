"""Plan: what `dial` is about to do, shown before the first call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from telecmi_async._internal.messages import mask_in, shown
from telecmi_async.campaigns.contacts.files import Survey, survey_rows
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.campaigns.rules import contact_zones
from telecmi_async.cli.messages import plain_words
from telecmi_async.cli.output.progress import duration
from telecmi_async.cli.rows import (
    is_private,
    moment_words,
    number_for,
    say_row,
    say_wrapped,
    step_lines,
)
from telecmi_async.errors import InvalidCall
from telecmi_async.ledger import NewContact
from telecmi_async.pcmo.codec import dump_pcmo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.campaigns import CallingWindow, CampaignSettings
    from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection
    from telecmi_async.cli.output.terminal import Terminal

_EXAMPLES: Final = 10
_FEW_WORDS: Final = (
    "{} have less than 8 hours a day, since the window is open only while it is in all time zones "
    "of their country: a column timezone, such as America/New_York, gives them the hours of "
    "their own"
)
_COUNTRIES: Final = 8
# With fewer hours of calling window a day, a list is not got through.
_FEW_HOURS: Final = 8.0
_UNKNOWN: Final = {
    "hold": "is not called again unless you say so",
    "retry_after_proof": "is called again once it is proven that none rang",
    "give_up": "is given up once it is proven that none rang",
}


@frozen(kw_only=True)
class Plan:
    """What a file holds, and what the rules that need no ledger say of it now.

    Args:
        survey: The counts of the file's rows.
        open_now: How many contacts may be dialled at once.
        opens: When the first of the others may be; ``None`` if never.
        notes: What users should know of the file.
        defaulted: How many contacts have no text in a column for which the flow has a default.
        defaults: How many have none, by column.
        hours: How many contacts may be called for how many hours a day; empty if at any time.
        short: How many have less than eight hours a day, since their country has several time
            zones.
        sample: The first contact that can be dialled, and its row.
    """

    survey: Survey
    open_now: int
    opens: float | None
    notes: tuple[str, ...]
    defaulted: int
    defaults: Mapping[str, int]
    hours: Mapping[float, int]
    short: int
    sample: tuple[int, NewContact] | None = field(default=None, repr=False)

    def as_json(self, count: int) -> dict[str, object]:
        """Return it for other programs; ``count`` contacts are to be dialled."""
        rows = self.survey
        return {
            "rows": rows.rows,
            "contacts": rows.contacts,
            "to_dial": count,
            "open_now": self.open_now,
            "defaulted": self.defaulted,
            "defaults": {mask_in(name): n for name, n in self.defaults.items()},
            "rejected": {str(kind): n for kind, n in rows.rejected.items()},
            "rejected_rows": [
                {"row": each.row, "kind": str(each.kind), "reason": plain_words(each.reason)}
                for each in rows.examples
            ],
            "hours_a_day": {f"{hours:g}": n for hours, n in self.hours.items()},
        }


@define
class _Tally:
    """Counts what a campaign would make of the contacts of a file."""

    open_now: int = 0
    opens: float | None = None
    defaulted: int = 0
    defaults: Counter[str] = field(factory=Counter[str])
    zones: Counter[tuple[str, ...]] = field(factory=Counter[tuple[str, ...]])
    sample: tuple[int, NewContact] | None = None

    def add(self, contact: NewContact, settings: CampaignSettings, now: float) -> None:
        """Count a contact."""
        number, columns = contact.number, contact.columns
        refusal = settings.rules.judge(number, columns, now)
        if refusal is None:
            self.open_now += 1
        elif refusal.until is not None:
            self.opens = refusal.until if self.opens is None else min(self.opens, refusal.until)
        if empty := settings.flow.empty(columns):
            self.defaulted += 1
            self.defaults.update(empty)
        self.zones[contact_zones(number, columns)] += 1


def draw_up(file: ContactsFile, settings: CampaignSettings, now: float) -> Plan:
    """Read a file once, and check each contact as the campaign would. It blocks.

    Raises:
        ConfigurationError: The file can no longer be read.
    """
    tally = _Tally()

    def judged() -> Iterator[tuple[int, NewContact | Rejection | None]]:
        for row, item in file.rows():
            if isinstance(item, NewContact):
                tally.add(item, settings, now)
                tally.sample = tally.sample or (row, item)
            yield row, item

    survey = survey_rows(judged(), _EXAMPLES)
    hours, short = _hours(settings.rules.window, tally.zones, now)
    return Plan(
        survey=survey,
        open_now=tally.open_now,
        opens=tally.opens,
        notes=file.notes,
        defaulted=tally.defaulted,
        defaults=dict(tally.defaults.most_common()),
        hours=hours,
        short=short,
        sample=tally.sample,
    )


def _hours(
    window: CallingWindow | None, zones: Mapping[tuple[str, ...], int], now: float
) -> tuple[dict[float, int], int]:
    """Return how many contacts have how many hours a day, and how many have few by their zones."""
    if window is None:
        return {}, 0
    whole = round(window.hours_a_day(("UTC",), now), 1)
    found: Counter[float] = Counter()
    short = 0
    for names, count in zones.items():
        hours = round(window.hours_a_day(names, now), 1)
        found[hours] += count
        if len(names) > 1 and hours < min(_FEW_HOURS, whole):
            short += count
    return dict(sorted(found.items(), reverse=True)), short


def show_plan(
    terminal: Terminal,
    plan: Plan,
    settings: CampaignSettings,
    *,
    name: str,
    count: int,
    country: str | None,
    target: str,
) -> None:
    """Show what is about to happen: ``count`` contacts of a campaign are dialled.

    ``country`` is the country of numbers without its code, if one was given; ``target`` says
    where calls go.
    """
    pace, rows = settings.pace, plan.survey
    terminal.say(f"Campaign {name}:")
    rejected = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in rows.rejected.items())
    most = list(rows.countries.items())[:_COUNTRIES]
    countries = ", ".join(f"{n} {each or '?'}" for each, n in most)
    others = len(rows.countries) - len(most)
    live = "" if pace.max_live_calls is None else f", at most {pace.max_live_calls} live"
    shortest = duration(count / pace.calls_per_second)
    lines = [
        ("target", target),
        ("rows", f"{rows.rows}, of which {rows.contacts} can be dialled"),
        ("rejected", rejected),
        ("defaults", _defaults(plan)),
        ("countries", f"{countries} and {others} more" if others else countries),
        ("to dial", str(count)),
        ("from", "" if settings.from_ is None else number_for(terminal, settings.from_)),
        *_flow_rows(terminal, plan, settings),
        ("pace", f"{pace.calls_per_second:g} a second{live}: at least {shortest}"),
        ("unknown", f"whose phone may have rung {_UNKNOWN[settings.unknown]}"),
        ("window", "" if settings.rules.window else "any: phones may ring at any hour"),
        ("now", _now(plan)),
        (
            "hours",
            ", ".join(f"{hours:g} a day for {n} contacts" for hours, n in plan.hours.items()),
        ),
        *(("rule", rule) for rule in settings.rules.describe()),
        *(("note", note) for note in plan.notes),
        ("note", _FEW_WORDS.format(plan.short) if plan.short else ""),
    ]
    for label, value in lines:
        if value:
            say_row(terminal, label, value)
    _show_rejected(terminal, rows, country)


def _now(plan: Plan) -> str:
    """Return how many contacts may be called at this time of day, and when the others may."""
    contacts = plan.survey.contacts
    if plan.open_now == contacts:
        return f"all {contacts} may be called at this time" if plan.hours else ""
    others = contacts - plan.open_now
    if plan.opens is None:
        return f"{plan.open_now} may be called now, {others} never, by the rules below"
    return (
        f"{plan.open_now} may be called now, {others} are outside their hours: the first of "
        f"them may be called at {moment_words(plan.opens)}"
    )


def _flow_rows(
    terminal: Terminal, plan: Plan, settings: CampaignSettings
) -> Iterator[tuple[str, str]]:
    """Yield the flow and, on the operator's own terminal, what one contact of the file hears."""
    steps = step_lines(terminal, settings.flow.dump())
    yield "flow", ", ".join(steps)
    if plan.sample is not None and settings.flow.columns and is_private(terminal):
        row, contact = plan.sample
        filled = step_lines(terminal, dump_pcmo(settings.flow.fill(contact.columns)))
        yield "example", f"row {row}, {contact.number}: {', '.join(filled)}"


def _show_rejected(terminal: Terminal, rows: Survey, country: str | None) -> None:
    """Show the first rows that are rejected."""
    for rejection in rows.examples:
        say_wrapped(terminal, f"  row {rejection.row}: {plain_words(rejection.reason)}", 13)
    if rows.rejected.get(Kind.NO_COUNTRY_CODE) and not country:
        say_row(
            terminal, "note", "--country 91, or another, reads numbers without a country code"
        )
    hidden = sum(rows.rejected.values()) - len(rows.examples)
    if hidden:
        terminal.say(f"  … and {hidden} rows more")


def _defaults(plan: Plan) -> str:
    """Return how many contacts the flow's defaults are used for, in words."""
    if not plan.defaulted:
        return ""
    columns = ", ".join(f"{n} without {shown(name)}" for name, n in plan.defaults.items())
    return f"used for {plan.defaulted} contacts: {columns}"


def check_columns(file: ContactsFile, settings: CampaignSettings) -> None:
    """Require that the file has the columns which the flow needs."""
    if file.number_column in settings.flow.columns:
        raise InvalidCall(
            f"needs the column {shown(file.number_column)}, which holds the numbers that are "
            "dialled, and no other data: give the file a second column with what is to be said",
            path="flow",
        )
    if file.columns:
        known = [name for name in file.columns if name != file.number_column]
        try:
            settings.flow.check(known)
        except InvalidCall as error:
            raise InvalidCall(
                f"{error.message} (in the contacts file)", path=error.path
            ) from None
