"""``telecmi-async change``, ``add``, ``withdraw`` and ``history``: steer a campaign while it runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.options import (
    CampaignOption,
    Confirmed,
    Here,
    JsonFlag,
    LedgerOption,
    Who,
    command,
    number,
    value,
    who,
)
from telecmi_async.cli.rule_options import NO_OPTIONS, ContactsOptions, RuleOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.cli.output.terminal import Terminal

_RATE = number(float, 0, above=True)


@command(
    "change",
    "change --ledger people.db --cps 5 --by asha",
    "change --ledger people.db --max-cost 50 --redial-missed 2/2h",
)
async def change(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    calls_per_second: Annotated[
        float | None, value("N", "Calls per second.", name="--cps", converter=_RATE)
    ] = None,
    max_live_calls: Annotated[int | None, value("N", converter=number(int, 1))] = None,
    unknown: Literal["hold", "retry_after_proof", "give_up"] | None = None,
    pause_after_refusals: Annotated[int | None, value("N", converter=number(int, 0))] = None,
    rules: RuleOptions = RuleOptions(),
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Change a campaign's settings while it runs.

    What you do not give stays as it is. Workers take the new settings within seconds, and no
    call is sent by the old ones after that. The flow and the caller id cannot be changed.

    Args:
        max_live_calls: The most calls that may be live at once; needs webhooks.
        unknown: What happens to contacts whose phone may have rung, as for `dial`.
        pause_after_refusals: Pause the campaign after so many equal refusals in a row; 0 for
            never.
    """
    more: dict[str, Any] = {} if unknown is None else {"unknown": unknown}
    if pause_after_refusals is not None:
        more["pause_after_refusals"] = pause_after_refusals or None
    pace = {"calls_per_second": calls_per_second, "max_live_calls": max_live_calls}
    return await _change(terminal, ledger, name, pace, rules, more, who(by), as_json=as_json)


async def _change(
    terminal: Terminal,
    ledger: str | None,
    name: str | None,
    pace: Mapping[str, Any],
    rules: RuleOptions,
    more: dict[str, Any],
    by: str,
    *,
    as_json: bool,
) -> Exit:
    """Change what was given of the settings, and print from what to what."""
    from attrs import evolve

    from telecmi_async.campaigns.change import revise_settings, words_of_change
    from telecmi_async.cli.dialling import numbers_in
    from telecmi_async.cli.ledgers import campaign_named, opened

    if rules.redial_missed is not None or rules.redial_from:
        more["redial"] = rules.redial()
    forbidden = numbers_in(rules.do_not_call, NO_OPTIONS)
    given = {key: each for key, each in pace.items() if each is not None}

    def revise(before: CampaignSettings) -> CampaignSettings:
        pace = evolve(before.pace, **given)
        return evolve(before, pace=pace, rules=rules.rules(before.rules), **more)

    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        before, after = await revise_settings(book, found, revise, by)
        if forbidden:
            await book.add_do_not_call(forbidden, rules.do_not_call or "", by=by)
    said = words_of_change(before, after)
    if as_json:
        told = {"campaign": found, "changed": before.differences(after), "detail": said}
        terminal.put(json.dumps(told))
    else:
        terminal.put(f"{found}: {said or 'nothing was to be changed'}")
    if forbidden:
        terminal.say(f"Not called any more: {len(forbidden)} numbers.")
    _say_webhooks(terminal, before, after)
    return Exit.OK


def _say_webhooks(
    terminal: Terminal, before: CampaignSettings, after: CampaignSettings
) -> None:
    if new := [
        each for each in after.measured_by_events if each not in before.measured_by_events
    ]:
        terminal.say(f"Workers need webhooks for {' and '.join(new)}: see `dial --help`.")


