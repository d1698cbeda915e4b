"""Exports of a campaign's contacts: rows, columns, files and counts."""

from __future__ import annotations

import csv
import io
import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from left_generators import left_generators
from memory_ledger import EPOCH, MemoryLedger

from telecmi_async import ConfigurationError
from telecmi_async.campaigns.contacts import export
from telecmi_async.ledger import ContactState, Intent, NewContact, SendLimits, SendResult

pytestmark = pytest.mark.anyio

FIRST = 19170100000
MOMENT = datetime.fromtimestamp(EPOCH, UTC)
#: Columns of contacts, as a user file may have them.
COLUMNS: list[dict[str, str]] = [
    {"name": "Ada", "phone": "+91 98765 43210"},
    {"name": '=HYPERLINK("http://x")'},
    {"name": "x\r=1+1", "city": "Chennai"},
    {},
]


async def ledger() -> MemoryLedger:
    """Return a ledger with a campaign: its first contact is placed, the others are pending."""
    book = MemoryLedger(lambda: EPOCH)
    await book.create("spring", {})
    await book.load(
        "spring",
        [NewContact(number=FIRST + row, columns=each) for row, each in enumerate(COLUMNS)],
    )
    (claim,) = await book.claim("spring", "w", most=1, lease=60)
    intent = await book.intend(claim, "w", "tcm_1", limits=SendLimits(), fence=30, lease=60)
    assert isinstance(intent, Intent)
    placed = SendResult(state=ContactState.PLACED, request_id="r1")
    assert await book.settle("tcm_1", placed)
    return book


async def csv_of(book: MemoryLedger, **more: Any) -> list[dict[str, str]]:
    """Write CSV, and read it back with the csv module."""
    written = io.StringIO(newline="")
    await export.write_csv(written, book, "spring", **more)
    return list(csv.DictReader(io.StringIO(written.getvalue(), newline="")))


async def test_a_row_says_all_about_a_contact() -> None:
    """A row has the documented fields in their order, with times in UTC."""
    found = [row async for row in export.rows(await ledger(), "spring")]

    assert found[0] == {
        "number": str(FIRST),
        "state": "placed",
        "reason": "",
        "sends": 1,
        "request_id": "r1",
        "answered": None,
        "talk_seconds": None,
        "cost": None,
        "sent_at": MOMENT,
        "finished_at": None,
        "waits_until": None,
        "columns": COLUMNS[0],
    }
    assert [tuple(row) for row in found] == [(*export.FIELDS, "columns")] * 4
    assert [row["state"] for row in found] == ["placed", "pending", "pending", "pending"]


async def test_numbers_are_masked_on_request() -> None:
    """Masking covers the number field and phone numbers in columns."""
    book = await ledger()
    lines = io.StringIO()

    await export.write_jsonl(lines, book, "spring", masked=True)
    everything = [
        lines.getvalue(),
        str(await csv_of(book, masked=True)),
        str(await export.columns_of(book, "spring", masked=True)),
    ]

    assert not any(str(FIRST) in text or "98765 4" in text for text in everything)
    assert all("Ada" in text for text in everything)


async def test_only_some_states_are_exported() -> None:
    """All formats export only the requested states."""
    book, wanted = await ledger(), [ContactState.PLACED]
    lines = io.StringIO()

    await export.write_jsonl(lines, book, "spring", states=wanted)

    assert lines.getvalue().count("\n") == 1
    assert len(await csv_of(book, states=wanted)) == 1
    assert (await export.columns_of(book, "spring", states=wanted))["number"] == [str(FIRST)]


async def test_columns_are_of_one_length() -> None:
    """A contact that lacks a column has None in it."""
    found = await export.columns_of(await ledger(), "spring")

    assert list(found) == [*export.FIELDS, "column.name", "column.phone", "column.city"]
    assert found["column.city"] == [None, None, "Chennai", None]
    assert found["column.phone"] == ["+91 98765 43210", None, None, None]
    assert found["sent_at"] == [MOMENT, None, None, None]


async def test_no_cell_is_a_formula() -> None:
    """A cell that a spreadsheet would take for a formula gets a leading apostrophe."""
    found = await csv_of(await ledger())

    assert [row["column.name"] for row in found] == [
        "Ada",
        '\'=HYPERLINK("http://x")',
        "x\r=1+1",
        "",
    ]
    assert found[0]["column.phone"] == "'+91 98765 43210"
    assert found[0]["sent_at"] == MOMENT.isoformat(timespec="milliseconds")
    assert found[1]["sent_at"] == found[1]["request_id"] == ""


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
async def test_whatever_begins_a_formula_is_told_apart(first: str) -> None:
    """Each character that begins a formula is escaped in values; column names have a prefix."""
    book = MemoryLedger(lambda: EPOCH)
    await book.create("spring", {})
    text = f"{first}1"
    await book.load("spring", [NewContact(number=FIRST, columns={text: text})])

    (found,) = await csv_of(book)

    assert found[f"column.{text}"] == f"'{text}"


async def test_a_line_of_json_is_a_row() -> None:
    """Each JSON line is a row, with times as text."""
    lines = io.StringIO()

    await export.write_jsonl(lines, await ledger(), "spring")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]

    assert found[0]["sent_at"] == MOMENT.isoformat(timespec="milliseconds")
    assert [row["columns"] for row in found] == COLUMNS


async def test_a_history_tells_what_happened_and_when() -> None:
    """Each history entry has its event, its time and its send."""
    contact = await (await ledger()).find("spring", FIRST)
    assert contact is not None

    found = export.history(contact)

    assert [(each["what"], each["send"]) for each in found][-2:] == [
        ("intend", "tcm_1"),
        ("accept", "tcm_1"),
    ]
    assert {each["at"] for each in found} == {MOMENT}


async def test_all_states_are_counted() -> None:
    """Each state is counted by name, also at zero; an unknown campaign is an error."""
    book = await ledger()
    found = await export.counts(book, "spring")

    assert found == {str(state): 0 for state in ContactState} | {"placed": 1, "pending": 3}
    with pytest.raises(ConfigurationError):
        await export.counts(book, "autumn")


class Full:
    """A target on a full disk."""

    def write(self, text: str, /) -> object:
        """Fail."""
        raise OSError(28, "No space left on device")


async def test_exports_that_end_early_leave_no_generator() -> None:
    """A target that fails, or a loop that is left, closes what reads the ledger."""
    book = await ledger()
    with left_generators() as left:
        for write in (export.write_csv, export.write_jsonl):
            with pytest.raises(OSError, match="No space left"):
                await write(Full(), book, "spring")
        async with aclosing(export.rows(book, "spring")) as found:
            async for row in found:
                assert row["number"] == str(FIRST)
                break

    assert left == []
