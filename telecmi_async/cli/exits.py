"""Exit codes: how a command ended, for other programs."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING, Final

from telecmi_async import errors

if TYPE_CHECKING:
    from telecmi_async.errors import TelecmiError


@unique
class Exit(IntEnum):
    """The exit codes of every command."""

    #: What was asked for was done.
    OK = 0
    #: It was not: no phone rang, and dialling again is safe.
    FAILED = 1
    #: The arguments, or a file they name, cannot be used. Nothing was done.
    USAGE = 2
    #: A part of it was done: some contacts were rejected, failed, blocked or are left; or
    #: `doctor` could not make a check.
    PARTLY = 3
    #: The app id or the secret is missing, or TeleCMI refused them.
    CREDENTIALS = 4
    #: TeleCMI said "too many", or a cap of the campaign is reached: per day, per number, cost.
    QUOTA = 5
    #: TeleCMI, or the ledger's database, cannot be reached.
    UNAVAILABLE = 6
    #: A phone may have rung. Find out before you dial again.
    UNKNOWN = 7
    #: Phones may not ring now: it is outside the calling hours, or redials are due later.
    OUTSIDE_HOURS = 8
    #: Ctrl-C, as shells have it: 128 and the signal's number.
    INTERRUPTED = 130


class Stop(Exception):  # nothing failed: a command ends here
    """Ends a command with an exit code and words that say why."""

    def __init__(self, code: Exit, why: str) -> None:
        super().__init__(why)
        self.code = code


def missing_extra(option: str, extra: str, module: str | None) -> Stop:
    """Return the end of a command one of whose options needs an extra that is not installed."""
    return Stop(
        Exit.USAGE,
        f'{option} needs an extra: pip install "telecmi-async[cli,{extra}]", or, from a clone, '
        f'pip install ".[cli,{extra}]" ({module} is missing)',
    )


_EXITS: Final[dict[type[TelecmiError], Exit]] = {
    errors.AuthenticationError: Exit.CREDENTIALS,
    errors.CallOutcomeUnknown: Exit.UNKNOWN,
    errors.ConfigurationError: Exit.USAGE,
    errors.InvalidCall: Exit.USAGE,
    errors.NotSent: Exit.UNAVAILABLE,
    errors.RateLimited: Exit.QUOTA,
    errors.RequestFailed: Exit.UNAVAILABLE,
    errors.StoreError: Exit.UNAVAILABLE,
}


def exit_of(error: TelecmiError | Stop | None) -> Exit:
    """Return the exit code of what a call, or a question to TeleCMI, came to."""
    if error is None:
        return Exit.OK
    if isinstance(error, Stop):
        return error.code
    return _EXITS.get(type(error)) or (Exit.FAILED if error.safe_to_redial else Exit.UNKNOWN)
