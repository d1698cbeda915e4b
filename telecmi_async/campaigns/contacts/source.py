"""Contacts files: their bytes, their encoding, and the lines of text in them."""

from __future__ import annotations

import codecs
import io
import os
import re
import shutil
import stat
import tempfile
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from telecmi_async._internal.messages import shown
from telecmi_async.campaigns.contacts.flaw import Flaw, Kind
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_IN_MEMORY = 8 << 20
_LONGEST_LINE = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
#: What replaces bytes that do not fit the encoding, and characters that no text holds.
NOT_TEXT = re.compile("[\x00\ufffd\ud800-\udfff]")


class Line(NamedTuple):
    """A line: its number, from 1, and its text without line end, or why it cannot be read."""

    row: int
    text: str | Flaw


class Source:
    """A file that can be read repeatedly, from its beginning.

    A stream that cannot be rewound, such as a pipe or standard input, is copied to a temporary
    file. A byte order mark overrides the encoding.
    """

    __slots__ = ("__weakref__", "_file", "_path", "encoding", "name")

    def __init__(self, given: str | os.PathLike[str] | IO[bytes], encoding: str) -> None:
        self._path: Path | None = None
        self._file: IO[bytes] | None = None
        #: How messages name it.
        self.name = "the file"
        if isinstance(given, str | os.PathLike):
            self._path = Path(given)
            self.name = self._path.name
            if self._is_pipe(self._path):
                with self._opened() as pipe:
                    self._file = self._copy(pipe)
                self._path = None
        elif given.seekable():
            self._file = given
        else:
            self._file = self._copy(given)
        #: Its encoding.
        self.encoding = self._marked() or encoding
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError, ValueError):
            raise ConfigurationError(
                f'encoding must name an encoding, such as "utf-8" or "cp1252", not {shown(encoding)}'
            ) from None

    def _is_pipe(self, path: Path) -> bool:
        """Return whether it can be read only once."""
        if str(path) == "-":
            raise ConfigurationError(
                '"-" names no file: for standard input give /dev/stdin, or save it to a file'
            )
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise ConfigurationError(f"{self.name} is a device or a terminal, not a file")
        return stat.S_ISFIFO(mode)

    def _copy(self, given: IO[bytes]) -> IO[bytes]:
        """Copy a stream; the copy is deleted when it is closed, once this object is gone."""
        copy = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # as said above
        weakref.finalize(self, copy.close)
        shutil.copyfileobj(given, copy)
        return cast("IO[bytes]", copy)

    def _marked(self) -> str | None:
        """Return the encoding that the file's byte order mark states."""
        with self._opened() as file:
            head = file.read(4)
        if not isinstance(cast("object", head), bytes):
            raise ConfigurationError('the file must be open for bytes: open(…, "rb")')
        if head.startswith(_WORKBOOKS):
            raise ConfigurationError(
                f'{self.name} is a workbook: save it as "CSV UTF-8", with the numbers\' column '
                "formatted as text"
            )
        return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)

    def lines(self) -> Iterator[Line]:
        """Yield its lines, with the line ends of any system."""
        with self._opened() as file:
            text = io.TextIOWrapper(file, self.encoding, errors="replace")
            try:
                row = 0
                while line := text.readline(_LONGEST_LINE):
                    row += 1
                    if len(line) == _LONGEST_LINE and not line.endswith("\n"):
                        while (rest := text.readline(_LONGEST_LINE)) and not rest.endswith(
                            "\n"
                        ):
                            pass
                        yield Line(row, Flaw(Kind.TOO_LONG, "is longer than 65536 characters"))
                    elif (not line.isascii() or "\0" in line) and NOT_TEXT.search(line):
                        yield Line(row, self._not_text())
                    else:
                        yield Line(row, line.removesuffix("\n"))
            except UnicodeError:  # some codecs fail instead of replacing bytes
                raise ConfigurationError(
                    f"{self.name} cannot be read as {self.encoding}"
                ) from None
            finally:
                with suppress(ValueError):  # it was closed meanwhile
                    text.detach()  # else it would close the file

    def _not_text(self) -> Flaw:
        others = " or ".join(
            each for each in ("utf-8", "cp1252", "utf-16") if each != self.encoding
        )
        return Flaw(
            Kind.ENCODING,
            f"holds bytes that are not text in {self.encoding}: name the file's encoding, such as "
            f"{others}, or save it as UTF-8",
        )

    @contextmanager
    def _opened(self) -> Generator[IO[bytes]]:
        """Open it at its beginning."""
        try:
            if self._file is None:
                file: IO[bytes] = cast("Path", self._path).open("rb")
            else:
                file = self._file
                file.seek(0)
        except (OSError, ValueError) as error:  # a ValueError says that it was closed
            raise self._unreadable(error) from None
        try:
            yield file
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            if self._path is not None:
                file.close()

    def _unreadable(self, error: Exception) -> ConfigurationError:
        why = getattr(error, "strerror", None) or type(error).__name__
        return ConfigurationError(f"{self.name} cannot be read: {why}")
