"""Send outcomes: what the ledger records of a send; a pure table.

=====================================  ===================================================
what the call raised                   what is recorded
=====================================  ===================================================
nothing                                placed
`CallOutcomeUnknown`                   unknown; never dialled again without proof
`RateLimited`                          pending, after the pause that TeleCMI asked for
`AuthenticationError`                  pending, and the campaign pauses
`MissingProperty` with code 502        pending, after a growing pause; finally rejected
other `CallRejected`                   rejected
`NotSent`, TeleCMI was not reached     pending, after a pause
other `NotSent`                        pending, after a growing pause; finally failed
other `CallNotPlaced`                  pending: it was cancelled
=====================================  ===================================================

Only the rows that say "finally" count as a contact's attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from telecmi_async import errors
from telecmi_async.ledger import ContactState, SendResult

if TYPE_CHECKING:
    from telecmi_async.campaigns.settings import Retries
    from telecmi_async.errors import TelecmiError

_LONGEST_PAUSE = 3_600.0


@frozen(kw_only=True)
class SendVerdict:
    """The outcome of a send before the ledger's clock is read; ``pause`` is in seconds."""

    state: ContactState
    detail: str = ""
    request_id: str | None = None
    pause: float = 0.0
    counts: bool = True

    def at(self, now: float) -> SendResult:
        """Return it with the ledger's time."""
        return SendResult(
            state=self.state,
            detail=self.detail,
            request_id=self.request_id,
            not_before=now + self.pause,
            counts=self.counts,
        )


def outcome_of(  # noqa: PLR0911  # a row of the table each
    error: TelecmiError | None, *, request_id: str | None, attempts: int, retries: Retries
) -> SendVerdict:
    """Return the outcome of send number ``attempts``; its handle raised ``error``."""
    match error:
        case None:
            return SendVerdict(state=ContactState.PLACED, request_id=request_id)
        case errors.RateLimited():
            asked = error.retry_after or 0.0
            return _again("rate limited", min(max(asked, 1.0), _LONGEST_PAUSE))
        case errors.AuthenticationError():
            return _again("the credentials were refused")
        case errors.MissingProperty(code=502):
            return _tried(error, ContactState.REJECTED, attempts, retries)
        case errors.CallRejected():
            return SendVerdict(state=ContactState.REJECTED, detail=str(error))
        case errors.NotSent() if error.unreached or error.late:
            return _again(str(error), retries.pause(attempts))
        case errors.NotSent():
            return _tried(error, ContactState.FAILED, attempts, retries)
        case errors.CallNotPlaced():
            return _again("cancelled")
        case _:  # CallOutcomeUnknown, or an error that no row names
            return SendVerdict(state=ContactState.UNKNOWN, detail=str(error))


def _again(why: str, pause: float = 0.0, *, counts: bool = False) -> SendVerdict:
    return SendVerdict(state=ContactState.PENDING, detail=why, pause=pause, counts=counts)


def _tried(
    error: TelecmiError, last: ContactState, attempts: int, retries: Retries
) -> SendVerdict:
    if attempts >= retries.attempts:
        return SendVerdict(state=last, detail=str(error))
    return _again(str(error), retries.pause(attempts), counts=True)
