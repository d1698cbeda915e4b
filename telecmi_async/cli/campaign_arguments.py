"""Arguments of the campaign commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.cli.shared_arguments import (
    add_caller_id,
    add_calls_per_second,
    add_json,
    add_ledger,
    add_running,
    add_yes,
    command,
    option,
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
    _add_retries(commands)


def _add_dial(commands: Commands) -> None:
    dial = command(
        commands,
        "dial",
        "dial:run",
        "call all contacts in a file, each once, even if it is interrupted",
        "Call all contacts in a file. The plan is shown and confirmed first. What is sent is in "
        "the ledger before it is sent, so that no one is called twice, whenever it ends: the "
        "same command, or `resume`, goes on. Ctrl-C once starts no more calls and waits for "
        "what was sent; twice leaves at once.",
    )
    dial.add_argument("contacts", help="CSV or JSON lines, with a column of numbers")
    text = "the call flow as JSON, with {name} for what the column name says; - for stdin"
    option(dial, "--flow", "FILE", text, required=True)
    add_ledger(dial, name="what the campaign is called (default: as the file)")
    add_calls_per_second(dial, 1.0)
    text = "how many may be live at once; needs webhooks"
    option(dial, "--max-live-calls", "N", text, type=int)
    add_caller_id(dial)
    _add_reading(dial)
    _add_rules(dial)
    option(
        dial,
        "--unknown",
        None,
        "contacts whose phone may have rung: hold them, or, once it is proven that it did not "
        "ring, call them again or give up",
        choices=["hold", "retry_after_proof", "give_up"],
        default="hold",
    )
    text = "pause after so many equal refusals in a row, 0 for never (default: %(default)s)"
    option(dial, "--pause-after-refusals", "N", text, type=int, default=10)
    dial.add_argument(
        "--dry-run", action="store_true", help="do all of it on a simulator: no phone rings"
    )
    add_yes(dial, "; to go on, N may be what is left, or all contacts as at first")
    add_running(dial)


def _add_reading(dial: argparse.ArgumentParser) -> None:
    option(dial, "--country", "CODE", "the country of numbers without its code, such as 91")
    option(dial, "--column", "NAME", "the column that holds the numbers, if it is not found")
    text = "of the files, such as cp1252 (default: %(default)s; a byte order mark overrides it)"
    option(dial, "--encoding", "NAME", text, default="utf-8")
    text = "between the cells of CSV (default: of , ; | and tab, the first row's most frequent)"
    option(dial, "--delimiter", "CHAR", text)


def _add_rules(dial: argparse.ArgumentParser) -> None:
    rules = dial.add_argument_group("rules that hold at the moment of sending")
    text = "when phones may ring, by the callee's clock; any for any time"
    option(rules, "--window", "HH:MM-HH:MM", text, default="09:00-21:00")
    option(rules, "--days", "DAYS", "on which days, such as mon,tue,sat (default: all)")
    text = "a day on which no phone rings, such as 2026-12-25; may be repeated"
    option(rules, "--holiday", "DATE", text, dest="holidays", many=True)
    option(rules, "--do-not-call", "FILE", "numbers that are never called")
    option(
        rules,
        "--per-number",
        "N/TIME",
        "how often a number is called in all campaigns of the ledger, such as 1/24h or 3/7d; "
        "may be repeated",
        many=True,
    )
    option(
        rules,
        "--per-day",
        "N[@ZONE]",
        "how many calls a day, such as 500@Asia/Kolkata; the zone says when a day begins "
        "(default: UTC)",
    )
    text = "no more calls once they have cost so much; needs webhooks"
    option(rules, "--max-cost", "SUM", text, dest="most_cost", type=float)
    text = "when the calls are of use no more, such as 2026-12-24T18:00+05:30"
    option(rules, "--not-after", "TIME", text)


def _add_resume(commands: Commands) -> None:
    resume = command(
        commands, "resume", "resume:run", "go on with a campaign that was left or paused"
    )
    add_ledger(resume)
    add_running(resume)
    resume.add_argument(
        "--clock-was-ahead",
        action="store_true",
        help="go on at once after the clock was ahead and was set back; make sure that it is "
        "right now",
    )
    pause = command(
        commands, "pause", "status:pause", "have all workers of a campaign start nothing more"
    )
    add_ledger(pause)
    add_json(pause)


def _add_looks(commands: Commands) -> None:
    status = command(commands, "status", "status:run", "print how a campaign stands")
    add_ledger(status)
    add_json(status)
    why = command(commands, "why", "export:why", "say what happened to a number, and why")
    why.add_argument("number", help="whose")
    add_ledger(why)
    add_json(why)
    export = command(commands, "export", "export:run", "write a campaign's contacts")
    add_ledger(export)
    text = "how (default: csv, or jsonl with --json)"
    option(export, "--format", None, text, dest="kind", choices=["csv", "jsonl"])
    option(export, "--state", None, "only these", dest="states", many=True, choices=_STATES)
    option(export, "--output", "FILE", "where to; stdout if not given")
    export.add_argument("--reveal", action="store_true", help="write numbers in full")
    add_json(export, "an object a line, as --format jsonl does, and errors as JSON")
    migrate = command(
        commands, "migrate", "migrate:run", "make a ledger's tables, or bring them up to date"
    )
    add_ledger(migrate, name=None)
    add_json(migrate)


def _add_retries(commands: Commands) -> None:
    retry = command(
        commands,
        "retry-unknown",
        "retry:unknown",
        "have people dialled again who may have been called already",
    )
    retry.add_argument("numbers", nargs="*", help="whom; all of them if none is named")
    add_ledger(retry)
    add_yes(retry)
    add_json(retry)
    for state, why in (("rejected", "TeleCMI rejected"), ("failed", "could not be dialled")):
        retry = command(
            commands,
            f"retry-{state}",
            f"retry:{state}",
            f"have contacts tried again that {why}; certainly none of their phones rang",
        )
        retry.add_argument("numbers", nargs="*", help="which; all of them if none is named")
        text = "only those whose reason contains this text; `export` shows the reasons"
        option(retry, "--reason", "TEXT", text, default="")
        add_ledger(retry)
        add_yes(retry)
        add_json(retry)