@command("add", "add more.csv --ledger people.db", "add more.csv --ledger people.db --yes 40")
async def add(
    contacts: str,
    /,
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    file: ContactsOptions = NO_OPTIONS,
    confirmed: Confirmed = None,
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Add the contacts of a file to a campaign, also while it runs.

    The plan is shown and confirmed first, as for `dial`. Contacts that the campaign has stay as
    they are: no one is called twice. Workers that run take the new ones; else `resume` does.

    Args:
        contacts: A file of contacts: CSV or JSON lines, with a column of phone numbers.
    """
    from functools import partial
    from time import time

    import anyio.to_thread

    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.cli.dialling import contacts_file, count_to_dial
    from telecmi_async.cli.ledgers import campaign_named, opened
    from telecmi_async.cli.output.terminal import confirm
    from telecmi_async.cli.plan import Plan, ToDial

    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        settings = CampaignSettings.parse(await book.settings(found))
        run = anyio.to_thread.run_sync
        rows = await run(partial(contacts_file, contacts, file, settings))
        plan = Plan(
            name=found,
            settings=settings,
            target="the workers of this campaign, and `resume`",
            country=file.country,
            receives=None,
            forbidden=[],
        )
        await run(plan.read, rows, time())
        counted = await count_to_dial(book, plan, rows)
        calls = counted.new * plan.calls_each
        added = ToDial(counted.new, counted.total, calls, counted.new)
        plan.show(terminal, added)
        if not added.count:
            raise Stop(Exit.FAILED, "no contact of the file is new to the campaign")
        confirm(terminal, added.count, calls=added.calls, given=confirmed)
        await book.load(found, rows.contacts(), by=who(by))
        state = await book.state(found)
    planned = plan.as_json(added)
    told = json.dumps({"campaign": found, "added": added.count, "plan": planned})
    terminal.put(told if as_json else f"added: {added.count}")
    if state.asked != "running":
        terminal.say(f"The campaign is {state.asked}: `resume` dials them.")
    return Exit.OK


@command(
    "withdraw",
    "withdraw '+91 98765 43210' --ledger people.db",
    "withdraw --file wrong.csv --ledger people.db --why 'wrong list'",
)
async def withdraw_contacts(
    *numbers: Annotated[
        str, Parameter(name="NUMBERS", help="The numbers that are not to be called.")
    ],
    file: Annotated[str | None, value("FILE", "A CSV file of such numbers.")] = None,
    why: Annotated[str, value("TEXT", "The reason, for `why` and `history`.")] = "",
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Have contacts of a campaign not be called any more.

    A call that is under way is not ended: how many phones may ring all the same is printed, and
    the exit code is then 7. It holds for one campaign; `do-not-call` holds for all of the ledger.
    """
    from attrs import asdict

    from telecmi_async.cli.dialling import numbers_in
    from telecmi_async.cli.ledgers import campaign_named, opened
    from telecmi_async.phone import parse_numbers

    wanted = {*parse_numbers(numbers), *numbers_in(file, NO_OPTIONS)}
    if not wanted:
        raise Stop(Exit.USAGE, "no number is given: name some, or give --file numbers.csv")
    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        done = await book.withdraw(found, wanted, by=who(by), why=why)
    if as_json:
        terminal.put(json.dumps({"campaign": found, **asdict(done)}))
    else:
        for label, count in asdict(done).items():
            if count:
                terminal.put(f"{label:<10} {count:>9}")
    if done.may_ring:
        terminal.say(f"{done.may_ring} were sent before: their phones may ring, or have rung.")
        return Exit.UNKNOWN
    if not done.total:
        raise Stop(Exit.FAILED, "the campaign has none of these contacts")
    return Exit.PARTLY if done.missing else Exit.OK


@command("history", "history --ledger people.db")
async def print_history(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Print what people changed of a campaign, when, and who did it.

    The oldest change stands first; changes of the do-not-call list are among them. `why` prints
    the history of one contact.
    """
    from contextlib import aclosing

    from attrs import asdict

    from telecmi_async.cli.ledgers import campaign_named, opened

    async with opened(terminal, ledger, reads=True) as book:
        found = await campaign_named(book, name, reads=True)
        async with aclosing(book.changes(found)) as changes:
            async for each in changes:
                at = datetime.fromtimestamp(each.at, UTC)
                if as_json:
                    terminal.put(json.dumps({**asdict(each), "at": at.isoformat()}))
                else:
                    terminal.put(f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}  {each}")
    return Exit.OK
