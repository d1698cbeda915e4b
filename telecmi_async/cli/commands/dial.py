"""``telecmi-async dial`` and ``resume``: call all contacts in a file, each once.

What they do is in `telecmi_async.cli.dialling`, so that their help is quick.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from telecmi_async.cli.options import (
    CampaignOption,
    Here,
    JsonFlag,
    LedgerOption,
    RunOptions,
    command,
)
from telecmi_async.cli.rule_options import DialOptions, RuleOptions

_RIGHT_AGAIN = (
    "Go on at once after the clock was ahead and was set back; make sure that it is right now."
)


@command(
    "dial",
    "dial people.csv --flow hello.json --dry-run",
    "dial people.csv --flow hello.json --ledger people.db",
    "dial people.csv --flow hello.json --redial-missed 2/2h",
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
        contacts: A file of contacts: CSV or JSON lines, with a column of phone numbers.
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
    from telecmi_async.cli.dialling import resume_campaign  # help is quick

    return await resume_campaign(
        terminal, ledger, name, running, clock_was_ahead=clock_was_ahead, as_json=as_json
    )
