"""Worker detection: whether a web server runs several processes of the same application."""

from __future__ import annotations

import re
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SERVERS: Final = frozenset({"fastapi", "granian", "gunicorn", "hypercorn", "uvicorn"})
_FLAG: Final = re.compile(r"(?<!\S)(?:--workers|-w)[= ]?([0-9]{1,9})(?!\S)")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_VARIABLES: Final = {"granian": "GRANIAN_WORKERS", "uvicorn": "UVICORN_WORKERS"}


def several_workers(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether a web server is configured to start several worker processes.

    The number is read from a server's command line, which a spawned worker has as well, or else
    from the variables that servers read. In doubt the answer is no, to avoid false alarms. A
    server's configuration file is not read.
    """
    path = PurePath(argv[0] if argv else "")
    server = path.parent.name if path.name == "__main__.py" else path.stem  # or python -m
    variables = ["WEB_CONCURRENCY"]
    if server in _SERVERS:
        options = environ.get("GUNICORN_CMD_ARGS", "") if server == "gunicorn" else ""
        if found := _FLAG.search(" ".join(argv)) or _FLAG.search(options):
            return int(found[1]) > 1
        variables.insert(0, _VARIABLES.get(server, ""))
    elif not _is_spawned():
        # A server that a program starts itself, by uvicorn.run for example, spawns its workers.
        return False
    numbers = (environ.get(name, "") for name in variables)
    return next((int(text) > 1 for text in numbers if _NUMBER.fullmatch(text)), False)


def _is_spawned() -> bool:
    """Return whether multiprocessing started this process; if so, it is imported."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None
