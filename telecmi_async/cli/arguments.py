"""Command-line arguments of all commands; only argparse is imported for them."""

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
    add_caller_id,
    add_calls_per_second,
    add_host,
    add_json,
    add_ledger,
    add_secret,
    add_webhooks,
    command,
    command_group,
    option,
)

if TYPE_CHECKING:
    from telecmi_async.cli.shared_arguments import Commands

_MOST_CALLS: Final = 1_000  # of the demo, which is over in some seconds
_DESCRIPTION: Final = (
    "Place phone calls through TeleCMI's v2 voice API: one, or all contacts in a file, each "
    "once, even if it is interrupted. Or try it without an account."
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
    option(demo, "--calls", None, f"how many, up to {_MOST_CALLS}", default=200, type=_calls)
    add_calls_per_second(demo, 50.0)
    add_behaviour(demo, error_share=0.05)
    add_json(demo)


def _add_flow(commands: Commands) -> None:
    actions = command_group(commands, "flow", "check a call flow, or show it")
    for name, function, brief in (
        ("check", "check", "say whether it is one, and which columns it is filled from"),
        ("show", "show_flow", "print it as a tree"),
    ):
        found = command(actions, name, f"flow:{function}", brief)
        found.add_argument("flow", help="the file; - for stdin")
        add_json(found)


def _add_hook(commands: Commands) -> None:
    brief = "print webhooks as they arrive, or send them again"
    actions = command_group(commands, "hook", brief)
    listen = command(
        actions,
        "listen",
        "hook:listen",
        "print each event as a line of JSON",
        "Take webhooks over and print each event as a line of JSON, until Ctrl-C. With a ledger "
        "each is put on record there before TeleCMI gets its answer: so campaigns learn how "
        "their calls went, on any machine.",
    )
    option(listen, "--port", None, "0 for any free one", default=WEBHOOK_PORT, type=int)
    add_host(listen)
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
    text = f"{what}; {{token}} in it stands for TELECMI_WEBHOOK_TOKEN"
    option(parser, "--forward-to", "URL", text, required=required)


def _add_doctor(commands: Commands) -> None:
    doctor = command(
        commands,
        "doctor",
        "doctor:run",
        "check that everything is in place, without placing a call",
    )
    option(doctor, "--ledger", "FILE", "look at a ledger, too (or TELECMI_LEDGER)")
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
        "Answer as TeleCMI's make-call API does, without dialling. The environment that leads "
        "programs here is printed on stdout. Ctrl-C ends it, with exit code 130.",
    )
    option(simulate, "--port", None, "0 for any free port", default=8787, type=int)
    add_host(simulate)
    option(simulate, "--latency", None, "seconds before each answer", default=0.0, type=float)
    text = "calls per second above which it answers 429"
    option(simulate, "--cps", None, text, dest="calls_per_second", type=int)
    text = "where events and records go (default: $TELECMI_WEBHOOK_URL, if it is set)"
    option(simulate, "--webhooks", "URL", text)
    text = "how many seconds pass in calls in one of yours"
    option(simulate, "--speed", None, text, default=1.0, type=float)
    text = "the share of the people called who answer, from 0 to 1"
    option(
        simulate, "--answered", "SHARE", text, default=1.0, dest="answered_share", type=float
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
    add_caller_id(call)
    option(call, "--to", "NUMBER", "who is called", required=True)
    call.add_argument(
        "--flow",
        "--pcmo",
        dest="flow",
        required=True,
        metavar="FILE",
        help="the call flow as JSON; - for stdin",
    )
    option(call, "--extra-params", "JSON", "your own data, given back with every event")
    option(call, "--duration", "SECONDS", "the longest the call may last", type=int)
    text = "which endpoint takes it; auto: India for 91 and ten digits, else global"
    option(call, "--region", None, text, default="auto", choices=["auto", "india", "global"])
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
