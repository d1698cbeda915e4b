"""The arguments of commands that are about campaigns."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from telecmi_async.cli.shared_arguments import (
    add_json,
    add_ledger,
    add_running,
    add_yes,
    command,
)
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from telecmi_async.campaign import CallingWindow
    from telecmi_async.cli.shared_arguments import Commands

__all__ = ["add_campaigns"]

# The ledger's package is not imported for its names; a test holds them to be the same.
_STATES: Final = (
    "pending", "claimed", "sending", "placed", "finished", "rejected", "failed", "blocked",
    "unknown",
)  # fmt: skip


def add_campaigns(commands: Commands) -> None:
    """Add all of them."""
    _add_dial(commands)
    _add_resume(commands)
    _add_looks(commands)
    _add_retry_unknown(commands)


def _add_dial(commands: Commands) -> None:
    dial = command(
        commands,
        "dial",
        "dial:run",
        "call everybody in a file, once, whatever happens meanwhile",
        "Call everybody in a file. The plan is shown and confirmed first. What is sent is in "
        "the ledger before it is sent, so that nobody is called twice, whenever it ends: the "
        "same command, or `resume`, goes on. Ctrl-C once starts no more calls and waits for "
        "what was sent; twice leaves at once.",
    )
    dial.add_argument("contacts", help="CSV or JSON lines, with a column of numbers")
    dial.add_argument(
        "--flow", required=True, metavar="FILE", help="the call flow; - for stdin"
    )
    add_ledger(dial)
    dial.add_argument(
        "--cps",
        dest="calls_per_second",
        metavar="N",
        type=float,
        default=1.0,
        help="calls per second (default: %(default)s)",
    )
    dial.add_argument(
        "--live-calls", type=int, metavar="N", help="how many may be live at once"
    )
    dial.add_argument(
        "--from", dest="from_", metavar="NUMBER", help="the caller id (or TELECMI_FROM)"
    )
    dial.add_argument(
        "--country", metavar="CODE", help="the country of numbers without its code, such as 91"
    )
    dial.add_argument(
        "--column", metavar="NAME", help="the column that holds the numbers, if it is not found"
    )
    dial.add_argument(
        "--window",
        type=_window,
        default="09:00-21:00",
        metavar="HH:MM-HH:MM",
        help="when phones may ring, by the callee's clock; any for any time (default: %(default)s)",
    )
    dial.add_argument(
        "--max-cost",
        dest="most_cost",
        type=float,
        metavar="SUM",
        help="what all calls may cost",
    )
    dial.add_argument("--do-not-call", metavar="FILE", help="numbers that are never called")
    dial.add_argument(
        "--unknown",
        choices=["hold", "retry_after_proof", "give_up"],
        default="hold",
        help="what becomes of whose phone may have rung (default: %(default)s)",
    )
    dial.add_argument("--dry-run", action="store_true", help="do all of it on a simulator")
    add_yes(dial)
    add_running(dial)


def _add_resume(commands: Commands) -> None:
    resume = command(
        commands, "resume", "resume:run", "go on with a campaign that was left or paused"
    )
    add_ledger(resume)
    add_running(resume)
    pause = command(
        commands, "pause", "status:pause", "have all workers of a campaign start nothing more"
    )
    add_ledger(pause)


def _add_looks(commands: Commands) -> None:
    status = command(commands, "status", "status:run", "print how a campaign stands")
    add_ledger(status)
    add_json(status)
    why = command(commands, "why", "export:why", "tell what happened to a number, and why")
    why.add_argument("number", help="whose")
    add_ledger(why)
    add_json(why)
    export = command(commands, "export", "export:run", "write a campaign's contacts")
    add_ledger(export)
    export.add_argument(
        "--format",
        dest="kind",
        choices=["csv", "jsonl"],
        default="csv",
        help="how (default: %(default)s)",
    )
    export.add_argument(
        "--state",
        dest="states",
        action="append",
        default=[],
        choices=_STATES,
        help="only these",
    )
    export.add_argument("--output", metavar="FILE", help="where to; stdout if not given")
    export.add_argument("--reveal", action="store_true", help="write numbers in full")
    export.add_argument(
        "--json",
        dest="kind",
        action="store_const",
        const="jsonl",
        help="the same as --format jsonl",
    )


def _add_retry_unknown(commands: Commands) -> None:
    retry = command(
        commands,
        "retry-unknown",
        "status:retry_unknown",
        "have people dialled again who may have been called already",
    )
    retry.add_argument("numbers", nargs="*", help="whom; all of them if none is named")
    add_ledger(retry)
    add_yes(retry)


def _window(text: str) -> CallingWindow | None:
    if text == "any":
        return None
    from telecmi_async.campaign import CallingWindow  # noqa: PLC0415  # see above

    start, _, end = text.partition("-")
    try:
        return CallingWindow(start=start.strip(), end=end.strip())
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
