"""Entry point: the command line, if the extra that it needs is there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.output.screen import finish
from telecmi_async.cli.output.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEEDED: Final = frozenset({"cyclopts", "rich"})


def main(argv: Sequence[str] | None = None, *, terminal: Terminal | None = None) -> int:
    """Run a command, and return its exit code: see `Exit`.

    Args:
        argv: The command's arguments; the process's if not given.
        terminal: Its input and output; the process's if not given.
    """
    terminal = terminal or Terminal.of_process()
    try:
        from telecmi_async.cli.app import run_program  # needs an extra

        return run_program(sys.argv[1:] if argv is None else argv, terminal)
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
