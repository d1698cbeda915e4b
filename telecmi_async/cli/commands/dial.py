"""``telecmi-async dial``: call all contacts in a file, each once, even if it is interrupted."""

from __future__ import annotations

import math
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import anyio
import anyio.to_thread
import attrs
from attrs import frozen

from telecmi_async import CallService, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace, UnknownPolicy
from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.cli import plan as plans
from telecmi_async.cli.account import account_of, caller_id, target_words
from telecmi_async.cli.commands.flow import read_flow
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import opened
from telecmi_async.cli.messages import SETTINGS
from telecmi_async.cli.options import (
    FILE_OR_STDIN,
    CallerId,
    CallsPerSecond,
    Confirmed,
    Here,
    JsonFlag,
    LedgerOption,
    RunOptions,
    command,
    number,
    value,
)
from telecmi_async.cli.output.terminal import Terminal, confirm
from telecmi_async.cli.plan import Plan
from telecmi_async.cli.rejected_rows import write_rejected
from telecmi_async.cli.rows import moment_words, say_row
from telecmi_async.cli.rule_options import RuleOptions
from telecmi_async.cli.running import exit_for, print_state, run_campaign
from telecmi_async.cli.webhook_server import (
    MOST_IN_FLIGHT,
    campaign_service,
    check_caps,
    check_token,
)
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import ContactState, Ledger, SqliteLedger
from telecmi_async.pcmo.template import Template
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.cli.account import Account
    from telecmi_async.ledger import CampaignState

_TO_DIAL: Final = (ContactState.PENDING, ContactState.CLAIMED)
_CALLER_ID: Final = "12025550199"
# A rehearsal does not take hours, however slowly the real thing dials.
_FAST: Final = 200.0
_REHEARSED: Final = "a simulator in this process (--dry-run): no phone rings"

#: What a campaign is carried out with. Without a receiver, no events of calls come.
_Exchange: TypeAlias = tuple[Ledger, CallService, Receiver | None]


