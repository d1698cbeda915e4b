"""How a contacts file is laid out: what stands between its cells, and which column is which."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from telecmi_async._internal.messages import did_you_mean, listed, mask_in, shown
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.contacts.numbers import read_number
from telecmi_async.campaigns.contacts.records import csv_records
from telecmi_async.campaigns.rules import ZONE_COLUMN
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telecmi_async.campaigns.contacts.records import Line

__all__ = ["DELIMITERS", "NUMBER_NAMES", "Layout", "column_key", "find_layout", "number_column"]

#: What may stand between the cells of a file, the likeliest first.
DELIMITERS: Final = (",", ";", "\t", "|")
#: Names of the column with the numbers, without blanks and dashes, in small letters.
NUMBER_NAMES: Final = frozenset(
    {
        "callee", "cell", "cellnumber", "cellphone", "contactno", "contactnumber", "mobile",
        "mobileno", "mobilenumber", "mobilephone", "msisdn", "number", "phone", "phoneno",
        "phonenumber", "tel", "telephone", "telephonenumber", "to",
    }
)  # fmt: skip
_ZONE_NAMES = frozenset({"timezone", "tz"})
_PREVIEW = 64
_SEP = re.compile(r"sep=([,;\t|])", re.IGNORECASE)
_NO_LETTER = re.compile(r"[\W_]+")
_NO_NUMBER_AT_ALL = frozenset({Kind.NO_NUMBER, Kind.NOT_A_NUMBER})


@frozen
class Layout:
    """A CSV file's.

    Args:
        delimiter: What stands between cells.
        columns: Their names; a name that stands there twice has a number after it.
        number: Which of them holds the number, from 0.
        first_row: The row of the first contact at the earliest.
        notes: What people should know of it.
    """

    delimiter: str
    columns: tuple[str, ...]
    number: int
    first_row: int
    notes: tuple[str, ...] = field(default=())


def column_key(name: str) -> str:
    """Return a column's name as it is compared: ``"Phone No."`` is ``"phoneno"``."""
    return _NO_LETTER.sub("", name).casefold()


def find_layout(
    lines: Iterator[Line],
    *,
    column: str | None,
    country: str | None,
    delimiter: str | None,
    header: bool | None,
) -> Layout:
    """Return how a CSV file is laid out, from its first lines.

    Args:
        lines: All of them.
        column: The name of the number's column, if given.
        country: What `read_number` is told.
        delimiter: What stands between cells, if given.
        header: Whether the first row names the columns, if that is known.

    Raises:
        ConfigurationError: Nobody can tell which column holds the number.
    """
    preview = [line for line in islice(lines, _PREVIEW) if not _blank(line)]
    begin = 1
    if preview and (said := _SEP.fullmatch(str(preview[0].text).strip('"'))):
        delimiter, begin = delimiter or said[1], preview.pop(0).row + 1
    if delimiter is None:
        delimiter = _sniff(preview)
    records = list(csv_records(iter(preview), delimiter, lambda _: False))
    if not records:
        raise ConfigurationError("the file holds no rows")
    first = records[0].cells
    if not isinstance(first, list):
        why = first.reason if isinstance(first, Flaw) else ""
        raise ConfigurationError(f"row {records[0].row}, the first of the file, {why}")
    if header is None:
        header = _is_header(first, column, country)
    if not header:
        names = tuple(f"column_{n}" for n in range(1, len(first) + 1))
        cells = [record.cells for record in records if isinstance(record.cells, list)]
        number = _column_of_numbers(cells, names, column, country)
        note = f"it has no header: its columns are {names[0]} to {names[-1]}"
        return Layout(delimiter, names, number, begin, (note,))
    names, notes = _names(first)
    return Layout(delimiter, names, number_column(names, column), records[0].last + 1, notes)


def _blank(line: Line) -> bool:
    return isinstance(line.text, str) and not line.text.strip(" \t,;|")


def _sniff(preview: Sequence[Line]) -> str:
    """Return the delimiter that cuts the most lines into as many cells as the first."""
    best, score = DELIMITERS[0], (0.0, 1)
    for delimiter in DELIMITERS:
        widths = [
            len(record.cells)
            for record in csv_records(iter(preview), delimiter, lambda _: False)
            if isinstance(record.cells, list)
        ]
        if widths and widths[0] > 1:
            alike = widths.count(widths[0]) / len(widths)
            if (alike, widths[0]) > score:
                best, score = delimiter, (alike, widths[0])
    return best


def _is_header(first: Sequence[str], column: str | None, country: str | None) -> bool:
    """Tell whether a file's first row names its columns: it does unless it holds a number."""
    if column is not None and column_key(column) in {column_key(cell) for cell in first}:
        return True
    return not any(_numeric(cell, country) for cell in first)


def _numeric(cell: str, country: str | None) -> bool:
    """Tell whether a cell holds a number, or what was one."""
    number = read_number(cell, country)
    if isinstance(number, Flaw):
        if number.kind is Kind.DIGITS_LOST and "E" in cell.upper():
            return True
        return number.kind not in _NO_NUMBER_AT_ALL and sum(map(str.isdigit, cell)) >= 7
    return True


def _column_of_numbers(
    rows: Sequence[Sequence[str]], names: Sequence[str], column: str | None, country: str | None
) -> int:
    if column is not None:
        return number_column(names, column)
    found = [
        n
        for n in range(len(names))
        if sum(n < len(row) and _numeric(row[n], country) for row in rows) * 2 >= len(rows)
    ]
    if len(found) == 1:
        return found[0]
    which = "no column holds" if not found else "more than one column may hold"
    raise ConfigurationError(
        f"the file has no header, and {which} the numbers: name the column, as in "
        f"column={names[0]!r}"
    )


def _names(first: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of columns, each its own, and what people should know of them."""
    names: list[str] = []
    notes: list[str] = []
    for n, cell in enumerate(first, 1):
        name = cell.strip() or f"column_{n}"
        if column_key(name) in _ZONE_NAMES:
            name = ZONE_COLUMN
        if name in names:
            again = next(f"{name}_{k}" for k in range(2, n + 2) if f"{name}_{k}" not in names)
            notes.append(f"column {shown(name)} is there twice: the second is {shown(again)}")
            name = again
        names.append(name)
    return tuple(names), tuple(notes)


def number_column(names: Iterable[str], column: str | None) -> int:
    """Return which column holds the number, from 0.

    Args:
        names: All columns.
        column: The name that the user gave.

    Raises:
        ConfigurationError: There is none of that name; or none was given, and not exactly one
            has a name that says it.
    """
    known = list(names)
    if column is not None:
        exact = [n for n, name in enumerate(known) if name == column.strip()]
        near = [n for n, name in enumerate(known) if column_key(name) == column_key(column)]
        if exact or len(near) == 1:
            return (exact or near)[0]
        raise ConfigurationError(
            mask_in(f"the file has no column {shown(column)}: {did_you_mean(column, known)}")
        )
    found = [n for n, name in enumerate(known) if column_key(name) in NUMBER_NAMES]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(
            f"the file's columns {listed(known[n] for n in found)} may all hold the number: name "
            "the one that does (column=…)"
        )
    raise ConfigurationError(
        "no column of the file is named number, phone, mobile or the like: name the one that "
        f"holds the numbers (column=…); {mask_in(did_you_mean('', known))}"
    )
