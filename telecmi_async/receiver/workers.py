"""Whether this process is one of several that serve the same web application."""

from __future__ import annotations

import multiprocessing
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["several_workers"]

_SERVERS: Final = ("daphne", "granian", "gunicorn", "hypercorn", "uvicorn")
_FLAG: Final = re.compile(r"(?:--workers|-w)(?:=?(\d+))?")


def several_workers(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Tell whether a web server was told to start several worker processes.

    It is told by the variable that servers read (``WEB_CONCURRENCY``) or by a server's own
    command line. In doubt the answer is no: a false alarm would be in the way.

    Args:
        argv: The command line. In a worker that a server spawned it is the server's, too.
        environ: The environment.
    """
    program = " ".join(argv[:1])
    serving = any(server in program for server in _SERVERS)
    workers = environ.get("WEB_CONCURRENCY", "")
    if workers.isdecimal() and int(workers) > 1:
        return serving or multiprocessing.parent_process() is not None
    return serving and any(
        (match := _FLAG.fullmatch(word)) is not None and _number(match[1], following) > 1
        for word, following in zip(argv, [*argv[1:], ""], strict=True)
    )


def _number(inside: str | None, following: str) -> int:
    """Return the number that belongs to a flag: written with it, or the next word."""
    digits = inside or following
    return int(digits) if digits.isdecimal() else 1
