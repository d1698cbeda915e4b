"""The command line, ``telecmi-async``. It needs the extra ``cli``.

What a command prints for other programs goes to stdout, words for people to stderr, and how it
went is the exit code: see `Exit`. Numbers are masked, and secrets come from the environment,
files or stdin, since the arguments of a program are there for all users to see.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.output.screen import finish
from telecmi_async.cli.output.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Exit", "Terminal", "main"]

_NEEDED: Final = frozenset({"cyclopts", "rich"})


def main(argv: Sequence[str] | None = None, *, terminal: Terminal | None = None) -> int:
    """Run a command, and return its exit code: see `Exit`.

    Args:
        argv: The command's arguments; the process's if not given.
        terminal: Its input and output; the process's if not given.
    """
    terminal = terminal or Terminal.of_process()
    try:
        from telecmi_async.cli.entry import run  # noqa: PLC0415  # needs an extra

        return run(sys.argv[1:] if argv is None else argv, terminal)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        terminal.unfailing(results=False).say(
            'telecmi-async: the command line needs an extra: pip install "telecmi-async[cli]", '
            f'or, from a clone, pip install ".[cli]" ({error.name} is missing)'
        )
        return Exit.USAGE
    finally:
        finish(terminal.stdout)
        finish(terminal.stderr)
