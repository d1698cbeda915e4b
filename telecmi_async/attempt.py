"""One request for a call, and what it came to: what handles and errors remember of it."""

from __future__ import annotations

from enum import StrEnum, unique

import attrs

__all__ = ["Attempt", "Outcome"]


@unique
class Outcome(StrEnum):
    """What one attempt came to."""

    #: TeleCMI took the call; there is a ``request_id``.
    ACCEPTED = "accepted"
    #: TeleCMI said no: no phone rang.
    REJECTED = "rejected"
    #: TeleCMI asked for a pause: no phone rang.
    SLOW_DOWN = "slow_down"
    #: Not one byte of the call left: no phone rang.
    NOT_SENT = "not_sent"
    #: No trustworthy answer came: a phone may have rung.
    UNKNOWN = "unknown"


@attrs.frozen
class Attempt:
    """One request that was started for a call, as handles and errors remember it.

    Args:
        number: 1 for the first.
        outcome: What it came to.
        detail: TeleCMI's message or what failed, in a few words.
        status: The HTTP status, if a reply came.
        code: The code in the body, else the HTTP status; None if no reply came.
        seconds: From the moment it had its turn to the moment it was judged.
    """

    number: int
    outcome: Outcome
    detail: str
    status: int | None = None
    code: int | None = None
    seconds: float = 0.0
