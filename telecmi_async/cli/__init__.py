"""The command line, ``telecmi-async``. It needs the extra ``cli``.

What a command prints for other programs goes to stdout, words for people to stderr, and how it
went is the exit code: see `Exit`. Numbers are masked, and secrets come from the environment,
files or stdin, since the arguments of a program are there for all users to see.
"""

from __future__ import annotations

from telecmi_async.cli.entry import main
from telecmi_async.cli.exits import Exit
from telecmi_async.cli.output.terminal import Terminal

__all__ = ["Exit", "Terminal", "main"]
