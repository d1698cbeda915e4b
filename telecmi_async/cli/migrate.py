"""``telecmi-async migrate``: a ledger's tables, made or brought up to date by their owner."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.ledgers import opened

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal


def run(terminal: Terminal, *, ledger: str | None, as_json: bool) -> int:
    """Make a ledger's tables, or bring them up to date; nothing happens if they are."""

    async def migrate() -> Exit:
        async with opened(terminal, ledger, new=True) as book:
            names = await book.campaigns()
        terminal.say(f"The ledger's tables are up to date; it has {len(names)} campaigns.")
        if as_json:
            terminal.put(json.dumps({"campaigns": names}))
        return Exit.OK

    return anyio.run(migrate)
