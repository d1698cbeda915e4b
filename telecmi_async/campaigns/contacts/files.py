"""Contacts files: each row is read right, or rejected with its number and a reason.

Files are read to their ends, a line at a time, and no reason holds a number in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import field, frozen

from telecmi_async._internal.messages import listed, shown
from telecmi_async._internal.time_zones import zone_named
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.contacts.layout import (
    DELIMITERS,
    column_name,
    csv_layout,
    is_blank,
    json_layout,
)
from telecmi_async.campaigns.contacts.numbers import parse_country, read_number
from telecmi_async.campaigns.contacts.records import csv_records, json_records
from telecmi_async.campaigns.contacts.source import Source
from telecmi_async.campaigns.zones import country_of
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.ledger.records import ZONE_COLUMN, NewContact, zone_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from telecmi_async.campaigns.contacts.records import FileRow
    from telecmi_async.pcmo.template import Template

Format: TypeAlias = Literal["csv", "jsonl"]
_FORMATS: Final = ("csv", "jsonl")
_NO_ZONE = Flaw(
    Kind.TIME_ZONE,
    f"has a {ZONE_COLUMN} that is not a time zone such as Asia/Kolkata or Europe/Berlin",
)


@frozen
class Rejection:
    """A row that is not dialled.

    Args:
        row: The line it begins in, from 1, the header included.
        kind: What is wrong, for counting.
        reason: What is wrong, for people, without a number in full.
    """

    row: int
    kind: Kind
    reason: str


class ContactsFile:
    """A file of contacts. Iterating yields each row as a `NewContact` or a `Rejection`.

    Its first lines are read when this is made, and all of it in each iteration, a line at a time.
    It blocks: in an async program, use a thread.

    Example:
        Good rows and rejected ones::

            from telecmi_async.campaigns.contacts import ContactsFile

            for row in ContactsFile("people.csv", country="91"):
                print(row)

    Args:
        file: Its path, or an open binary file.
        column: The name of the column that holds the numbers. If not given, it is found by its
            name (number, phone, mobile, …), or by its cells if there is no header. Columns
            without a name are ``column_1``, ``column_2`` …
        country: The calling code that numbers without one belong to, such as ``"91"``. Without
            it, such numbers are rejected: a country is never guessed.
        format: ``"csv"`` or ``"jsonl"`` (one JSON object a line). If not given, a file whose
            first row begins with a brace is JSON lines.
        encoding: Python's name of the file's encoding, such as ``"cp1252"`` for many programs on
            Windows. A byte order mark overrides it. Rows that do not fit it are rejected.
        delimiter: The character between the cells of a CSV file: comma, semicolon, tab or bar. If
            not given, it is the one that the first row has most of, outside quotation marks.
        header: Whether the first row names the columns. If not given, it does unless it holds a
            number.
        flow: The call flow that the rows shall fill. Rows that it cannot be filled from are
            rejected, such as those with an empty cell where it needs text.

    Raises:
        ConfigurationError: It cannot be read, or it is unclear which column holds the number.
    """

    __slots__ = (
        "_country", "_first_row", "_flow", "_number", "_source", "columns", "delimiter",
        "encoding", "format", "notes", "number_column",
    )  # fmt: skip

    def __init__(
        self,
        file: str | os.PathLike[str] | IO[bytes],
        *,
        column: str | None = None,
        country: int | str | None = None,
        format: Format | None = None,  # noqa: A002  # the word for it
        encoding: str = "utf-8",
        delimiter: str | None = None,
        header: bool | None = None,
        flow: Template | None = None,
    ) -> None:
        self._country = parse_country(country)
        if format not in {None, *_FORMATS}:
            raise ConfigurationError(f"format must be {listed(_FORMATS)}, not {shown(format)}")
        if delimiter not in {None, *DELIMITERS}:
            raise ConfigurationError(
                f"delimiter must be one of , ; | and the tab, not {shown(delimiter)}"
            )
        self._flow = flow
        self._source = Source(file, encoding)
        #: Its encoding: the one given, or that of its byte order mark.
        self.encoding = self._source.encoding
        #: ``"csv"`` or ``"jsonl"``.
        self.format: Format = format or self._find_format()
        lines = self._source.lines()
        layout = (
            json_layout(lines, column)
            if self.format == "jsonl"
            else csv_layout(
                lines, column=column, country=self._country, delimiter=delimiter, header=header
            )
        )
        self._first_row = layout.first_row
        self._number = layout.number
        #: The names of a CSV file's columns; objects of a JSON file may differ in theirs.
        self.columns = layout.columns
        #: The name of the column with the numbers.
        self.number_column = layout.number_column
        #: The character between a CSV file's cells.
        self.delimiter = layout.delimiter
        #: What users should know of its layout.
        self.notes = layout.notes

    def _find_format(self) -> Format:
        """Return the format that the first row's first character shows."""
        first = next((each.text for each in self._source.lines() if not is_blank(each)), "")
        start = first.lstrip()[0:1] if isinstance(first, str) else ""
        if start == "[":
            raise ConfigurationError(
                f"{self._source.name} is a JSON array: write one object a line, without "
                "brackets around them and commas between them"
            )
        return "jsonl" if start == "{" else "csv"

    def __iter__(self) -> Iterator[NewContact | Rejection]:
        for _, item in self.rows():
            if item is not None:
                yield item

    def contacts(self) -> Iterator[NewContact]:
        """Yield the contacts that can be dialled, each number once, for the ledger to load."""
        for _, item in self.rows():
            if isinstance(item, NewContact):
                yield item

    def rows(self) -> Iterator[tuple[int, NewContact | Rejection | None]]:
        """Yield each row with its number; ``None`` stands for an empty one.

        Raises:
            ConfigurationError: The file can no longer be read.
        """
        seen: dict[int, int] = {}
        for record in self._records():
            row = record.row
            found = self._contact(record)
            if isinstance(found, NewContact):
                first = seen.setdefault(found.number, row)
                if first != row:
                    found = Flaw(Kind.DUPLICATE, f"holds the same number as row {first}")
            if isinstance(found, Flaw):
                yield row, Rejection(row, found.kind, found.reason)
            else:
                yield row, found

    def _records(self) -> Iterator[FileRow]:
        lines = self._source.lines()
        if self.delimiter is None:
            return json_records(lines)
        for _ in range(self._first_row - 1):
            next(lines, None)
        return csv_records(lines, self.delimiter, self._is_row)

    def _is_row(self, cells: list[str]) -> bool:
        """Return whether cells look like a row of a CSV file: as many, and a number in its place."""
        if len(cells) != len(self.columns):
            return False
        return isinstance(read_number(cells[self._number].strip('" '), self._country), int)

    def _contact(self, record: FileRow) -> NewContact | Flaw | None:
        """Return the contact of a row, or why it is rejected; ``None`` if it is empty."""
        columns = self._columns(record.cells)
        if columns is None or isinstance(columns, Flaw):
            return columns
        number = read_number(columns.pop(self.number_column, ""), self._country)
        if isinstance(number, Flaw):
            return number
        zone = zone_of(columns)
        if zone and zone_named(zone) is None:
            return _NO_ZONE
        try:
            if self._flow is not None:
                self._flow.fill(columns)
        except InvalidCall as error:
            empty = self._flow is not None and self._flow.empty(columns) & self._flow.required
            kind = Kind.EMPTY_CELL if empty else Kind.FLOW
            return Flaw(kind, f"cannot be dialled: {error}")
        return NewContact(number=number, columns=columns)

    def _columns(
        self, cells: list[str] | dict[str, str] | Flaw
    ) -> dict[str, str] | Flaw | None:
        """Return a row's cells by the names of its columns."""
        if isinstance(cells, Flaw):
            return cells
        if isinstance(cells, dict):
            return {column_name(key): text for key, text in cells.items()} or None
        stripped = [cell.strip() for cell in cells]
        width = len(self.columns)
        if not any(stripped):
            return None
        if len(stripped) < width or any(stripped[width:]):
            reason = f"has {len(stripped)} cells, and there are {width} columns"
            return Flaw(Kind.RAGGED, reason)
        return dict(zip(self.columns, stripped, strict=False))


