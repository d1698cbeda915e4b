"""The state of one call, as its service moves it along.

It moves one way::

    QUEUED ⇄ SENDING → PROGRESS | REJECTED | NOT_SENT | CANCELLED | UNKNOWN
    INVALID

It goes back to QUEUED while it waits for another attempt. One step may follow at the end: an
event that brings back the call's own reference proves that TeleCMI has the call, whatever its
answer was or became of it. Then it is in PROGRESS; or, as long as no event told TeleCMI's id
for it, UNKNOWN, since it may have rung.
"""

from __future__ import annotations

import logging
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Protocol

import anyio

from telecmi_async import errors
from telecmi_async._internal.event_loop import current_loop
from telecmi_async._internal.messages import mask
from telecmi_async.attempt import Attempt, Outcome
from telecmi_async.calls.history import History
from telecmi_async.calls.verdict import Verdict, conclude
from telecmi_async.events import CallState
from telecmi_async.events.reference import new_reference
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from telecmi_async.calls.request import CallRequest
    from telecmi_async.events import Event
    from telecmi_async.phone import Region

__all__ = ["Call", "CallStatus", "Watch"]

logger = logging.getLogger("telecmi_async")


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


_STATUS_OF_ERROR: tuple[tuple[type[errors.TelecmiError], CallStatus], ...] = (
    (errors.CallCancelled, CallStatus.CANCELLED),
    (errors.NotSent, CallStatus.NOT_SENT),
    (errors.CallRejected, CallStatus.REJECTED),
    (errors.CallOutcomeUnknown, CallStatus.UNKNOWN),
    (errors.InvalidCall, CallStatus.INVALID),
)


class Watch(Protocol):
    """Who follows a call beyond TeleCMI's answer to its request."""

    #: Whether anything may be heard of a call at all.
    hears: bool
    #: Whether events may come for a call without a ``request_id``.
    by_reference: bool

    def settled(self, call: Call) -> None:
        """Note that it is known whether TeleCMI has the call, or that this changed."""
        ...

    def over(self, call: Call) -> None:
        """Note that the call has ended."""
        ...

    def attend(self, call: Call) -> AbstractContextManager[None]:
        """See to it that something is heard of the call as long as the context is open."""
        ...


