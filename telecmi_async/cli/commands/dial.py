"""``telecmi-async dial`` and ``resume``: call all contacts in a file, each once.

What they do is in `telecmi_async.cli.dialling`, so that their help is quick.
"""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import frozen
from cyclopts import Parameter

from telecmi_async.cli.options import (
    FILE_OR_STDIN,
    CallerId,
    CallsPerSecond,
    CampaignOption,
    Confirmed,
    Here,
    JsonFlag,
    LedgerOption,
    RunOptions,
    command,
    number,
    unwrapped,
    value,
)
from telecmi_async.cli.rule_options import RuleOptions

_RIGHT_AGAIN = (
    "Go on at once after the clock was ahead and was set back; make sure that it is right now."
)


@Parameter(name="*")
@frozen(kw_only=True)
class DialOptions:
    """What is dialled, and how.

    Args:
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

    flow: Annotated[str, FILE_OR_STDIN]
    ledger: LedgerOption = None
    name: Annotated[str | None, value("CAMPAIGN")] = None
    calls_per_second: CallsPerSecond = 1.0
    max_live_calls: Annotated[int | None, value("N", converter=number(int, 1))] = None
    from_: CallerId = None
    country: Annotated[str | None, value("CODE")] = None
    column: Annotated[str | None, value("NAME")] = None
    encoding: Annotated[str, value("NAME")] = "utf-8"
    delimiter: Annotated[str | None, value("CHAR")] = None
    rejected: Annotated[str | None, value("FILE")] = None
    unknown: Literal["hold", "retry_after_proof", "give_up"] = "hold"
    pause_after_refusals: Annotated[int, value("N", converter=number(int, 0))] = 10
    dry_run: bool = False
    confirmed: Confirmed = None


DialOptions.__doc__ = unwrapped(DialOptions.__doc__)


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
    given: DialOptions,
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
    """
    from telecmi_async.cli.dialling import dial_file  # help is quick

    return dial_file(terminal, contacts, given, rules, running, as_json=as_json)


@command(
    "resume",
    "resume --ledger people.db",
    "resume --ledger people.db --name people --wait",
)
async def resume(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    running: RunOptions = RunOptions(),
    clock_was_ahead: Annotated[bool, Parameter(help=_RIGHT_AGAIN)] = False,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Go on with a campaign that was left or paused.

    It asks nothing: its contacts were confirmed when the campaign was started.
    """
    from telecmi_async.cli.dialling import go_on  # help is quick

    return await go_on(
        terminal, ledger, name, running, clock_was_ahead=clock_was_ahead, as_json=as_json
    )
