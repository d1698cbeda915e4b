"""``telecmi-async do-not-call``: the numbers that no campaign of a ledger calls."""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from telecmi_async._internal.messages import mask
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.options import Here, JsonFlag, LedgerOption, Who, command, value, who
from telecmi_async.cli.rule_options import NO_OPTIONS, ContactsOptions

if TYPE_CHECKING:
    from collections.abc import Collection

    from telecmi_async.cli.output.terminal import Terminal

do_not_call = App(
    name="do-not-call", help="List, add or remove numbers that no campaign of a ledger calls."
)
_SOURCE = "Where they come from, in words."


@command("list", "do-not-call list --ledger people.db", into=do_not_call)
async def list_numbers(
    *,
    ledger: LedgerOption = None,
    reveal: Annotated[bool, Parameter(help="Print numbers in full.")] = False,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Print the do-not-call list: number, time, source, and who added it."""
    from telecmi_async.cli.ledgers import opened

    async with (
        opened(terminal, ledger, reads=True) as book,
        aclosing(book.do_not_call()) as entries,
    ):
        async for each in entries:
            shown = str(each.number) if reveal else mask(each.number)
            at = datetime.fromtimestamp(each.at, UTC)
            if as_json:
                row = {"number": shown, "at": at.isoformat()}
                terminal.put(json.dumps({**row, "source": each.source, "by": each.by}))
            else:
                more = ", ".join(filter(None, (each.source, each.by and f"by {each.by}")))
                line = f"{shown:<16} {at.astimezone():%Y-%m-%d %H:%M %Z}  {more}"
                terminal.put(line.rstrip())
    return Exit.OK


@command("add", "do-not-call add '+91 98765 43210' --ledger people.db", into=do_not_call)
async def add_numbers(
    *numbers: Annotated[str, Parameter(name="NUMBERS", help="The numbers to add.")],
    source: Annotated[str, value("TEXT", _SOURCE)] = "",
    ledger: LedgerOption = None,
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Add numbers to the do-not-call list; running campaigns do not call them any more.

    A call that is under way is not ended.
    """
    from telecmi_async.phone import parse_numbers

    return await _add(
        terminal, ledger, list(parse_numbers(numbers)), source, by, as_json=as_json
    )


@command("import", "do-not-call import never.csv --ledger people.db", into=do_not_call)
async def import_numbers(
    file: str,
    /,
    *,
    options: ContactsOptions = NO_OPTIONS,
    source: Annotated[str, value("TEXT", _SOURCE)] = "",
    ledger: LedgerOption = None,
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Add the numbers of a file to the do-not-call list.

    If a row cannot be read, none is added: that person could be called after all.

    Args:
        file: CSV or JSON lines, with a column of phone numbers.
    """
    from telecmi_async.cli.dialling import numbers_in

    numbers = numbers_in(file, options)
    return await _add(terminal, ledger, numbers, source or file, by, as_json=as_json)


async def _add(
    terminal: Terminal,
    ledger: str | None,
    numbers: Collection[int],
    source: str,
    by: str | None,
    *,
    as_json: bool,
) -> Exit:
    from telecmi_async.cli.ledgers import opened

    if not numbers:
        raise Stop(Exit.USAGE, "no number is given")
    async with opened(terminal, ledger) as book:
        added = await book.add_do_not_call(numbers, source, by=who(by))
    known = len(set(numbers)) - added
    told = json.dumps({"added": added, "known": known})
    terminal.put(told if as_json else f"added: {added}, on the list before: {known}")
    return Exit.OK


@command("remove", "do-not-call remove '+91 98765 43210' --ledger people.db", into=do_not_call)
async def remove_numbers(
    *numbers: Annotated[str, Parameter(name="NUMBERS", help="The numbers to remove.")],
    ledger: LedgerOption = None,
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Remove numbers from the do-not-call list.

    Contacts that it blocked stay blocked: they are not called unless you decide so.
    """
    from telecmi_async.cli.ledgers import opened
    from telecmi_async.phone import parse_numbers

    wanted = set(parse_numbers(numbers))
    if not wanted:
        raise Stop(Exit.USAGE, "no number is given")
    async with opened(terminal, ledger) as book:
        removed = await book.remove_do_not_call(wanted, by=who(by))
    missing = len(wanted) - removed
    told = json.dumps({"removed": removed, "missing": missing})
    terminal.put(told if as_json else f"removed: {removed}, not on the list: {missing}")
    return Exit.PARTLY if missing else Exit.OK
