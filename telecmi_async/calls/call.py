"""Call: one call with everything that is known of it, and the tasks that wait for it.

Each fact has one owner. `telecmi_async.calls.state.PlacementState` has the placement (status,
attempts, error, ids), `CallTracking` the events, where a tracker follows the call, and `Call`
itself the request and the waiters. `Call` joins them: a reply settles the placement and wakes the
waiters, and an event may prove that TeleCMI has a call whose reply was lost.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Protocol

import anyio

from telecmi_async import errors
from telecmi_async._internal.event_loop import InterruptNotice, current_loop, is_closed
from telecmi_async._internal.messages import mask
from telecmi_async._internal.secrets import log_failure
from telecmi_async._internal.telecmi import LONGEST_CALL, RINGING
from telecmi_async.attempt import Outcome
from telecmi_async.calls import log
from telecmi_async.calls.history import History
from telecmi_async.calls.state import CallStatus, PlacementState, end_of
from telecmi_async.calls.verdict import Verdict, conclude
from telecmi_async.events.state import CallState
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from telecmi_async.calls.request import CallRequest
    from telecmi_async.events import Event
    from telecmi_async.observer import ObservedCall
    from telecmi_async.observer.notifier import Notifier
    from telecmi_async.phone import Region

_WAIT_INTERRUPTED = InterruptNotice(
    "Interrupted: only the waiting ended. The call goes on; await it again, or cancel() it."
)
_NOT_STARTED = "the call could not be started; no phone rang"
_LOST = Verdict(Outcome.UNKNOWN, "interrupted while the request was under way")


class CallWatcher(Protocol):
    """Follows calls beyond TeleCMI's reply."""

    #: Whether there is a source of events.
    has_sources: bool
    #: Whether events can be matched to a call without a ``request_id``.
    by_reference: bool

    def call_settled(self, call: Call) -> None:
        """Note that the call was settled, or that its outcome changed."""
        ...

    def call_renamed(self, call: Call) -> None:
        """Find the call by another reference from now on."""
        ...

    def call_ended(self, call: Call) -> None:
        """Note that an event shows the call's end."""
        ...

    def registered_waiter(self, call: Call) -> AbstractContextManager[None]:
        """Look for events of the call as long as the context is open."""
        ...


class CallTracking:
    """What events say about one call that a watcher follows."""

    __slots__ = ("early_proof", "history", "twin", "watcher")

    def __init__(self, watcher: CallWatcher) -> None:
        self.watcher = watcher
        self.history = History()
        #: The state of the same call that was attached by its id before this one had the id.
        self.twin: Call | None = None
        #: The ``request_id`` of an event that came before TeleCMI's reply; "" if it has none.
        self.early_proof: str | None = None


