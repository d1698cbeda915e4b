"""Attempt: one request for a call and its outcome, as handles and errors keep it."""

from __future__ import annotations

from enum import StrEnum, unique

import attrs

__all__ = ["Attempt", "Outcome"]


@unique
class Outcome(StrEnum):
    """The outcome of one attempt."""

    #: TeleCMI took the call; there is a ``request_id``.
    ACCEPTED = "accepted"
    #: TeleCMI refused the call: no phone rang.
    REJECTED = "rejected"
    #: TeleCMI asked for a pause: no phone rang.
    SLOW_DOWN = "slow_down"
    #: Not one byte of the call left: no phone rang.
    NOT_SENT = "not_sent"
    #: No trustworthy answer came: a phone may have rung.
    UNKNOWN = "unknown"


@attrs.frozen
class Attempt:
    """One request that was started for a call.

    Args:
        number: 1 for the first.
        outcome: Its outcome.
        detail: TeleCMI's message or the failure, in a few words.
        status: The HTTP status, if a reply came.
        code: The code in the body, else the HTTP status; None if no reply came, or a 502 that may or
            may not be TeleCMI's own.
        seconds: From its turn to its verdict.
    """

    number: int
    outcome: Outcome
    detail: str
    status: int | None = None
    code: int | None = None
    seconds: float = 0.0
