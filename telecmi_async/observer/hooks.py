"""Hooks: what an observer is called with, and the methods it may override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from telecmi_async._internal.messages import shown_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.attempt import Attempt
    from telecmi_async.errors import TelecmiError


class _Placement(Protocol):
    """What is shown of a call; `telecmi_async.calls.state.PlacementState` has all of it."""

    region: Any
    status: Any
    request_id: str | None
    begun: int
    may_be_duplicate: bool
    error: TelecmiError | None

    @property
    def reference(self) -> str: ...


class ObservedCall:
    """What an observer sees of one call: no number, no call flow, no secret.

    It shows the call as it is now. ``data`` is the observer's own: whatever it keeps with the call.
    """

    __slots__ = ("_placement", "address", "campaign", "data", "loaded_in", "polled")

    def __init__(
        self,
        placement: _Placement,
        *,
        address: str,
        campaign: str | None = None,
        loaded_in: str | None = None,
        polled: bool = False,
    ) -> None:
        self._placement = placement  # the call itself would be kept alive, as it has this
        #: The address of the API that its requests go to.
        self.address = address
        #: The campaign's name, if it is a campaign's call.
        self.campaign = campaign
        #: The trace context in which the contact was loaded, a W3C ``traceparent``.
        self.loaded_in = loaded_in
        #: Whether its records are looked up (`CdrPoller`), and no receiver is sent them.
        self.polled = polled
        self.data: Any = None

    def __repr__(self) -> str:
        return f"<ObservedCall {self.reference} {self.status}>"

    @property
    def reference(self) -> str:
        """The call's own random id, which logs show as well."""
        return self._placement.reference

    @property
    def region(self) -> str:
        """The endpoint: ``"india"`` or ``"global"``."""
        return str(self._placement.region)

    @property
    def status(self) -> str:
        """Where it is, or how placing it ended: a value of `CallStatus`."""
        return str(self._placement.status)

    @property
    def request_id(self) -> str | None:
        """TeleCMI's id, once it is known, as logs show it."""
        found = self._placement.request_id
        return None if found is None else shown_id(found)

    @property
    def attempts(self) -> int:
        """How many requests were started."""
        return self._placement.begun

    @property
    def may_be_duplicate(self) -> bool:
        """Whether TeleCMI may have placed it twice."""
        return self._placement.may_be_duplicate

    @property
    def error(self) -> str | None:
        """The name of the error's class, if it was not accepted."""
        error = self._placement.error
        return None if error is None else type(error).__name__


@attrs.frozen(kw_only=True)
class CallEnd:
    """How a call ended, as far as its events and records say.

    Args:
        stage: How far it came, a value of `telecmi_async.events.Stage`.
        answered: Whether the callee answered; ``None`` if that is not known.
        talk_seconds: How long it was talked, in seconds; ``None`` likewise.
        cost: In a currency TeleCMI does not name; ``None`` likewise.
        complete: Whether the records of all its legs have come.
    """

    stage: str
    answered: bool | None
    talk_seconds: int | None
    cost: float | None
    complete: bool


@attrs.frozen(kw_only=True)
class ObservedDelivery:
    """What an observer sees of one request to a receiver, or of one event in it.

    Args:
        result: What became of it, a name of `Counts`: ``"accepted"``, ``"duplicates"``,
            ``"unmatched"``, ``"forged"``, ``"questions"``, ``"refused"``, ``"unreadable"`` or
            ``"deferred"``.
        kind: The kind of event, such as ``"CallRecord"``; "" if there is none.
        reference: The call's own id, if the event carries it and its code is right.
        request_id: TeleCMI's id for the call, as logs show it.
        trace: The trace context that the call was sent with, if the reference is right.
        lag: Seconds from the event's own time to its arrival; ``None`` without such a time.
        answered: Whether the leg was answered, as a record says.
        talk_seconds: How long it talked, likewise. A record that comes again says so again.
        cost: What it cost, likewise.
        leg: ``"a"`` for the first leg of the call, ``"b"`` for those it was bridged to.
    """

    result: str
    kind: str = ""
    reference: str | None = None
    request_id: str | None = None
    trace: str | None = None
    lag: float | None = None
    answered: bool | None = None
    talk_seconds: int | None = None
    cost: float | None = None
    leg: str | None = None