class Call:
    """The state of one call, as its service moves it along.

    Args:
        request: What to place; None if it could not be read.
        source: What the user handed in.
        region: The endpoint it goes to; None if it could not be read.
    """

    __slots__ = (
        "__weakref__",
        "_event",
        "_reference",
        "_scope",
        "attempts",
        "error",
        "heard_of",
        "history",
        "looked_at",
        "loop",
        "may_be_duplicate",
        "on_settled",
        "region",
        "reply",
        "request",
        "request_id",
        "settled",
        "source",
        "status",
        "twin",
        "verdicts",
        "watch",
    )

    def __init__(
        self, request: CallRequest | None, *, source: object, region: Region | None
    ) -> None:
        self.request = request
        self.source = source
        self.region = region
        self._reference = ""
        self.loop = current_loop()
        self.status = CallStatus.QUEUED
        self.settled = False
        self.error: errors.TelecmiError | None = None
        self.reply: Mapping[str, object] | None = None
        self.request_id: str | None = None
        self.verdicts: list[Verdict] = []
        self.attempts: tuple[Attempt, ...] = ()
        self.may_be_duplicate = False
        self.looked_at = False
        self.on_settled: Callable[[Call], None] | None = None
        self.watch: Watch | None = None
        self.history: History | None = None
        #: The ``request_id`` of an event that came before TeleCMI's answer, "" if it had none.
        self.heard_of: str | None = None
        #: The state of the same call that was taken up by its id before this one knew it.
        self.twin: Call | None = None
        self._event: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    def __str__(self) -> str:
        """The call as logs name it, without a number to dial."""
        to = "?" if self.to is None else mask(self.to)
        return f"{self.reference} to {to}"

    def __del__(self) -> None:
        # Cancelling was asked for, so it is no news.
        failed = self.error is not None and self.status is not CallStatus.CANCELLED
        if failed and not self.looked_at:
            logger.error("call %s failed and nobody looked at it: %s", self, self.error)

    @property
    def to(self) -> int | None:
        """The number that was dialled, if it is known here."""
        if self.request is not None:
            return self.request.to
        for leg in self.history.state.legs if self.history is not None else ():
            if leg.leg == "a" and leg.record is not None and leg.record.to:
                return _number(leg.record.to)
        return None

    @property
    def reference(self) -> str:
        """The call's own random id; made when it is first asked for."""
        self._reference = self._reference or new_reference()
        return self._reference

    def start(self, scope: anyio.CancelScope) -> bool:
        """Begin to place the call inside ``scope``; False if it was cancelled before."""
        self._scope = scope
        return not self.settled

    def post(self) -> None:
        """Note that a request starts."""
        unknown = any(verdict.outcome is Outcome.UNKNOWN for verdict in self.verdicts)
        self.may_be_duplicate |= unknown
        self.status = CallStatus.SENDING

    def record(self, verdict: Verdict, seconds: float) -> None:
        """Note what a request came to."""
        self.status = CallStatus.QUEUED
        self.verdicts.append(verdict)
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
        if self.heard_of is not None and verdict.outcome is not Outcome.ACCEPTED:
            self._prove(self.heard_of)  # and let nobody repeat it

    def conclude(self, stopped: errors.CallNotPlaced | None = None) -> None:
        """Settle the call by its attempts; ``stopped`` says why there were no more."""
        last = self.verdicts[-1] if self.verdicts else None
        if last is None or last.outcome is not Outcome.ACCEPTED:
            reference = self.reference
            self.fail(
                conclude(self.verdicts, self.attempts, reference=reference, stopped=stopped)
            )
            return
        self.request_id = last.request_id
        self.reply = last.body if not isinstance(last.body, str) else None
        self._settle(CallStatus.PROGRESS)
        if self.heard_of:
            self._compare(self.heard_of)

    def fail(self, error: errors.TelecmiError) -> None:
        """Settle the call with an error."""
        self.error = error
        status = next(status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind))
        self._settle(status)

    def _settle(self, status: CallStatus) -> None:
        self.status = status
        self.settled = True
        self.verdicts.clear()
        self._scope = None
        if self._event is not None:
            self._event.set()
            self._event = None
        if self.on_settled is not None:
            self.on_settled(self)
            self.on_settled = None
        if self.watch is not None:
            self.watch.settled(self)

    def hear(self, key: str, event: Event, *, size: int, now: float, proven: bool) -> bool:
        """Add an event of this call to its history; False if it was there before.

        Args:
            key: What the event has in common with its repeats.
            event: The event.
            size: The bytes of its payload.
            now: The reading of the event loop's clock.
            proven: Whether it brought back the call's own reference.
        """
        history = self.history = self.history or History()
        if not history.add(key, event, size=size, now=now):
            return False
        if proven:
            self._take_proof(event.request_id or "")
        if self.watch is not None and self.is_ended_by(event):
            self.watch.over(self)
        return True

    def is_ended_by(self, event: Event) -> bool:
        """Tell whether an event of this call shows that nothing of it is live any more.

        An earlier attempt may have been placed as well, as a call of its own with an id of its
        own. The end of that one is not the end of this one.
        """
        only = self.request_id is None and not self.attempts
        named = event.request_id in {None, self.request_id} or only
        return named and CallState().after(event).over

    def _take_proof(self, request_id: str) -> None:
        """Act on a proof that TeleCMI has the call, or has one more of it.

        Args:
            request_id: TeleCMI's id for it, or "" where the event has none.
        """
        if self.status is CallStatus.SENDING:  # the reply, or the lack of one, is not far
            self.heard_of = request_id or self.heard_of or ""
        elif self.request_id is not None:
            self._compare(request_id or self.request_id)
        elif request_id or self.status is not CallStatus.UNKNOWN:
            self._prove(request_id)

    def _prove(self, request_id: str) -> None:
        """Become accepted by an event, TeleCMI's answer being lost, late or another."""
        if self.settled and self.status is not CallStatus.UNKNOWN:
            logger.warning(
                "call %s was %s, and an event shows that TeleCMI placed it", self, self.status
            )
        scope = self._scope
        self.heard_of = None
        if request_id:
            self.error = None
            self.request_id = request_id
            self._settle(CallStatus.PROGRESS)
        else:
            self.fail(
                errors.CallOutcomeUnknown(
                    "an event shows that TeleCMI placed the call, and does not say under "
                    "which request_id",
                    reference=self.reference,
                    cause="event",
                    attempts=self.attempts,
                )
            )
        if scope is not None:
            scope.cancel()  # it starts no further attempt

    def _compare(self, request_id: str) -> None:
        """Note it if TeleCMI placed the call more than once."""
        self.heard_of = None
        if request_id != self.request_id and not self.may_be_duplicate:
            self.may_be_duplicate = True
            logger.warning("call %s: events show that TeleCMI placed it twice", self)

    def adopt(self, request_id: str) -> None:
        """Become the state of a call that was accepted before."""
        self.request_id = request_id
        self._settle(CallStatus.PROGRESS)

    def cancel(self) -> bool:
        """Start no further request; True if none was ever started."""
        if self.settled:
            return self.status is CallStatus.CANCELLED and not self.attempts
        if self.loop is not current_loop():
            raise errors.WrongEventLoop("cancel a call in the event loop that placed it")
        never_left = not self.attempts and self.status is CallStatus.QUEUED
        if self._scope is not None:
            self._scope.cancel()
        if never_left:
            self.conclude(errors.CallCancelled("the call was cancelled while it was queued"))
        return never_left

    async def wait(self) -> None:
        """Wait until the call is settled. A waiter that gives up disturbs nobody."""
        if self.settled:
            return
        if self.loop is not current_loop():
            raise errors.CallPending("await a handle in the event loop that placed its call")
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()


def _number(to: str) -> int | None:
    """Return the number that a record names; no field of one is certain."""
    try:
        return parse_number(to)
    except errors.InvalidCall:
        return None
