"""``telecmi-async status`` and ``pause``: a campaign from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio

from telecmi_async.campaigns import CampaignSettings
from telecmi_async.cli.exits import Exit
from telecmi_async.cli.ledgers import campaign_named, clock_words, opened
from telecmi_async.cli.running import BUSY, exit_for, print_state, state_as_json
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal


def run(terminal: Terminal, *, ledger: str | None, name: str | None, as_json: bool) -> int:
    """Print the state of a campaign, or of each of them if there are several.

    The exit code is the one its own command would have, had it been left now.
    """

    async def look() -> Exit:
        async with opened(terminal, ledger, reads=True) as book:
            names = [name] if name is not None else await book.campaigns()
            if len(names) <= 1:
                found = await campaign_named(book, name, reads=True)
                state = await book.state(found)
                settings = CampaignSettings.parse(await book.settings(found))
                terminal.say(f"{state.name}: {state.doing}")
                idle = not any(state.counts[each] for each in BUSY)
                needed = ["--webhook-url", "URL"] if settings.measured_by_events else []
                print_state(
                    terminal,
                    state,
                    as_json=as_json,
                    ledger=(ledger or "") if idle else None,
                    needed=needed,
                )
                _say_clock(terminal, await clock_words(book, found))
                return exit_for(state, settings.rules)
            for each in names:
                state = await book.state(await campaign_named(book, each, reads=True))
                left = sum(
                    state.counts[at] for at in (ContactState.PENDING, ContactState.CLAIMED)
                )
                words = f"{each}: {state.doing}, {state.total} contacts, {left} to be dialled"
                terminal.put(json.dumps(state_as_json(state)) if as_json else words)
                _say_clock(terminal, await clock_words(book, each))
            return Exit.OK

    return anyio.run(look)


def _say_clock(terminal: Terminal, words: str) -> None:
    if words:
        terminal.say(f"Held up: {words}.")


def pause(terminal: Terminal, *, ledger: str | None, name: str | None, as_json: bool) -> int:
    """Ask all workers of a campaign to start nothing more until `resume`."""

    async def ask() -> Exit:
        async with opened(terminal, ledger) as book:
            found = await campaign_named(book, name)
            await book.set_status(found, "paused", "from the command line")
            terminal.say(f"{found} is paused; what was sent goes on.")
            if as_json:
                terminal.put(json.dumps(state_as_json(await book.state(found))))
            return Exit.OK

    return anyio.run(ask)
