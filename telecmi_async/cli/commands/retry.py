"""``telecmi-async retry-unknown``, ``-missed``, ``-rejected``, ``-failed``: dial contacts again."""

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
    who,
)
from telecmi_async.cli.output.terminal import confirm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.ledger import Ledger

_SENDING: Final = (
    "being sent: if their worker is gone, they count as unknown two minutes after it began"
)
_NOT_MISSED: Final = (
    "no such contact was called without an answer in this campaign; one that waits for a redial "
    "is pending already"
)
_LEFT: Final = "a phone may have rung at an earlier request"
_LEFT_MISSED: Final = "another of their calls may still ring, or it is too late for them"
_MOST_REASONS: Final = 5
Numbers: TypeAlias = Annotated[
    str,
    Parameter(
        name="NUMBERS", help="The numbers of the contacts; all of them if none is named."
    ),
]


def _deciding(which: str, doc: str) -> App:
    """Return a command that has people called again whose phones may have rung before."""

    async def retry(
        *numbers: Numbers,
        ledger: LedgerOption = None,
        name: CampaignOption = None,
        confirmed: Confirmed = None,
        as_json: JsonFlag = False,
        terminal: Here,
    ) -> int:
        return await _retry(
            terminal, which, numbers, "", ledger, name, confirmed, as_json=as_json
        )

    retry.__doc__ = doc
    name = f"retry-{which}"
    examples = (f"{name} --ledger people.db", f"{name} '+91 98765 43210' --ledger people.db")
    return command(name, *examples)(retry)


retry_unknown = _deciding(
    "unknown",
    """Have people dialled again who may have been called already.

    Their phones may have rung: whether they are called again is your decision.
    """,
)
retry_missed = _deciding(
    "missed",
    """Have people dialled again who did not answer.

    The record of their last call proves that. They are due at once, in the calling hours; in a
    campaign with --redial-missed it counts as one of their redials.
    """,
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
retry_blocked = _retrying("blocked", "a rule or a person blocked")


async def _retry(
    terminal: Terminal,
    which: str,
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

    missed, wanted = which == "missed", set(parse_numbers(numbers))
    state = ContactState.FINISHED if missed else ContactState(which)
    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        reasons = Counter[str]()
        async for contact in book.contacts(found, states=[state]):
            fits = contact.answered is False if missed else reason in contact.reason
            if fits and (not wanted or contact.number in wanted):
                reasons["not answered" if missed else contact.reason] += 1
        count, rang = reasons.total(), state is ContactState.UNKNOWN
        if not count:
            sending = (await book.state(found)).counts[ContactState.SENDING] if rang else 0
            more = f"; {sending} are {_SENDING}" if sending else ""
            what = (
                _NOT_MISSED if missed else f"no such contact is {state} in this campaign{more}"
            )
            raise Stop(Exit.FAILED, what)
        for said, many in reasons.most_common(_MOST_REASONS):
            terminal.say(f"{many:>9} {said}")
        if len(reasons) > _MOST_REASONS:
            terminal.say(f"and {len(reasons) - _MOST_REASONS} more reasons")
        if rang:
            terminal.say(f"{count} may have been called already, and may be called again.")
        confirm(terminal, count, given=confirmed)
        moved = await _pending_again(book, found, which, wanted or None, reason)
        if not rang and (left := count - moved):
            terminal.say(f"{left} were left: {_LEFT_MISSED if missed else _LEFT}.")
    told = json.dumps({"campaign": found, "pending_again": moved})
    terminal.put(told if as_json else f"to be dialled again: {moved}")
    if moved:
        terminal.say("`resume` dials them.")
    return Exit.OK


async def _pending_again(
    book: Ledger, name: str, which: str, numbers: set[int] | None, reason: str
) -> int:
    """Make the contacts pending, and return how many were."""
    from telecmi_async.ledger import ContactState

    if which == "missed":
        return await book.redial_missed(name, None, numbers, by=who(None))
    if which == "unknown":
        return await book.redial_unknown(name, numbers, by=who(None))
    return await book.reopen(name, ContactState(which), numbers, reason=reason, by=who(None))
