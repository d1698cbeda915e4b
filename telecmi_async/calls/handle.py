"""A user's view of one call."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio

from telecmi_async import errors
from telecmi_async._internal.event_loop import current_loop
from telecmi_async._internal.validators import seconds_or_none
from telecmi_async.calls.history import History
from telecmi_async.calls.result import CallResult
from telecmi_async.calls.state import CallStatus
from telecmi_async.events import CallState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from telecmi_async._internal.validators import Duration
    from telecmi_async.attempt import Attempt
    from telecmi_async.calls.request import CallRequest
    from telecmi_async.calls.state import Call, Watch
    from telecmi_async.events import Event
    from telecmi_async.phone import Region

__all__ = ["CallEvents", "CallHandle"]


def _fresh(error: errors.TelecmiError) -> errors.TelecmiError:
    """Return a copy to raise: what raising adds to it (traceback, context) is not kept."""
    return copy.copy(error)


@contextmanager
def _without_a_verdict() -> Generator[None]:
    """Let no error say that the call may be dialled again: it is not about what became of it."""
    try:
        yield
    except errors.TelecmiError as error:
        error.safe_to_redial = False
        raise


class CallHandle:
    """A call that was asked for; its request runs concurrently.

    ``await handle`` waits for TeleCMI's answer and gives the handle itself, or raises. It may
    be awaited often and by several tasks; a waiter that is cancelled or times out cancels
    neither the call nor another waiter. A failure that nobody looks at is logged once.

    How the call went is told by `answered`, `ended` and `events`, if the service has a source
    of events (``events=``). They may be awaited as often.

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

    async def answered(self, *, timeout: Duration | None = None) -> bool:  # noqa: ASYNC109  # what waits is the handle
        """Wait until somebody answered, or the call is over.

        A call of unknown fate is waited for as well if it carries a reference: its first event
        shows that it was placed.

        Args:
            timeout: How long, in seconds or as a `timedelta`; ``None`` for as long as it takes.

        Returns:
            Whether the callee answered. An answering machine does, too.

        Raises:
            ConfigurationError: The service has no source of events, or ``timeout`` is none.
            CallNotPlaced: The call failed; the handle's own error.
            CallOutcomeUnknown: Likewise, and nothing could be heard of the call.
            WaitTimeout: It was not known in that time.
            RequestFailed: TeleCMI refuses to look the call up.
            ServiceClosed: The service was closed before it was known.
            StoreError: The store of events failed for good.
            WrongEventLoop: The call belongs to another event loop.

        But for the handle's own error, none of them says anything about the call, which goes
        on: their ``safe_to_redial`` is False.
        """
        await self._hear(lambda state: state.answered is not None, timeout, "answered")
        return self.result.answered is True

    async def ended(self, *, timeout: Duration | None = None) -> CallResult:  # noqa: ASYNC109  # as above
        """Wait until the call is over and its records are there, and return how it went.

        A record that does not come is waited for until 31 minutes after the call's end, which
        is when TeleCMI has sent it for the last time; `CallResult.complete` tells.

        Args:
            timeout: As for `answered`.

        Raises:
            TelecmiError: As for `answered`.
        """
        await self._hear(lambda state: state.over and state.recorded, timeout, "over")
        return self.result

    def events(self) -> CallEvents:
        """Return an iterator over the events of the call: those that came, then those to come.

        It ends when the call is over and its records are there, as `ended` does. Every event
        is given once, to every iterator, in the order of arrival.

        Raises:
            TelecmiError: As for `answered`, while iterating.
        """
        return CallEvents(self)

    async def _hear(
        self,
        done: Callable[[CallState], bool],
        timeout: Duration | None,  # noqa: ASYNC109  # as above
        what: str,
    ) -> None:
        """Wait until something holds of what is known of the call."""
        with _without_a_verdict():
            seconds = seconds_or_none("timeout", timeout)
            watch = self._watch()
        with anyio.move_on_after(seconds) as scope:
            await self._wait_for(watch, lambda: done(self._state))
        if scope.cancelled_caught and not done(self._state):
            raise errors.WaitTimeout(
                f"call {self._call} is not known to be {what} after {seconds:g} s; it goes on"
            )

    def _watch(self) -> Watch:
        """Return who hears of the call; refuse to wait where nothing would ever come."""
        watch = self._call.watch
        if watch is None or not watch.hears:
            raise errors.ConfigurationError(
                "the service hears nothing of its calls after they were accepted: give it a "
                "source of events, CallService(…, events=Receiver(token)) for webhooks or "
                "events=CdrPoller() for looking records up"
            )
        if self._call.loop is not current_loop():
            raise errors.WrongEventLoop(
                "wait for a call in the event loop that placed it, or read handle.result"
            )
        return watch

    async def _wait_for(self, watch: Watch, done: Callable[[], bool]) -> None:
        """Wait for the call to be accepted, and then until something holds, or all is known."""
        call = self._call
        await call.wait()
        call.looked_at = True
        may_be_proven = call.status is CallStatus.UNKNOWN and watch.by_reference
        if call.error is not None and not may_be_proven:
            raise _fresh(call.error)
        call.history = call.history or History()
        with watch.attend(call):
            await call.history.wait(done)

    @property
    def _state(self) -> CallState:
        history = self._call.history
        return CallState() if history is None else history.state

    @property
    def result(self) -> CallResult:
        """What is known of the call by now."""
        call = self._call
        return CallResult(
            to=call.to,
            request_id=call.request_id,
            reference=call.reference,
            state=self._state,
            request=call.request,
        )

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
        ``RetryPolicy(at_most_once=True)``. It is true as well if events showed two calls.
        """
        return self._call.may_be_duplicate

    @property
    def reply(self) -> Mapping[str, object] | None:
        """TeleCMI's whole reply to an accepted call, decoded; None before.

        It stays None if the reply was lost and an event showed that the call was placed, and
        for a call that was taken up again.
        """
        return self._call.reply

    @property
    def request(self) -> CallRequest | None:
        """What was asked for.

        None for a row of `make_calls` that could not be read, and for a call that was taken
        up again.
        """
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
        """The call's own random id, the one in the logs.

        A service with a receiver sends it along, so that an event finds its call even if
        TeleCMI's reply was lost.
        """
        return self._call.reference


class CallEvents:
    """The events of one call, in the order in which they arrived.

    Any number of iterators of one call may be used side by side; leaving one needs no closing.
    """

    def __init__(self, handle: CallHandle) -> None:
        self._handle = handle
        self._given = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        handle = self._handle
        with _without_a_verdict():
            watch = handle._watch()  # noqa: SLF001  # an iterator is the handle's own
        await handle._wait_for(watch, lambda: self._given < len(self._known()))  # noqa: SLF001  # as above
        known = self._known()
        if self._given == len(known):
            raise StopAsyncIteration
        self._given += 1
        return known[self._given - 1]

    def _known(self) -> list[Event]:
        history = self._handle._call.history  # noqa: SLF001  # as above
        return [] if history is None else history.events