class Call:
    """One call of a service. Its request and region are None where they are not known.

    ``source`` is what the user handed in. ``on_settled`` is called once.
    """

    __slots__ = (
        "__weakref__",
        "_notify",
        "_on_settled",
        "_seen",
        "_settled_event",
        "loop",
        "observed",
        "placement",
        "request",
        "source",
        "tracking",
    )

    def __init__(
        self,
        request: CallRequest | None,
        *,
        source: object,
        region: Region | None,
        on_settled: Callable[[Call], None] | None = None,
    ) -> None:
        self.placement = PlacementState(region)
        #: None without a tracker.
        self.tracking: CallTracking | None = None
        self.request = request
        self.source = source
        self.loop = current_loop()
        self._on_settled = on_settled
        self._settled_event: anyio.Event | None = None
        self._seen = False
        #: What an observer sees of it, and how the observer is called.
        self.observed: ObservedCall | None = None
        self._notify: Notifier | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a call is neither copied nor pickled: it belongs to its service and event loop"
        )

    def __str__(self) -> str:
        """The call as logs name it, without a number to dial."""
        if self.to is not None:
            return f"{self.reference} to {mask(self.to)}"
        known = self.placement.request_id is not None
        return f"{self.reference} attached by its id" if known else f"{self.reference} to ?"

    def __del__(self) -> None:
        self.report()

    def report(self) -> None:
        """Log a failure that was never looked at, once. A cancelled call fails on request."""
        error = self.placement.error
        if error is not None and not isinstance(error, errors.CallCancelled) and not self._seen:
            self._seen = True
            log.log_unseen(self, error)

    @property
    def to(self) -> int | None:
        """The dialled number, if it is known here."""
        if self.request is not None:
            return self.request.to
        for leg in self.state.legs:
            if leg.leg == "a" and leg.record is not None and leg.record.to:
                return _number(leg.record.to)
        return None

    @property
    def longest(self) -> float:
        """For how many seconds the call may be live, ringing included."""
        duration = None if self.request is None else self.request.duration
        return (duration or LONGEST_CALL) + RINGING

    @property
    def reference(self) -> str:
        """The call's own random id; made on first use."""
        return self.placement.reference

    @property
    def region(self) -> Region | None:
        """The region of its endpoint, if it is known."""
        return self.placement.region

    def observe(self, notify: Notifier, observed: ObservedCall) -> str | None:
        """Notify an observer from now on; return the trace context that the call is sent with."""
        self._notify, self.observed = notify, observed
        return notify.text("call_queued", observed)

    def notify(self, method: str, *given: object) -> None:
        """Notify the observer, if there is one."""
        if self._notify is not None:
            self._notify(method, self.observed, *given)

    def never_began(self, error: BaseException) -> None:
        """Notify the observer of a call that cannot be started; its caller gets the error."""
        if self._notify is not None:
            self._seen = True
            self.placement.fail(
                error if isinstance(error, errors.InvalidCall) else errors.NotSent(_NOT_STARTED)
            )
            self.notify("call_settled")

    # -- placement

    def record(self, verdict: Verdict, seconds: float) -> None:
        """Note the verdict on a request that took ``seconds``."""
        self.placement.record(verdict, seconds)
        if attempts := self.placement.attempts:  # not if its event loop was closed
            self.notify("attempt_ended", attempts[-1])
        tracking = self.tracking
        if (
            tracking is not None
            and tracking.early_proof is not None
            and verdict.outcome is not Outcome.ACCEPTED
        ):
            self._prove(tracking.early_proof)  # so that the call is not repeated

    def conclude(self, stopped: errors.CallNotPlaced | None = None) -> None:
        """Settle the call by its attempts; ``stopped`` says why there were no more."""
        placement = self.placement
        if placement.under_way:  # its verdict could not be recorded
            placement.verdicts.append(_LOST)
        last = placement.verdicts[-1] if placement.verdicts else None
        if last is None or last.outcome is not Outcome.ACCEPTED:
            self.fail(self._error(stopped))
            return
        placement.accept(last.request_id, None if isinstance(last.body, str) else last.body)
        self._announce()
        if self.tracking is not None and self.tracking.early_proof:
            self._compare(self.tracking.early_proof)

    def _error(self, stopped: errors.CallNotPlaced | None) -> errors.TelecmiError:
        """Return the error of a call that was not accepted."""
        placement, reference = self.placement, self.reference
        try:
            return conclude(
                placement.verdicts, placement.attempts, reference=reference, stopped=stopped
            )
        except Exception as error:  # noqa: BLE001  # the call is settled in any case
            why = "its attempts could not be judged"
            log_failure(error, f"call {self}: {why}")
        if placement.begun:
            return errors.CallOutcomeUnknown(
                f"{why}: a phone may have rung", reference=reference, cause=why
            )
        return errors.NotSent(f"{why}; no phone rang")

    def fail(self, error: errors.TelecmiError) -> None:
        """Settle the call with an error."""
        self.placement.fail(error)
        self._announce()

    def name(self, reference: str, region: Region | None = None) -> None:
        """Be the call with a reference, which was sent earlier or by another process."""
        self.placement.name(reference, region)
        if self.tracking is not None:
            self.tracking.watcher.call_renamed(self)

    def attach(self, request_id: str) -> None:
        """Become the state of a call that was accepted earlier."""
        self.placement.accept(request_id)
        self._announce()

    def cancel(self) -> bool:
        """Start no further request; True if none was ever started."""
        placement = self.known()
        if placement.settled:
            return placement.status is CallStatus.CANCELLED and not placement.attempts
        if self.loop is not current_loop():
            raise errors.WrongEventLoop("cancel a call in the event loop that placed it")
        never_left = (
            not placement.attempts
            and placement.status is CallStatus.QUEUED
            and not placement.elsewhere
        )
        placement.stop()
        if never_left:
            self.conclude(errors.CallCancelled("the call was cancelled while it was queued"))
        return never_left

    def _announce(self) -> None:
        """Notify the waiters and the tracker that the call was settled.

        What fails in one of them neither keeps it from the others nor changes the outcome.
        """
        log.log_outcome(self)
        self.notify("call_settled")
        waiters, self._settled_event = self._settled_event, None
        on_settled, self._on_settled = self._on_settled, None
        if is_closed(self.loop):
            return
        if waiters is not None:
            waiters.set()
        if on_settled is not None:
            with self._guarded():
                on_settled(self)
        if self.tracking is not None:
            with self._guarded():
                self.tracking.watcher.call_settled(self)

    @contextmanager
    def _guarded(self) -> Generator[None]:
        """Log what fails inside."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # the call is settled in any case
            log_failure(error, f"call {self}: its outcome is known, and telling so failed")

    # -- waiters

    def known(self) -> PlacementState:
        """Return the placement; a call whose event loop was closed is settled then."""
        placement = self.placement
        if not placement.settled and is_closed(self.loop):
            why = "the event loop was closed"
            if placement.under_way:
                detail = f"{why} while the request was under way"
                placement.record(Verdict(Outcome.UNKNOWN, detail), 0.0)
            self.conclude(errors.NotSent(f"{why} before the call was sent; no phone rang"))
        return placement

    def seen(self) -> PlacementState:
        """Return the placement for the user to see: its failure need not be logged then."""
        placement = self.known()
        self._seen |= placement.settled
        return placement

    async def wait(self) -> PlacementState:
        """Wait until the call is settled. A cancelled waiter disturbs no other."""
        if not self.known().settled:
            if self.loop is not current_loop():
                raise errors.CallPending(
                    "await a handle in the event loop that placed its call"
                )
            if self._settled_event is None:
                self._settled_event = anyio.Event()
            with _WAIT_INTERRUPTED:
                await self._settled_event.wait()
        return self.seen()

    # -- events

    def follow(self, watcher: CallWatcher) -> None:
        """Let a watcher follow the call; it may add events from now on."""
        self.tracking = CallTracking(watcher)

    def _tracked(self) -> CallTracking:
        assert self.tracking is not None  # noqa: S101  # only a tracker brings events
        return self.tracking

    @property
    def history(self) -> History:
        """The events of a call that is followed, and the tasks that wait for more."""
        return self._tracked().history

    @property
    def state(self) -> CallState:
        """How far the call and its legs have come, by its events."""
        return CallState() if self.tracking is None else self.tracking.history.state

    @property
    def events(self) -> Sequence[Event]:
        """The events so far."""
        return () if self.tracking is None else self.tracking.history.events

    def add_event(self, key: str, event: Event, *, size: int, now: float, proven: bool) -> bool:
        """Add an event to the call and to its twin, as `History.add` does; False if it is not new.

        It is ``proven`` if it carries the call's own reference.
        """
        before = self._tracked().history.state
        fresh = self._add(key, event, size=size, now=now, proven=proven)
        if fresh:
            log.log_event(self, event, before)
        twin = self._tracked().twin
        if twin is not None:
            fresh |= twin._add(key, event, size=size, now=now, proven=False)  # noqa: SLF001  # it is a Call
        return fresh

    def _add(self, key: str, event: Event, *, size: int, now: float, proven: bool) -> bool:
        tracking = self._tracked()
        before = tracking.history.state
        if not tracking.history.add(key, event, size=size, now=now):
            return False
        if proven:
            self._take_proof(event.request_id or "")
        if self.observed and (end := end_of(self.state)) not in {None, end_of(before)}:
            self.notify("call_ended", end)
        if self.is_ended_by(event):
            tracking.watcher.call_ended(self)
        return True

    def is_ended_by(self, event: Event) -> bool:
        """Return whether an event of this call shows that all of it has ended.

        An earlier attempt may have been placed, too, as a call with another id. Its end
        is not the end of this call.
        """
        request_id = self.placement.request_id
        only = request_id is None and not self.placement.attempts
        named = event.request_id in {None, request_id} or only
        return named and CallState().after(event).over

    def share_events(self, other: Call, *, now: float) -> None:
        """Give this call and its twin all events of both, from now on and from before.

        The other one was attached by its ``request_id`` before this one's reply, or a proof,
        brought that id.
        """
        for one, two in ((self, other), (other, self)):
            two._tracked().twin = one  # noqa: SLF001  # it is a Call
            for key, size, event in one.history.known():
                two._add(key, event, size=size, now=now, proven=False)  # noqa: SLF001  # it is a Call

    def _take_proof(self, request_id: str) -> None:
        """Act on a proof that TeleCMI has the call, or one more of it; its id may be ""."""
        placement, tracking = self.placement, self._tracked()
        if placement.status is CallStatus.SENDING:  # the reply, or its absence, is near
            tracking.early_proof = request_id or tracking.early_proof or ""
        elif placement.request_id is not None:
            self._compare(request_id or placement.request_id)
        elif request_id or placement.status is not CallStatus.UNKNOWN:
            self._prove(request_id)

    def _prove(self, request_id: str) -> None:
        """Accept the call because of an event: TeleCMI's reply was lost, late or different."""
        placement = self.placement
        if placement.settled and placement.status is not CallStatus.UNKNOWN:
            text = f"it was {placement.status}, and an event shows that TeleCMI placed it"
            log.log_contradiction(self, "proven", text, request_id)
        self._tracked().early_proof = None
        placement.stop()
        if request_id:
            placement.accept(request_id)
            self._announce()
        else:
            self.fail(
                errors.CallOutcomeUnknown(
                    "an event shows that TeleCMI placed the call, and does not say under "
                    "which request_id",
                    reference=self.reference,
                    cause="event",
                    attempts=placement.attempts,
                )
            )

    def _compare(self, request_id: str) -> None:
        """Note it if TeleCMI placed the call more than once."""
        self._tracked().early_proof = None
        if request_id != self.placement.request_id and self.placement.note_duplicate():
            text = "events show that TeleCMI placed it twice"
            log.log_contradiction(self, "duplicate", text, request_id)


def _number(to: str) -> int | None:
    """Return the number in a record; None if it cannot be read."""
    try:
        return parse_number(to)
    except errors.InvalidCall:
        return None
