"""``telecmi-async dial``: call all contacts in a file, each once, even if it is interrupted."""

from __future__ import annotations

import math
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import attrs
from attrs import frozen

from telecmi_async import CallService, Receiver
from telecmi_async._internal.validators import environment_variable
from telecmi_async.campaigns import Campaign, CampaignRules, CampaignSettings, Pace
from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.cli import plan as plans
from telecmi_async.cli.account import Account, account_of, target_words
from telecmi_async.cli.dial_options import DialOptions, rules_of
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.flow import read_flow
from telecmi_async.cli.ledgers import opened
from telecmi_async.cli.rows import say_row
from telecmi_async.cli.running import exit_for, print_state, run_campaign
from telecmi_async.cli.terminal import confirm
from telecmi_async.cli.webhook_server import (
    MOST_IN_FLIGHT,
    campaign_service,
    check_caps,
    resume_arguments,
)
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import ContactState, Ledger, SqliteLedger
from telecmi_async.pcmo.template import Template
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.cli.plan import Plan
    from telecmi_async.cli.terminal import Terminal

_TO_DIAL: Final = (ContactState.PENDING, ContactState.CLAIMED)
_CALLER_ID: Final = 12025550199
# A rehearsal does not take hours, however slowly the real thing dials.
_FAST: Final = 200.0
_REHEARSED: Final = "a simulator in this process (--dry-run): no phone rings"


@frozen
class _Exchange:
    """The ledger, service and receiver of a campaign."""

    ledger: Ledger
    service: CallService
    receiver: Receiver | None


def run(terminal: Terminal, **given: Any) -> int:
    """Show the plan, have it confirmed, and carry it out."""
    order = DialOptions(**given)
    if order.flow == "-" and order.secret_stdin:
        raise ConfigurationError("stdin cannot hold both the flow and the secret")
    rules = rules_of(order)
    account = None if order.dry_run else account_of(terminal, secret_stdin=order.secret_stdin)
    settings = _settings(terminal, order, rules, account)
    receives = (order.webhook_port, order.webhook_url) != (None, None)
    if account is not None:
        without = order.without_webhooks
        check_caps(settings, order.campaign, receives=receives, without_webhooks=without)
    file = ContactsFile(
        order.contacts,
        column=order.column,
        country=order.country,
        encoding=order.encoding,
        delimiter=order.delimiter,
        flow=settings.flow,
    )
    plans.check_columns(file, settings)
    plan = plans.draw_up(file, settings, time())
    target = _REHEARSED if account is None else target_words(account.base_url)
    if not plan.survey.contacts:
        show_plan = partial(plans.show_plan, terminal, plan, settings, name=order.campaign)
        show_plan(count=0, country=order.country, target=target)
        raise Stop(Exit.USAGE, "no row of the file can be dialled")
    exchange = _rehearsal(plan) if account is None else _for_real(terminal, order, account)
    forbidden = _forbidden(order)
    dial = partial(_dial, terminal, order, file, plan, settings, forbidden, exchange)
    return anyio.run(partial(dial, target=target))


def _settings(
    terminal: Terminal, order: DialOptions, rules: CampaignRules, account: Account | None
) -> CampaignSettings:
    """Return what the campaign is begun with."""
    from_ = order.from_ or environment_variable(terminal.environ, "TELECMI_FROM")
    if not from_ and account is None:
        from_ = str(_CALLER_ID)
    if not from_:
        raise InvalidCall("is missing: give --from, or set TELECMI_FROM", path="from")
    return CampaignSettings(
        flow=Template.parse(read_flow(terminal, order.flow)),
        from_=from_,
        pace=Pace(
            calls_per_second=order.calls_per_second,
            max_live_calls=order.max_live_calls,
            max_in_flight=_in_flight(order.calls_per_second),
        ),
        rules=rules,
        unknown=order.unknown,
        pause_after_refusals=order.pause_after_refusals or None,
    )


