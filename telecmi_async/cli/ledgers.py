"""Ledgers: opens the file or PostgreSQL database that a command works on."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from telecmi_async._internal.secrets import Secret
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.campaigns.clock_check import held_up, words_for
from telecmi_async.cli.account import is_set, secret_variable
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.errors import ConfigurationError, StoreError
from telecmi_async.ledger import PostgresLedger, SqliteLedger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.ledger import Ledger

_URL = re.compile(r"postgres(?:ql)?://")
_WITH_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@|[?&]password=")


def is_named(terminal: Terminal, given: str | None) -> bool:
    """Return whether an argument or the environment names a ledger."""
    return bool(given) or is_set(terminal.environ, "TELECMI_LEDGER")


@asynccontextmanager
async def opened(
    terminal: Terminal, given: str | None, *, new: bool = False, reads: bool = False
) -> AsyncGenerator[Ledger]:
    """Open the ledger that an argument or the environment names.

    With ``new``, a file that does not exist is created. A command that only ``reads`` does not
    bring the schema up to date, and needs no right to write.

    Raises:
        Stop: No ledger is named, or there is no such file.
        ConfigurationError: It cannot be opened, or the argument contains a password.
        StoreError: It does not answer.
    """
    if given is not None and _URL.match(given) and _WITH_PASSWORD.search(given):
        raise ConfigurationError(
            "all users of this machine see arguments: give a database with its password in "
            "TELECMI_LEDGER, or in the file that TELECMI_LEDGER_FILE names"
        )
    if not is_named(terminal, given):
        raise Stop(Exit.USAGE, "no ledger: give --ledger FILE, or set TELECMI_LEDGER")
    try:
        place = Secret(given) if given else secret_variable(terminal.environ, "TELECMI_LEDGER")
    except ConfigurationError as error:
        raise Stop(Exit.USAGE, f"no ledger: {error}") from None
    async with _ledger_at(place, new=new, migrate=not reads) as ledger:
        yield ledger


def _ledger_at(place: Secret, *, new: bool, migrate: bool) -> Ledger:
    if _URL.match(place.reveal()):
        return PostgresLedger(place.reveal(), migrate=migrate)
    path = Path(place.reveal())
    if not new and not path.exists():
        raise Stop(Exit.USAGE, f"there is no ledger {path}: `dial` makes one")
    return SqliteLedger(path, migrate=migrate)


async def clock_words(ledger: Ledger, name: str) -> str:
    """Return what to say of a campaign that a clock holds up; empty if none does."""
    try:
        settings = CampaignSettings.parse(await ledger.settings(name))
        seconds = await held_up(ledger, name, settings)
        return words_for(seconds, await ledger.now()) if seconds else ""
    except (ConfigurationError, StoreError):  # it may be read only, or of a later version
        return ""


async def campaign_named(ledger: Ledger, name: str | None, *, reads: bool = False) -> str:
    """Return the name of the campaign: the one given, or the only one there is.

    First, contacts that dead workers left behind are released, so that the state shown is true;
    a command that only ``reads`` goes on if it may not write.

    Raises:
        Stop: No campaign has that name, or there are several and no name is given.
    """
    names = await ledger.campaigns()
    if name is None and len(names) == 1:
        (name,) = names
    if name is None:
        which = f"it has {', '.join(names)}: give --name" if names else "it has none"
        raise Stop(Exit.USAGE, f"which campaign of this ledger? {which}")
    if name not in names:
        raise Stop(Exit.USAGE, f"there is no campaign {name!r} in this ledger")
    try:
        await ledger.reap(name)
    except (ConfigurationError, StoreError):
        if not reads:
            raise
    return name
