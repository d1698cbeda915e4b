"""A command in its own process on a pseudo-terminal: its output and its keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import telecmi_async

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The terminal controls the process, so that Ctrl-C sends a signal.
OWNED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that can import this package."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    here = str(Path(telecmi_async.__file__).parents[1])
    return {**kept, "PYTHONPATH": here, "TERM": "xterm", "LANG": "C.UTF-8", **environ}


class OnTerminal:
    """Runs the command line on a pseudo-terminal.

    Args:
        argv: The command's arguments.
        environ: Its environment.
        columns: The width of the terminal.
    """

    def __init__(self, *argv: str, environ: Mapping[str, str], columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", OWNED, "-m", "telecmi_async", *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment(environ),
        )
        os.close(slave)
        self._raw = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def send(self, number: int) -> None:
        """Send the process a signal; a key would also have the terminal take output again."""
        self._process.send_signal(number)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # Linux raises it when the other end is closed
            while piece := os.read(self._master, 65_536):
                self._raw += piece

    @property
    def raw(self) -> str:
        """All output, with escape codes."""
        return self._raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """All output, without escape codes."""
        return ESCAPES.sub("", self.raw)

    def wait_for(self, text: str) -> None:
        """Wait until the output contains a text."""
        until = time.monotonic() + 30
        while text not in self.text:
            assert time.monotonic() < until, self.text
            assert self._process.poll() is None or text in self.text, self.text
            time.sleep(0.02)

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Wait for the process, and return its exit code."""
        code = self._process.wait(30)
        self._reader.join(30)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(30)
        os.close(self._master)
