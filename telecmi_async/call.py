"""One call: its state, and the handle through which a user sees it.

The state moves one way::

    QUEUED ⇄ SENDING → PROGRESS | REJECTED | NOT_SENT | CANCELLED | UNKNOWN
    INVALID

It goes back to QUEUED while it waits for another attempt. `Call` is the service's side and
may be written to; `CallHandle` is a user's view of it.
"""

from __future__ import annotations

import base64
import copy
import logging
import secrets
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any

import anyio

from telecmi_async import errors
from telecmi_async._eventloop import current_loop
from telecmi_async.phone import mask
from telecmi_async.verdict import Attempt, Outcome, Verdict, conclude

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from telecmi_async.phone import Region
    from telecmi_async.request import CallRequest

__all__ = ["Call", "CallHandle", "CallStatus"]

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


def _new_reference() -> str:
    """Return a fresh id for a call: 128 random bits, easy to find in any text."""
    return "tcm_" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


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
        "verdicts",
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
        self._event: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    def __str__(self) -> str:
        """The call as logs name it, without a number to dial."""
        to = mask(self.request.to) if self.request is not None else "?"
        return f"{self.reference} to {to}"

    def __del__(self) -> None:
        # Cancelling was asked for, so it is no news.
        failed = self.error is not None and self.status is not CallStatus.CANCELLED
        if failed and not self.looked_at:
            logger.error("call %s failed and nobody looked at it: %s", self, self.error)

    @property
    def reference(self) -> str:
        """The call's own random id; made when it is first asked for."""
        self._reference = self._reference or _new_reference()
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


def _fresh(error: errors.TelecmiError) -> errors.TelecmiError:
    """Return a copy to raise: what raising adds to it (traceback, context) is not kept."""
    return copy.copy(error)


class CallHandle:
    """A call that was asked for; its request runs concurrently.

    ``await handle`` waits for TeleCMI's answer and gives the handle itself, or raises. It may
    be awaited often and by several tasks; a waiter that is cancelled or times out cancels
    neither the call nor another waiter. A failure that nobody looks at is logged once.

    Raises:
        CallNotPlaced: When awaited: certainly no phone rang. See `telecmi_async.errors`.
        CallOutcomeUnknown: When awaited: a phone may have rung.
        CallPending: When awaited in another event loop before the call is settled.
    """

    __slots__ = ("__weakref__", "_call")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, CallHandle]:
        return self._outcome().__await__()

    async def _outcome(self) -> CallHandle:
        await self._call.wait()
        self._call.looked_at = True
        if self._call.error is not None:
            raise _fresh(self._call.error)
        return self

    def __repr__(self) -> str:
        call = self._call
        more = "" if call.request_id is None else f" request_id={call.request_id}"
        if call.error is not None:
            more = f" {type(call.error).__name__}"
        return f"<CallHandle {call} {call.status}{more}>"

    def cancel(self) -> bool:
        """Ask that no (further) request is started for this call.

        A request that left is not recalled: it is awaited as before.

        Returns:
            True only if no request was ever started: the handle then raises
            `CallCancelled`. False means that TeleCMI may have the call: await the handle.

        Raises:
            WrongEventLoop: The call is not settled and belongs to another event loop.
        """
        return self._call.cancel()

    @property
    def request_id(self) -> str:
        """TeleCMI's id for the call.

        Raises:
            CallPending: TeleCMI has not answered yet.
            CallNotPlaced: The call failed; the handle's own error.
            CallOutcomeUnknown: Likewise.
        """
        call = self._call
        call.looked_at |= call.settled
        if call.error is not None:
            raise _fresh(call.error)
        if call.request_id is None:
            raise errors.CallPending(
                f"call {call} has no request_id yet: await the handle first"
            )
        return call.request_id

    @property
    def status(self) -> CallStatus:
        """Where the call stands."""
        self._call.looked_at |= self._call.settled
        return self._call.status

    @property
    def accepted(self) -> bool:
        """Whether TeleCMI accepted the call."""
        return self.status is CallStatus.PROGRESS

    @property
    def error(self) -> errors.TelecmiError | None:
        """The error that awaiting raises; None if there is none, or none yet."""
        self._call.looked_at |= self._call.settled
        return self._call.error

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The requests that were answered or failed so far, oldest first."""
        return self._call.attempts

    @property
    def may_be_duplicate(self) -> bool:
        """Whether a request was repeated after one of unknown fate.

        Only a gateway's 502 is repeated in that way, and not under
        ``RetryPolicy(at_most_once=True)``.
        """
        return self._call.may_be_duplicate

    @property
    def reply(self) -> Mapping[str, object] | None:
        """TeleCMI's whole reply to an accepted call, decoded; None before."""
        return self._call.reply

    @property
    def request(self) -> CallRequest | None:
        """What was asked for; None for a row of `make_calls` that could not be read."""
        return self._call.request

    @property
    def source(self) -> object:
        """The item this call was made from, in `make_calls`; else its request."""
        return self._call.source

    @property
    def region(self) -> Region | None:
        """The endpoint the call goes to, ``india`` or ``global``; None as for `request`."""
        return self._call.region

    @property
    def reference(self) -> str:
        """This handle's own random id for the call, the one in the logs."""
        return self._call.reference
