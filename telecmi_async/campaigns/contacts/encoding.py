"""In which encoding a file is written: found out from all of it, and said."""

from __future__ import annotations

import codecs
import os
import re
import shutil
import tempfile
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from attrs import frozen

from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Encoding", "Source", "detect"]

_CHUNK = 1 << 20
_IN_MEMORY = 8 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
# Bytes that Windows-1252 does not use.
_NOT_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")

_WIDE = re.compile(r"[^\x00-\x7f]")


@frozen
class Encoding:
    """How bytes become text.

    Args:
        codec: Python's name of it.
        name: Its name for people.
    """

    codec: str
    name: str


class Source:
    """A file that can be read again and again, from its beginning.

    Args:
        given: Its path, or an open binary file. What cannot be rewound, such as standard input,
            is copied to a temporary file.
    """

    __slots__ = ("__weakref__", "_file", "_path", "name")

    def __init__(self, given: str | os.PathLike[str] | IO[bytes]) -> None:
        self._path: Path | None = None
        self._file: IO[bytes] | None = None
        #: What it is called in messages.
        self.name = "the file"
        if isinstance(given, str | os.PathLike):
            self._path = Path(given)
            self.name = self._path.name
            return
        file = given
        if not file.seekable():
            # It is deleted when it is closed, and that is when nobody has this any more.
            copy = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # as said above
            weakref.finalize(self, copy.close)
            shutil.copyfileobj(file, copy)
            file = cast("IO[bytes]", copy)
        self._file = file

    @contextmanager
    def opened(self) -> Generator[IO[bytes]]:
        """Open it at its beginning.

        Raises:
            ConfigurationError: It cannot be read.
        """
        file = self._open()
        try:
            yield file
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            if self._path is not None:
                file.close()

    def _open(self) -> IO[bytes]:
        try:
            if self._file is None:
                return cast("Path", self._path).open("rb")
            self._file.seek(0)
        except (OSError, ValueError) as error:  # a ValueError says that it was closed
            raise self._unreadable(error) from None
        return self._file

    def _unreadable(self, error: Exception) -> ConfigurationError:
        why = getattr(error, "strerror", None) or type(error).__name__
        return ConfigurationError(f"{self.name} cannot be read: {why}")


def detect(source: Source) -> Encoding:
    """Return a file's encoding.

    A byte order mark says it. Text without one is UTF-16 if every second byte is zero, UTF-8 if
    it is that throughout or mostly, and else what Windows wrote before Unicode.

    Raises:
        ConfigurationError: It cannot be read, or is a workbook.
    """
    with source.opened() as file:
        head = file.read(4096)
        if not isinstance(cast("object", head), bytes):
            raise ConfigurationError('the file must be open for bytes: open(…, "rb")')
        if head.startswith(_WORKBOOKS):
            raise ConfigurationError(
                f'{source.name} is a workbook: save it as "CSV UTF-8", with the numbers\' column '
                "formatted as text"
            )
        for mark, codec, name in _MARKS:
            if head.startswith(mark):
                return Encoding(codec, name)
        zeros = [head[start::2].count(0) for start in (0, 1)]
        if max(zeros) * 5 > len(head):
            codec = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
            return Encoding(codec, "UTF-16 without a byte order mark")
        file.seek(0)
        if _is_utf8(file):
            return Encoding("utf-8", "UTF-8")
        file.seek(0)
        return _eight_bits(file)


def _is_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _eight_bits(file: IO[bytes]) -> Encoding:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good = bad = 0
    is_1252 = True
    while chunk := file.read(_CHUNK):
        is_1252 = is_1252 and not _NOT_1252.search(chunk)
        wide = _WIDE.findall(decoder.decode(chunk))
        lost = sum("\udc80" <= char <= "\udcff" for char in wide)
        good += len(wide) - lost
        bad += lost
    bad += len(decoder.decode(b"", final=True))
    if bad > good:
        return Encoding("cp1252", "Windows-1252") if is_1252 else Encoding("latin-1", "Latin-1")
    return Encoding("utf-8", f"UTF-8, but for {bad} bytes")
