"""Entry point: from arguments to a command, and from errors to an exit code.

The commands are imported when they are run: ``--help`` is quick.
"""

from __future__ import annotations

import json
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

import telecmi_async
from telecmi_async.cli.arguments import make_parser
from telecmi_async.cli.exits import Exit, Stop, exit_of
from telecmi_async.cli.screen import finish, give_up
from telecmi_async.cli.shared_arguments import Misused
from telecmi_async.cli.terminal import Terminal
from telecmi_async.errors import TelecmiError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

# What may end a command without a fault of the program: it gets words, and no traceback.
_EXPECTED: Final = (Stop, TelecmiError, KeyboardInterrupt, OSError)
# Commands that are for their results alone. Any other one goes on without them: its exit code says
# what it did.
_SHOWING: Final = frozenset(
    {"", "doctor", "export", "flow check", "flow show", "status", "why"}
)
# After a fault of the program, their exit code says that a phone may have rung.
_PLACING: Final = frozenset({"call", "dial", "resume"})


def main(argv: Sequence[str] | None = None, *, terminal: Terminal | None = None) -> int:
    """Run a command, and return its exit code: see `Exit`.

    Args:
        argv: The command's arguments; the process's if not given.
        terminal: Its input and output; the process's if not given.
    """
    terminal = terminal or Terminal.of_process()
    given = sys.argv[1:] if argv is None else argv
    try:
        return _main(given, terminal)
    finally:
        finish(terminal.stdout)
        finish(terminal.stderr)


def _main(given: Sequence[str], terminal: Terminal) -> int:
    terminal = terminal.unfailing(results=False)
    parser = make_parser()
    try:
        options = parser.parse_args(given)
    except SystemExit:  # argparse has printed the help
        return Exit.OK
    except Misused as misuse:
        return _fail(terminal, misuse.command, misuse, as_json="--json" in given)
    command = " ".join(filter(None, (options.command, getattr(options, "action", ""))))
    as_json = getattr(options, "as_json", False)
    if command not in _SHOWING:
        terminal = terminal.unfailing(results=True)
    try:
        return _run(parser, options, terminal)
    except BaseException as error:
        leaves = list(_leaves(error))
        if not all(isinstance(each, _EXPECTED) for each in leaves):
            if command not in _PLACING or not isinstance(error, Exception):
                raise
            # Python's own exit code, 1, says that no phone rang.
            terminal.say("".join(traceback.format_exception(error)))
            return Exit.UNKNOWN
        first = next(
            (each for each in leaves if isinstance(each, KeyboardInterrupt)), leaves[0]
        )
        return _fail(terminal, f"telecmi-async {command}", first, as_json=as_json)


def _run(
    parser: argparse.ArgumentParser, options: argparse.Namespace, terminal: Terminal
) -> int:
    """Call the command's function with its arguments, which are named as they are."""
    given = vars(options).copy()
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
    from telecmi_async.cli.call_lines import without_call_lines  # noqa: PLC0415  # help is quick

    with without_call_lines():
        code: int = command(terminal, **arguments)
    return code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Iterate over what a group of errors holds; an error is a group of one."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error


def _fail(terminal: Terminal, who: str, error: BaseException, *, as_json: bool) -> int:
    """Say why a command ended: words for people, and an object for programs."""
    kind, message = type(error).__name__, str(error)
    match error:
        case BrokenPipeError():  # the reader of the results has closed the pipe
            give_up(terminal.stdout)
            return Exit.OK
        case KeyboardInterrupt():
            code, kind, message = Exit.INTERRUPTED, "Interrupted", "interrupted"
        case Stop():
            code, kind = error.code, error.code.name.title().replace("_", "")
        case TelecmiError():
            code = exit_of(error)
        case OSError():  # a disk is full, perhaps the one that results go to
            give_up(terminal.stdout)
            code, message = Exit.PARTLY, error.strerror or message
        case _:
            code, kind = Exit.USAGE, "Usage"
    terminal.say(f"{who}: {message}")
    if as_json:
        found = {"type": kind, "message": message, "exit_code": int(code)}
        terminal.put(json.dumps({"error": found}))
    return code