def _counted(rejected: Mapping[Kind, int]) -> str:
    return repr({str(kind): count for kind, count in rejected.items()})


@frozen(kw_only=True)
class Survey:
    """Counts of a contacts file's rows.

    ``rows`` is always ``contacts + sum(rejected.values())``.

    Args:
        rows: Its rows, without its header and empty ones.
        contacts: Those that can be dialled, each number once.
        rejected: Those that cannot, by what is wrong.
        empty: Its empty rows.
        countries: Its contacts by country.
        examples: The first rows that are rejected.
    """

    rows: int
    contacts: int
    rejected: Mapping[Kind, int] = field(repr=_counted)
    empty: int
    countries: Mapping[str, int]
    examples: tuple[Rejection, ...] = field(repr=False)

    @property
    def duplicates(self) -> int:
        """How many rows repeat a number of an earlier row."""
        return self.rejected.get(Kind.DUPLICATE, 0)


def survey(file: ContactsFile, *, examples: int = 10) -> Survey:
    """Read a file once and count its rows.

    Args:
        file: The file.
        examples: How many of the rejected rows to keep.

    Raises:
        ConfigurationError: It can no longer be read.
    """
    return survey_rows(file.rows(), examples)


def survey_rows(
    rows: Iterable[tuple[int, NewContact | Rejection | None]], examples: int
) -> Survey:
    """Count rows as `ContactsFile.rows` yields them."""
    countries: Counter[str] = Counter()
    rejected: Counter[Kind] = Counter()
    kept: list[Rejection] = []
    empty = 0
    for _, item in rows:
        if item is None:
            empty += 1
        elif isinstance(item, NewContact):
            countries[country_of(item.number) or ""] += 1
        else:
            rejected[item.kind] += 1
            if len(kept) < examples:
                kept.append(item)
    contacts = sum(countries.values())
    return Survey(
        rows=contacts + rejected.total(),
        contacts=contacts,
        rejected=dict(rejected.most_common()),
        empty=empty,
        countries=dict(countries.most_common()),
        examples=tuple(kept),
    )
