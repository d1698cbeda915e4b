"""Streams whose output can be read as it is shown on a terminal."""

from __future__ import annotations

import io
import re

from telecmi_async.cli import Terminal

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NO_ENVIRONMENT: dict[str, str] = {}


class Screen(io.TextIOWrapper):
    """A stream with an encoding of its own that may be a terminal."""

    def __init__(self, *, tty: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.tty = tty

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.tty

    def shown(self) -> str:
        """What was written."""
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def terminal_on(screen: Screen, environ: dict[str, str] = NO_ENVIRONMENT) -> Terminal:
    """A terminal whose results go to a screen."""
    return Terminal(stdin=io.StringIO(), stdout=screen, stderr=io.StringIO(), environ=environ)


def rows(text: str) -> dict[str, str]:
    """The table's labels and values."""
    found = re.findall(r"^ +(\S.*?) {2,}(\S+)", ESCAPE.sub("", text), re.MULTILINE)
    return dict(found)
