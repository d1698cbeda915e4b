"""Call handle: the user's view of one call."""

from __future__ import annotations

import copy
from collections.abc import Coroutine
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import anyio

from telecmi_async import errors
from telecmi_async._internal.event_loop import InterruptNotice, current_loop, current_task
from telecmi_async._internal.messages import mask
from telecmi_async._internal.validators import seconds_or_none
from telecmi_async.calls.state import CallStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from telecmi_async._internal.validators import Duration
    from telecmi_async.attempt import Attempt
    from telecmi_async.calls.call import Call, CallTracking
    from telecmi_async.calls.request import CallRequest
    from telecmi_async.calls.result import CallResult
    from telecmi_async.events import CallState, Event
    from telecmi_async.phone import Region
_WAIT_INTERRUPTED = InterruptNotice(
    "Interrupted: only the waiting ended. The call goes on; wait for it again."
)


def _to_raise(error: errors.TelecmiError) -> errors.TelecmiError:
    """Return a copy to raise, so that the call keeps no traceback and no context."""
    return copy.copy(error)


@contextmanager
def not_about_the_outcome() -> Generator[None]:
    """Mark errors as unsafe to redial: they say nothing about the call's outcome."""
    try:
        yield
    except errors.TelecmiError as error:
        error.safe_to_redial = False
        raise


def _tracking_of(call: Call) -> CallTracking:
    """Return what is known from a call's events; refuse where none can ever come."""
    tracking = call.tracking
    if tracking is None or not tracking.watcher.has_sources:
        raise errors.ConfigurationError(
            "the service has no source of events, so it knows nothing of its calls after they "
            "were accepted: use CallService(…, events=Receiver(token)) for webhooks or "
            "events=CdrPoller() for looking records up"
        )
    if call.loop is not current_loop():
        raise errors.WrongEventLoop(
            "wait for a call in the event loop that placed it, or read handle.result"
        )
    return tracking


async def _wait_for(call: Call, tracking: CallTracking, done: Callable[[], bool]) -> None:
    """Wait until the call is accepted, then until ``done`` returns true or all is known."""
    watcher = tracking.watcher
    placement = await call.wait()
    may_be_proven = placement.status is CallStatus.UNKNOWN and watcher.by_reference
    if placement.error is not None and not may_be_proven:
        raise _to_raise(placement.error)
    with watcher.registered_waiter(call), _WAIT_INTERRUPTED:
        await tracking.history.wait(done)


