"""Dialling: what `dial` and `resume` do, from the contacts file to the campaign's state."""

from __future__ import annotations

import math
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import evolve

from telecmi_async import CallService, RateLimit, Receiver
from telecmi_async._internal.validators import environment_variable
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace, clock_check
from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.cli.account import account_of, target_words
from telecmi_async.cli.commands.flow import read_flow
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.messages import SETTINGS
from telecmi_async.cli.metrics import metrics_served
from telecmi_async.cli.options import who
from telecmi_async.cli.output.terminal import confirm
from telecmi_async.cli.plan import Plan, ToDial, check_columns, write_rejected
from telecmi_async.cli.rows import moment_words
from telecmi_async.cli.running import exit_for, print_state, run_campaign
from telecmi_async.cli.webhook_server import receiving
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import ContactState, Ledger, SqliteLedger
from telecmi_async.pcmo.template import Template
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.cli.account import Account
    from telecmi_async.cli.options import RunOptions
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.cli.rule_options import ContactsOptions, DialOptions, RuleOptions
    from telecmi_async.observer import Observer

_TO_DIAL: Final = (ContactState.PENDING, ContactState.CLAIMED)
# Their calls may still prove to be missed.
_MAY_BE_MISSED: Final = (
    *_TO_DIAL,
    ContactState.SENDING,
    ContactState.PLACED,
    ContactState.UNKNOWN,
)
_CALLER_ID: Final = "12025550199"
# A rehearsal does not take hours, however slowly the real thing dials.
_FAST: Final = 200.0
_REHEARSED: Final = "a simulator in this process (--dry-run): no phone rings"
# How many requests the service lets be under way; a campaign has a number of its own.
_MOST_IN_FLIGHT: Final = 1_000


def dial_file(
    terminal: Terminal,
    contacts: str,
    given: DialOptions,
    rules: RuleOptions,
    running: RunOptions,
    *,
    as_json: bool,
) -> Exit:
    """Read the file, have the plan confirmed, and carry it out."""
    if given.flow == "-" and running.secret_stdin:
        raise ConfigurationError("stdin cannot hold both the flow and the secret")
    name, campaign_rules = given.name or Path(contacts).stem, rules.rules()
    redial = rules.redial()
    from_ = given.from_ or environment_variable(terminal.environ, "TELECMI_FROM")
    account = None
    if not given.dry_run:
        account = _account(terminal, running, *([] if from_ else ["TELECMI_FROM"]))
    settings = CampaignSettings(
        flow=Template.parse(read_flow(terminal, given.flow)),
        from_=from_ or _CALLER_ID,
        pace=Pace(
            calls_per_second=given.calls_per_second,
            max_live_calls=given.max_live_calls,
            # As many as there are if replies take two seconds.
            max_in_flight=min(max(40, math.ceil(2 * given.calls_per_second)), _MOST_IN_FLIGHT),
        ),
        rules=campaign_rules,
        unknown=given.unknown,
        pause_after_refusals=given.pause_after_refusals or None,
        redial=redial,
    )
    if account is not None:
        _check_caps(settings, name, running)
    file = contacts_file(contacts, given.file, settings)
    plan = Plan(
        name=name,
        settings=settings,
        target=_REHEARSED if account is None else target_words(account.base_url),
        country=given.file.country,
        receives=account is None or running.webhooks.receives,
        forbidden=numbers_in(rules.do_not_call, given.file),
    )
    plan.read(file, time())
    if not plan.survey.contacts:
        plan.show(terminal, ToDial(0, 0, 0))
        raise Stop(Exit.USAGE, "no row of the file can be dialled")
    return anyio.run(
        partial(
            _carry_out, terminal, plan, file, given, rules, running, account, as_json=as_json
        )
    )


