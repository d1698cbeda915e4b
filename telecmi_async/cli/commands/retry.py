"""``telecmi-async retry-unknown``, ``-rejected``, ``-failed``: dial contacts again by decision."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import anyio
from cyclopts import Parameter

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


Numbers: TypeAlias = Annotated[
    str, Parameter(name="NUMBERS", help="Which; all of them if none is named.")
]
Reason: TypeAlias = Annotated[
    str,
    value(
        "TEXT",
        "Only those whose reason contains this text; `export` shows the reasons.",
        show_default=False,
    ),
]


@command(
    "retry-unknown",
    "retry-unknown --ledger people.db",
    "retry-unknown '+91 98765 43210' --ledger people.db",
)
def retry_unknown(
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


@command("retry-rejected", "retry-rejected --ledger people.db --reason 'balance'")
def retry_rejected(
    *numbers: Numbers,
    reason: Reason = "",
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    confirmed: Confirmed = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Have contacts tried again that TeleCMI rejected.

    Certainly none of their phones rang.
    """
    return _reopen(
        terminal,
        ContactState.REJECTED,
        numbers,
        reason,
        ledger=ledger,
        name=name,
        confirmed=confirmed,
        as_json=as_json,
    )


@command("retry-failed", "retry-failed --ledger people.db")
def retry_failed(
    *numbers: Numbers,
    reason: Reason = "",
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    confirmed: Confirmed = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Have contacts tried again that could not be dialled.

    Certainly none of their phones rang.
    """
    return _reopen(
        terminal,
        ContactState.FAILED,
        numbers,
        reason,
        ledger=ledger,
        name=name,
        confirmed=confirmed,
        as_json=as_json,
    )


def _reopen(
    terminal: Terminal,
    state: ContactState,
    numbers: tuple[str, ...],
    reason: str,
    *,
    ledger: str | None,
    name: str | None,
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


def _print(terminal: Terminal, campaign: str, moved: int, *, as_json: bool) -> None:
    told = json.dumps({"campaign": campaign, "pending_again": moved})
    terminal.put(told if as_json else str(moved))
    if moved:
        terminal.say("They are pending: `resume` dials them.")
