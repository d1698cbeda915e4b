"""Exports of a campaign's contacts: rows, columns, files and counts."""

from __future__ import annotations

import csv
import io
import json
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
        "redials": 0,
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
    """A text that a spreadsheet could run gets an apostrophe where that would begin."""
    found = await csv_of(await ledger())

    assert [row["column.name"] for row in found] == [
        "Ada",
        '\'=HYPERLINK("http://x")',
        "x\r'=1+1",
        "",
    ]
    assert found[0]["column.phone"] == "'+91 98765 43210"
    assert found[0]["sent_at"] == MOMENT.isoformat(timespec="milliseconds")
    assert found[1]["sent_at"] == found[1]["request_id"] == ""


async def written(*texts: str) -> list[tuple[str, str]]:
    """Write texts as the column and its name; return each name and cell as read back."""
    book = MemoryLedger(lambda: EPOCH)
    await book.create("spring", {})
    columns = dict(zip(texts, texts, strict=True))
    await book.load("spring", [NewContact(number=FIRST, columns=columns)])
    (found,) = await csv_of(book)
    return [
        (key.removeprefix("column."), cell)
        for key, cell in found.items()
        if key not in export.FIELDS
    ]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        *((f"{first}A1", f"'{first}A1") for first in "=+-@|%"),
        *((f"{first}A1", f"'{first}A1") for first in "＝＋－＠｜％﹦﹢﹣﹫⁺⁻⁼₊₋₌−"),  # noqa: RUF001  # they are what is tested
        ("\tA1", "'\tA1"),
        ("\rA1", "'\rA1"),
        ("\nA1", "'\nA1"),
        ("  =A1", "'  =A1"),
        ("\ufeff=A1", "'\ufeff=A1"),
        ("\u200b\u2060@A1", "'\u200b\u2060@A1"),
        ("\u00a0\u3000=A1", "'\u00a0\u3000=A1"),
        ("\x00=A1", "'\x00=A1"),
        ('"=A1', "'\"=A1"),
        ("'=A1", "''=A1"),
        (";=1+1", ";'=1+1"),
        ("a,=1+1", "a,'=1+1"),
        ("a\t=1+1", "a\t'=1+1"),
        ("a|=1+1", "a|'=1+1"),
        ('a;"=1+1";b', 'a;\'"=1+1";b'),
        ("a\r\n@SUM(A1)", "a\r\n'@SUM(A1)"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("+1-2", "'+1-2"),
    ],
)
async def test_whatever_could_run_is_marked(text: str, marked: str) -> None:
    """A formula is marked at the start of a cell and after what ends cells elsewhere, its name too."""
    ((name, cell),) = await written(text)

    assert cell == marked
    assert name in {text, marked}  # a name has "column." before it, so its start is harmless
    assert export.unmark(cell) == text


@pytest.mark.parametrize(
    "text",
    [
        "-5", "+3", "-1.50", "-1,234.5", "+19175550001", "-5 %", "12%", "a; -5", "-1,-2", "2026-11-30",
        "30.11.2026", "10:30", "Hello, it's me; bye", "1=1", "a - b", "me@example.com", "'tis", "",
    ],
)  # fmt: skip
async def test_numbers_dates_and_words_stay_as_they_are(text: str) -> None:
    """What no spreadsheet runs is not marked, so that it can be computed with."""
    ((_, cell),) = await written(text)

    assert cell == text


@given(
    st.lists(
        st.text(
            st.sampled_from("=+-@|%＝−;,\t\r\n\"' \ufeff\u200ba15.é")  # noqa: RUF001  # see above
            | st.characters(exclude_categories=["Cs"]),
            max_size=12,
        ),
        min_size=1, max_size=4, unique=True,
    )
)  # fmt: skip
def test_an_export_read_back_is_the_original(texts: list[str]) -> None:
    """Whatever cells hold, reading the file and `unmark` give the original texts."""
    found = anyio.run(partial(written, *texts))

    assert [export.unmark(cell) for _, cell in found] == texts
    assert [export.unmark(f"column.{name}") for name, _ in found] == [
        f"column.{text}" for text in texts
    ]


async def test_long_texts_are_marked_in_time_that_grows_with_them() -> None:
    """No text makes the search for formulas take seconds."""
    for each in ("\t", " ", ";", "'", "\ufeff", "-", "1,"):
        text = each * 30_000
        assert export.unmark(str((await written(text))[0][1])) == text


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