async def _carry_out(
    terminal: Terminal,
    plan: Plan,
    file: ContactsFile,
    given: DialOptions,
    rules: RuleOptions,
    running: RunOptions,
    account: Account | None,
    *,
    as_json: bool,
) -> Exit:
    """Confirm the plan with what the ledger knows already, and carry it out."""
    name, settings = plan.name, plan.settings
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        observer = await enter(metrics_served(terminal, running.metrics))
        if account is None:
            ledger, service = await enter(_rehearsal(plan, observer))
        else:
            ledger = await enter(opened(terminal, given.ledger, new=True))
            service = await enter(_service(terminal, account, running, observer))
        to_dial = await count_to_dial(ledger, plan, file)
        planned = plan.as_json(to_dial)
        plan.show(terminal, to_dial)
        printed = partial(print_state, terminal, as_json=as_json, rules=settings.rules)
        if not to_dial.count:
            terminal.say("All of them are in the ledger, and nothing is left to be done.")
            state = await ledger.state(name)
            printed(state, plan=planned)
            return exit_for(state, settings.rules)
        if account is None:
            pace = evolve(
                settings.pace, calls_per_second=max(_FAST, settings.pace.calls_per_second)
            )
            settings = evolve(settings, pace=pace)
            terminal.say(
                f"A dry run, on a simulator, at {pace.calls_per_second:g} a second: no phone "
                "rings."
            )
        else:
            if not plan.open_now and not running.wait:
                raise Stop(Exit.OUTSIDE_HOURS, _closed(plan))
            can_ask = given.flow != "-" and not running.secret_stdin
            counts = to_dial.count, to_dial.total, to_dial.calls
            confirm(terminal, *counts, given=given.confirmed, can_ask=can_ask)
        campaign = Campaign(ledger, service, name, settings, without_events=not plan.receives)
        await ledger.add_do_not_call(plan.forbidden, rules.do_not_call or "", by=who(None))
        await campaign.load(file.contacts(), by=who(None))
        state, code = await run_campaign(
            terminal, campaign, ledger, patient=running.wait, receives=bool(plan.receives)
        )
        printed(
            state,
            plan=planned,
            ledger=None if account is None else given.ledger or "",
            needed=running.arguments(),
        )
        return code


async def resume_campaign(
    terminal: Terminal,
    given: str | None,
    name: str | None,
    running: RunOptions,
    *,
    clock_was_ahead: bool,
    as_json: bool,
) -> Exit:
    """Go on with a campaign of a ledger."""
    account = _account(terminal, running)
    async with opened(terminal, given) as ledger:
        found = await campaign_named(ledger, name)
        settings = CampaignSettings.parse(await ledger.settings(found))
        _check_caps(settings, found, running)
        if settings.from_ is None and account.from_ is None:
            raise InvalidCall("the caller id is missing: set TELECMI_FROM")
        async with (
            metrics_served(terminal, running.metrics) as observer,
            _service(terminal, account, running, observer) as service,
        ):
            campaign = await Campaign.attach(
                ledger, service, found, without_events=running.without_webhooks
            )
            if clock_was_ahead:
                await clock_check.go_on(ledger, found, settings)
            await campaign.resume(by=who(None))
            receives = running.webhooks.receives
            state, code = await run_campaign(
                terminal, campaign, ledger, patient=running.wait, receives=receives
            )
        print_state(
            terminal,
            state,
            as_json=as_json,
            ledger=given or "",
            needed=running.arguments(),
            rules=settings.rules,
        )
        return code


def _account(terminal: Terminal, running: RunOptions, *needed: str) -> Account:
    webhooks = running.webhooks
    if webhooks.receives and running.without_webhooks:
        raise ConfigurationError("--without-webhooks excludes --webhook-url and --webhook-port")
    return account_of(terminal, *needed, *webhooks.needed, secret_stdin=running.secret_stdin)


def _check_caps(settings: CampaignSettings, name: str, running: RunOptions) -> None:
    """Require that caps are measured and redials proven, unless that was given up aloud."""
    caps = settings.measured_by_events
    if caps and not running.webhooks.receives and not running.without_webhooks:
        raise ConfigurationError(
            f"campaign {name!r} needs webhooks for {' and '.join(caps)}: give --webhook-url, or "
            "--webhook-port. --without-webhooks dials all the same: they then work only if "
            "`hook listen` records events in the ledger elsewhere"
        )


