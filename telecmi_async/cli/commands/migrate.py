"""``telecmi-async migrate``: a ledger's tables, made or brought up to date by their owner."""

from __future__ import annotations

import json

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.options import Here, JsonFlag, LedgerOption, command


@command("migrate", "migrate --ledger people.db")
async def migrate(
    *, ledger: LedgerOption = None, as_json: JsonFlag = False, terminal: Here
) -> int:
    """Make a ledger's tables, or bring them up to date.

    Nothing happens if they are.
    """
    from telecmi_async.cli.ledgers import opened

    async with opened(terminal, ledger, new=True) as book:
        names = await book.campaigns()
    terminal.say(f"The ledger's tables are up to date; it has {len(names)} campaigns.")
    if as_json:
        terminal.put(json.dumps({"campaigns": names}))
    return Exit.OK
