"""``telecmi-async retry-unknown``, ``-rejected``, ``-failed``: dial contacts again by decision."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import App, Parameter

from telecmi_async.cli.exits import Exit, Stop
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.cli.output.terminal import Terminal

_SENDING: Final = (
    "being sent: if their worker is gone, they count as unknown two minutes after it began"
)
_MOST_REASONS: Final = 5
Numbers: TypeAlias = Annotated[
    str, Parameter(name="NUMBERS", help="Which; all of them if none is named.")
]


@command(
    "retry-unknown",
    "retry-unknown --ledger people.db",
    "retry-unknown '+91 98765 43210' --ledger people.db",
)
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
    return await _retry(
        terminal, "unknown", numbers, "", ledger, name, confirmed, as_json=as_json
    )


def _retrying(state: str, why: str) -> App:
    """Return a command that has contacts tried again which were certainly not placed."""

    async def retry(
        *numbers: Numbers,
        reason: Annotated[str, value("TEXT")] = "",
        ledger: LedgerOption = None,
        name: CampaignOption = None,
        confirmed: Confirmed = None,
        as_json: JsonFlag = False,
        terminal: Here,
    ) -> int:
        return await _retry(
            terminal, state, numbers, reason, ledger, name, confirmed, as_json=as_json
        )

    retry.__doc__ = f"""Have contacts tried again that {why}.

    Certainly none of their phones rang.

    Args:
        reason: Only those whose reason contains this text; `export` shows the reasons.
    """
    return command(f"retry-{state}", f"retry-{state} --ledger people.db --reason text")(retry)


retry_rejected = _retrying("rejected", "TeleCMI rejected")
retry_failed = _retrying("failed", "could not be dialled")


async def _retry(
    terminal: Terminal,
    state_name: str,
    numbers: Sequence[str],
    reason: str,
    ledger: str | None,
    name: str | None,
    confirmed: int | None,
    *,
    as_json: bool,
) -> Exit:
    """Have contacts in a state tried again, once that is confirmed."""
    from telecmi_async.cli.ledgers import campaign_named, opened
    from telecmi_async.ledger import ContactState
    from telecmi_async.phone import parse_numbers

    state, wanted = ContactState(state_name), set(parse_numbers(numbers))
    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        reasons = Counter[str]()
        async for contact in book.contacts(found, states=[state]):
            if reason in contact.reason and (not wanted or contact.number in wanted):
                reasons[contact.reason] += 1
        count, rang = reasons.total(), state is ContactState.UNKNOWN
        if not count:
            sending = (await book.state(found)).counts[ContactState.SENDING] if rang else 0
            more = f"; {sending} are {_SENDING}" if sending else ""
            raise Stop(Exit.FAILED, f"no such contact is {state} in this campaign{more}")
        for said, many in reasons.most_common(_MOST_REASONS):
            terminal.say(f"{many:>9} {said}")
        if len(reasons) > _MOST_REASONS:
            terminal.say(f"and {len(reasons) - _MOST_REASONS} more reasons")
        if rang:
            terminal.say(f"{count} may have been called already, and may be called again.")
        confirm(terminal, count, given=confirmed)
        if rang:
            moved = await book.redial_unknown(found, wanted or None)
        else:
            moved = await book.reopen(found, state, wanted or None, reason=reason)
            if left := count - moved:
                terminal.say(f"{left} were left: a phone may have rung at an earlier request.")
    told = json.dumps({"campaign": found, "pending_again": moved})
    terminal.put(told if as_json else f"to be dialled again: {moved}")
    if moved:
        terminal.say("`resume` dials them.")
    return Exit.OK
