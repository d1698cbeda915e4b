"""The command line's arguments, and which command they are for.

The commands are imported when they are run: ``--help`` is quick.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import telecmi_async
from telecmi_async._wording import shown
from telecmi_async.cli.exits import Exit
from telecmi_async.cli.terminal import Terminal
from telecmi_async.errors import ConfigurationError, InvalidCall

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_MOST_CALLS = 50_000  # there are not many more fictional numbers

_DESCRIPTION = "Place phone calls through TeleCMI's v2 voice API, or try it without an account."
_EXIT_CODES = """\
exit codes: 0 done, 1 failed (no phone rang), 2 wrong arguments or input, 4 credentials missing
or refused, 7 outcome unknown (a phone may have rung), 130 interrupted by Ctrl-C
"""
_ENVIRONMENT = """\
environment: TELECMI_APP_ID and TELECMI_SECRET (needed), TELECMI_FROM, TELECMI_BASE_URL
"""


def main(argv: Sequence[str] | None = None, *, terminal: Terminal | None = None) -> int:
    """Run a command.

    Args:
        argv: Its arguments; the process's if not given.
        terminal: What it reads from and writes to; the process's if not given.

    Returns:
        The exit code; see `telecmi_async.cli.Exit`.
    """
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as ending:  # argparse has said why
        return Exit.OK if not ending.code else Exit.USAGE
    terminal = terminal or Terminal.of_process()
    try:
        return _run(parser, options, terminal)
    except (ConfigurationError, InvalidCall) as error:
        terminal.say(f"telecmi-async {options.command}: {error}")
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _run(
    parser: argparse.ArgumentParser, options: argparse.Namespace, terminal: Terminal
) -> int:
    if options.version:
        terminal.put(f"telecmi-async {telecmi_async.__version__}")
        return Exit.OK
    match options.command:
        case "demo":
            from telecmi_async.cli import demo  # noqa: PLC0415  # see the module's docstring

            return demo.run(
                terminal,
                calls=options.calls,
                calls_per_second=options.cps,
                error_share=options.errors_502,
                seed=options.seed,
            )
        case "simulate":
            from telecmi_async.cli import simulate  # noqa: PLC0415  # see the module's docstring

            return simulate.run(
                terminal,
                host=options.host,
                port=options.port,
                seed=options.seed,
                latency=options.latency,
                error_share=options.errors_502,
                calls_per_second=options.cps,
                webhooks=options.webhooks,
                speed=options.speed,
                answered_share=options.answered,
            )
        case "call":
            from telecmi_async.cli import call  # noqa: PLC0415  # see the module's docstring

            return call.run(
                terminal,
                from_=options.from_,
                to=options.to,
                pcmo=options.pcmo,
                extra_params=options.extra_params,
                duration=options.duration,
                region=options.region,
                confirmed=options.yes,
                as_json=options.json,
            )
        case _:
            terminal.say(parser.format_help().rstrip())
            return Exit.USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="telecmi-async",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")
    _add_demo(commands)
    _add_simulate(commands)
    _add_call(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="place 200 calls to a TeleCMI simulated on this machine",
        description="Place calls to generated numbers, over HTTP, to a TeleCMI simulated on "
        "this machine. No phone rings.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument(
        "--calls", type=_calls, default=200, help=f"how many, up to {_MOST_CALLS}"
    )
    demo.add_argument("--cps", type=float, default=50.0, help="calls per second")
    _add_behaviour(demo, error_share=0.05)


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="run a TeleCMI on this machine until Ctrl-C",
        description="Answer as TeleCMI's make-call API does, and dial nobody. The environment "
        "that leads programs here is printed on stdout. Ctrl-C ends it, with exit code 130.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    # Left out where they are not given: else the help would say "default: None".
    simulate.set_defaults(cps=None, webhooks=None)
    simulate.add_argument("--port", type=int, default=8787, help="0 for any free port")
    simulate.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    simulate.add_argument(
        "--latency", type=float, default=0.0, help="seconds before each answer"
    )
    simulate.add_argument(
        "--cps",
        type=int,
        default=argparse.SUPPRESS,
        help="calls per second above which it answers 429 (default: never)",
    )
    simulate.add_argument(
        "--webhooks",
        metavar="URL",
        default=argparse.SUPPRESS,
        help="where events and records go (default: $TELECMI_WEBHOOK_URL, if it is set)",
    )
    simulate.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="how many seconds pass in calls in one of yours",
    )
    simulate.add_argument(
        "--answered",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="the share of the people called who answer, from 0 to 1",
    )
    _add_behaviour(simulate, error_share=0.0)


def _add_behaviour(parser: argparse.ArgumentParser, *, error_share: float) -> None:
    parser.add_argument(
        "--errors-502",
        type=float,
        default=error_share,
        metavar="SHARE",
        help="the share of answers that are TeleCMI's 502, from 0 to 1",
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed, other answers")


def _add_call(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    call = commands.add_parser(
        "call",
        help="place one real call",
        description="Place one real call. It is shown first, and placed when you say yes.",
        epilog=f"{_ENVIRONMENT}{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    call.add_argument(
        "--from", dest="from_", metavar="NUMBER", help="the caller id (or TELECMI_FROM)"
    )
    call.add_argument("--to", required=True, metavar="NUMBER", help="who is called")
    call.add_argument(
        "--pcmo", required=True, metavar="FILE", help="the call flow as JSON; - for stdin"
    )
    call.add_argument(
        "--extra-params", metavar="JSON", help="your own data, given back with every event"
    )
    call.add_argument(
        "--duration", type=int, metavar="SECONDS", help="the longest the call may last"
    )
    call.add_argument(
        "--region",
        choices=["auto", "india", "global"],
        default="auto",
        help="which endpoint takes it (default: India for 91 and ten digits, else global)",
    )
    call.add_argument("--yes", action="store_true", help="do not ask")
    call.add_argument("--json", action="store_true", help="print the result as JSON")


def _calls(text: str) -> int:
    try:
        calls = int(text)
    except ValueError:
        calls = 0
    if 1 <= calls <= _MOST_CALLS:
        return calls
    raise argparse.ArgumentTypeError(
        f"must be a whole number from 1 to {_MOST_CALLS}, not {shown(text)}"
    )
