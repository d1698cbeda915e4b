"""The arguments of all commands. Nothing but argparse is imported for them."""

from __future__ import annotations

import argparse
from textwrap import fill
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.messages import shown
from telecmi_async.cli.campaign_arguments import add_campaigns
from telecmi_async.cli.shared_arguments import (
    EXIT_CODES,
    WEBHOOK_PORT,
    WIDTH,
    Parser,
    add_behaviour,
    add_json,
    add_ledger,
    add_secret,
    add_webhooks,
    command,
)

if TYPE_CHECKING:
    from telecmi_async.cli.shared_arguments import Commands

_MOST_CALLS: Final = 1_000  # of the demo, which is over in some seconds
_DESCRIPTION: Final = (
    "Place phone calls through TeleCMI's v2 voice API: one, or everybody in a file, each once, "
    "whatever happens. Or try it without an account."
)


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments of every command."""
    parser = Parser(
        prog="telecmi-async",
        description=fill(_DESCRIPTION, WIDTH),
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    _add_demo(commands)
    add_campaigns(commands)
    _add_flow(commands)
    _add_call(commands)
    _add_simulate(commands)
    _add_hook(commands)
    _add_doctor(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    demo = command(
        commands,
        "demo",
        "demo:run",
        "run a campaign on this machine, kill it in the middle, and resume it",
        "Call generated numbers on a TeleCMI that is simulated on this machine, in a process "
        "that is killed in the middle; another one goes on. No phone rings.",
    )
    demo.add_argument(
        "--calls",
        type=_calls,
        default=200,
        help=f"how many, up to {_MOST_CALLS} (default: %(default)s)",
    )
    demo.add_argument(
        "--cps",
        dest="calls_per_second",
        metavar="N",
        type=float,
        default=50.0,
        help="calls per second (default: %(default)s)",
    )
    add_behaviour(demo, error_share=0.05)
    add_json(demo)


def _add_flow(commands: Commands) -> None:
    flow = commands.add_parser("flow", help="check a call flow, or show it")
    actions = flow.add_subparsers(
        dest="action", title="commands", metavar="COMMAND", required=True
    )
    for name, function, brief in (
        ("check", "check", "say whether it is one, and which columns it is filled from"),
        ("show", "show_flow", "print it as a tree"),
    ):
        found = command(actions, name, f"flow:{function}", brief)
        found.add_argument("flow", help="the file; - for stdin")
        add_json(found)


def _add_hook(commands: Commands) -> None:
    hook = commands.add_parser("hook", help="print webhooks as they arrive, or send them again")
    actions = hook.add_subparsers(
        dest="action", title="commands", metavar="COMMAND", required=True
    )
    listen = command(
        actions,
        "listen",
        "hook:listen",
        "print each event as a line of JSON",
        "Take webhooks over and print each event as a line of JSON, until Ctrl-C. With a ledger "
        "each is put on record there before TeleCMI gets its answer: so campaigns hear how "
        "their calls went, on whatever machine they dial.",
    )
    listen.add_argument(
        "--port",
        type=int,
        default=WEBHOOK_PORT,
        help="0 for any free one (default: %(default)s)",
    )
    listen.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="the address to listen on (default: %(default)s)",
    )
    listen.add_argument("--reveal", action="store_true", help="print numbers in full")
    add_ledger(listen, name=None)
    _add_forward(listen, "send each event on to this address, too")
    add_json(listen, "print errors as JSON, too")
    replay = command(
        actions,
        "replay",
        "hook:replay",
        "send printed events to an address",
        "Send events that `hook listen --reveal` printed to an address, in their order.",
    )
    replay.add_argument("events", help="the file, an event a line; - for stdin")
    _add_forward(replay, "the address", required=True)
    add_json(replay, "print errors as JSON, too")


def _add_forward(parser: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    parser.add_argument(
        "--forward-to",
        required=required,
        metavar="URL",
        help=f"{what}; {{token}} in it stands for TELECMI_WEBHOOK_TOKEN",
    )


def _add_doctor(commands: Commands) -> None:
    doctor = command(
        commands, "doctor", "doctor:run", "look whether everything is in place, and call nobody"
    )
    doctor.add_argument(
        "--ledger", metavar="FILE", help="look at a ledger, too (or TELECMI_LEDGER)"
    )
    add_webhooks(
        doctor,
        "look whether what is sent to the address that TeleCMI's dashboard has, without its "
        "token, arrives here",
    )
    add_secret(doctor)
    add_json(doctor)


def _add_simulate(commands: Commands) -> None:
    simulate = command(
        commands,
        "simulate",
        "simulate:run",
        "run a TeleCMI on this machine until Ctrl-C",
        "Answer as TeleCMI's make-call API does, and dial nobody. The environment that leads "
        "programs here is printed on stdout. Ctrl-C ends it, with exit code 130.",
    )
    simulate.add_argument(
        "--port", type=int, default=8787, help="0 for any free port (default: %(default)s)"
    )
    simulate.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="the address to listen on (default: %(default)s)",
    )
    simulate.add_argument(
        "--latency",
        type=float,
        default=0.0,
        help="seconds before each answer (default: %(default)s)",
    )
    simulate.add_argument(
        "--cps",
        dest="calls_per_second",
        type=int,
        default=None,
        help="calls per second above which it answers 429",
    )
    simulate.add_argument(
        "--webhooks",
        metavar="URL",
        help="where events and records go (default: $TELECMI_WEBHOOK_URL, if it is set)",
    )
    simulate.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="how many seconds pass in calls in one of yours (default: %(default)s)",
    )
    simulate.add_argument(
        "--answered",
        dest="answered_share",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="the share of the people called who answer, from 0 to 1 (default: %(default)s)",
    )
    add_behaviour(simulate, error_share=0.0)
    add_json(simulate, "print the environment, and in the end what was asked, as JSON")


def _add_call(commands: Commands) -> None:
    call = command(
        commands,
        "call",
        "call:run",
        "place one real call",
        "Place one real call. It is shown first, and placed when you say yes.",
    )
    call.add_argument(
        "--from", dest="from_", metavar="NUMBER", help="the caller id (or TELECMI_FROM)"
    )
    call.add_argument("--to", required=True, metavar="NUMBER", help="who is called")
    call.add_argument(
        "--flow",
        "--pcmo",
        dest="flow",
        required=True,
        metavar="FILE",
        help="the call flow as JSON; - for stdin",
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
        help="which endpoint takes it; auto: India for 91 and ten digits, else global (default: %(default)s)",
    )
    call.add_argument("--yes", dest="confirmed", action="store_true", help="do not ask")
    add_json(call)


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
