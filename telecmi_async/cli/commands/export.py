"""``telecmi-async export`` and ``why``: the contacts of a campaign, all of them or one."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from telecmi_async._internal.messages import mask
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.options import (
    CampaignOption,
    Here,
    JsonFlag,
    LedgerOption,
    command,
    value,
)
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.campaigns.contacts.export import TextTarget
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.ledger import Contact

# Those of `ContactState`; help is quick without it.
StateName: TypeAlias = Literal[
    "pending",
    "claimed",
    "sending",
    "placed",
    "finished",
    "rejected",
    "failed",
    "blocked",
    "unknown",
]


@command(
    "export",
    "export --ledger people.db --output people-done.csv",
    "export --name people --state pending --reveal --output rest.csv",
)
async def export_contacts(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    kind: Annotated[Literal["csv", "jsonl"] | None, Parameter(name="--format")] = None,
    states: Annotated[tuple[StateName, ...], Parameter(name="--state")] = (),
    output: Annotated[str | None, value("FILE")] = None,
    reveal: bool = False,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Write a campaign's contacts.

    Args:
        kind: The format of the file; csv unless given, or jsonl with --json.
        states: Write only contacts in this state; may be repeated.
        output: The file to write; stdout unless given.
        reveal: Write numbers in full. Without it the contact's number is masked, and phone
            numbers in its columns, so that the file cannot be dialled; dates, times, amounts and
            order numbers stay.
    """
    from telecmi_async.campaigns.contacts import export
    from telecmi_async.cli.ledgers import campaign_named, opened
    from telecmi_async.ledger import ContactState

    wanted = [ContactState(each) for each in states]
    kind = kind or ("jsonl" if as_json else "csv")
    writer = export.write_jsonl if kind == "jsonl" else export.write_csv
    async with opened(terminal, ledger, reads=True) as book:
        found = await campaign_named(book, name, reads=True)
        with _target(terminal, output) as target:
            hidden = await writer(target, book, found, states=wanted, masked=not reveal)
    if hidden:
        columns = ", ".join(f"{column} ({count})" for column, count in hidden.items())
        terminal.say(f"Masked numbers in: {columns}. --reveal writes them in full.")
    return Exit.OK


@contextmanager
def _target(terminal: Terminal, output: str | None) -> Generator[TextTarget]:
    if output is None:
        yield terminal
        return
    try:
        with Path(output).open("w", encoding="utf-8", newline="") as opened_file:
            yield opened_file
    except OSError as error:  # the disk may be full
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from None


@command("why", "why '+91 98765 43210' --ledger people.db")
async def why(
    number: str,
    /,
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Say what happened to a number, and why.

    It is looked for in one campaign, or in all of the ledger.

    Args:
        number: The contact's phone number.
    """
    from telecmi_async.cli.ledgers import campaign_named, clock_words, opened
    from telecmi_async.phone import parse_number

    wanted, known = parse_number(number), False
    async with opened(terminal, ledger, reads=True) as book:
        for each in await book.campaigns() if name is None else [name]:
            campaign = await campaign_named(book, each, reads=True)
            if (contact := await book.find(campaign, wanted)) is None:
                continue
            known = True
            _show(terminal, campaign, contact, as_json=as_json)
            waits = contact.state == "pending"
            if waits and (words := await clock_words(book, campaign)):
                terminal.say(f"Held up: {words}.")
    if not known:
        raise Stop(Exit.FAILED, f"{mask(wanted)} is in no campaign that was looked at")
    return Exit.OK


def _show(terminal: Terminal, campaign: str, contact: Contact, *, as_json: bool) -> None:
    from telecmi_async.campaigns.contacts import export
    from telecmi_async.cli.state_words import history_words, reason_words
    from telecmi_async.ledger.states import STATE_MEANINGS

    if as_json:
        told = export.export_row(contact, masked=True)
        del told["columns"]
        row = {"campaign": campaign, **told, "history": export.history(contact)}
        terminal.put(json.dumps(row, default=export.iso))
        return
    settled = contact.state in {"placed", "finished"}
    reason = "" if settled or not contact.reason else f": {reason_words(contact.reason)}"
    state = f"{contact.state} ({STATE_MEANINGS[contact.state]})"
    terminal.put(f"{mask(contact.number)} in {campaign} is {state}{reason}")
    times = "once" if contact.sends == 1 else f"{contact.sends} times"
    terminal.put(f"  sent {times}" if contact.sends else "  nothing was ever sent")
    if contact.answered is not None:
        talk = "" if contact.talk_seconds is None else f", {contact.talk_seconds} s"
        terminal.put(f"  answered{talk}" if contact.answered else "  not answered")
    if settled:
        cost = "unknown" if contact.cost is None else f"{contact.cost:.2f}"
        terminal.put(f"  cost {cost}")
    for each in export.history(contact):
        words = history_words(each["what"], each["detail"])
        terminal.put(f"  {each['at'].astimezone():%Y-%m-%d %H:%M:%S %Z}  {words}")
