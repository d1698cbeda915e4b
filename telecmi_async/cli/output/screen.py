"""Screen: streams that people read. What cannot be written to one never ends a command."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

# What a terminal obeys or hides: control characters, marks that turn the direction of text, and
# invisible tags. Joiners are left: Indian scripts and emoji need them.
_OBEYED: Final = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\U000e0000-\U000e007f]"
)
# A full disk, a terminal that is gone, a closed pipe; a closed stream; and a signal's handler that
# writes while the program does.
_UNWRITABLE = (OSError, ValueError, RuntimeError)


class Screen:
    """A stream to write on whose reader may be gone, or whose disk may be full.

    Args:
        stream: The stream.
        instead: Gets each text that could not be written, and why.
    """

    def __init__(
        self, stream: TextIO, instead: Callable[[str, str], None] | None = None
    ) -> None:
        self._stream = stream
        self._instead = instead
        self._unwritten: list[str] = []

    @classmethod
    def over(cls, stream: TextIO, instead: Callable[[str, str], None] | None = None) -> TextIO:
        """Return a stream that writes to another one if it can."""
        return stream if isinstance(stream, cls) else cast("TextIO", cls(stream, instead))

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        if self._instead is not None:
            self._unwritten.append(text)
        try:
            self._stream.write(encodable(text, self._stream))
        except _UNWRITABLE as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Have what was written shown, if that is possible."""
        try:
            self._stream.flush()
        except _UNWRITABLE as error:
            self._fail(error)
        self._unwritten.clear()

    def _fail(self, error: Exception) -> None:
        text = "".join(self._unwritten)
        self._unwritten.clear()
        if self._instead is not None and text:
            why = getattr(error, "strerror", None) or str(error)
            self._instead(text, why)

    def isatty(self) -> bool:
        """Return whether it is a terminal; one that is gone is none."""
        try:
            return self._stream.isatty()
        except _UNWRITABLE:
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def on_one_line(text: str) -> str:
    r"""Return a text as one line that a terminal only shows: ESC becomes ``\u001b``.

    So a name, a file or a server cannot move the cursor or forge a line. JSON means the same.
    """
    return _OBEYED.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def encodable(text: str, stream: TextIO) -> str:
    """Return a text with a "?" for each character that a stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def give_up(stream: TextIO) -> None:
    """Have nothing more written to a stream: Python flushes it at the end, and must not fail.

    Otherwise Python would put an exit code of its own, 120, in place of the command's.
    """
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def finish(stream: TextIO) -> None:
    """Write what a stream still holds, or give it up."""
    try:
        stream.flush()
        getattr(stream, "_stream", stream).flush()
    except _UNWRITABLE:
        give_up(stream)


def standard_streams() -> tuple[TextIO, TextIO, TextIO]:
    """Return the process's stdin, stdout and stderr; in place of a closed one, an empty one.

    The numbers of closed ones are taken, so that no file of the program, such as a ledger, gets
    one: whatever writes to stderr would write into it.
    """
    found = (sys.stdin, sys.stdout, sys.stderr)
    if all(cast("list[TextIO | None]", found)):
        return found
    while (number := os.open(os.devnull, os.O_RDWR)) < len(found):
        pass
    os.close(number)
    streams = [
        each or cast("TextIO", open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  # open to the end
        for each, mode in zip(cast("list[TextIO | None]", found), ("r", "w", "w"), strict=True)
    ]
    return streams[0], streams[1], streams[2]
