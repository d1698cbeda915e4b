"""The command line's way in: arguments to a command, errors to an exit code.

The commands are imported when they are run: ``--help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import telecmi_async
from telecmi_async.cli.arguments import make_parser
from telecmi_async.cli.exits import Exit, Stop, exit_of
from telecmi_async.cli.terminal import Terminal
from telecmi_async.errors import TelecmiError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, *, terminal: Terminal | None = None) -> int:
    """Run a command.

    Args:
        argv: Its arguments; the process's if not given.
        terminal: What it reads from and writes to; the process's if not given.

    Returns:
        The exit code; see `telecmi_async.cli.Exit`.
    """
    parser = make_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as ending:  # argparse has said why
        return Exit.OK if not ending.code else Exit.USAGE
    terminal = terminal or Terminal.of_process()
    try:
        return _run(parser, options, terminal)
    except Stop as stop:
        terminal.say(f"telecmi-async {options.command}: {stop}")
        return stop.code
    except TelecmiError as error:
        terminal.say(f"telecmi-async {options.command}: {error}")
        return exit_of(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read the results has enough
        terminal.give_up_results()
        return Exit.OK


def _run(
    parser: argparse.ArgumentParser, options: argparse.Namespace, terminal: Terminal
) -> int:
    """Call the command's function with its arguments, which are named as they are."""
    given = vars(options)
    if given.pop("version"):
        terminal.put(f"telecmi-async {telecmi_async.__version__}")
        return Exit.OK
    if "run" not in given:
        terminal.say(parser.format_help().rstrip())
        return Exit.USAGE
    module, _, function = given.pop("run").partition(":")
    names = {"action", "command"}  # which were chosen; the rest are a function's arguments
    arguments = {name: value for name, value in given.items() if name not in names}
    command = getattr(import_module(f"telecmi_async.cli.{module}"), function)
    code: int = command(terminal, **arguments)
    return code
