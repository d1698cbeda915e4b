"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from textwrap import fill
from typing import Final, NoReturn, TypeAlias

WEBHOOK_PORT: Final = 8788
WIDTH: Final = 78
#: What commands are added to; argparse has no public name for it.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # see above
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
  TELECMI_APP_ID, TELECMI_SECRET   the account; whatever calls somebody needs it
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
    """Reads arguments, and leaves it to others to say what is wrong with them."""

    def error(self, message: str) -> NoReturn:
        """Say it in the way of all errors.

        Raises:
            Misused: Always.
        """
        raise Misused(self, message)


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


def add_ledger(
    parser: argparse.ArgumentParser,
    *,
    name: str | None = "which campaign, if the ledger has several",
) -> None:
    """Take a ledger, and the name of one of its campaigns unless its help is ``None``."""
    parser.add_argument(
        "--ledger",
        metavar="FILE",
        help="the ledger: a file, or postgresql://… without a password (or TELECMI_LEDGER)",
    )
    if name is not None:
        parser.add_argument("--name", metavar="CAMPAIGN", help=name)


def add_json(
    parser: argparse.ArgumentParser, what: str = "print the result, or the error, as JSON"
) -> None:
    """Take ``--json``, which every command does."""
    parser.add_argument("--json", dest="as_json", action="store_true", help=what)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Take how many calls are confirmed."""
    parser.add_argument(
        "--yes", dest="confirmed", type=int, metavar="N", help="do not ask: N will be called"
    )


def add_secret(parser: argparse.ArgumentParser) -> None:
    """Take ``--secret-stdin``."""
    parser.add_argument(
        "--secret-stdin", action="store_true", help="read the secret from stdin, the first line"
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Take what carrying a campaign out needs."""
    add_webhooks(
        parser,
        "hear of calls meanwhile, at the address that TeleCMI's dashboard has, without its "
        "token; whether it leads here is tried out first",
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
    parser.add_argument("--webhook-url", metavar="URL", help=url)
    parser.add_argument(
        "--webhook-port",
        type=int,
        metavar="PORT",
        help=f"where they arrive on this machine (default: {WEBHOOK_PORT}, with --webhook-url)",
    )
    parser.add_argument(
        "--webhook-host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="the address to listen on (default: %(default)s)",
    )


def add_behaviour(parser: argparse.ArgumentParser, *, error_share: float) -> None:
    """Take how a simulator behaves."""
    parser.add_argument(
        "--errors-502",
        dest="error_share",
        type=float,
        default=error_share,
        metavar="SHARE",
        help="the share of answers that are TeleCMI's 502, from 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, other answers (default: %(default)s)"
    )
