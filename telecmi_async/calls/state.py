"""Placement state: how far the placement of one call has come.

It moves one way::

    QUEUED ⇄ SENDING → PROGRESS | REJECTED | NOT_SENT | CANCELLED | UNKNOWN
    INVALID

It returns to QUEUED while it waits for another attempt. One step may follow at the end: an event
that carries the call's own reference proves that TeleCMI has the call, even if the reply was another one.
The call is then in PROGRESS; or UNKNOWN as long as no event names TeleCMI's id for it, since it
may have rung.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from telecmi_async import errors
from telecmi_async.attempt import Attempt, Outcome
from telecmi_async.events.reference import new_reference
from telecmi_async.observer import CallEnd

if TYPE_CHECKING:
    from collections.abc import Mapping

    import anyio

    from telecmi_async.calls.verdict import Verdict
    from telecmi_async.events import CallState
    from telecmi_async.phone import Region


@unique
class CallStatus(StrEnum):
    """Where a call stands."""

    #: Waiting for its turn, or for another attempt.
    QUEUED = "queued"
    #: A request is under way.
    SENDING = "sending"
    #: TeleCMI accepted it and is placing it: TeleCMI's own word.
    PROGRESS = "progress"
    #: TeleCMI refused it: no phone rang.
    REJECTED = "rejected"
    #: Nothing left this machine: no phone rang.
    NOT_SENT = "not_sent"
    #: Cancelled before it was placed: no phone rang.
    CANCELLED = "cancelled"
    #: The request left and no trustworthy answer came: a phone may have rung.
    UNKNOWN = "unknown"
    #: Refused before sending, as a row of `CallService.make_calls`.
    INVALID = "invalid"


#: What each status means, in words.
STATUS_MEANINGS: Final = {
    CallStatus.QUEUED: "waits for its turn",
    CallStatus.SENDING: "its request is under way",
    CallStatus.PROGRESS: "TeleCMI accepted it",
    CallStatus.REJECTED: "TeleCMI refused it: no phone rang",
    CallStatus.NOT_SENT: "nothing left this machine: no phone rang",
    CallStatus.CANCELLED: "cancelled before it was placed: no phone rang",
    CallStatus.UNKNOWN: "no trustworthy answer came: a phone may have rung",
    CallStatus.INVALID: "it cannot be sent as it is: no phone rang",
}
#: The colour that stands for each; see `telecmi_async._internal.html`.
STATUS_TONES: Final = {
    CallStatus.QUEUED: "idle",
    CallStatus.SENDING: "busy",
    CallStatus.PROGRESS: "good",
    CallStatus.REJECTED: "bad",
    CallStatus.NOT_SENT: "bad",
    CallStatus.CANCELLED: "idle",
    CallStatus.UNKNOWN: "doubt",
    CallStatus.INVALID: "bad",
}

_STATUS_OF_ERROR: tuple[tuple[type[errors.TelecmiError], CallStatus], ...] = (
    (errors.CallCancelled, CallStatus.CANCELLED),
    (errors.NotSent, CallStatus.NOT_SENT),
    (errors.CallRejected, CallStatus.REJECTED),
    (errors.CallOutcomeUnknown, CallStatus.UNKNOWN),
    (errors.InvalidCall, CallStatus.INVALID),
)


class PlacementState:
    """The facts about placing one call. Its methods alone change them."""

    __slots__ = (
        "_reference",
        "_scope",
        "_stopped",
        "attempts",
        "begun",
        "elsewhere",
        "error",
        "may_be_duplicate",
        "region",
        "reply",
        "request_id",
        "settled",
        "status",
        "verdicts",
    )

    def __init__(self, region: Region | None = None) -> None:
        self._reference = ""
        #: The region of its endpoint, if it is known.
        self.region = region
        self.status = CallStatus.QUEUED
        #: Whether the outcome is known: accepted, or failed with `error`.
        self.settled = False
        self.error: errors.TelecmiError | None = None
        self.reply: Mapping[str, object] | None = None
        self.request_id: str | None = None
        #: The verdicts of the attempts so far; kept until the call is settled.
        self.verdicts: list[Verdict] = []
        self.attempts: tuple[Attempt, ...] = ()
        #: How many requests were started.
        self.begun = 0
        self.may_be_duplicate = False
        #: Whether another call may have its idempotency key, whose outcome is not known yet.
        self.elsewhere = False
        self._scope: anyio.CancelScope | None = None
        self._stopped = False

    @property
    def reference(self) -> str:
        """The call's own random id; made on first use."""
        self._reference = self._reference or new_reference()
        return self._reference

    def name(self, reference: str, region: Region | None) -> None:
        """Be about the call with a reference, which was sent earlier or by another process."""
        self._reference, self.region = reference, region

    def start(self, scope: anyio.CancelScope) -> bool:
        """Make attempts inside ``scope``; False if the call was settled before."""
        self._scope = scope
        if self._stopped:
            scope.cancel()
        return not self.settled

    def stop(self) -> None:
        """Start no further attempt."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def begin_request(self) -> None:
        """Note that a request starts."""
        unknown = any(verdict.outcome is Outcome.UNKNOWN for verdict in self.verdicts)
        self.may_be_duplicate |= unknown
        self.begun += 1
        self.status = CallStatus.SENDING

    @property
    def under_way(self) -> bool:
        """Whether a request was started that has no verdict."""
        return not self.settled and (self.elsewhere or self.begun > len(self.verdicts))

    def record(self, verdict: Verdict, seconds: float) -> None:
        """Note the verdict on a request that took ``seconds``."""
        if self.settled:  # its event loop was closed under it
            return
        self.verdicts.append(verdict)
        self.status = CallStatus.QUEUED
        self.may_be_duplicate |= verdict.resent
        self.attempts += (
            Attempt(
                number=len(self.verdicts),
                outcome=verdict.outcome,
                detail=verdict.detail,
                status=verdict.status,
                code=verdict.code,
                seconds=seconds,
            ),
        )

    def note_duplicate(self) -> bool:
        """Note that TeleCMI placed the call twice; False if that was noted before."""
        fresh = not self.may_be_duplicate
        self.may_be_duplicate = True
        return fresh

    def accept(self, request_id: str | None, reply: Mapping[str, object] | None = None) -> None:
        """Settle the call as accepted under TeleCMI's id."""
        self.error = None
        self.request_id = request_id
        self.reply = reply
        self._settle(CallStatus.PROGRESS)

    def fail(self, error: errors.TelecmiError) -> None:
        """Settle the call with an error."""
        self.error = error
        self._settle(
            next(status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind))
        )

    def _settle(self, status: CallStatus) -> None:
        self.status = status
        self.settled = True
        self.verdicts.clear()
        self._scope = None


def end_of(state: CallState) -> CallEnd | None:
    """Return what is known of a call's end; ``None`` if it goes on."""
    if not state.over:
        return None
    return CallEnd(
        stage=state.stage.value,
        answered=state.answered,
        talk_seconds=state.talk_seconds,
        cost=None if state.cost is None else float(state.cost),
        complete=state.recorded,
    )
