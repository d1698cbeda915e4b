"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import re
from textwrap import fill
from typing import Any, Final, NoReturn, TypeAlias

from telecmi_async._internal.messages import mask_in

WEBHOOK_PORT: Final = 8788
LOCALHOST: Final = "127.0.0.1"
WIDTH: Final = 78
#: What commands are added to; argparse has no public name for it.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # see above
_Options: TypeAlias = "argparse.ArgumentParser | argparse._ArgumentGroup"  # noqa: SLF001  # the same
_PARTS_OF_A_NUMBER = re.compile(r"unrecognized arguments: [0-9 ()\-.]+")
EXIT_CODES: Final = """\
exit codes:
  0  done                               5  too many calls, or a cap is reached
  1  failed: no phone rang              6  TeleCMI or the ledger not reached
  2  wrong arguments or input           7  unknown: a phone may have rung
  3  partly done                        8  outside the calling hours
  4  credentials missing or refused   130  interrupted
"""
ENVIRONMENT: Final = """\
environment:
  TELECMI_APP_ID, TELECMI_SECRET   the account; needed to place calls
  TELECMI_FROM                     the caller id
  TELECMI_LEDGER                   the ledger, with its password if it has one
  TELECMI_WEBHOOK_TOKEN            what the address of webhooks ends in
  TELECMI_BASE_URL                 where TeleCMI is, if it is a simulator
A secret may be in a file that TELECMI_SECRET_FILE, TELECMI_LEDGER_FILE or
TELECMI_WEBHOOK_TOKEN_FILE names instead.

"""


class Misused(Exception):  # it becomes an exit code
    """The arguments cannot be right; the message says why."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(f"{message} (see {parser.prog} --help)")
        self.command = parser.prog


class Parser(argparse.ArgumentParser):
    """Raises wrong arguments as `Misused`."""

    def error(self, message: str) -> NoReturn:
        """Raise `Misused`."""
        if _PARTS_OF_A_NUMBER.fullmatch(message):
            message = "write a number with blanks in quotation marks, or without blanks"
        raise Misused(self, mask_in(message))


def command(
    commands: Commands, name: str, run: str, brief: str, description: str = ""
) -> argparse.ArgumentParser:
    """Add a command, which is run by a function of a module here: ``module:function``."""
    found = commands.add_parser(
        name,
        help=brief,
        description=fill(description or f"{brief[0].upper()}{brief[1:]}.", WIDTH),
        epilog=f"{ENVIRONMENT}{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.set_defaults(run=run)
    return found


def command_group(commands: Commands, name: str, brief: str) -> Commands:
    """Add a command that has commands of its own, and return what they are added to."""
    return commands.add_parser(name, help=brief).add_subparsers(
        dest="action", title="commands", metavar="COMMAND", required=True
    )


def option(
    parser: _Options,
    flag: str,
    metavar: str | None,
    text: str,
    *,
    default: object = None,
    many: bool = False,
    **more: Any,
) -> None:
    """Add an option with a value, or several with ``many``; its help ends with its default."""
    if many:
        more, default = {**more, "action": "append"}, []
    elif default is not None and "%(default)s" not in text:
        text += " (default: %(default)s)"
    parser.add_argument(flag, metavar=metavar, default=default, help=text, **more)


def add_ledger(
    parser: argparse.ArgumentParser,
    *,
    name: str | None = "which campaign, if the ledger has several",
) -> None:
    """Take a ledger, and the name of one of its campaigns unless its help is ``None``."""
    text = "the ledger: a file, or postgresql://… without a password (or TELECMI_LEDGER)"
    option(parser, "--ledger", "FILE", text)
    if name is not None:
        option(parser, "--name", "CAMPAIGN", name)


def add_json(
    parser: argparse.ArgumentParser, what: str = "print the result, or the error, as JSON"
) -> None:
    """Take ``--json``, which every command does."""
    parser.add_argument("--json", dest="as_json", action="store_true", help=what)


def add_yes(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Take how many calls are confirmed."""
    text = f"do not ask: N will be called{more}"
    option(parser, "--yes", "N", text, dest="confirmed", type=int)


def add_secret(parser: argparse.ArgumentParser) -> None:
    """Take ``--secret-stdin``."""
    parser.add_argument(
        "--secret-stdin", action="store_true", help="read the secret from stdin, the first line"
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Take what carrying a campaign out needs."""
    add_webhooks(
        parser,
        "receive events of calls meanwhile, at the address that TeleCMI's dashboard has, without its "
        "token; whether it leads here is tried out first",
    )
    parser.add_argument(
        "--without-webhooks",
        action="store_true",
        help="dial although no event of a call is received here: what --max-cost and "
        "--max-live-calls cap is then measured only if `hook listen` records events in the "
        "ledger elsewhere",
    )
    parser.add_argument(
        "--wait",
        dest="patient",
        action="store_true",
        help="wait for the calling hours instead of ending with exit code 8",
    )
    add_secret(parser)
    add_json(parser)


def add_webhooks(parser: argparse.ArgumentParser, url: str) -> None:
    """Take where webhooks arrive, and where that is on this machine."""
    option(parser, "--webhook-url", "URL", url)
    where = f"where they arrive on this machine (default: {WEBHOOK_PORT}, with --webhook-url)"
    option(parser, "--webhook-port", "PORT", where, type=int)
    add_host(parser, "--webhook-host")


def add_host(parser: argparse.ArgumentParser, flag: str = "--host") -> None:
    """Take the address to listen on."""
    option(parser, flag, "ADDRESS", "the address to listen on", default=LOCALHOST)


def add_caller_id(parser: argparse.ArgumentParser) -> None:
    """Take ``--from``."""
    option(parser, "--from", "NUMBER", "the caller id (or TELECMI_FROM)", dest="from_")


def add_calls_per_second(parser: argparse.ArgumentParser, default: float) -> None:
    """Take ``--cps``."""
    option(
        parser, "--cps", "N", "calls per second",
        default=default, dest="calls_per_second", type=float,
    )  # fmt: skip


def add_behaviour(parser: argparse.ArgumentParser, *, error_share: float) -> None:
    """Take how a simulator behaves."""
    text = "the share of answers that are TeleCMI's 502, from 0 to 1"
    option(
        parser,
        "--errors-502",
        "SHARE",
        text,
        default=error_share,
        dest="error_share",
        type=float,
    )
    option(parser, "--seed", None, "another seed, other answers", default=1, type=int)