@attrs.frozen(kw_only=True)
class ServiceReading:
    """What a service is doing at one moment.

    Args:
        waiting: Calls that are neither settled nor in flight.
        in_flight: Requests that wait for TeleCMI's reply.
        live: Channels that are held, by calls that may be live; ``None`` without a limit.
        live_limit: How many there may be (``max_live_calls``).
        retries_left: How many failures in a row may still be repeated (``RetryPolicy.budget``).
    """

    waiting: int
    in_flight: int
    live: int | None
    live_limit: int | None
    retries_left: float


@attrs.frozen(kw_only=True)
class ObservedCampaign:
    """What a campaign's worker sees of it, about once a second.

    Args:
        name: The campaign's name.
        status: What it is doing, as a `CampaignState` says; or ``"waiting for a retry"``, if
            contacts are left and none is due before a retry or a redial.
        contacts: How many contacts are in each state.
        answer_rate: Which part of the calls that ended was answered; ``None`` if none ended.
        cost: What its calls cost; ``None`` if that is known of none.
        rate: Requests per second over the last minute, of all workers.
        breaker_open: Whether this worker's circuit breaker is open.
        slowdown: The rate that this worker allows after refusals, as a part of the campaign's:
            1 without any.
        live_limit: How many of its calls may be live at once; ``None`` without a limit.
    """

    name: str
    status: str
    contacts: Mapping[str, int]
    answer_rate: float | None
    cost: float | None
    rate: float
    breaker_open: bool
    slowdown: float
    live_limit: int | None = None


class Observer:
    """Does nothing; override what you need.

    All methods are plain functions, called in the event loop that the call or webhook belongs to,
    and should return at once. What one raises is logged, and changes no call; `KeyboardInterrupt`
    and `SystemExit` alone are raised. A method may make and cancel calls: the methods that this
    causes are called after it, except for `call_queued`. A call that is found by its
    ``request_id`` or its reference, and was made earlier, is not observed.

    Example:
        Count how calls end::

            from collections import Counter

            from telecmi_async.observer import ObservedCall, Observer


            class Outcomes(Observer):
                def __init__(self):
                    self.counts = Counter()

                def call_settled(self, call: ObservedCall) -> None:
                    self.counts[call.status] += 1


            service = CallService(2222226, "your-secret", observer=Outcomes())
    """

    def service_opened(self, read: Callable[[], ServiceReading | None]) -> None:
        """Note a service; ``read`` returns what it is doing now, ``None`` once it is closed.

        Any thread may call ``read``.
        """

    def trace_context(self) -> str | None:
        """Return the trace context of the caller, to be kept with contacts that are loaded."""
        return None

    def call_queued(self, call: ObservedCall) -> str | None:
        """Note a new call; it is called in the context of `CallService.make_call`.

        Returns:
            The call's trace context, to be sent with it: TeleCMI returns it with each event. It
            is sent only if calls carry their references, too.
        """
        del call
        return None

    def attempt_started(self, call: ObservedCall, waited: float) -> None:
        """Note that a request starts, so many seconds after the call was queued."""

    def attempt_ended(self, call: ObservedCall, attempt: Attempt) -> None:
        """Note the verdict on a request. ``attempt.detail`` is text, of TeleCMI's perhaps."""

    def paused(self, call: ObservedCall, seconds: float) -> None:
        """Note that TeleCMI's reply to a call pauses all calls of the service."""

    def call_settled(self, call: ObservedCall) -> None:
        """Note that placing a call ended.

        It is called again if an event shows later that a call of unknown outcome was accepted.
        """

    def call_ended(self, call: ObservedCall, end: CallEnd) -> None:
        """Note the end of a call whose handle is still in use, and again as more of it is known."""

    def delivered(self, delivery: ObservedDelivery) -> None:
        """Note what a receiver was sent; of records that a `CdrPoller` finds, see `call_ended`."""

    def campaign_seen(self, campaign: ObservedCampaign) -> None:
        """Note what a campaign is doing, about once a second while a worker runs."""
