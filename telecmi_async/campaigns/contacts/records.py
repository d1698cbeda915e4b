"""Contacts files: CSV records and JSON objects, from lines of text.

Where a quotation mark is missing, Python's csv module reads on to the next one, and a hundred
people become one cell. So it is given the lines of one record at a time. A mark that is not
closed costs its own record, and no other.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, cast

from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.campaigns.contacts.source import NOT_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telecmi_async.campaigns.contacts.source import Line

# Of one record in quotation marks.
_MOST_LINES = 50
_ESCAPED = Flaw(Kind.ENCODING, "holds escaped characters that are not text")
_NOT_CLOSED = Flaw(
    Kind.QUOTE,
    "has a quotation mark that is not closed, or lines inside one that look like rows",
)


class FileRow(NamedTuple):
    """A row of the file: its first line, its cells or why they cannot be read, its last line."""

    row: int
    cells: list[str] | dict[str, str] | Flaw
    last: int


# --- CSV --------------------------------------------------------------------------------


def csv_records(
    lines: Iterator[Line], delimiter: str, is_row: Callable[[list[str]], bool]
) -> Iterator[FileRow]:
    """Yield the records of a CSV file.

    Args:
        lines: Its lines.
        delimiter: The character between cells.
        is_row: Whether cells look like a row: then a line within quotation marks is one, and the
            mark was not closed.
    """
    waiting: deque[Line] = deque()
    # Lines up to here follow a mark that was not closed: those with an odd mark are lost, too.
    suspect = 0
    while line := waiting.popleft() if waiting else next(lines, None):
        row, text = line
        if isinstance(text, Flaw):
            yield FileRow(row, text, row)
            continue
        if '"' not in text:
            yield FileRow(row, text.split(delimiter), row)
            continue
        odd = text.count('"') % 2 == 1
        last = row
        cells = None if odd and row <= suspect else _cells([text], delimiter)
        if cells is None and odd and row > suspect:
            behind = _until_closed(lines, waiting)
            texts = [each.text for each in behind if isinstance(each.text, str)]
            are_rows = any(is_row(each.split(delimiter)) for each in texts)
            if behind and len(texts) == len(behind) and not are_rows:
                cells = _cells([text, *texts], delimiter)
                last = behind[-1].row
            if cells is None:
                waiting.extendleft(reversed(behind))
                last = row
                suspect = behind[-1].row if behind else row
        yield FileRow(row, _NOT_CLOSED if cells is None else cells, last)


def _until_closed(lines: Iterator[Line], waiting: deque[Line]) -> list[Line]:
    """Take lines up to the one that closes a quotation mark, or as many as there may be."""
    behind: list[Line] = []
    while len(behind) < _MOST_LINES:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            break
        behind.append(line)
        if isinstance(line.text, str) and line.text.count('"') % 2 == 1:
            break
    return behind


def _cells(texts: list[str], delimiter: str) -> list[str] | None:
    """Return the cells of one record, or ``None`` if the lines are not exactly that."""
    try:
        records = list(
            csv.reader((f"{text}\n" for text in texts), delimiter=delimiter, strict=True)
        )
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None


# --- JSON -------------------------------------------------------------------------------


class _Twice(ValueError):
    """An object has the same key twice."""


def json_records(lines: Iterator[Line]) -> Iterator[FileRow]:
    """Yield the objects of a file with one object a line; their values become text."""
    for row, text in lines:
        if isinstance(text, Flaw):
            yield FileRow(row, text, row)
        else:
            yield FileRow(row, _object(text) if text.strip() else {}, row)


def _object(text: str) -> dict[str, str] | Flaw:
    try:
        # Numbers stay as they are written: 9.19E+11 has lost digits, and a float hides that.
        value: object = json.loads(
            text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_pairs
        )
    except _Twice:
        return Flaw(Kind.JSON, "has the same key twice")
    except (ValueError, RecursionError):
        return Flaw(Kind.JSON, "is not a JSON object")
    if not isinstance(value, dict):
        return Flaw(Kind.JSON, "is not a JSON object")
    found = {key: _text(item) for key, item in cast("dict[str, object]", value).items()}
    if "\\u" in text and any(NOT_TEXT.search(f"{key}{item}") for key, item in found.items()):
        return _ESCAPED
    return found


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return json.dumps(value, ensure_ascii=False)
