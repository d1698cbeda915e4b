"""``telecmi-async status`` and ``pause``: a campaign from outside."""

from __future__ import annotations

import json

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.options import CampaignOption, Here, JsonFlag, LedgerOption, command


@command("status", "status --ledger people.db")
async def status(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Print how a campaign stands.

    If the ledger has several campaigns and none is named, there is a line for each. The exit
    code is the one that the campaign's own command would have, had it been left now.
    """
    from telecmi_async.campaigns import CampaignSettings
    from telecmi_async.cli.ledgers import campaign_named, clock_words, opened
    from telecmi_async.cli.running import exit_for, print_state, state_as_json
    from telecmi_async.cli.state_words import BUSY, campaign_words

    async with opened(terminal, ledger, reads=True) as book:
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
            if held_up := await clock_words(book, found):
                terminal.say(f"Held up: {held_up}.")
            if len(names) <= 1:
                return exit_for(state, settings.rules)
        return Exit.OK


@command("pause", "pause --ledger people.db --name people")
async def pause(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
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
        await book.set_status(found, "paused", "from the command line")
        terminal.say(f"{found} is paused; what was sent goes on.")
        if as_json:
            terminal.put(json.dumps(state_as_json(await book.state(found))))
        return Exit.OK
