"""Worker detection: whether a web server runs several processes of the same application."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["several_workers"]

_SERVERS: Final = frozenset({"fastapi", "granian", "gunicorn", "hypercorn", "uvicorn"})
_FLAG: Final = re.compile(r"(?:--workers|-w)(?:=?(\d+))?")
_VARIABLES: Final = {"granian": "GRANIAN_WORKERS", "uvicorn": "UVICORN_WORKERS"}


def several_workers(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether a web server was told to start several worker processes.

    The number is read from a server's command line, or else from the variables that servers
    read. In doubt the answer is no, to avoid false alarms. A server's configuration file is not
    read.

    Args:
        argv: The command line. A spawned worker has the server's.
        environ: The environment.
    """
    server = _program(argv)
    if server in _SERVERS:
        found = _workers_in(argv)
        if found is None and server == "gunicorn":
            found = _workers_in(environ.get("GUNICORN_CMD_ARGS", "").split())
        if found is None:
            found = _number(environ.get(_VARIABLES.get(server, ""), ""))
        if found is not None:
            return found > 1
    elif multiprocessing.parent_process() is None:
        # A server that a program starts itself, by uvicorn.run for example, spawns its workers.
        return False
    return (_number(environ.get("WEB_CONCURRENCY", "")) or 1) > 1


def _program(argv: Sequence[str]) -> str:
    """Return the name of a command, or of the package in ``python -m package``."""
    path = PurePath(argv[0] if argv else "")
    return path.parent.name if path.name == "__main__.py" else path.stem


def _workers_in(words: Sequence[str]) -> int | None:
    """Return the number of workers in a command line, if it is given."""
    for position, word in enumerate(words, 1):
        match = _FLAG.fullmatch(word)
        if match is not None:
            return _number(match[1] or "".join(words[position : position + 1]))
    return None


def _number(text: str) -> int | None:
    """Return a number, or None if the text is not one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
