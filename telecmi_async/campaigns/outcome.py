"""What a send came to, for the ledger: a table, pure.

=====================================  ===================================================
what the call raised                   what the ledger notes
=====================================  ===================================================
nothing                                placed
`CallOutcomeUnknown`                   unknown; never dialled again without proof
`RateLimited`                          pending, after the pause that TeleCMI asked for
`AuthenticationError`                  pending, and the campaign pauses: nobody can be dialled
`MissingProperty` with code 502        pending, after a growing pause; rejected at last
other `CallRejected`                   rejected
`NotSent`                              pending, after a growing pause; failed at last
other `CallNotPlaced`                  pending: it was cancelled
=====================================  ===================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from telecmi_async import errors
from telecmi_async._internal import validators
from telecmi_async.ledger import ContactState, SendResult

if TYPE_CHECKING:
    from telecmi_async.errors import TelecmiError

__all__ = ["Retries", "SendVerdict", "outcome_of"]

_LONGEST_PAUSE = 3_600.0


@frozen(kw_only=True)
class Retries:
    """When a contact is tried again that was certainly not dialled.

    Args:
        attempts: How many requests may be made for it.
        first: Seconds before the second one.
        longest: The longest pause; each is twice as long as the one before.

    Raises:
        ConfigurationError: A value cannot be right.
    """

    attempts: int = field(default=4, validator=validators.whole(1))
    first: float = field(
        default=30.0, converter=validators.to_seconds, validator=validators.positive
    )
    longest: float = field(
        default=1_800.0, converter=validators.to_seconds, validator=validators.positive
    )

    def pause(self, sends: int) -> float:
        """Return how long to wait after so many sends, in seconds."""
        return float(min(self.first * 2.0 ** min(sends - 1, 30), self.longest))


@frozen(kw_only=True)
class SendVerdict:
    """What a send came to, before the ledger's clock was read.

    Args:
        state: The contact's state.
        detail: Why.
        request_id: TeleCMI's id, if it accepted the call.
        pause: Seconds until it is tried again.
    """

    state: ContactState
    detail: str = ""
    request_id: str | None = None
    pause: float = 0.0

    def at(self, now: float) -> SendResult:
        """Return it as the ledger notes it.

        Args:
            now: The ledger's time.
        """
        return SendResult(
            state=self.state,
            detail=self.detail,
            request_id=self.request_id,
            not_before=now + self.pause,
        )


def outcome_of(  # noqa: PLR0911  # a row of the table each
    error: TelecmiError | None, *, request_id: str | None, sends: int, retries: Retries
) -> SendVerdict:
    """Return what a send came to.

    Args:
        error: What the call's handle raised, if it did.
        request_id: TeleCMI's id, if it accepted the call.
        sends: How many requests were made for this contact, this one included.
        retries: When it is tried again.
    """
    match error:
        case None:
            return SendVerdict(state=ContactState.PLACED, request_id=request_id)
        case errors.RateLimited():
            asked = error.retry_after or 0.0
            return _again("rate limited", min(max(asked, 1.0), _LONGEST_PAUSE))
        case errors.AuthenticationError():
            return _again("the credentials were refused")
        case errors.MissingProperty(code=502):
            return _tried(error, ContactState.REJECTED, sends, retries)
        case errors.CallRejected():
            return SendVerdict(state=ContactState.REJECTED, detail=str(error))
        case errors.NotSent():
            return _tried(error, ContactState.FAILED, sends, retries)
        case errors.CallNotPlaced():
            return _again("cancelled")
        case _:  # of unknown fate, or nobody knows what it was
            return SendVerdict(state=ContactState.UNKNOWN, detail=str(error))


def _again(why: str, pause: float = 0.0) -> SendVerdict:
    return SendVerdict(state=ContactState.PENDING, detail=why, pause=pause)


def _tried(
    error: TelecmiError, last: ContactState, sends: int, retries: Retries
) -> SendVerdict:
    if sends >= retries.attempts:
        return SendVerdict(state=last, detail=str(error))
    return _again(str(error), retries.pause(sends))
