"""Streams whose output can be read as a terminal shows it."""

from __future__ import annotations

import io
import re

from telecmi_async.cli import Terminal

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NO_ENVIRONMENT: dict[str, str] = {}


class Screen(io.TextIOWrapper):
    """A stream with its own encoding that may be a terminal."""

    def __init__(self, *, tty: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.tty = tty

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self.tty

    def shown(self) -> str:
        """Return what was written."""
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def terminal_on(screen: Screen, environ: dict[str, str] = NO_ENVIRONMENT) -> Terminal:
    """Return a terminal whose results go to a screen."""
    return Terminal(stdin=io.StringIO(), stdout=screen, stderr=io.StringIO(), environ=environ)


def rows(text: str) -> dict[str, str]:
    """Return the labels and values of a printed table."""
    found = re.findall(r"^ +(\S.*?) {2,}(\S+)", ESCAPE.sub("", text), re.MULTILINE)
    return dict(found)
