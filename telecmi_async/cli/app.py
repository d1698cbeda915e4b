"""Application: from arguments to a command, and from errors to an exit code.

A command's module is imported when the command is run: the list of commands is quick.
"""

from __future__ import annotations

import inspect
import json
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from cyclopts import App, CycloptsError, Parameter

import telecmi_async
from telecmi_async.cli.exits import Exit, Stop, exit_of
from telecmi_async.cli.log_lines import log_shown
from telecmi_async.cli.options import ENVIRONMENT, EXIT_CODES, PROGRAM
from telecmi_async.cli.output.screen import give_up
from telecmi_async.cli.usage import usage_words
from telecmi_async.errors import TelecmiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from telecmi_async.cli.output.terminal import Terminal

_DESCRIPTION: Final = (
    "Place phone calls through TeleCMI's v2 voice API: one, or all contacts in a file, each "
    "once, even if it is interrupted. Or try it without an account."
)
#: Where each command is, and what it does: the first line of its function's docstring.
COMMANDS: Final = {
    "demo": "Run a campaign on this machine, kill it in the middle, and resume it.",
    "dial": "Call all contacts in a file, each once, even if it is interrupted.",
    "resume": "Go on with a campaign that was left or paused.",
    "pause": "Have all workers of a campaign start nothing more.",
    "change": "Change a campaign's settings while it runs.",
    "add": "Add the contacts of a file to a campaign, also while it runs.",
    "withdraw": "Have contacts of a campaign not be called any more.",
    "do-not-call": "List, add or remove numbers that no campaign of a ledger calls.",
    "history": "Print what people changed of a campaign, when, and who did it.",
    "status": "Print how a campaign stands.",
    "why": "Say what happened to a number, and why.",
    "export": "Write a campaign's contacts.",
    "migrate": "Make a ledger's tables, or bring them up to date.",
    "retry-unknown": "Have people dialled again who may have been called already.",
    "retry-missed": "Have people dialled again who did not answer.",
    "retry-rejected": "Have contacts tried again that TeleCMI rejected.",
    "retry-failed": "Have contacts tried again that could not be dialled.",
    "retry-blocked": "Have contacts tried again that a rule or a person blocked.",
    "flow": "Check a call flow, show it, or write one to start from.",
    "call": "Place one real call.",
    "simulate": "Run a TeleCMI on this machine until Ctrl-C.",
    "hook": "Print webhooks as they arrive, or send them again.",
    "doctor": "Check that everything is in place, without placing a call.",
}
#: Commands that are not in a module of their own, under their own name.
_PLACES: Final = {
    "resume": "dial:resume",
    "pause": "status:pause",
    "add": "change:add",
    "withdraw": "change:withdraw_contacts",
    "history": "change:print_history",
    "do-not-call": "do_not_call:do_not_call",
    "why": "export:why",
    "export": "export:export_contacts",
    "retry-unknown": "retry:retry_unknown",
    "retry-missed": "retry:retry_missed",
    "retry-rejected": "retry:retry_rejected",
    "retry-failed": "retry:retry_failed",
    "retry-blocked": "retry:retry_blocked",
}
# What may end a command without a fault of the program: it gets words, and no traceback.
_EXPECTED: Final = (Stop, TelecmiError, KeyboardInterrupt, OSError)
# Commands that are for their results alone. Any other one goes on without them: its exit code says
# what it did.
_SHOWING: Final = frozenset(
    {
        "",
        "do-not-call list",
        "doctor",
        "export",
        "flow check",
        "flow show",
        "history",
        "status",
        "why",
    }
)
# After a fault of the program, their exit code says that a phone may have rung.
_PLACING: Final = frozenset({"call", "dial", "resume"})


def make_app(*, listing: bool) -> App:
    """Return what reads the arguments of every command.

    With ``listing`` it knows what each command does; a command itself has that in its docstring.
    """
    app = App(
        name=PROGRAM,
        help=_DESCRIPTION,
        help_epilogue=f"{ENVIRONMENT}\n\n{EXIT_CODES}",
        help_flags=("--help", "-h"),
        help_format="plaintext",
        version=lambda: f"{PROGRAM} {telecmi_async.__version__}",
        default_parameter=Parameter(
            negative=(), show_default=default_words, allow_repeating=True
        ),
        print_error=False,
        exit_on_error=False,
    )
    for place, (name, brief) in enumerate(COMMANDS.items()):
        where = f"telecmi_async.cli.commands.{_PLACES.get(name, f'{name}:{name}')}"
        app.command(where, name=name, help=brief if listing else None, sort_key=place)
    if listing:
        app["--help"].help = "Print this."
        app["--version"].help = "Print the version."
        cast("Any", app).register_install_completion_command(
            help="Complete commands and options in your shell."
        )
    return app


def default_words(default: object) -> str | None:
    """Return what the help says of a default; ``None`` for an option that is not given then."""
    return f"{default:g}" if isinstance(default, float) else str(default) if default else None


def run_program(given: Sequence[str], terminal: Terminal) -> int:
    """Run a command, and return its exit code."""
    terminal = terminal.unfailing(results=False)
    app = make_app(listing=not given or given[0].startswith("-"))
    as_json = "--json" in given
    try:
        command, bound, ignored = app.parse_args(list(given))
    except CycloptsError as error:
        who = " ".join([PROGRAM, *(error.command_chain or ())])
        return _fail(terminal, who, Stop(Exit.USAGE, usage_words(app, error)), as_json=as_json)
    if "terminal" not in ignored:
        # Print help or the version, or install completion. Help for no command is an error.
        asked = any(text.startswith("-") for text in given)
        if "console" in bound.arguments:
            bound.arguments["console"] = (terminal if asked else terminal.words).console()
        command(*bound.args, **bound.kwargs)
        return Exit.OK if asked else Exit.USAGE
    name = " ".join(app.parse_commands(given)[0])
    if name not in _SHOWING:
        terminal = terminal.unfailing(results=True)
    run_command = partial(command, *bound.args, **bound.kwargs, terminal=terminal)
    import anyio  # the list of commands is quick

    try:
        with log_shown(terminal.environ, terminal.say):
            if inspect.iscoroutinefunction(command):
                return cast("int", anyio.run(run_command))
            return cast("int", run_command())
    except BaseException as error:
        leaves = list(_leaves(error))
        if not all(isinstance(each, _EXPECTED) for each in leaves):
            if name not in _PLACING or not isinstance(error, Exception):
                raise
            # Python's own exit code, 1, says that no phone rang.
            for line in "".join(traceback.format_exception(error)).splitlines():
                terminal.say(line)
            return Exit.UNKNOWN
        first = next(
            (each for each in leaves if isinstance(each, KeyboardInterrupt)), leaves[0]
        )
        return _fail(terminal, f"{PROGRAM} {name}", first, as_json=as_json)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Iterate over what a group of errors holds; an error is a group of one."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error


def _fail(terminal: Terminal, who: str, error: BaseException, *, as_json: bool) -> int:
    """Say why a command ended: words for people, and an object for programs."""
    from telecmi_async.cli.messages import error_words  # help is quick

    kind, message = type(error).__name__, error_words(error)
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
        case _:  # an OSError: a disk is full, perhaps the one that results go to
            give_up(terminal.stdout)
            code, message = Exit.PARTLY, getattr(error, "strerror", None) or message
    terminal.say(f"{who}: {message}")
    if as_json:
        found = {"type": kind, "message": message, "exit_code": int(code)}
        terminal.put(json.dumps({"error": found}))
    return code
