"""The complete programs in docs/examples, how they are started, and what their pages show."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cli_campaign import wait_for
from project_paths import DOCS
from terminals import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES: Final = DOCS / "examples"
PROGRAMS: Final = sorted(path.name for path in EXAMPLES.glob("*.py"))
#: Voice bots, by their paths in the folder.
VOICE_PROGRAMS: Final = sorted(f"voice/{path.name}" for path in EXAMPLES.glob("voice/*.py"))
# A program as a page shows it, with the next block of output on that page.
_SHOWN: Final = re.compile(
    r"```\{literalinclude\} \S*/(?P<program>\w+\.py)\n.*?```\n"
    r".*?^```text\n(?P<printed>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def shown_on_pages() -> set[str]:
    """Return the names of the programs that pages show in full."""
    pages = (path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    return {
        name
        for page in pages
        for name in re.findall(
            r"^```\{literalinclude\} \S*/examples/((?:voice/)?\w+\.py)$", page, re.MULTILINE
        )
    }


def output_on_page(page: str, program: str) -> str:
    """Return the output that a page shows after a program."""
    (path,) = DOCS.rglob(page)
    found = {
        match["program"]: match["printed"]
        for match in _SHOWN.finditer(path.read_text(encoding="utf-8"))
    }
    return found[program]


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@contextmanager
def started(*command: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a Python program; kill it if it still runs at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        env=environment(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def served(
    app: str, environ: Mapping[str, str], *, logs: str = "", port: int | None = None
) -> Iterator[str]:
    """Serve an application with uvicorn; yield its address. In the end it has logged ``logs``."""
    port = port or free_port()
    command = ("-m", "uvicorn", app, "--port", str(port), "--log-level", "warning")
    with started(*command, environ=environ) as process:
        wait_for(lambda: process.poll() is not None or listens(port))
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert re.fullmatch(logs, said), said


def listens(port: int) -> bool:
    """Return whether a server accepts connections."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
