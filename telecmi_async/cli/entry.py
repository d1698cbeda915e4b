"""The command line's arguments, and which command they are for.

The commands are imported when they are run: ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, NoReturn

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

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
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _run(
    parser: argparse.ArgumentParser, options: argparse.Namespace, terminal: Terminal
) -> int:
    if options.version:
        terminal.put(f"telecmi-async {_version()}")
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


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # rarely needed

    try:
        return version("telecmi-async")
    except PackageNotFoundError:
        return "(not installed)"


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
    demo.add_argument("--calls", type=_calls, default=200, help="how many, up to 50000")
    demo.add_argument("--cps", type=_rate, default=50.0, help="calls per second")
    _add_behaviour(demo, error_share=0.05)


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="run a TeleCMI on this machine until Ctrl-C",
        description="Answer as TeleCMI's make-call API does, and dial nobody. The environment "
        "that leads programs here is printed on stdout. Ctrl-C ends it, with exit code 130.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    simulate.add_argument("--port", type=_port, default=8787, help="0 for any free port")
    simulate.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    simulate.add_argument(
        "--latency", type=_seconds, default=0.0, help="seconds before each answer"
    )
    simulate.add_argument(
        "--cps", type=_count, default=None, help="calls per second above which it answers 429"
    )
    _add_behaviour(simulate, error_share=0.0)


def _add_behaviour(parser: argparse.ArgumentParser, *, error_share: float) -> None:
    parser.add_argument(
        "--errors-502",
        type=_share,
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
        "--duration", type=_count, metavar="SECONDS", help="the longest the call may last"
    )
    call.add_argument(
        "--region",
        choices=["auto", "india", "global"],
        default="auto",
        help="which endpoint takes it (default: India for 91 and ten digits, else global)",
    )
    call.add_argument("--yes", action="store_true", help="do not ask")
    call.add_argument("--json", action="store_true", help="print the result as JSON")


def _refuse(wanted: str, text: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}")


def _number(text: str, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        _refuse(wanted, text)
    if not math.isfinite(number):
        _refuse(wanted, text)
    return number


def _share(text: str) -> float:
    wanted = "a share from 0 to 1"
    share = _number(text, wanted)
    return share if 0 <= share <= 1 else _refuse(wanted, text)


def _seconds(text: str) -> float:
    wanted = "seconds, 0 or more"
    seconds = _number(text, wanted)
    return seconds if seconds >= 0 else _refuse(wanted, text)


def _rate(text: str) -> float:
    wanted = "above 0 and at most 10000"
    rate = _number(text, wanted)
    return rate if 0 < rate <= 10_000 else _refuse(wanted, text)


def _whole(text: str, lowest: int, highest: float, wanted: str) -> int:
    number = _number(text, wanted)
    if number != int(number) or not lowest <= number <= highest:
        _refuse(wanted, text)
    return int(number)


def _count(text: str) -> int:
    return _whole(text, 1, math.inf, "a whole number, 1 or more")


def _calls(text: str) -> int:
    return _whole(text, 1, 50_000, "a whole number from 1 to 50000")


def _port(text: str) -> int:
    return _whole(text, 0, 65_535, "a port from 0 to 65535")
