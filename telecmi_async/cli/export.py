"""``telecmi-async export`` and ``why``: the contacts of a campaign, all of them or one."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger import ContactState
from telecmi_async.phone import mask, mask_in, parse_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Sequence

    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.ledger import Contact, Ledger

__all__ = ["FIELDS", "Target", "run", "why"]

#: What an exported row begins with; a contact's own columns follow, each under ``column.``.
FIELDS: Final = (
    "number", "state", "reason", "sends", "request_id", "answered", "talk_seconds", "cost",
    "sent_at", "finished_at",
)  # fmt: skip
# A spreadsheet takes what begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def run(
    terminal: Terminal,
    *,
    ledger: str | None,
    name: str | None,
    states: list[str],
    kind: str,
    output: str | None,
    reveal: bool,
) -> int:
    """Write a campaign's contacts, one a row.

    Args:
        terminal: What to write to.
        ledger: The ledger.
        name: The campaign.
        states: Only those in these states; all if none is named.
        kind: ``"csv"`` or ``"jsonl"``.
        output: The file to write; stdout if not given.
        reveal: Whether numbers are written in full.

    Returns:
        An `Exit`.

    Raises:
        Stop: There is no such campaign.
        TelecmiError: The ledger cannot be used, or fails.
    """
    wanted = [ContactState(state) for state in states]

    async def export() -> Exit:
        async with opened(terminal, ledger) as book:
            found = await campaign_named(book, name)
            with _target(terminal, output) as target:
                if kind == "jsonl":
                    async for contact in book.contacts(found, states=wanted):
                        row = _row(contact, reveal=reveal)
                        columns = _columns(contact, reveal=reveal)
                        target.write(json.dumps({**row, "columns": columns}) + "\n")
                else:
                    await _write_csv(target, book, found, wanted, reveal=reveal)
        return Exit.OK

    return anyio.run(export)


class Target(Protocol):
    """What rows are written to."""

    def write(self, text: str, /) -> object:
        """Write some text."""
        ...


async def _write_csv(
    target: Target, book: Ledger, name: str, wanted: Sequence[ContactState], *, reveal: bool
) -> None:
    """Write rows that a spreadsheet opens and takes for nothing but text and numbers."""
    names: dict[str, None] = {}
    async for contact in book.contacts(name, states=wanted):
        names.update(dict.fromkeys(contact.columns))
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([*FIELDS, *(_cell(f"column.{key}") for key in names)])
    async for contact in book.contacts(name, states=wanted):
        columns = _columns(contact, reveal=reveal)
        row = _row(contact, reveal=reveal)
        writer.writerow(
            [
                _cell(value)
                for value in (*row.values(), *(columns.get(key, "") for key in names))
            ]
        )


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _row(contact: Contact, *, reveal: bool) -> dict[str, object]:
    return {
        "number": str(contact.number) if reveal else mask(contact.number),
        "state": str(contact.state),
        "reason": contact.reason,
        "sends": contact.sends,
        "request_id": contact.request_id,
        "answered": contact.answered,
        "talk_seconds": contact.talk_seconds,
        "cost": contact.cost,
        "sent_at": _moment(contact.sent_at),
        "finished_at": _moment(contact.finished_at),
    }


def _columns(contact: Contact, *, reveal: bool) -> dict[str, str]:
    if reveal:
        return dict(contact.columns)
    return {key: mask_in(value) for key, value in contact.columns.items()}


def _moment(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


@contextmanager
def _target(terminal: Terminal, output: str | None) -> Generator[Target]:
    if output is None:
        yield _Lines(terminal)
        return
    try:
        opened_file = Path(output).open("w", encoding="utf-8", newline="")  # noqa: SIM115  # below
    except OSError as error:
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from None
    with opened_file:
        yield opened_file


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
    """Tell what happened to a number: why, when, how often, under which rule.

    Args:
        terminal: What to write to.
        number: Whose.
        ledger: The ledger.
        name: The campaign; all of the ledger's if not given.
        as_json: Whether to print an object a campaign.

    Returns:
        An `Exit`.

    Raises:
        InvalidCall: It is no number.
        Stop: No campaign has it.
        TelecmiError: The ledger cannot be used, or fails.
    """
    wanted = parse_number(number)

    async def tell() -> Exit:
        known = False
        async with opened(terminal, ledger) as book:
            async for campaign in _campaigns(book, name):
                contact = await book.find(campaign, wanted)
                if contact is not None:
                    known = True
                    _show(terminal, campaign, contact, as_json=as_json)
        if not known:
            raise Stop(Exit.FAILED, f"{mask(wanted)} is in no campaign that was looked at")
        return Exit.OK

    return anyio.run(tell)


async def _campaigns(book: Ledger, name: str | None) -> AsyncIterator[str]:
    for each in await book.campaigns() if name is None else [name]:
        yield await campaign_named(book, each)


def _show(terminal: Terminal, campaign: str, contact: Contact, *, as_json: bool) -> None:
    if as_json:
        history = [
            {
                "at": _moment(each.at),
                "what": each.what,
                "detail": each.detail,
                "send": each.token,
            }
            for each in contact.history
        ]
        row = {"campaign": campaign, **_row(contact, reveal=False), "history": history}
        terminal.put(json.dumps(row))
        return
    because = f": {contact.reason}" if contact.reason else ""
    terminal.put(f"{mask(contact.number)} in {campaign} is {contact.state}{because}")
    times = "once" if contact.sends == 1 else f"{contact.sends} times"
    terminal.put(f"  sent {times}" if contact.sends else "  nothing was ever sent")
    if contact.answered is not None:
        terminal.put(
            f"  answered, {contact.talk_seconds or 0} s"
            if contact.answered
            else "  not answered"
        )
    for each in contact.history:
        terminal.put(f"  {_moment(each.at)}  {each.what:<9} {each.detail}".rstrip())
