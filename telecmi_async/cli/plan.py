"""Plan: what `dial` is about to do, shown before the first call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async._internal.messages import mask
from telecmi_async.campaigns.contacts.files import Rejection
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.campaigns.zones import country_of
from telecmi_async.cli.progress import duration
from telecmi_async.errors import InvalidCall

if TYPE_CHECKING:
    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.campaigns.contacts.files import ContactsFile
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
    """What a file holds, and what would become of it now.

    Args:
        contacts: How many can be dialled, each number once.
        rejected: How many rows cannot, by what is wrong.
        examples: The first of them.
        countries: How many contacts are in each country.
        open_now: How many may be dialled at once, by the rules that need no ledger.
        opens: When the first of the others may be; ``None`` if never.
        notes: What people should know of the file.
    """

    contacts: int
    rejected: Mapping[str, int]
    examples: tuple[Rejection, ...]
    countries: Mapping[str, int]
    open_now: int
    opens: float | None
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows the file has that are not empty."""
        return self.contacts + sum(self.rejected.values())


def draw_up(file: ContactsFile, settings: CampaignSettings, now: float) -> Plan:
    """Read a file once, and look at each contact as the campaign would. It blocks.

    Args:
        file: The contacts.
        settings: What the campaign is begun with.
        now: The time, in seconds since 1970.

    Raises:
        ConfigurationError: It cannot be read any more.
    """
    countries: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    kept: list[Rejection] = []
    open_now = 0
    opens: float | None = None
    for item in file:
        if isinstance(item, Rejection):
            rejected[item.kind] += 1
            if len(kept) < _EXAMPLES:
                kept.append(item)
            continue
        countries[country_of(item.number) or "?"] += 1
        refusal = settings.rules.judge(item.number, item.columns, now)
        if refusal is None:
            open_now += 1
        elif refusal.until is not None:
            opens = refusal.until if opens is None else min(opens, refusal.until)
    return Plan(
        contacts=countries.total(),
        rejected=dict(rejected.most_common()),
        examples=tuple(kept),
        countries=dict(countries.most_common()),
        open_now=open_now,
        opens=opens,
        notes=file.notes,
    )


def show_plan(
    terminal: Terminal,
    plan: Plan,
    settings: CampaignSettings,
    *,
    name: str,
    count: int,
    country: str | None,
) -> None:
    """Say what is about to happen.

    Args:
        terminal: Where.
        plan: What the file holds.
        settings: What the campaign is begun with.
        name: The campaign's name.
        count: How many contacts it has to dial.
        country: The country of numbers without its code, if one was given.
    """
    pace = settings.pace
    terminal.say(f"Campaign {name}:")
    rejected = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in plan.rejected.items())
    most = list(plan.countries.items())[:_COUNTRIES]
    countries = ", ".join(f"{n} {country}" for country, n in most)
    others = len(plan.countries) - len(most)
    others_may = "never, by the rules below" if plan.opens is None else "later"
    live = "" if pace.max_live_calls is None else f", at most {pace.max_live_calls} live"
    lines = {
        "rows": f"{plan.rows}, of which {plan.contacts} can be dialled",
        "rejected": rejected,
        "countries": f"{countries} and {others} more" if others else countries,
        "to dial": str(count),
        "now": ""
        if plan.open_now == plan.contacts
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
    for rejection in plan.examples:
        terminal.say(f"  row {rejection.row}: {rejection.reason}")
    if plan.rejected.get(Kind.NO_COUNTRY_CODE) and not country:
        terminal.say(
            f"  {'note':<10} --country 91, or another, reads numbers without a country code"
        )
    hidden = sum(plan.rejected.values()) - len(plan.examples)
    if hidden:
        terminal.say(f"  … and {hidden} rows more")


def check_columns(file: ContactsFile, settings: CampaignSettings) -> None:
    """Refuse a flow that needs columns which the file does not have.

    Raises:
        InvalidCall: One is missing.
    """
    if file.columns:
        known = [name for name in file.columns if name != file.number_column]
        try:
            settings.flow.check(known)
        except InvalidCall as error:
            raise InvalidCall(
                f"{error.message} (in the contacts file)", path=error.path
            ) from None
