"""``telecmi-async status``, ``pause`` and ``retry-unknown``: a campaign from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.campaigns import CampaignSettings
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.running import BUSY, exit_for, print_state, state_as_json
from telecmi_async.cli.terminal import confirm
from telecmi_async.ledger import ContactState
from telecmi_async.phone import parse_numbers

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal

_SENDING: Final = (
    "being sent: if their worker is gone, they count as unknown two minutes after it began"
)


def run(terminal: Terminal, *, ledger: str | None, name: str | None, as_json: bool) -> int:
    """Print the state of a campaign, or of each of them if there are several.

    The exit code is the one its own command would have, had it been left now.
    """

    async def look() -> Exit:
        async with opened(terminal, ledger) as book:
            names = [name] if name is not None else await book.campaigns()
            if len(names) <= 1:
                found = await campaign_named(book, name)
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
                return exit_for(state, settings.rules)
            for each in names:
                state = await book.state(await campaign_named(book, each))
                left = sum(
                    state.counts[at] for at in (ContactState.PENDING, ContactState.CLAIMED)
                )
                words = f"{each}: {state.doing}, {state.total} contacts, {left} to be dialled"
                terminal.put(json.dumps(state_as_json(state)) if as_json else words)
            return Exit.OK

    return anyio.run(look)


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


def retry_unknown(
    terminal: Terminal,
    *,
    ledger: str | None,
    name: str | None,
    numbers: list[str],
    confirmed: int | None,
    as_json: bool,
) -> int:
    """Redial contacts of unknown outcome, all or those named: their phones may have rung.

    ``confirmed`` is how many were confirmed beforehand.
    """
    wanted = list(parse_numbers(numbers))

    async def retry() -> Exit:
        async with opened(terminal, ledger) as book:
            found = await campaign_named(book, name)
            counts = (await book.state(found)).counts
            count = counts[ContactState.UNKNOWN]
            if wanted:
                contacts = [await book.find(found, number) for number in wanted]
                unknown = [each for each in contacts if each and each.state == "unknown"]
                count = len({each.number for each in unknown})
            if not count:
                sending = counts[ContactState.SENDING]
                raise Stop(
                    Exit.FAILED,
                    "no such contact is unknown in this campaign"
                    + (f"; {sending} are {_SENDING}" if sending else ""),
                )
            terminal.say(f"{count} may have been called already, and may be called again.")
            confirm(terminal, count, given=confirmed)
            moved = await book.redial_unknown(found, wanted or None)
            told = json.dumps({"campaign": found, "pending_again": moved})
            terminal.put(told if as_json else str(moved))
            terminal.say("They are pending: `resume` dials them.")
            return Exit.OK

    return anyio.run(retry)
