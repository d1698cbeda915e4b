"""Rejected rows: the rows of a contacts file that are not dialled, and why, as a CSV file."""

from __future__ import annotations

import csv
import os
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from telecmi_async.campaigns.contacts.export import mark
from telecmi_async.campaigns.contacts.files import Rejection
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.messages import plain_words
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from telecmi_async.campaigns.contacts.files import ContactsFile

_FIELDS: Final = ("row", "kind", "reason", "text")


def write_rejected(path: str, file: ContactsFile, contacts: str) -> None:
    """Write the rejected rows of a contacts file; only the user may read what was written.

    An earlier list at ``path`` is replaced, and no other file. If ``contacts``, the file's path,
    can be read again, the text of each row is written, too.
    """
    try:
        if Path(path).is_file() and not _is_list(path):
            raise Stop(Exit.USAGE, f"--rejected {path}: it exists, and is no list of rows")
        with open(
            path, "w", encoding="utf-8", newline="", opener=partial(os.open, mode=0o600)
        ) as target:
            Path(path).chmod(0o600)  # it may have existed
            writer = csv.writer(target)
            writer.writerow(_FIELDS)
            with Path(contacts if Path(contacts).is_file() else os.devnull).open(
                encoding=file.encoding, errors="replace"
            ) as lines:
                read = 0
                for row, item in file.rows():
                    if isinstance(item, Rejection):
                        text = next(islice(lines, row - read - 1, None), "").strip()
                        read = row
                        writer.writerow((row, item.kind, plain_words(item.reason), mark(text)))
    except OSError as error:
        raise ConfigurationError(f"--rejected: cannot write {path}: {error.strerror}") from None


def _is_list(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.readline().strip() in {b"", ",".join(_FIELDS).encode()}
