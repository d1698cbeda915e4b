"""Call runner: starts the calls of one service, and stops them when it closes.

It is internal. `CallService` is its public face, and campaigns place their calls through
`CallRunner.place_once`.
"""

from __future__ import annotations

import logging
import warnings
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from telecmi_async import errors
from telecmi_async._internal.event_loop import clock_of, is_closed
from telecmi_async._internal.secrets import RequestBody, log_failure
from telecmi_async._internal.telecmi import REFERENCE_FIELD, TRACE_FIELD
from telecmi_async.calls.call import Call
from telecmi_async.calls.encoding import encode_request, is_streamed
from telecmi_async.calls.handle import CallHandle
from telecmi_async.calls.placement import Permit, PlacementJob
from telecmi_async.calls.retry import RetryPolicy
from telecmi_async.events.reference import check_reference
from telecmi_async.observer import ObservedCall, ServiceReading
from telecmi_async.observer.notifier import CallOrigin
from telecmi_async.phone import route
from telecmi_async.wire.endpoints import make_call_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telecmi_async.calls.request import CallRequest
    from telecmi_async.events.receiver.intake import Intake
    from telecmi_async.observer.notifier import Notifier
    from telecmi_async.service.options import ServiceSettings
    from telecmi_async.service.parts import ServiceParts
    from telecmi_async.wire.transport import Timeouts

# So many calls are cancelled in one pass of the event loop.
_BATCH = 200

logger = logging.getLogger("telecmi_async")

_ONCE: Final = RetryPolicy(attempts=1, at_most_once=True)
_NO_ORIGIN: Final = CallOrigin()