def _in_flight(calls_per_second: float) -> int:
    """Return for how many requests there must be room, if replies take two seconds."""
    return min(max(40, math.ceil(2 * calls_per_second)), MOST_IN_FLIGHT)


def _forbidden(order: DialOptions) -> list[int]:
    """Return the numbers that must not be called."""
    if order.do_not_call is None:
        return []
    numbers: list[int] = []
    for item in ContactsFile(order.do_not_call, country=order.country, encoding=order.encoding):
        if not isinstance(item, Rejection):
            numbers.append(item.number)
        elif item.kind is not Kind.DUPLICATE:  # that person could be called after all
            raise ConfigurationError(
                f"{order.do_not_call}, row {item.row}: {item.reason}; no call is placed until "
                "every number that must not be called can be read"
            )
    return numbers


@asynccontextmanager
async def _for_real(
    terminal: Terminal, order: DialOptions, account: Account
) -> AsyncGenerator[_Exchange]:
    host, port, url = order.webhook_host, order.webhook_port, order.webhook_url
    async with (
        opened(terminal, order.ledger, new=True) as ledger,
        campaign_service(terminal, account, host=host, port=port, url=url) as made,
    ):
        yield _Exchange(ledger, *made)


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
            yield _Exchange(ledger, service, receiver)


async def _dial(
    terminal: Terminal,
    order: DialOptions,
    file: ContactsFile,
    plan: Plan,
    settings: CampaignSettings,
    forbidden: list[int],
    opening: AbstractAsyncContextManager[_Exchange],
    *,
    target: str,
) -> Exit:
    """Confirm the plan with what the ledger knows already, and carry it out."""
    name = order.campaign
    async with opening as exchange:
        ledger = exchange.ledger
        await _check_begun(ledger, name, settings)
        count, total = await _to_dial(ledger, name, file, plan)
        plans.show_plan(
            terminal,
            plan,
            settings,
            name=name,
            count=count,
            country=order.country,
            target=target,
        )
        if forbidden:
            say_row(terminal, "do not", f"call {len(forbidden)} more numbers")
        _say_webhooks(terminal, settings, receives=exchange.receiver is not None)
        if not count:
            terminal.say("All of them are in the ledger, and nothing is left to be done.")
            state = await ledger.state(name)
            print_state(terminal, state, as_json=order.as_json, plan=plan.as_json(count))
            return exit_for(state, settings.rules)
        if order.dry_run:
            settings = _faster(settings)
            pace = settings.pace.calls_per_second
            terminal.say(f"A dry run, on a simulator, at {pace:g} a second: no phone rings.")
        else:
            if not plan.open_now and not order.patient:
                raise Stop(Exit.OUTSIDE_HOURS, _closed(plan))
            free = order.flow != "-" and not order.secret_stdin
            confirm(terminal, count, total, given=order.confirmed, can_ask=free)
        campaign = Campaign(
            ledger,
            exchange.service,
            name,
            settings,
            without_events=exchange.receiver is None,
        )
        await ledger.add_do_not_call(forbidden, order.do_not_call or "")
        await campaign.load(file.contacts())
        state, code = await run_campaign(
            terminal,
            campaign,
            ledger,
            patient=order.patient,
            receives=exchange.receiver is not None,
        )
        ledger_named = None if order.dry_run else order.ledger or ""
        print_state(
            terminal,
            state,
            as_json=order.as_json,
            ledger=ledger_named,
            needed=resume_arguments(attrs.asdict(order)),
            plan=plan.as_json(count),
        )
        return code


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
        f"no contact may be called now; the first may at {plans.moment_words(plan.opens)}. --wait "
        "waits for it, and --window says when phones may ring"
    )


async def _check_begun(ledger: Ledger, name: str, settings: CampaignSettings) -> None:
    """Refuse to go on with a campaign under other settings than it was begun with."""
    begun = await ledger.settings(name)
    if begun is None or CampaignSettings.parse(begun) == settings:
        return
    other = ", ".join(settings.differences(CampaignSettings.parse(begun)))
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
