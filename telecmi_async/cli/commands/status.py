"""``telecmi-async status`` and ``pause``: a campaign from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.options import (
    CampaignOption,
    Here,
    JsonFlag,
    LedgerOption,
    Who,
    command,
    span_of_time,
    value,
    who,
)

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.ledger import Ledger


@command("status", "status --ledger people.db", "status --ledger people.db --watch --every 5")
async def status(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    as_json: JsonFlag = False,
    watch: bool = False,
    every: Annotated[float, value("TIME", converter=span_of_time(0.1))] = 2.0,
    terminal: Here,
) -> int:
    """Print how a campaign stands.

    If the ledger has several campaigns and none is named, there is a line for each. The exit
    code is the one that the campaign's own command would have, had it been left now.

    Args:
        watch: Go on until the campaign is done or stopped: redraw on a terminal, else print a
            line each time. Ctrl-C ends this, and not the campaign.
        every: How often --watch looks, such as 2s or 1m.
    """
    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.cli.ledgers import campaign_named, clock_words, opened
    from telecmi_async.cli.running import exit_for, print_state, state_as_json
    from telecmi_async.cli.state_words import BUSY, campaign_words, limit_words

    async with opened(terminal, ledger, reads=True) as book:
        if watch:
            name = await _watch(terminal, book, name, every, as_json=as_json)
        names = [name] if name is not None else await book.campaigns()
        for each in names or [""]:
            found = await campaign_named(book, each or name, reads=True)
            state = await book.state(found)
            settings = CampaignSettings.parse(await book.settings(found))
            words = campaign_words(state, settings.rules, await book.next_due(found))
            if len(names) <= 1:
                terminal.say(f"{found}: {words}")
                idle = not any(state.counts[each] for each in BUSY)
                print_state(
                    terminal,
                    state,
                    as_json=as_json,
                    ledger=(ledger or "") if idle else None,
                    needed=["--webhook-url", "URL"] if settings.measured_by_events else [],
                    rules=settings.rules,
                )
            elif as_json:
                terminal.put(json.dumps(state_as_json(state)))
            else:
                terminal.put(f"{found}: {state.left} of {state.total} to be dialled; {words}")
            if held_up := await clock_words(book, found) or limit_words(state, settings):
                terminal.say(f"Held up: {held_up}.")
            if len(names) <= 1:
                return exit_for(state, settings.rules)
        return Exit.OK


async def _watch(
    terminal: Terminal, book: Ledger, name: str | None, every: float, *, as_json: bool
) -> str:
    """Show a campaign's progress until it is done or stopped; return its name."""
    import anyio

    from telecmi_async.cli.ledgers import campaign_named
    from telecmi_async.cli.output.display import Panel
    from telecmi_async.cli.output.progress import progress_words
    from telecmi_async.cli.running import state_as_json

    panel = Panel(terminal) if terminal.can_redraw and not as_json else None
    try:
        while True:
            found = await campaign_named(book, name, reads=True)
            state = await book.state(found)
            if state.status == "done" or (state.status == "stopped" and not state.workers):
                return found
            if panel is not None:
                panel.show(state)
            else:
                words = json.dumps(state_as_json(state)) if as_json else None
                terminal.put(words or progress_words(state))
            await anyio.sleep(every)
    finally:
        if panel is not None:
            panel.finish(None)


@command("pause", "pause --ledger people.db --name people")
async def pause(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    by: Who = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Have all workers of a campaign start nothing more.

    What was sent goes on; `resume` has them start calls again.
    """
    from telecmi_async.cli.ledgers import campaign_named, opened
    from telecmi_async.cli.running import state_as_json

    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        await book.set_status(found, "paused", "from the command line", by=who(by))
        terminal.say(f"{found} is paused; what was sent goes on.")
        if as_json:
            terminal.put(json.dumps(state_as_json(await book.state(found))))
        return Exit.OK
