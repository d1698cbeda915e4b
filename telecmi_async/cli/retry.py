"""``telecmi-async retry-unknown``, ``-rejected``, ``-failed``: dial contacts again by decision."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.terminal import confirm
from telecmi_async.ledger import ContactState
from telecmi_async.phone import parse_numbers

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal

_SENDING: Final = (
    "being sent: if their worker is gone, they count as unknown two minutes after it began"
)
_MOST_REASONS: Final = 5


def unknown(
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
            _print(terminal, found, moved, as_json=as_json)
            return Exit.OK

    return anyio.run(retry)


def _reopen(
    state: ContactState,
    terminal: Terminal,
    *,
    ledger: str | None,
    name: str | None,
    numbers: list[str],
    reason: str,
    confirmed: int | None,
    as_json: bool,
) -> int:
    """Have contacts tried again that were certainly not placed: all, some numbers, or a reason."""
    wanted = set(parse_numbers(numbers))

    async def retry() -> Exit:
        async with opened(terminal, ledger) as book:
            found = await campaign_named(book, name)
            reasons: Counter[str] = Counter()
            async for contact in book.contacts(found, states=[state]):
                if reason in contact.reason and (not wanted or contact.number in wanted):
                    reasons[contact.reason] += 1
            count = reasons.total()
            if not count:
                raise Stop(Exit.FAILED, f"no such contact is {state} in this campaign")
            for why, many in reasons.most_common(_MOST_REASONS):
                terminal.say(f"{many:>9} {why}")
            if len(reasons) > _MOST_REASONS:
                terminal.say(f"and {len(reasons) - _MOST_REASONS} more reasons")
            confirm(terminal, count, given=confirmed)
            moved = await book.reopen(found, state, wanted or None, reason=reason)
            if left := count - moved:
                terminal.say(f"{left} were left: a phone may have rung at an earlier request.")
            _print(terminal, found, moved, as_json=as_json)
            return Exit.OK

    return anyio.run(retry)


rejected = partial(_reopen, ContactState.REJECTED)
failed = partial(_reopen, ContactState.FAILED)


def _print(terminal: Terminal, campaign: str, moved: int, *, as_json: bool) -> None:
    told = json.dumps({"campaign": campaign, "pending_again": moved})
    terminal.put(told if as_json else str(moved))
    if moved:
        terminal.say("They are pending: `resume` dials them.")
