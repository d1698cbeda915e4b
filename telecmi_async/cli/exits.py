"""How a command ended, for other programs."""

from __future__ import annotations

from enum import IntEnum, unique

__all__ = ["Exit"]


@unique
class Exit(IntEnum):
    """The exit codes of every command."""

    #: What was asked for was done.
    OK = 0
    #: It was not: no phone rang, and dialling again is safe.
    FAILED = 1
    #: The arguments, or a file they name, cannot be used. Nothing was done.
    USAGE = 2
    #: The app id or the secret is missing, or TeleCMI refused them.
    CREDENTIALS = 4
    #: A phone may have rung. Find out before you dial again.
    UNKNOWN = 7
    #: Ctrl-C, as shells have it: 128 and the signal's number.
    INTERRUPTED = 130