class CallRunner:
    """Starts calls, and keeps each until its task is over."""

    def __init__(self, settings: ServiceSettings, parts: ServiceParts) -> None:
        self.closed = False
        #: The calls whose tasks are not over; their outcome may be known already.
        self.calls: dict[Call, None] = {}
        self._settings = settings
        self._parts = parts
        keyed = None if parts.keyed is None else parts.keyed.tap
        self._taps = [tap for tap in (keyed, parts.tap) if tap is not None]
        self._opened = False
        self._ordinal = 0

    def __repr__(self) -> str:
        pending = sum(not call.placement.settled for call in self.calls)
        state = "closed" if self.closed else f"{pending} calls under way"
        return f"<CallService app_id={self._settings.credentials.app_id} {state}>"

    @property
    def shares_limits(self) -> bool:
        """Whether its starts or channels are shared with other processes."""
        return self._settings.limits is not None

    @property
    def max_in_flight(self) -> int:
        """How many requests may be waiting for TeleCMI's reply at the same time."""
        return self._settings.rate.max_in_flight

    @property
    def timeouts(self) -> Timeouts:
        """How long a request may take, unless its call says otherwise."""
        return self._settings.timeouts

    @property
    def intake(self) -> Intake | None:
        """The inside of the receiver in this process, if the service was given one."""
        return self._settings.sources.intake

    def expect_rate(self, rate: float, max_in_flight: int) -> None:
        """Say if replies are too slow for a campaign's rate; see `InFlightWatch`."""
        self._parts.placer.watch.expect(rate, max_in_flight)

    def check_open(self) -> None:
        """Require an open service in its own event loop, the first one it is used in."""
        if self.closed:
            raise errors.ServiceClosed("the service is closed and takes no more calls")
        parts = self._parts
        parts.tasks.bind()
        if not self._opened:
            self._opened = True
            now = clock_of(parts.tasks.loop)
            parts.placer.use_clock(now)
            if parts.tracker is not None:
                parts.tracker.open(now)
            for tap in self._taps:
                tap.open()
            if self.notify is not None:
                self.notify("service_opened", partial(_read, weakref.ref(self)))

    def start(
        self,
        request: CallRequest,
        policy: RetryPolicy,
        timeouts: Timeouts,
        *,
        source: object,
        on_settled: Callable[[Call], None] | None = None,
        permit: Permit | None = None,
        origin: CallOrigin = _NO_ORIGIN,
    ) -> Call:
        """Start to place a request, and return its call; the arguments are those of `Call`.

        Raises:
            InvalidCall: It cannot be sent as it is.
            NotSent: Something failed that should not. It is logged.
            WrongEventLoop: The event loop starts no task.
        """
        try:
            return self._start(request, policy, timeouts, source, on_settled, permit, origin)
        except errors.TelecmiError:
            raise
        except Exception as error:  # noqa: BLE001  # nothing foreign reaches the user
            why = "preparing the call failed"
            log_failure(error, f"{why}; nothing was sent", self._parts.redact)
            failure = errors.NotSent(
                f"{why} ({type(error).__name__}), see the log; no phone rang"
            )
        raise failure

    def _start(  # those of `start`
        self,
        request: CallRequest,
        policy: RetryPolicy,
        timeouts: Timeouts,
        source: object,
        on_settled: Callable[[Call], None] | None,
        permit: Permit | None,
        origin: CallOrigin,
    ) -> Call:
        settings, parts = self._settings, self._parts
        from_ = settings.from_ if request.from_ is None else request.from_
        if from_ is None:
            raise errors.InvalidCall(
                "is missing: give a number of your app as caller id, here or to the service",
                path="from",
            )
        if request.idempotency_key is not None:
            if parts.keyed is None:
                raise errors.InvalidCall(
                    "needs a service with a ledger: CallService(…, ledger=…)",
                    path="idempotency_key",
                )
            known = parts.keyed.known(request)
            if known is not None and on_settled is None:  # a row of a list is a call
                return known
            policy = attrs.evolve(policy, at_most_once=True)
        region = route(request.region or settings.region, request.to)
        call = Call(request, source=source, region=region, on_settled=on_settled)
        try:
            url = make_call_url(settings.base_url, region)
            self._begin(call, request, url, from_, policy, timeouts, permit, origin)
        except BaseException as error:
            call.never_began(error)
            raise
        return call

    def _begin(  # those of `start`
        self,
        call: Call,
        request: CallRequest,
        url: str,
        from_: int,
        policy: RetryPolicy,
        timeouts: Timeouts,
        permit: Permit | None,
        origin: CallOrigin,
    ) -> None:
        """Encode a call once, and start its task."""
        settings, parts = self._settings, self._parts
        trace = self._observe(call, url, origin)
        params: dict[str, object] = {}
        if settings.signed or permit or request.idempotency_key is not None:
            params[REFERENCE_FIELD] = parts.references.sign(call.reference)
            if trace is not None:
                params[TRACE_FIELD] = trace
        streamed_as = ""
        if is_streamed(request):
            streamed_as = parts.references.sign(call.reference)
            if settings.streams is not None:
                settings.streams.expect(call)
        body = RequestBody(
            encode_request(
                request,
                settings.credentials,
                from_=from_,
                more_params=params,
                streamed_as=streamed_as,
            )
        )
        if parts.tracker is not None:
            parts.tracker.follow(call)
        self._ordinal += 1
        job = PlacementJob(
            call,
            url,
            body,
            policy,
            timeouts,
            until=parts.placer.deadline(policy),
            seed=f"{settings.seed}:{self._ordinal}",
            queued_at=0.0 if self.notify is None else parts.placer.now(),
            permit=permit,
        )
        place = parts.placer.place
        if parts.keyed is not None and request.idempotency_key is not None:
            parts.keyed.add(call, request.idempotency_key)
            call.placement.elsewhere = True  # perhaps, until its key is looked up
            place = parts.keyed.place
        parts.tasks.start(place, job, self._ended)
        self.calls[call] = None

    def follow(self, reference: str) -> Call:
        """Return a call that was made with an idempotency key, by its reference."""
        keyed = self._parts.keyed
        if keyed is None:
            raise errors.ConfigurationError(
                "calls are found by their reference on a ledger: CallService(…, ledger=…)"
            )
        check_reference(reference)
        call = Call(None, source=reference, region=None)
        call.name(reference)
        if self._parts.tracker is not None:
            self._parts.tracker.follow(call)
        call.placement.elsewhere = True
        self._parts.tasks.start(keyed.follow, call, self._forget)
        self.calls[call] = None
        return call

    def place_once(
        self,
        request: CallRequest,
        permit: Permit,
        timeouts: Timeouts | None,
        origin: CallOrigin = _NO_ORIGIN,
    ) -> CallHandle:
        """Place a campaign's call at most once, with its reference, if its permit allows it."""
        self.check_open()
        timeouts = timeouts or self.timeouts
        return CallHandle(
            self.start(request, _ONCE, timeouts, source=request, permit=permit, origin=origin)
        )

    # -- an observer

    @property
    def notify(self) -> Notifier | None:
        """Calls the service's observer."""
        return self._settings.notify

    def _observe(self, call: Call, url: str, origin: CallOrigin) -> str | None:
        """Have a new call observed, and return its trace context."""
        if self.notify is None:
            return None
        observed = ObservedCall(
            call.placement,
            address=url,
            campaign=origin.campaign,
            loaded_in=origin.loaded_in,
            polled=self._settings.sources.only_polls,
        )
        return call.observe(self.notify, observed)

    def read(self) -> ServiceReading:
        """Return what the service is doing; any thread may ask."""
        placer, channels = self._parts.placer, self._parts.channels
        in_flight = placer.watch.in_flight
        return ServiceReading(
            waiting=max(len(self.calls) - in_flight, 0),
            in_flight=in_flight,
            live=None if channels is None else channels.held,
            live_limit=self._settings.rate.max_live_calls,
            retries_left=placer.retries_left,
        )

    def _ended(self, job: PlacementJob) -> None:
        self._forget(job.call)

    def _forget(self, call: Call) -> None:
        """Forget a call whose task is over."""
        self.calls.pop(call, None)  # an eager task may end before it is added
        if not call.placement.settled:  # the task was cancelled before its first step
            call.conclude(errors.CallCancelled("the call was cancelled"))

    def close(self) -> None:
        """Take no more calls, and start no more requests."""
        for tap in self._taps:
            tap.close()
        if self._parts.channels is not None:
            self._parts.channels.closed = True
        if self._parts.tasks.loop is not None:
            self._parts.tasks.bind()
        self.closed = True
        self._parts.placer.closed = True

    def cancel_queued(self) -> Iterator[None]:
        """Cancel the calls whose request was not sent, and those that wait for a retry.

        It pauses between batches of calls, so that others may use the event loop. The oldest call
        comes first: anyio removes the head of a queue faster than what is in its middle.
        """
        queued = [call for call in self.calls if not call.placement.settled]
        cancelled = 0
        for start in range(0, len(queued), _BATCH):
            if start:
                yield
            cancelled += sum([call.cancel() for call in queued[start : start + _BATCH]])
        if cancelled:
            logger.warning("%d queued calls were cancelled: the service was closed", cancelled)

    def warn_if_open(self, service: object) -> None:
        """Warn that a service is gone and was not closed; it must never be used again.

        If its event loop was closed, too, its calls never end: each is settled and reported. anyio
        keeps the tasks of such a loop alive for good, so nothing else would report them.
        """
        loop = self._parts.tasks.loop
        if self.closed or loop is None:
            return
        warnings.warn(
            f"{self!r} was never closed: use async with, or await service.aclose()",
            ResourceWarning,
            source=service,
            stacklevel=1,
        )
        if is_closed(loop):
            for call in self.calls:
                call.known()
                call.report()


def _read(runner: weakref.ref[CallRunner]) -> ServiceReading | None:
    """Return what a service is doing; an observer keeps none alive that is closed or gone."""
    found = runner()
    return None if found is None or found.closed else found.read()
