"""Contacts from files: each row is read right, or rejected with its number and a reason.

Files come from spreadsheets, and hurt: numbers without country code, digits that a spreadsheet
rounded away, three encodings, semicolons, half a quotation mark. Whatever they hold, a file is
read from its beginning to its end in little memory, all rows are accounted for, and no reason
holds a number in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Final, Literal, TypeAlias, cast

from attrs import field, frozen

from telecmi_async._internal.messages import listed, shown
from telecmi_async.campaigns.contacts.encoding import Source, detect
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.contacts.layout import (
    DELIMITERS,
    Layout,
    find_layout,
    number_column,
)
from telecmi_async.campaigns.contacts.numbers import parse_country, read_number
from telecmi_async.campaigns.contacts.records import csv_records, json_records, lines_of
from telecmi_async.campaigns.contacts.seen import Seen
from telecmi_async.campaigns.contacts.zones import country_of, zone_named
from telecmi_async.campaigns.rules import ZONE_COLUMN
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.ledger.records import NewContact

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from telecmi_async.campaigns.contacts.records import FileRow

__all__ = ["ContactsFile", "Format", "Rejection", "Survey", "survey"]

Format: TypeAlias = Literal["csv", "jsonl"]
_FORMATS: Final = ("csv", "jsonl")
_NO_ZONE = Flaw(
    Kind.TIME_ZONE, f"its {ZONE_COLUMN} is no time zone such as Asia/Kolkata or Europe/Berlin"
)


@frozen
class Rejection:
    """A row that is not dialled.

    Args:
        row: Its number: the line of the file it begins in, from 1, the header included.
        kind: What is wrong, for counting.
        reason: It in words, without a number in full.
    """

    row: int
    kind: Kind
    reason: str


class ContactsFile:
    """A file of contacts. Iterating yields each row as a `NewContact` or a `Rejection`.

    The file is read when this is made, to find out its encoding and layout, and once more in
    each iteration, a line at a time. It blocks: in an async program, let a thread do it.

    Args:
        file: Its path, or an open binary file.
        column: The name of the column that holds the numbers; found by its name if not given
            (number, phone, mobile, …), or by what it holds if there is no header. Columns
            without a name are ``column_1``, ``column_2`` …
        country: The calling code that numbers without one belong to, such as ``"91"``. Without
            it, such numbers are rejected: a country is never guessed.
        format: ``"csv"`` or ``"jsonl"`` (one JSON object a line); found out if not given.
        delimiter: What stands between the cells of a CSV file; found out if not given.
        header: Whether the first row names the columns; found out if not given.
        check: Raises `InvalidCall` for a contact that cannot be dialled for another reason:
            ``check=lambda contact: template.fill(contact.columns)``.

    Raises:
        ConfigurationError: It cannot be read, or nobody can tell which column holds the number.
    """

    __slots__ = (
        "_check", "_country", "_layout", "_number_key", "_source", "columns", "delimiter",
        "encoding", "format", "notes", "number_column",
    )  # fmt: skip

    def __init__(
        self,
        file: str | os.PathLike[str] | IO[bytes],
        *,
        column: str | None = None,
        country: int | str | None = None,
        format: Format | None = None,  # noqa: A002  # the word for it
        delimiter: str | None = None,
        header: bool | None = None,
        check: Callable[[NewContact], object] | None = None,
    ) -> None:
        self._country = parse_country(country)
        if format not in {None, *_FORMATS}:
            raise ConfigurationError(f"format must be {listed(_FORMATS)}, not {shown(format)}")
        if delimiter not in {None, *DELIMITERS}:
            raise ConfigurationError(
                f"delimiter must be one of , ; | and the tab, not {shown(delimiter)}"
            )
        self._check = check
        self._source = Source(file)
        #: How its bytes become text.
        self.encoding = detect(self._source)
        #: ``"csv"`` or ``"jsonl"``.
        self.format: Format = format or self._find_format()
        self._layout: Layout | None = None
        if self.format == "jsonl":
            self._number_key = _key(self._find_key(column))
            #: The names of a CSV file's columns; those of a file of objects may differ in each.
            self.columns: tuple[str, ...] = ()
            #: The name of the one with the numbers.
            self.number_column = self._number_key
            #: What stands between a CSV file's cells.
            self.delimiter: str | None = None
            #: What people should know of its layout.
            self.notes: tuple[str, ...] = ()
            return
        layout = find_layout(
            lines_of(self._source, self.encoding),
            column=column,
            country=self._country,
            delimiter=delimiter,
            header=header,
        )
        self._layout = layout
        self.columns, self.delimiter = layout.columns, layout.delimiter
        self._number_key = self.number_column = layout.columns[layout.number]
        self.notes = layout.notes

    def _find_format(self) -> Format:
        """Tell CSV from JSON by the first character."""
        for _, text in lines_of(self._source, self.encoding):
            if isinstance(text, Flaw):
                break
            if text.lstrip().startswith("["):
                raise ConfigurationError(
                    f"{self._source.name} is a JSON array: write one object a line, without "
                    "brackets around them and commas between them"
                )
            if text.strip():
                return "jsonl" if text.lstrip().startswith("{") else "csv"
        return "csv"

    def _find_key(self, column: str | None) -> str:
        """Return the key that holds the number, by the first object."""
        for record in json_records(lines_of(self._source, self.encoding)):
            if isinstance(record.cells, dict) and record.cells:
                keys = list(record.cells)
                return keys[number_column(keys, column)]
        raise ConfigurationError(f"{self._source.name} holds no JSON objects")

    def __iter__(self) -> Iterator[NewContact | Rejection]:
        for _, item in self.rows():
            if item is not None:
                yield item

    def contacts(self) -> Iterator[NewContact]:
        """Yield what can be dialled, each number once, for the ledger to load."""
        for _, item in self.rows():
            if isinstance(item, NewContact):
                yield item

    def rows(self) -> Iterator[tuple[int, NewContact | Rejection | None]]:
        """Yield each row with its number; one without anything in it is ``None``.

        Raises:
            ConfigurationError: The file cannot be read any more.
        """
        seen = Seen()
        for record in self._records():
            row = record.row
            found = self._contact(record)
            if isinstance(found, NewContact):
                first = seen.first(found.number, row)
                if first != row:
                    found = Flaw(Kind.DUPLICATE, f"holds the same number as row {first}")
            if isinstance(found, Flaw):
                yield row, Rejection(row, found.kind, found.reason)
            else:
                yield row, found

    def _records(self) -> Iterator[FileRow]:
        lines = lines_of(self._source, self.encoding)
        layout = self._layout
        if layout is None:
            return json_records(lines)
        for _ in range(layout.first_row - 1):
            next(lines, None)
        return csv_records(lines, layout.delimiter, self._is_row)

    def _is_row(self, cells: list[str]) -> bool:
        """Tell whether cells look like a row of a CSV file: as many, and a number in its place."""
        layout = cast("Layout", self._layout)
        if len(cells) != len(layout.columns):
            return False
        return isinstance(read_number(cells[layout.number].strip('" '), self._country), int)

    def _contact(self, record: FileRow) -> NewContact | Flaw | None:
        """Return the contact of a row, what is wrong with it, or ``None`` if it is empty."""
        columns = self._columns(record.cells)
        if columns is None or isinstance(columns, Flaw):
            return columns
        number = read_number(columns.pop(self._number_key, ""), self._country)
        if isinstance(number, Flaw):
            return number
        zone = columns.get(ZONE_COLUMN, "").strip()
        if zone and zone_named(zone) is None:
            return _NO_ZONE
        contact = NewContact(number=number, columns=columns)
        if self._check is not None:
            try:
                self._check(contact)
            except InvalidCall as error:
                return Flaw(Kind.FLOW, f"cannot be dialled: {error}")
        return contact

    def _columns(
        self, cells: list[str] | dict[str, str] | Flaw
    ) -> dict[str, str] | Flaw | None:
        """Return what a row holds by the names of its columns."""
        if isinstance(cells, Flaw):
            return cells
        if isinstance(cells, dict):
            return {_key(key): text for key, text in cells.items()} or None
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            return None
        width = len(self.columns)
        if len(stripped) < width or any(stripped[width:]):
            return Flaw(
                Kind.RAGGED, f"has {len(stripped)} cells, and there are {width} columns"
            )
        return dict(zip(self.columns, stripped, strict=False))


def _key(name: str) -> str:
    return ZONE_COLUMN if name.strip().casefold() in {"timezone", "time_zone", "tz"} else name


def _counted(rejected: Mapping[Kind, int]) -> str:
    return repr({str(kind): count for kind, count in rejected.items()})


@frozen(kw_only=True)
class Survey:
    """What a file of contacts holds, before anybody is dialled.

    ``rows`` is always ``contacts + sum(rejected.values())``.

    Args:
        rows: How many rows it has, without its header and empty ones.
        contacts: How many can be dialled, each number once.
        rejected: How many cannot, by what is wrong.
        empty: How many rows are empty.
        countries: How many contacts are in each country.
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
        """How many rows hold a number that is in a row further up."""
        return self.rejected.get(Kind.DUPLICATE, 0)


def survey(file: ContactsFile, *, examples: int = 10) -> Survey:
    """Read a file once, and tell what it holds.

    Args:
        file: The file.
        examples: How many of the rejected rows to keep.

    Raises:
        ConfigurationError: It cannot be read any more.
    """
    countries: Counter[str] = Counter()
    rejected: Counter[Kind] = Counter()
    kept: list[Rejection] = []
    empty = 0
    for _, item in file.rows():
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
