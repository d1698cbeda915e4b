"""Export: a campaign's contacts as rows, columns, CSV and JSON lines."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from telecmi_async._internal.characters import INVISIBLE
from telecmi_async._internal.messages import mask
from telecmi_async.campaigns.contacts.masking import mask_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from telecmi_async.ledger import Contact, ContactState, Ledger

__all__ = [
    "FIELDS",
    "TextTarget",
    "columns_of",
    "counts",
    "export_row",
    "flat_row",
    "history",
    "iso",
    "mark",
    "rows",
    "unmark",
    "write_csv",
    "write_jsonl",
]

#: The first fields of a row, in this order. A contact's own columns follow.
FIELDS: Final[tuple[str, ...]] = (
    "number", "state", "reason", "sends", "request_id", "answered", "talk_seconds", "cost",
    "sent_at", "finished_at", "waits_until", "redials",
)  # fmt: skip
# A spreadsheet may run a text that begins so, after blanks, marks that are not seen and quotation
# marks; a + or - before a plain number does no harm. It looks for this at the start of each cell,
# and that is also after what ends cells in another country.
_UNSEEN: Final = (
    r"[\x00-\x08\x0b\x0c\x0e-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    rf"{INVISIBLE}\"'\u2018\u2019\u201c\u201d]*"
)
# The last ones are full-width and small forms, superscripts, subscripts, and the minus sign.
_STARTS: Final = (
    r"[=+\-@|%\uff1d\uff0b\uff0d\uff20\uff5c\uff05\ufe66\ufe62\ufe63\ufe6b\ufe6a"
    r"\u207a\u207b\u207c\u208a\u208b\u208c\u2212]"
)
_ENDS: Final = r"[;,|\t\r\n]"
_NUMBER: Final = rf" *[+-]?[0-9]+(?:\.[0-9]+)* ?%?(?={_ENDS}|\Z)"
_RUNS: Final = rf"(?!{_NUMBER}){_UNSEEN}{_STARTS}"
_UNMARKED: Final = re.compile(rf"\A(?={_RUNS}|'*[\t\r\n])|(?<={_ENDS})(?={_RUNS})")
_MARKED: Final = re.compile(rf"\A'(?={_RUNS}|'*[\t\r\n])|(?<={_ENDS})'(?={_RUNS})")


class TextTarget(Protocol):
    """Takes the text that is written: a text file, for instance, opened with ``newline=""``."""

    def write(self, text: str, /) -> object:
        """Write some text."""
        ...


def export_row(contact: Contact, *, masked: bool = False) -> dict[str, object]:
    """Return a contact as a row: ``FIELDS``, and ``columns``, a dict of its own columns.

    Args:
        contact: The contact.
        masked: Whether phone numbers are masked: its own, and those in its columns, as
            `telecmi_async.campaigns.contacts.masking` finds them. Dates, times, amounts and
            order numbers stay.

    Returns:
        Texts, numbers, a boolean, and `datetime` objects in UTC; ``None`` for unknown values.
    """
    row: dict[str, object] = {name: getattr(contact, name) for name in FIELDS}
    row["number"] = mask(contact.number) if masked else str(contact.number)
    row["state"] = str(contact.state)
    for name in ("sent_at", "finished_at", "waits_until"):
        row[name] = _moment(getattr(contact, name))
    columns, known = contact.columns.items(), (str(contact.number),)
    row["columns"] = {
        key: mask_text(value, key, known) if masked else value for key, value in columns
    }
    return row


def history(contact: Contact) -> list[dict[str, Any]]:
    """Return what happened to a contact that ``Ledger.find`` returned, oldest first.

    Returns:
        Rows of ``at`` (a `datetime` in UTC), ``what`` (the move, or ``event``), ``detail``
        (the rule, the outcome, the reason) and ``send`` (the token of the send it is about).
    """
    return [
        {"at": _moment(each.at), "what": each.what, "detail": each.detail, "send": each.token}
        for each in contact.history
    ]


async def counts(ledger: Ledger, name: str) -> dict[str, int]:
    """Return how many contacts of a campaign are in each state, zeros included.

    Raises:
        ConfigurationError: The ledger has no campaign of that name.
        StoreError: The ledger fails.
    """
    state = await ledger.state(name)
    return {str(each): count for each, count in state.counts.items()}


async def rows(
    ledger: Ledger, name: str, *, states: Sequence[ContactState] = (), masked: bool = False
) -> AsyncGenerator[dict[str, object]]:
    """Iterate over a campaign's contacts as rows, in the order of loading.

    Leave the loop early only inside ``async with contextlib.aclosing(rows(…))``, as any
    asynchronous generator.

    Args:
        ledger: The ledger; open.
        name: The campaign's name.
        states: Only contacts in these states; all if empty.
        masked: Whether phone numbers are masked, those in columns too.

    Raises:
        StoreError: The ledger fails.
    """
    async with aclosing(ledger.contacts(name, states=states)) as contacts:
        async for contact in contacts:
            yield export_row(contact, masked=masked)


async def columns_of(
    ledger: Ledger, name: str, *, states: Sequence[ContactState] = (), masked: bool = False
) -> dict[str, list[object]]:
    """Return a campaign's contacts as plain columns, as pandas and polars take them.

    All lists have the same length. A contact's own columns are named ``column.NAME``, in the
    order in which they are first seen; contacts that lack one have ``None`` there. Arguments and
    errors are those of `rows`.
    """
    async with aclosing(rows(ledger, name, states=states, masked=masked)) as all_rows:
        flat = [flat_row(row) async for row in all_rows]
    keys = dict.fromkeys([*FIELDS, *(key for row in flat for key in row)])
    return {key: [row.get(key) for row in flat] for key in keys}


async def write_csv(
    target: TextTarget,
    ledger: Ledger,
    name: str,
    *,
    states: Sequence[ContactState] = (),
    masked: bool = False,
) -> dict[str, int]:
    """Write a campaign's contacts as CSV, a row each, with the columns of `columns_of`.

    A text that a spreadsheet could run as a formula gets a ``'`` where that would begin; `unmark`
    takes it away. Moments are in ISO 8601, unknown values are empty. The ledger is read twice,
    since columns are named first; no more than a few rows are in memory. Arguments and errors are
    those of `rows`.

    Returns:
        How many cells were masked, by column.
    """
    keys: dict[str, None] = dict.fromkeys(FIELDS)
    async with aclosing(rows(ledger, name, states=states, masked=masked)) as all_rows:
        async for row in all_rows:
            keys.update(dict.fromkeys(flat_row(row)))
    # With this line end the writer quotes cells that hold either half of it, on every Python.
    writer = csv.writer(_Lines(target), lineterminator="\r\n")
    writer.writerow([_cell(key) for key in keys])
    hidden: Counter[str] = Counter()
    async with aclosing(ledger.contacts(name, states=states)) as contacts:
        async for contact in contacts:
            flat = flat_row(_counted(contact, hidden, masked=masked))
            writer.writerow([_cell(flat.get(key)) for key in keys])
    return dict(hidden)


async def write_jsonl(
    target: TextTarget,
    ledger: Ledger,
    name: str,
    *,
    states: Sequence[ContactState] = (),
    masked: bool = False,
) -> dict[str, int]:
    """Write a campaign's contacts as JSON, an object a line, as `export_row` returns them.

    Moments are in ISO 8601. Arguments and errors are those of `rows`.

    Returns:
        How many texts were masked, by column.
    """
    hidden: Counter[str] = Counter()
    async with aclosing(ledger.contacts(name, states=states)) as contacts:
        async for contact in contacts:
            row = _counted(contact, hidden, masked=masked)
            target.write(json.dumps(row, default=iso) + "\n")
    return dict(hidden)


def mark(text: str) -> str:
    """Return a text for a cell of CSV, with a ``'`` wherever a spreadsheet could run it."""
    return _UNMARKED.sub("'", text)


