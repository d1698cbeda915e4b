"""Contacts files: the delimiter, the header, and the column that holds the numbers."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from telecmi_async._internal.messages import did_you_mean, listed, mask_in, shown
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.contacts.numbers import read_number
from telecmi_async.campaigns.contacts.records import csv_records, json_records
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.records import ZONE_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telecmi_async.campaigns.contacts.source import Line

#: The characters that may separate the cells of a file, the likeliest first.
DELIMITERS: Final = (",", ";", "\t", "|")
# Names of the column with the numbers, without blanks and dashes, in small letters.
_NUMBER_NAMES = frozenset(
    {
        "callee", "cell", "cellnumber", "cellphone", "contactno", "contactnumber", "mobile",
        "mobileno", "mobilenumber", "mobilephone", "msisdn", "number", "phone", "phoneno",
        "phonenumber", "tel", "telephone", "telephonenumber", "to",
    }
)  # fmt: skip
_NUMBER_WORDS = re.compile(r"phone|mobile|msisdn|whatsapp|callerid")
_ZONE_NAMES = frozenset({"timezone", "tz"})
_PREVIEW = 64
_SEP = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*(?:"|$)')
_NO_LETTER = re.compile(r"[\W_]+")


class Layout(NamedTuple):
    """The columns of a contacts file; see the attributes of `ContactsFile`."""

    columns: tuple[str, ...]
    number_column: str
    # Which column holds the numbers, from 0.
    number: int
    delimiter: str | None = None
    # The row of the first contact at the earliest.
    first_row: int = 1
    notes: tuple[str, ...] = ()


def is_blank(line: Line) -> bool:
    """Return whether a line holds nothing but delimiters."""
    return isinstance(line.text, str) and not line.text.strip(" \t,;|")


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    """Return a column's name as it is compared: ``"Phone No."`` is ``"phoneno"``."""
    return _NO_LETTER.sub("", name).casefold()


def is_number_name(name: str) -> bool:
    """Return whether a column of this name holds phone numbers: ``Phone No. 2``, ``whatsapp``."""
    key = _key(name).rstrip("0123456789")
    return key in _NUMBER_NAMES or _NUMBER_WORDS.search(key) is not None


def column_name(name: str) -> str:
    """Return a column's name; that of the time zone is always ``timezone``."""
    return ZONE_COLUMN if _key(name) in _ZONE_NAMES else name


def json_layout(lines: Iterator[Line], column: str | None) -> Layout:
    """Return the layout of a file of JSON objects, from its first object."""
    for record in json_records(lines):
        if isinstance(record.cells, dict) and record.cells:
            keys = list(record.cells)
            number = _number_column(keys, column)
            return Layout((), column_name(keys[number]), number)
    raise ConfigurationError("the file holds no JSON objects")


def csv_layout(
    lines: Iterator[Line],
    *,
    column: str | None,
    country: str | None,
    delimiter: str | None,
    header: bool | None,
) -> Layout:
    """Return the layout of a CSV file, by its first lines; for options see `ContactsFile`."""
    preview = [line for line in islice(lines, _PREVIEW) if not is_blank(line)]
    begin = 1
    if preview and (sep := _SEP.fullmatch(str(preview[0].text))):
        delimiter, begin = delimiter or sep[1], preview.pop(0).row + 1
    if not preview:
        raise ConfigurationError("the file holds no rows")
    delimiter = delimiter or max(DELIMITERS, key=_QUOTED.sub("", str(preview[0].text)).count)
    records = list(csv_records(iter(preview), delimiter, lambda _: False))
    rows = [record.cells for record in records if isinstance(record.cells, list)]
    if isinstance(flaw := records[0].cells, Flaw):
        raise ConfigurationError(f"row {records[0].row}, the first of the file, {flaw.reason}")
    first = rows[0]
    names, notes = _names(first)
    if header is None:
        named = column is not None and _key(column) in map(_key, first)
        header = named or not any(_numeric(cell, country) for cell in first)
    if header:
        begin = records[0].last + 1
    else:
        names = tuple(f"column_{n}" for n in range(1, len(first) + 1))
        notes = (f"it has no header: its columns are {names[0]} to {names[-1]}",)
    if header or column is not None:
        number = _number_column(names, column, delimiter)
    else:
        number = _column_of_numbers(rows, names, country)
    return Layout(names, names[number], number, delimiter, begin, notes)


def _numeric(cell: str, country: str | None) -> bool:
    """Return whether a cell holds a number, or what was one."""
    number = read_number(cell, country)
    if isinstance(number, int) or (number.kind is Kind.DIGITS_LOST and "E" in cell.upper()):
        return True
    # A name of a column may hold digits, and "+44 (0)20 7946 0958" holds nothing else.
    named = number.kind is Kind.NOT_A_NUMBER and any(map(str.isalpha, cell))
    return not named and sum(map(str.isdigit, cell)) >= 7


def _column_of_numbers(
    rows: Sequence[Sequence[str]], names: Sequence[str], country: str | None
) -> int:
    """Return which column holds a number in at least half of the rows."""
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
    """Return unique names of columns, and what users should know of them."""
    names: list[str] = []
    notes: list[str] = []
    for n, cell in enumerate(first, 1):
        name = column_name(cell.strip() or f"column_{n}")
        if name in names:
            again = next(f"{name}_{k}" for k in range(2, n + 2) if f"{name}_{k}" not in names)
            notes.append(f"column {shown(name)} is there twice: the second is {shown(again)}")
            name = again
        names.append(name)
    return tuple(names), tuple(notes)


def _number_column(
    names: Iterable[str], column: str | None, delimiter: str | None = None
) -> int:
    """Return which column holds the number, from 0: the one given, or found by its name."""
    known = list(names)
    if column is not None:
        exact = [n for n, name in enumerate(known) if name == column.strip()]
        near = [n for n, name in enumerate(known) if _key(name) == _key(column)]
        if exact or len(near) == 1:
            return (exact or near)[0]
        raise ConfigurationError(
            mask_in(f"the file has no column {shown(column)}: {did_you_mean(column, known)}")
            + _cut_at(delimiter)
        )
    found = [n for n, name in enumerate(known) if _key(name) in _NUMBER_NAMES]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(
            f"the file's columns {listed(known[n] for n in found)} may all hold the number: name "
            "the one that does (column=…)"
        )
    raise ConfigurationError(
        "no column of the file is named number, phone, mobile or the like: name the one that "
        f"holds the numbers (column=…); {mask_in(did_you_mean('', known))}{_cut_at(delimiter)}"
    )


def _cut_at(delimiter: str | None) -> str:
    return "" if delimiter is None else f" (cells end at {shown(delimiter)}, or at delimiter=…)"