@asynccontextmanager
async def _service(
    terminal: Terminal, account: Account, running: RunOptions, observer: Observer | None
) -> AsyncGenerator[CallService]:
    """Open a service of an account; webhooks arrive here if the options say so.

    Requests always carry a reference: with it, a receiver can find the outcome of a request
    whose reply was lost, even days later.
    """
    async with (
        receiving(terminal, running.webhooks, observer) as receiver,
        CallService(
            account.credentials.app_id,
            account.credentials.secret,
            from_=account.from_,
            base_url=account.base_url,
            events=receiver,
            observer=observer,
            reference=True,
            rate=RateLimit(max_in_flight=_MOST_IN_FLIGHT),  # the campaign's own is smaller
        ) as service,
    ):
        yield service


@asynccontextmanager
async def _rehearsal(
    plan: Plan, observer: Observer | None
) -> AsyncGenerator[tuple[Ledger, CallService]]:
    """Put a simulator in TeleCMI's place, and a ledger that is thrown away.

    Its clock begins when the first contact may be called, so that a window that is closed now
    does not end the rehearsal.
    """
    ahead = 0.0 if plan.open_now or plan.opens is None else plan.opens - time()
    starts_at = datetime.now(UTC)
    simulator = Simulator(life="immediate", magic=False, latency=0.01, starts_at=starts_at)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            SqliteLedger(Path(folder) / "rehearsal.db", clock=lambda: time() + ahead) as ledger,
            simulator.service(
                events=Receiver(new_token(), observer=observer), observer=observer
            ) as service,
        ):
            yield ledger, service


def contacts_file(
    path: str, given: ContactsOptions, settings: CampaignSettings
) -> ContactsFile:
    """Return the contacts file of a campaign, and write its rejected rows if that is asked."""
    file = ContactsFile(
        path,
        column=given.column,
        country=given.country,
        encoding=given.encoding,
        delimiter=given.delimiter,
        flow=settings.flow,
    )
    check_columns(file, settings)
    if given.rejected is not None:
        write_rejected(given.rejected, file, path)
    return file


def numbers_in(path: str | None, given: ContactsOptions) -> list[int]:
    """Return the numbers of a file that must not be called; each row must be readable."""
    numbers: list[int] = []
    if path is None:
        return numbers
    for item in ContactsFile(path, country=given.country, encoding=given.encoding):
        if not isinstance(item, Rejection):
            numbers.append(item.number)
        elif item.kind is not Kind.DUPLICATE:  # that person could be called after all
            raise ConfigurationError(
                f"{path}, row {item.row}: {item.reason}; nothing is done until every number "
                "that must not be called can be read"
            )
    return numbers


def _closed(plan: Plan) -> str:
    if plan.opens is None:
        return "no contact in the file may be called, now or later: see the rules above"
    return (
        f"no contact may be called now; the first may at {moment_words(plan.opens)}. --wait "
        "waits for it, and --window says when phones may ring"
    )


async def count_to_dial(ledger: Ledger, plan: Plan, file: ContactsFile) -> ToDial:
    """Return how many contacts would be dialled: the file's new ones, and those left over.

    A campaign goes on under the settings that the ledger has.
    """
    name, each, begun = plan.name, plan.calls_each, await ledger.settings(plan.name)
    if begun is None:
        new = plan.survey.contacts
        return ToDial(new, new, new * each, new)
    if differing := plan.settings.differences(CampaignSettings.parse(begun)):
        other = ", ".join(SETTINGS[one] for one in differing)
        raise Stop(
            Exit.USAGE,
            f"the ledger has a campaign {name!r} with other settings ({other}): `resume --name "
            f"{name}` goes on with those, `change` changes them, `add` adds contacts, and `dial "
            "--name` with another name calls everyone in the file anew",
        )
    await ledger.reap(name)  # what a dead worker was sending is not dialled again
    known: set[int] = set()
    left = calls = 0
    async for contact in ledger.contacts(name):
        known.add(contact.number)
        redials = max(each - 1 - contact.redials, 0)
        missed = contact.state is ContactState.FINISHED and contact.answered is False
        if contact.state in _TO_DIAL or (missed and redials):
            left += 1
            calls += not missed
        if contact.state in _MAY_BE_MISSED or missed:
            calls += redials
    new = await anyio.to_thread.run_sync(
        lambda: sum(contact.number not in known for contact in file.contacts())
    )
    return ToDial(new + left, new + len(known), new * each + calls, new)