def unmark(cell: str) -> str:
    """Return a text that `mark` or `write_csv` marked, without the ``'`` that keep it from running."""
    return _MARKED.sub("", cell)


def _counted(contact: Contact, hidden: Counter[str], *, masked: bool) -> dict[str, object]:
    """Return a contact as a row, and count what was masked."""
    row = export_row(contact, masked=masked)
    if masked:
        columns = cast("dict[str, str]", row["columns"])
        changed = (key for key, text in columns.items() if text != contact.columns[key])
        hidden.update(["number", *changed])
    return row


class _Lines:
    """Ends rows with a line feed only, as other tools of a shell do."""

    def __init__(self, target: TextTarget) -> None:
        self._target = target

    def write(self, text: str, /) -> object:
        return self._target.write(text.removesuffix("\r\n") + "\n")


def flat_row(row: dict[str, object]) -> dict[str, object]:
    """Return a row of `export_row` with the contact's own columns as ``column.NAME``."""
    flat = dict(row)
    columns = cast("dict[str, str]", flat.pop("columns"))
    return flat | {f"column.{key}": value for key, value in columns.items()}


def _cell(value: object) -> object:
    if isinstance(value, str):
        return mark(value)
    return iso(value) if isinstance(value, datetime) else value


def iso(moment: datetime) -> str:
    """Return a moment in ISO 8601, as exports write it."""
    return moment.isoformat(timespec="milliseconds")


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
