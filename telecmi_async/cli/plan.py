"""Plan: what `dial` is about to do, shown before the first call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async._internal.messages import mask
from telecmi_async.campaigns.contacts.files import Survey, survey_rows
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.cli.progress import duration
from telecmi_async.errors import InvalidCall
from telecmi_async.ledger import NewContact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection
    from telecmi_async.cli.terminal import Terminal

_EXAMPLES: Final = 10
_COUNTRIES: Final = 8
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
    """

    survey: Survey
    open_now: int
    opens: float | None
    notes: tuple[str, ...]


def draw_up(file: ContactsFile, settings: CampaignSettings, now: float) -> Plan:
    """Read a file once, and check each contact as the campaign would. It blocks.

    Raises:
        ConfigurationError: The file can no longer be read.
    """
    open_now = 0
    opens: float | None = None

    def judged() -> Iterator[tuple[int, NewContact | Rejection | None]]:
        nonlocal open_now, opens
        for row, item in file.rows():
            if isinstance(item, NewContact):
                refusal = settings.rules.judge(item.number, item.columns, now)
                if refusal is None:
                    open_now += 1
                elif refusal.until is not None:
                    opens = refusal.until if opens is None else min(opens, refusal.until)
            yield row, item

    survey = survey_rows(judged(), _EXAMPLES)
    return Plan(survey=survey, open_now=open_now, opens=opens, notes=file.notes)


def show_plan(
    terminal: Terminal,
    plan: Plan,
    settings: CampaignSettings,
    *,
    name: str,
    count: int,
    country: str | None,
) -> None:
    """Show what is about to happen: ``count`` contacts of a campaign are dialled.

    ``country`` is the country of numbers without its code, if one was given.
    """
    pace, rows = settings.pace, plan.survey
    terminal.say(f"Campaign {name}:")
    rejected = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in rows.rejected.items())
    most = list(rows.countries.items())[:_COUNTRIES]
    countries = ", ".join(f"{n} {each or '?'}" for each, n in most)
    others = len(rows.countries) - len(most)
    others_may = "never, by the rules below" if plan.opens is None else "later"
    live = "" if pace.max_live_calls is None else f", at most {pace.max_live_calls} live"
    lines = {
        "rows": f"{rows.rows}, of which {rows.contacts} can be dialled",
        "rejected": rejected,
        "countries": f"{countries} and {others} more" if others else countries,
        "to dial": str(count),
        "now": ""
        if plan.open_now == rows.contacts
        else f"{plan.open_now} may be called now, the others {others_may}",
        "from": "" if settings.from_ is None else mask(settings.from_),
        "flow": ", ".join(str(action.get("action")) for action in settings.flow.dump()),
        "pace": f"{pace.calls_per_second:g} a second{live}: "
        f"at least {duration(count / pace.calls_per_second)}",
        "unknown": f"whose phone may have rung {_UNKNOWN[settings.unknown]}",
        "window": "" if settings.rules.window else "any: phones may ring at any hour",
    }
    for label, value in lines.items():
        if value:
            terminal.say(f"  {label:<10} {value}")
    for rule in settings.rules.describe():
        terminal.say(f"  {'rule':<10} {rule}")
    for note in plan.notes:
        terminal.say(f"  {'note':<10} {note}")
    for rejection in rows.examples:
        terminal.say(f"  row {rejection.row}: {rejection.reason}")
    if rows.rejected.get(Kind.NO_COUNTRY_CODE) and not country:
        terminal.say(
            f"  {'note':<10} --country 91, or another, reads numbers without a country code"
        )
    hidden = sum(rows.rejected.values()) - len(rows.examples)
    if hidden:
        terminal.say(f"  … and {hidden} rows more")


def check_columns(file: ContactsFile, settings: CampaignSettings) -> None:
    """Require that the file has the columns which the flow needs."""
    if file.columns:
        known = [name for name in file.columns if name != file.number_column]
        try:
            settings.flow.check(known)
        except InvalidCall as error:
            raise InvalidCall(
                f"{error.message} (in the contacts file)", path=error.path
            ) from None
