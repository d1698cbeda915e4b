"""Lines of a file, and the records that they are: CSV, or JSON objects, one at a time.

Python's csv module reads on to the next quotation mark where one is missing, and what it takes
for one cell may be a hundred people. So lines are read here, and it gets those of one record. A
mark that is not closed costs the record that it is in, and no other.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, cast

from telecmi_async.campaigns.contacts.flaw import Flaw, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telecmi_async.campaigns.contacts.encoding import Encoding, Source

__all__ = ["FileRow", "Line", "csv_records", "json_records", "lines_of"]

_LONGEST_LINE = 1 << 16
# Of one record in quotation marks.
_MOST_LINES = 50
# What stands where bytes were not text, and zero bytes.
_BROKEN = re.compile("[\x00\ufffd\ud800-\udfff]")
_NOT_TEXT = Flaw(Kind.ENCODING, "holds bytes that are not text: save the file as UTF-8")
_NOT_CLOSED = Flaw(
    Kind.QUOTE,
    "has a quotation mark that is not closed, or lines inside one that look like rows",
)


class Line(NamedTuple):
    """A line, without its end.

    Args:
        row: Its number, from 1.
        text: What it holds, or why that cannot be used.
    """

    row: int
    text: str | Flaw


class FileRow(NamedTuple):
    """A row of the file.

    Args:
        row: The number of its first line.
        cells: What it holds: a list of a CSV file's cells, or a JSON object; or what is wrong.
        last: The number of its last line.
    """

    row: int
    cells: list[str] | dict[str, str] | Flaw
    last: int


def lines_of(source: Source, encoding: Encoding) -> Iterator[Line]:
    """Yield the lines of a file; they end as on any system."""
    with source.opened() as file:
        text = io.TextIOWrapper(file, encoding.codec, errors="replace")
        try:
            row = 0
            while line := text.readline(_LONGEST_LINE):
                row += 1
                if len(line) == _LONGEST_LINE and not line.endswith("\n"):
                    while (rest := text.readline(_LONGEST_LINE)) and not rest.endswith("\n"):
                        pass
                    yield Line(row, Flaw(Kind.TOO_LONG, "is longer than 65536 characters"))
                    continue
                line = line.removesuffix("\n")
                yield Line(row, line if line.isascii() and "\0" not in line else _sound(line))
        finally:
            text.detach()  # the file is not this function's to close


def _sound(line: str) -> str | Flaw:
    if not _BROKEN.search(line):
        return line
    return _NOT_TEXT


# --- CSV --------------------------------------------------------------------------------


def csv_records(
    lines: Iterator[Line], delimiter: str, is_row: Callable[[list[str]], bool]
) -> Iterator[FileRow]:
    """Yield the records of a CSV file.

    Args:
        lines: Its lines.
        delimiter: What stands between cells.
        is_row: Tells whether cells look like a row of this file: a line within quotation marks
            that does is one, and the mark was not closed.
    """
    waiting: deque[Line] = deque()
    # Lines up to here were behind a mark that was not closed; those with an odd one are lost, too.
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
    """An object holds a key twice."""


def json_records(lines: Iterator[Line]) -> Iterator[FileRow]:
    """Yield the objects of a file that holds one a line; what they hold becomes text."""
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
        return Flaw(Kind.JSON, "holds a key twice")
    except (ValueError, RecursionError):
        return Flaw(Kind.JSON, "is no JSON object")
    if not isinstance(value, dict):
        return Flaw(Kind.JSON, "is no JSON object")
    found = {key: _text(item) for key, item in cast("dict[str, object]", value).items()}
    if "\\u" in text and any(_BROKEN.search(f"{key}{item}") for key, item in found.items()):
        return _NOT_TEXT
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
