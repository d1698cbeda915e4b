"""``telecmi-async retry-unknown``, ``-rejected``, ``-failed``: dial contacts again by decision."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import App, Parameter

from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.options import (
    CampaignOption,
    Confirmed,
    Here,
    JsonFlag,
    LedgerOption,
    command,
    value,
)
from telecmi_async.cli.output.terminal import confirm
from telecmi_async.ledger import ContactState
from telecmi_async.phone import parse_numbers

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal

_SENDING: Final = (
    "being sent: if their worker is gone, they count as unknown two minutes after it began"
)
_MOST_REASONS: Final = 5


_UNKNOWN_EXAMPLE: Final = "retry-unknown '+91 98765 43210' --ledger people.db"
Numbers: TypeAlias = Annotated[
    str, Parameter(name="NUMBERS", help="Which; all of them if none is named.")
]


@command("retry-unknown", "retry-unknown --ledger people.db", _UNKNOWN_EXAMPLE)
async def retry_unknown(
    *numbers: Numbers,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    confirmed: Confirmed = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Have people dialled again who may have been called already.

    Their phones may have rung: whether they are called again is your decision.
    """
    wanted = list(parse_numbers(numbers))
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
            more = f"; {sending} are {_SENDING}" if sending else ""
            raise Stop(Exit.FAILED, f"no such contact is unknown in this campaign{more}")
        terminal.say(f"{count} may have been called already, and may be called again.")
        confirm(terminal, count, given=confirmed)
        moved = await book.redial_unknown(found, wanted or None)
        return _report(terminal, found, moved, as_json=as_json)


def _reopening(state: ContactState, why: str) -> App:
    """Return a command that has contacts tried again which were certainly not placed."""

    async def reopen(
        *numbers: Numbers,
        reason: Annotated[str, value("TEXT")] = "",
        ledger: LedgerOption = None,
        name: CampaignOption = None,
        confirmed: Confirmed = None,
        as_json: JsonFlag = False,
        terminal: Here,
    ) -> int:
        wanted = set(parse_numbers(numbers))
        async with opened(terminal, ledger) as book:
            found = await campaign_named(book, name)
            reasons: Counter[str] = Counter()
            async for contact in book.contacts(found, states=[state]):
                if reason in contact.reason and (not wanted or contact.number in wanted):
                    reasons[contact.reason] += 1
            count = reasons.total()
            if not count:
                raise Stop(Exit.FAILED, f"no such contact is {state} in this campaign")
            for said, many in reasons.most_common(_MOST_REASONS):
                terminal.say(f"{many:>9} {said}")
            if len(reasons) > _MOST_REASONS:
                terminal.say(f"and {len(reasons) - _MOST_REASONS} more reasons")
            confirm(terminal, count, given=confirmed)
            moved = await book.reopen(found, state, wanted or None, reason=reason)
            if left := count - moved:
                terminal.say(f"{left} were left: a phone may have rung at an earlier request.")
            return _report(terminal, found, moved, as_json=as_json)

    reopen.__doc__ = f"""Have contacts tried again that {why}.

    Certainly none of their phones rang.

    Args:
        reason: Only those whose reason contains this text; `export` shows the reasons.
    """
    return command(f"retry-{state}", f"retry-{state} --ledger people.db --reason text")(reopen)


retry_rejected = _reopening(ContactState.REJECTED, "TeleCMI rejected")
retry_failed = _reopening(ContactState.FAILED, "could not be dialled")


def _report(terminal: Terminal, campaign: str, moved: int, *, as_json: bool) -> Exit:
    told = json.dumps({"campaign": campaign, "pending_again": moved})
    terminal.put(told if as_json else f"to be dialled again: {moved}")
    if moved:
        terminal.say("`resume` dials them.")
    return Exit.OK
