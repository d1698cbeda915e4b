"""``telecmi-async export`` and ``why``: the contacts of a campaign, all of them or one."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.messages import mask
from telecmi_async.campaigns.contacts import export
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import campaign_named, clock_words, opened
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger import ContactState
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.campaigns.contacts.export import TextTarget
    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.ledger import Contact


def run(
    terminal: Terminal,
    *,
    ledger: str | None,
    name: str | None,
    states: list[str],
    kind: str | None,
    output: str | None,
    reveal: bool,
    as_json: bool,
) -> int:
    """Write a campaign's contacts, one a row; those in ``states`` only if any are given."""
    wanted = [ContactState(state) for state in states]
    kind = kind or ("jsonl" if as_json else "csv")

    async def write() -> Exit:
        async with opened(terminal, ledger, reads=True) as book:
            found = await campaign_named(book, name, reads=True)
            with _target(terminal, output) as target:
                writer = export.write_jsonl if kind == "jsonl" else export.write_csv
                await writer(target, book, found, states=wanted, masked=not reveal)
        return Exit.OK

    return anyio.run(write)


@contextmanager
def _target(terminal: Terminal, output: str | None) -> Generator[TextTarget]:
    if output is None:
        yield _Lines(terminal)
        return
    try:
        with Path(output).open("w", encoding="utf-8", newline="") as opened_file:
            yield opened_file
    except OSError as error:  # the disk may be full
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from None


class _Lines:
    """A terminal as something to write to."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str, /) -> None:
        """Write a line."""
        self._terminal.put(text.removesuffix("\n"))


def why(
    terminal: Terminal, *, number: str, ledger: str | None, name: str | None, as_json: bool
) -> int:
    """Print what happened to a number, and why: in one campaign, or in all of the ledger."""
    wanted = parse_number(number)

    async def show() -> Exit:
        known = False
        async with opened(terminal, ledger, reads=True) as book:
            for each in await book.campaigns() if name is None else [name]:
                campaign = await campaign_named(book, each, reads=True)
                contact = await book.find(campaign, wanted)
                if contact is not None:
                    known = True
                    _show(terminal, campaign, contact, as_json=as_json)
                    if contact.state == ContactState.PENDING and (
                        words := await clock_words(book, campaign)
                    ):
                        terminal.say(f"Held up: {words}.")
        if not known:
            raise Stop(Exit.FAILED, f"{mask(wanted)} is in no campaign that was looked at")
        return Exit.OK

    return anyio.run(show)


def _show(terminal: Terminal, campaign: str, contact: Contact, *, as_json: bool) -> None:
    if as_json:
        told = export.export_row(contact, masked=True)
        del told["columns"]
        row = {"campaign": campaign, **told, "history": export.history(contact)}
        terminal.put(json.dumps(row, default=export.iso))
        return
    settled = contact.state in {ContactState.PLACED, ContactState.FINISHED}
    because = f": {contact.reason}" if contact.reason and not settled else ""
    terminal.put(f"{mask(contact.number)} in {campaign} is {contact.state}{because}")
    times = "once" if contact.sends == 1 else f"{contact.sends} times"
    terminal.put(f"  sent {times}" if contact.sends else "  nothing was ever sent")
    if contact.answered is not None:
        talk = "" if contact.talk_seconds is None else f", {contact.talk_seconds} s"
        terminal.put(f"  answered{talk}" if contact.answered else "  not answered")
    if settled:
        cost = "unknown" if contact.cost is None else f"{contact.cost:.2f}"
        terminal.put(f"  cost {cost}")
    for each in export.history(contact):
        at = export.iso(each["at"])
        terminal.put(f"  {at}  {each['what']:<9} {each['detail']}".rstrip())
