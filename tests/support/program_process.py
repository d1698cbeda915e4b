"""Programs as users start them: processes, with an environment of their own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli_campaign import wait_for
from free_ports import free_port
from terminals import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def started(
    *command: str, environ: Mapping[str, str], warnings: str = "error"
) -> Iterator[subprocess.Popen[str]]:
    """Start a Python program; kill it if it still runs at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", warnings, *command],
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
    app: str,
    environ: Mapping[str, str],
    *,
    logs: str = "",
    warnings: str = "error",
    port: int | None = None,
) -> Iterator[str]:
    """Serve an application with uvicorn; yield its address. In the end it has logged ``logs``."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    command = ("-m", "uvicorn", app, "--port", str(port), "--log-level", "warning")
    environ = {"PUBLIC_URL": url, **environ}
    with started(*command, environ=environ, warnings=warnings) as process:
        wait_for(lambda: process.poll() is not None or listens(port))
        yield url
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert re.fullmatch(logs, said), said


def listens(port: int) -> bool:
    """Return whether a server accepts connections."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
