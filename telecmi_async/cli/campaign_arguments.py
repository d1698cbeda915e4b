"""Arguments of the campaign commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.cli.shared_arguments import (
    add_json,
    add_ledger,
    add_running,
    add_yes,
    command,
)

if TYPE_CHECKING:
    import argparse

    from telecmi_async.cli.shared_arguments import Commands

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
        "--flow",
        required=True,
        metavar="FILE",
        help="the call flow as JSON, with {name} for what the column name says; - for stdin",
    )
    add_ledger(dial, name="what the campaign is called (default: as the file)")
    dial.add_argument(
        "--cps",
        dest="calls_per_second",
        metavar="N",
        type=float,
        default=1.0,
        help="calls per second (default: %(default)s)",
    )
    dial.add_argument(
        "--max-live-calls",
        type=int,
        metavar="N",
        help="how many may be live at once; needs webhooks",
    )
    dial.add_argument(
        "--from", dest="from_", metavar="NUMBER", help="the caller id (or TELECMI_FROM)"
    )
    _add_reading(dial)
    _add_rules(dial)
    dial.add_argument(
        "--unknown",
        choices=["hold", "retry_after_proof", "give_up"],
        default="hold",
        help="contacts whose phone may have rung: hold them, or, once it is proven that it did not "
        "ring, call them again or give up (default: %(default)s)",
    )
    dial.add_argument(
        "--dry-run", action="store_true", help="do all of it on a simulator: no phone rings"
    )
    add_yes(dial)
    add_running(dial)


def _add_reading(dial: argparse.ArgumentParser) -> None:
    dial.add_argument(
        "--country", metavar="CODE", help="the country of numbers without its code, such as 91"
    )
    dial.add_argument(
        "--column", metavar="NAME", help="the column that holds the numbers, if it is not found"
    )
    dial.add_argument(
        "--encoding",
        metavar="NAME",
        default="utf-8",
        help="of the files, such as cp1252 (default: %(default)s; a byte order mark overrides it)",
    )
    dial.add_argument(
        "--delimiter",
        metavar="CHAR",
        help="between the cells of CSV (default: of , ; | and tab, the first row's most frequent)",
    )


def _add_rules(dial: argparse.ArgumentParser) -> None:
    rules = dial.add_argument_group("rules that hold at the moment of sending")
    rules.add_argument(
        "--window",
        default="09:00-21:00",
        metavar="HH:MM-HH:MM",
        help="when phones may ring, by the callee's clock; any for any time (default: %(default)s)",
    )
    rules.add_argument(
        "--days", metavar="DAYS", help="on which days, such as mon,tue,sat (default: all)"
    )
    rules.add_argument(
        "--holiday",
        dest="holidays",
        action="append",
        default=[],
        metavar="DATE",
        help="a day on which no phone rings, such as 2026-12-25; may be repeated",
    )
    rules.add_argument("--do-not-call", metavar="FILE", help="numbers that are never called")
    rules.add_argument(
        "--per-number",
        action="append",
        default=[],
        metavar="N/TIME",
        help="how often a number is called in all campaigns of the ledger, such as 1/24h or "
        "3/7d; may be repeated",
    )
    rules.add_argument(
        "--per-day",
        metavar="N[@ZONE]",
        help="how many calls a day, such as 500@Asia/Kolkata; the zone says when a day begins "
        "(default: UTC)",
    )
    rules.add_argument(
        "--max-cost",
        dest="most_cost",
        type=float,
        metavar="SUM",
        help="no more calls once they have cost so much; needs webhooks",
    )
    rules.add_argument(
        "--not-after",
        metavar="TIME",
        help="when the calls are of use no more, such as 2026-12-24T18:00+05:30",
    )


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
    add_json(pause)


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
        help="how (default: csv, or jsonl with --json)",
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
    add_json(export, "an object a line, as --format jsonl does, and errors as JSON")


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
    add_json(retry)