@command(
    "dial",
    "dial people.csv --flow hello.json --dry-run",
    "dial people.csv --flow hello.json --ledger people.db --per-number 1/24h",
    "dial people.csv --flow hello.json --window 10:00-18:00",
    "dial people.csv --flow hello.json --cps 5 --rejected bad.csv",
)
def dial(
    contacts: str,
    /,
    *,
    flow: Annotated[str, FILE_OR_STDIN],
    ledger: LedgerOption = None,
    name: Annotated[str | None, value("CAMPAIGN")] = None,
    calls_per_second: CallsPerSecond = 1.0,
    max_live_calls: Annotated[int | None, value("N", converter=number(int, 1))] = None,
    from_: CallerId = None,
    country: Annotated[str | None, value("CODE")] = None,
    column: Annotated[str | None, value("NAME")] = None,
    encoding: Annotated[str, value("NAME")] = "utf-8",
    delimiter: Annotated[str | None, value("CHAR")] = None,
    rejected: Annotated[str | None, value("FILE")] = None,
    unknown: UnknownPolicy = "hold",
    pause_after_refusals: Annotated[int, value("N", converter=number(int, 0))] = 10,
    dry_run: bool = False,
    confirmed: Confirmed = None,
    running: RunOptions = RunOptions(),
    rules: RuleOptions = RuleOptions(),
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Call all contacts in a file, each once, even if it is interrupted.

    The plan is shown and confirmed first. What is sent is in the ledger before it is sent, so
    that no one is called twice, whenever it ends: the same command, or `resume`, goes on. Then
    --yes may be what is left, or all contacts as at first. Ctrl-C once starts no more calls and
    waits for what was sent; twice leaves at once.

    Args:
        contacts: CSV or JSON lines, with a column of numbers.
        flow: The call flow as JSON, with {name} for what the column name says; - for stdin.
        name: What the campaign is called; as the file, unless given.
        max_live_calls: How many may be live at once; needs webhooks.
        country: The country of numbers without its code, such as 91.
        column: The column that holds the numbers, if it is not found.
        encoding: Of the files, such as cp1252; a byte order mark overrides it.
        delimiter: Between the cells of CSV: of , ; | and tab, the first row's most frequent
            unless given.
        rejected: Write the rows that cannot be dialled, and why, to this CSV file. It holds
            numbers in full, so only you may read it.
        unknown: Contacts whose phone may have rung: hold them, or, once it is proven that it did
            not ring, call them again or give up.
        pause_after_refusals: Pause after so many equal refusals in a row; 0 for never.
        dry_run: Do all of it on a simulator: no phone rings.
    """
    if flow == "-" and running.secret_stdin:
        raise ConfigurationError("stdin cannot hold both the flow and the secret")
    name = name or Path(contacts).stem
    campaign_rules = rules.rules()
    lacking: dict[str, str] = {}
    from_ = caller_id(terminal, from_, lacking)
    if not running.without_webhooks:
        check_token(terminal, running.webhooks, lacking)
    account = (
        None
        if dry_run
        else account_of(terminal, secret_stdin=running.secret_stdin, lacking=lacking)
    )
    settings = CampaignSettings(
        flow=Template.parse(read_flow(terminal, flow)),
        from_=from_ or _CALLER_ID,
        pace=_pace(calls_per_second, max_live_calls),
        rules=campaign_rules,
        unknown=unknown,
        pause_after_refusals=pause_after_refusals or None,
    )
    if account is not None:
        check_caps(settings, name, running)
    file = ContactsFile(
        contacts,
        column=column,
        country=country,
        encoding=encoding,
        delimiter=delimiter,
        flow=settings.flow,
    )
    plans.check_columns(file, settings)
    if rejected is not None:
        write_rejected(rejected, file, contacts)
    plan = plans.draw_up(file, settings, time())
    order = _Order(
        terminal=terminal,
        name=name,
        settings=settings,
        file=file,
        plan=plan,
        target=_REHEARSED if account is None else target_words(account.base_url),
        country=country,
        rules=rules,
        forbidden=_forbidden(rules.do_not_call, country=country, encoding=encoding),
        ledger=ledger,
        running=running,
        can_ask=flow != "-" and not running.secret_stdin,
        confirmed=confirmed,
        dry_run=dry_run,
        as_json=as_json,
    )
    if not plan.survey.contacts:
        order.show_plan(0)
        raise Stop(Exit.USAGE, "no row of the file can be dialled")
    exchange = _rehearsal(plan) if account is None else _for_real(order, account)
    return anyio.run(_carry_out, order, exchange)


@frozen(kw_only=True)
class _Order:
    """What is carried out, and how."""

    terminal: Terminal
    name: str
    settings: CampaignSettings
    file: ContactsFile
    plan: Plan
    target: str
    country: str | None
    rules: RuleOptions
    forbidden: list[int]
    ledger: str | None
    running: RunOptions
    can_ask: bool
    confirmed: int | None
    dry_run: bool
    as_json: bool

    def show_plan(self, count: int) -> None:
        """Show what is about to happen."""
        plans.show_plan(
            self.terminal,
            self.plan,
            self.settings,
            name=self.name,
            count=count,
            country=self.country,
            target=self.target,
        )

    def print_state(self, state: CampaignState, count: int, ledger: str | None = None) -> None:
        """Print how the campaign stands; with a ledger, how to go on as well."""
        print_state(
            self.terminal,
            state,
            as_json=self.as_json,
            rules=self.settings.rules,
            ledger=ledger,
            needed=self.running.arguments(),
            plan=self.plan.as_json(count),
        )


async def _carry_out(order: _Order, opening: AbstractAsyncContextManager[_Exchange]) -> Exit:
    """Confirm the plan with what the ledger knows already, and carry it out."""
    terminal, name, settings, plan = order.terminal, order.name, order.settings, order.plan
    async with opening as (ledger, service, receiver):
        await _check_begun(ledger, name, settings)
        count, total = await _to_dial(ledger, name, order.file, plan)
        order.show_plan(count)
        if order.forbidden:
            say_row(terminal, "do not", f"call {len(order.forbidden)} more numbers")
        _say_webhooks(terminal, settings, receives=receiver is not None)
        if not count:
            terminal.say("All of them are in the ledger, and nothing is left to be done.")
            state = await ledger.state(name)
            order.print_state(state, count)
            return exit_for(state, settings.rules)
        if order.dry_run:
            settings = _faster(settings)
            pace = settings.pace.calls_per_second
            terminal.say(f"A dry run, on a simulator, at {pace:g} a second: no phone rings.")
        else:
            if not plan.open_now and not order.running.wait:
                raise Stop(Exit.OUTSIDE_HOURS, _closed(plan))
            confirm(terminal, count, total, given=order.confirmed, can_ask=order.can_ask)
        campaign = Campaign(ledger, service, name, settings, without_events=receiver is None)
        await ledger.add_do_not_call(order.forbidden, order.rules.do_not_call or "")
        await campaign.load(order.file.contacts())
        receives = receiver is not None
        patient = order.running.wait
        state, code = await run_campaign(
            terminal, campaign, ledger, patient=patient, receives=receives
        )
        order.print_state(state, count, None if order.dry_run else order.ledger or "")
        return code


def _pace(calls_per_second: float, max_live_calls: int | None) -> Pace:
    """Return a pace with room for so many requests as there are if replies take two seconds."""
    return Pace(
        calls_per_second=calls_per_second,
        max_live_calls=max_live_calls,
        max_in_flight=min(max(40, math.ceil(2 * calls_per_second)), MOST_IN_FLIGHT),
    )


def _forbidden(path: str | None, *, country: str | None, encoding: str) -> list[int]:
    """Return the numbers that must not be called."""
    if path is None:
        return []
    numbers: list[int] = []
    for item in ContactsFile(path, country=country, encoding=encoding):
        if not isinstance(item, Rejection):
            numbers.append(item.number)
        elif item.kind is not Kind.DUPLICATE:  # that person could be called after all
            raise ConfigurationError(
                f"{path}, row {item.row}: {item.reason}; no call is placed until every number "
                "that must not be called can be read"
            )
    return numbers


@asynccontextmanager
async def _for_real(order: _Order, account: Account) -> AsyncGenerator[_Exchange]:
    terminal = order.terminal
    async with (
        opened(terminal, order.ledger, new=True) as ledger,
        campaign_service(terminal, account, order.running) as (service, receiver),
    ):
        yield ledger, service, receiver


@asynccontextmanager
async def _rehearsal(plan: Plan) -> AsyncGenerator[_Exchange]:
    """Put a simulator in TeleCMI's place, and a ledger that is thrown away.

    Its clock begins when the first contact may be called, so that a window that is closed now
    does not end the rehearsal.
    """
    ahead = 0.0 if plan.open_now or plan.opens is None else plan.opens - time()
    simulator = Simulator(life="immediate", magic=False, latency=0.01)
    receiver = Receiver(new_token())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rehearsal.db"
        async with (
            SqliteLedger(path, clock=lambda: time() + ahead) as ledger,
            simulator.service(events=receiver) as service,
        ):
            yield ledger, service, receiver


def _say_webhooks(terminal: Terminal, settings: CampaignSettings, *, receives: bool) -> None:
    """Say whether the campaign will learn how its calls went, and what it misses if not."""
    if receives:
        say_row(terminal, "webhooks", "received here: who answered, for how long, at what cost")
        return
    say_row(
        terminal,
        "webhooks",
        "none: you will not learn who answered, unless `hook listen` records events in this "
        "ledger elsewhere",
    )
    if settings.rules.cost is not None:
        say_row(terminal, "note", "without webhooks the cost of calls is unknown")
    if settings.pace.max_live_calls is not None:
        say_row(terminal, "note", "without webhooks a call counts as live for 91 minutes")


def _faster(settings: CampaignSettings) -> CampaignSettings:
    """Return settings under which a rehearsal is soon over."""
    pace = settings.pace
    faster = max(_FAST, pace.calls_per_second)
    return attrs.evolve(settings, pace=attrs.evolve(pace, calls_per_second=faster))


def _closed(plan: Plan) -> str:
    if plan.opens is None:
        return "no contact in the file may be called, now or later: see the rules above"
    return (
        f"no contact may be called now; the first may at {moment_words(plan.opens)}. --wait "
        "waits for it, and --window says when phones may ring"
    )


async def _check_begun(ledger: Ledger, name: str, settings: CampaignSettings) -> None:
    """Refuse to go on with a campaign under other settings than it was begun with."""
    begun = await ledger.settings(name)
    if begun is None or CampaignSettings.parse(begun) == settings:
        return
    names = settings.differences(CampaignSettings.parse(begun))
    other = ", ".join(SETTINGS[each] for each in names)
    raise Stop(
        Exit.USAGE,
        f"the ledger has a campaign {name!r} that was begun with other settings ({other}): "
        f"`resume --name {name}` goes on with those, `dial --name` with another name calls "
        "everyone in the file anew",
    )


async def _to_dial(
    ledger: Ledger, name: str, file: ContactsFile, plan: Plan
) -> tuple[int, int]:
    """Return how many contacts would be dialled, and how many the campaign would have in all.

    Those that would are the file's new ones, and those left over.
    """
    if await ledger.settings(name) is None:
        return plan.survey.contacts, plan.survey.contacts
    await ledger.reap(name)  # what a dead worker was sending is not dialled again
    known = {contact.number async for contact in ledger.contacts(name)}
    new = await anyio.to_thread.run_sync(
        lambda: sum(contact.number not in known for contact in file.contacts())
    )
    state = await ledger.state(name)
    return new + sum(state.counts[each] for each in _TO_DIAL), new + len(known)
