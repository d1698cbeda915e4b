"""Whether this process is one of several that serve the same web application."""

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
    """Tell whether a web server was told to start several worker processes.

    It is told by a server's own command line or by the variables that servers read, the first
    of them that names a number. In doubt the answer is no: a false alarm would be in the way.
    A server's configuration file is not read.

    Args:
        argv: The command line. In a worker that a server spawned it is the server's, too.
        environ: The environment.
    """
    server = _program(argv)
    if server in _SERVERS:
        found = _told(argv)
        if found is None and server == "gunicorn":
            found = _told(environ.get("GUNICORN_CMD_ARGS", "").split())
        if found is None:
            found = _number(environ.get(_VARIABLES.get(server, ""), ""))
        if found is not None:
            return found > 1
    elif multiprocessing.parent_process() is None:
        # A server that a program starts by itself, such as uvicorn.run, spawns its workers.
        return False
    return (_number(environ.get("WEB_CONCURRENCY", "")) or 1) > 1


def _program(argv: Sequence[str]) -> str:
    """Return the name of a command, or of the package in ``python -m package``."""
    path = PurePath(argv[0] if argv else "")
    return path.parent.name if path.name == "__main__.py" else path.stem


def _told(words: Sequence[str]) -> int | None:
    """Return the number of workers that a command line names."""
    for position, word in enumerate(words, 1):
        match = _FLAG.fullmatch(word)
        if match is not None:
            return _number(match[1] or "".join(words[position : position + 1]))
    return None


def _number(text: str) -> int | None:
    """Return a number; None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