class CallHandle(Coroutine[Any, Any, "CallHandle"]):
    """One call: its request runs concurrently while you hold the handle.

    ``await handle`` waits for TeleCMI's reply and returns the handle itself, or raises. It may
    be awaited often and by several tasks; a waiter that is cancelled or times out cancels
    neither the call nor another waiter. A failure that your program never looks at is logged once.

    Where a framework takes coroutines only, it takes a handle: ``asyncio.create_task(handle)``,
    ``tasks.create_task(handle)``, or ``start_soon(functools.partial(service.make_call, to=…,
    pcmo=…))``. That task waits for the call; to cancel the task does not cancel the call.

    `answered`, `ended` and `events` say how the call went, if the service has a source of
    events (``events=``). They may be awaited as often.

    Example:
        Wait for TeleCMI's reply, then for the answer, then for the end::

            call = service.make_call(to=19170000001, pcmo=[Speak("Hello!"), Hangup()])
            await call
            if await call.answered(timeout=90):
                result = await call.ended(timeout=7200)
                print(result.talk_seconds, result.cost)

    Raises:
        CallNotPlaced: When awaited: certainly no phone rang. See `telecmi_async.errors`.
        CallOutcomeUnknown: When awaited: a phone may have rung.
        CallPending: When awaited in another event loop before the call is settled.
    """

    __slots__ = ("__weakref__", "_call", "_waits")

    #: For the messages of event loops about a coroutine object.
    __name__ = "CallHandle"

    def __init__(self, call: Call) -> None:
        self._call = call
        # The waits that event loops drive by `send`, one for each task; made on first use.
        self._waits: WeakKeyDictionary[object, Coroutine[Any, Any, CallHandle]] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CallHandle) and other._call is self._call

    def __hash__(self) -> int:
        return hash(self._call)

    def __await__(self) -> Generator[Any, Any, CallHandle]:
        return self._outcome().__await__()

    async def _outcome(self) -> CallHandle:
        error = (await self._call.wait()).error
        if error is not None:
            raise _to_raise(error)
        return self

    def send(self, value: Any, /) -> Any:
        """Go on with the wait of the running task; for event loops."""
        return self._drive(lambda wait: wait.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise an error in the wait of the running task, for event loops; the call goes on."""
        return self._drive(lambda wait: wait.throw(*error))

    def close(self) -> None:
        """End the wait of the running task, for event loops; the call goes on."""
        waits = self._waits
        wait = None if waits is None else waits.pop(current_task() or CallHandle, None)
        if wait is not None:
            wait.close()

    def _drive(self, step: Callable[[Coroutine[Any, Any, CallHandle]], Any]) -> Any:
        """Take a step of the running task's wait; a task may be made of a handle repeatedly."""
        task = current_task() or CallHandle
        waits = self._waits = WeakKeyDictionary() if self._waits is None else self._waits
        wait = waits.get(task)
        if wait is None:
            wait = waits[task] = self._outcome()
        try:
            return step(wait)
        except BaseException:  # it is over; StopIteration has its result
            del waits[task]
            raise

    def __repr__(self) -> str:
        placement = self._call.known()
        more = "" if placement.request_id is None else f" request_id={placement.request_id}"
        if placement.error is not None:
            more = f" {type(placement.error).__name__}"
        return f"<CallHandle {self._call} {placement.status}{more}>"

    def _repr_html_(self) -> str:
        from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only
        from telecmi_async.calls.state import STATUS_MEANINGS, STATUS_TONES  # noqa: PLC0415  # likewise
        from telecmi_async.pcmo.flow import html_of_flow  # noqa: PLC0415  # likewise

        call = self._call
        placement, request = call.known(), call.request
        status = placement.status
        words = f"{status}: {STATUS_MEANINGS[status]}"
        rows: list[tuple[str, object]] = [
            ("status", html.tone_key(STATUS_TONES[status], words)),
            ("request id", html.code_text(placement.request_id)),
            ("reference", html.code_text(call.reference)),
        ]
        if placement.error is not None:
            rows.append(("error", f"{type(placement.error).__name__}: {placement.error}"))
        if placement.may_be_duplicate:
            rows.append(("note", "TeleCMI may have placed it twice"))
        attempts = [
            (each.number, each.outcome.replace("_", " "), each.detail, f"{each.seconds:.2f} s")
            for each in placement.attempts
        ]
        told = len(attempts) > 1 or placement.error is not None
        return html.card(
            "Call" if call.to is None else f"Call to {mask(call.to)}",
            html.fact_table(rows),
            html.grid(("attempt", "outcome", "detail", "time"), attempts) if told else None,
            self.result.html_of_legs(),
            html.folded("call flow", html_of_flow(request.pcmo)) if request else None,
        )

    async def answered(self, *, timeout: Duration | None = None) -> bool:  # noqa: ASYNC109  # what waits is the handle
        """Wait until the callee answered, or the call is over.

        A call of unknown outcome is waited for as well if it carries a reference: its first
        event shows that it was placed.

        Args:
            timeout: How long, in seconds or as a `timedelta`; ``None`` for no limit.

        Returns:
            Whether the callee answered. An answering machine counts.

        Raises:
            ConfigurationError: The service has no source of events, or ``timeout`` is invalid.
            CallNotPlaced: The call failed; the handle's own error.
            CallOutcomeUnknown: Likewise, and no event can be matched to the call.
            WaitTimeout: It was not known in that time.
            RequestFailed: TeleCMI refuses to look the call up.
            ServiceClosed: The service was closed before it was known.
            StoreError: The store of events failed for good.
            WrongEventLoop: The call belongs to another event loop.

        All but the handle's own error say nothing about the call, which goes on: their
        ``safe_to_redial`` is False.
        """
        await self._wait_until(lambda state: state.answered is not None, timeout, "answered")
        return self.result.answered is True

    async def ended(self, *, timeout: Duration | None = None) -> CallResult:  # noqa: ASYNC109  # as above
        """Wait until the call is over and its records are there, and return how it went.

        A missing record is waited for until 31 minutes after the call's end, when TeleCMI has
        sent it for the last time; `CallResult.complete` says whether all records came.

        Args:
            timeout: As for `answered`.

        Raises:
            TelecmiError: As for `answered`.
        """
        await self._wait_until(lambda state: state.over and state.recorded, timeout, "over")
        return self.result

    def events(self) -> CallEvents:
        """Return an iterator over the call's events: past ones first, then new ones.

        It ends when the call is over and its records are there, as `ended` does. Every iterator
        yields every event once, in the order of arrival.

        Raises:
            TelecmiError: As for `answered`, while iterating.
        """
        return CallEvents(self._call)

    async def _wait_until(
        self,
        done: Callable[[CallState], bool],
        timeout: Duration | None,  # noqa: ASYNC109  # as above
        what: str,
    ) -> None:
        """Wait until ``done`` returns true for the state of the call."""
        call = self._call
        with not_about_the_outcome():
            seconds = seconds_or_none("timeout", timeout)
            tracking = _tracking_of(call)
        with anyio.move_on_after(seconds) as scope:
            await _wait_for(call, tracking, lambda: done(call.state))
        if scope.cancelled_caught and not done(call.state):
            raise errors.WaitTimeout(
                f"call {call} is not known to be {what} after {seconds:g} s; it goes on"
            )

    @property
    def result(self) -> CallResult:
        """What is known of the call by now."""
        from telecmi_async.calls.result import CallResult  # noqa: PLC0415  # loaded by the service

        call = self._call
        return CallResult(
            to=call.to,
            request_id=call.known().request_id,
            reference=call.reference,
            state=call.state,
            request=call.request,
        )

    def cancel(self) -> bool:
        """Ask that no (further) request is started for this call.

        A request that left is not recalled: it is awaited as before.

        Returns:
            True only if no request was ever started: the handle then raises
            `CallCancelled`. False means that TeleCMI may have the call: await the handle. So it
            is with an idempotency key, until it is known that no other process placed the key.

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
        placement = self._call.seen()
        if placement.error is not None:
            raise _to_raise(placement.error)
        if placement.request_id is None:
            raise errors.CallPending(
                f"call {self._call} has no request_id yet: await the handle first"
            )
        return placement.request_id

    @property
    def status(self) -> CallStatus:
        """Where the call stands."""
        return self._call.seen().status

    @property
    def accepted(self) -> bool:
        """Whether TeleCMI accepted the call."""
        return self.status is CallStatus.PROGRESS

    @property
    def error(self) -> errors.TelecmiError | None:
        """The error that awaiting raises; None if there is none, or none yet."""
        return self._call.seen().error

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The requests that were answered or failed so far, oldest first."""
        return self._call.known().attempts

    @property
    def may_be_duplicate(self) -> bool:
        """Whether TeleCMI may have placed the call twice.

        True after a repeat of a request of unknown outcome: only a gateway's 502 is repeated in
        that way, and not under ``RetryPolicy(at_most_once=True)``. True as well if the
        ``http_client`` sent a request more than once by itself, or if events showed two calls.
        """
        return self._call.known().may_be_duplicate

    @property
    def reply(self) -> Mapping[str, object] | None:
        """TeleCMI's whole reply to an accepted call, decoded; None before.

        It stays None if the reply was lost and an event showed that the call was placed, and
        for a call from `CallService.handle_for`.
        """
        return self._call.known().reply

    @property
    def request(self) -> CallRequest | None:
        """What was asked for.

        None for a row of `make_calls` that could not be read, and for a call from
        `CallService.handle_for`.
        """
        return self._call.request

    @property
    def source(self) -> Any:
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
        TeleCMI's reply was lost. A call that `CallService.handle_for` found by its request_id
        has one for this service's logs only.
        """
        return self._call.reference


class CallEvents:
    """The events of one call, in the order in which they arrived.

    Any number of iterators of one call may be used side by side; leaving one needs no closing.

    Example:
        Print what happens as it happens::

            call = await service.make_call(to=19170000001, pcmo=[Speak("Hello!"), Hangup()])
            async for event in call.events():
                print(event)
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._yielded = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        call = self._call
        with not_about_the_outcome():
            tracking = _tracking_of(call)
        await _wait_for(call, tracking, lambda: self._yielded < len(call.events))
        if self._yielded == len(call.events):
            raise StopAsyncIteration
        self._yielded += 1
        return call.events[self._yielded - 1]
