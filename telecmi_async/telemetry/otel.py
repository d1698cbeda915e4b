"""OpenTelemetry: spans and metrics of calls, webhooks and campaigns.

One call makes a span ``telecmi.call`` from `make_call` to its outcome, with a span
``telecmi.attempt`` for each request inside. Each webhook makes a span ``telecmi.webhook`` with a
link to its call, whichever process placed it; a call's records end a span
``telecmi.conversation``. The call of a contact begins a trace of its own, with a link to the one
in which the contact was loaded: a load may be followed by a hundred thousand calls.
"""

from __future__ import annotations

from collections import Counter as Counted
from functools import partial
from operator import attrgetter
from threading import Lock
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from telecmi_async._internal.messages import mask_in
from telecmi_async.attempt import Outcome
from telecmi_async.errors import ConfigurationError
from telecmi_async.observer import Observer
from telecmi_async.telemetry import metrics as m

try:
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Observation, get_meter_provider
    from opentelemetry.trace import (
        Link,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        get_current_span,
        get_tracer_provider,
        set_span_in_context,
    )
except ImportError:
    raise ConfigurationError(
        "telemetry needs opentelemetry-api: pip install 'telecmi-async[otel]'"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from telecmi_async.attempt import Attempt
    from telecmi_async.observer import (
        CallEnd,
        ObservedCall,
        ObservedCampaign,
        ObservedDelivery,
        ServiceReading,
    )
    from telecmi_async.telemetry.metrics import Metric

_SCOPE: Final = "telecmi_async"
_ROOT: Final = Context()
# Outcomes of calls whose request left.
_SENT: Final = ("progress", "unknown")
# Seconds after which a campaign that no worker of this process runs is no longer shown.
_GONE: Final = 10.0
# Characters of a campaign's name in a label.
_LONGEST: Final = 64
# Seconds: of waiting and requests, and of talking.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_TALK_BUCKETS: Final = (1, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600)

_SERVICE_GAUGES: Final[tuple[tuple[Metric, Callable[[ServiceReading], float | None]], ...]] = (
    (m.CALLS_WAITING, attrgetter("waiting")),
    (m.IN_FLIGHT, attrgetter("in_flight")),
    (m.LIVE, attrgetter("live")),
    (m.LIVE_LIMIT, attrgetter("live_limit")),
    (m.RETRIES_LEFT, attrgetter("retries_left")),
)
_CAMPAIGN_GAUGES: Final[
    tuple[tuple[Metric, Callable[[ObservedCampaign], float | None]], ...]
] = (
    (m.ANSWER_RATE, attrgetter("answer_rate")),
    (m.CAMPAIGN_COST, attrgetter("cost")),
    (m.CAMPAIGN_UNKNOWN, lambda each: each.contacts.get("unknown", 0)),
    (m.CAMPAIGN_RATE, attrgetter("rate")),
    (m.CAMPAIGN_LIMIT, attrgetter("live_limit")),
    (m.BREAKER_OPEN, lambda each: int(each.breaker_open)),
    (m.SLOWDOWN, attrgetter("slowdown")),
)


class _CallSpans:
    """The span of one call, and what is needed to make others."""

    __slots__ = ("attempt_at", "call", "ended", "settled_at")

    def __init__(self, call: Span) -> None:
        self.call = call
        #: When its last request began, in nanoseconds since 1970.
        self.attempt_at = 0
        #: When placing it ended, likewise; 0 before.
        self.settled_at = 0
        self.ended = False


class _Measured:
    """What all observers of a meter provider measured: it ignores a second gauge of a name."""

    def __init__(self) -> None:
        self.services: dict[Callable[[], ServiceReading | None], None] = {}
        # By a campaign's name, when it was seen, and how.
        self.campaigns: dict[str, tuple[float, ObservedCampaign]] = {}
        # How many calls ended, by outcome and region: cheaper than a counter of the SDK's.
        self.calls: Counted[tuple[str, str]] = Counted()
        self.lock = Lock()  # several event loops may share an observer


# By meter provider, or that class: the program's own provider may be set later.
_MEASURED: Final[WeakKeyDictionary[object, _Measured]] = WeakKeyDictionary()


class OpenTelemetryObserver(Observer):
    """Makes spans and metrics of calls, webhooks and campaigns, with OpenTelemetry's API.

    No span, label or name holds a number that is dialled, a secret, or text of a call flow.
    Without an SDK that your program sets up, it does next to nothing.

    Example:
        One observer for a service and its receiver::

            from telecmi_async.telemetry import OpenTelemetryObserver

            observer = OpenTelemetryObserver()
            receiver = Receiver("a-long-random-token-0001", observer=observer)
            service = CallService(
                2222226, "your-secret", from_=19170000000, events=receiver, observer=observer
            )

    Args:
        tracer_provider: Makes the spans; the program's own (``set_tracer_provider``) by default.
        meter_provider: Makes the metrics; likewise.
        propagate: Whether the trace context of a call is sent with it, if it carries a reference:
            TeleCMI returns it, and webhooks that another process receives are linked.

    Raises:
        ConfigurationError: opentelemetry-api is not installed (when this module is imported).
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagate: bool = True,
    ) -> None:
        self._tracer = (tracer_provider or get_tracer_provider()).get_tracer(_SCOPE)
        meter = (meter_provider or get_meter_provider()).get_meter(_SCOPE)
        self._propagate = propagate
        self._addresses: dict[str, dict[str, AttributeValue]] = {}
        self._cost = _counter(meter, m.COST)
        self._pauses = _counter(meter, m.PAUSES)
        self._deliveries = _counter(meter, m.DELIVERIES)
        self._waiting_time = _histogram(meter, m.WAITING_TIME)
        self._attempt_time = _histogram(meter, m.ATTEMPT_TIME)
        self._talk_time = _histogram(meter, m.TALK_TIME, _TALK_BUCKETS)
        self._lag = _histogram(meter, m.LAG)
        mine = _Measured()
        self._measured = _MEASURED.setdefault(meter_provider or _Measured, mine)
        if self._measured is not mine:
            return
        for metric, of_service in _SERVICE_GAUGES:
            _gauge(meter, metric, partial(self._service_sums, of_service))
        for metric, of_campaign in _CAMPAIGN_GAUGES:
            _gauge(meter, metric, partial(self._campaign_values, of_campaign))
        _gauge(meter, m.CONTACTS, self._contacts)
        _gauge(meter, m.DOING, self._statuses)
        meter.create_observable_counter(
            m.CALLS.name, [self._call_counts], m.CALLS.unit, m.CALLS.description
        )

    # -- calls

    def trace_context(self) -> str | None:
        """Return the trace context of the running span, if there is one."""
        return _text_of(get_current_span())

    def call_queued(self, call: ObservedCall) -> str | None:
        """Begin the call's span: a part of the caller's trace, or the first of a new one."""
        span = self._tracer.start_span(
            "telecmi.call",
            context=None if call.campaign is None else _ROOT,
            links=_links(call.loaded_in),
        )
        call.data = _CallSpans(span)
        return _text_of(span) if self._propagate else None

    def attempt_started(self, call: ObservedCall, waited: float) -> None:
        """Note when a request starts, and how long the call waited for the first."""
        if call.attempts == 1:
            self._waiting_time.record(waited, {m.REGION: call.region})
        spans: _CallSpans = call.data
        spans.attempt_at = time_ns()

    def attempt_ended(self, call: ObservedCall, attempt: Attempt) -> None:
        """Make the span of a request."""
        verdict, status = attempt.outcome.value, attempt.status
        labels: dict[str, AttributeValue] = {m.VERDICT: verdict, m.REGION: call.region}
        if status is not None:
            labels[m.STATUS] = status
        self._attempt_time.record(attempt.seconds, labels)
        spans: _CallSpans = call.data
        if not spans.call.is_recording():
            return
        # All attributes at once, at its end: each change of a span costs as much as a metric.
        attributes = self._address(call.address) | labels
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
        failed = attempt.outcome is not Outcome.ACCEPTED
        if failed:
            attributes["error.type"] = str(status or verdict)
        span = self._tracer.start_span(
            "telecmi.attempt",
            context=set_span_in_context(spans.call, _ROOT),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=spans.attempt_at,
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def paused(self, call: ObservedCall, seconds: float) -> None:
        """Count a pause, and note it in the call's span."""
        self._pauses.add(1)
        spans: _CallSpans = call.data
        spans.call.add_event("telecmi.pause", {"telecmi.pause.seconds": seconds})

    def call_settled(self, call: ObservedCall) -> None:
        """End the call's span."""
        spans: _CallSpans = call.data
        proof = spans.settled_at != 0  # an event proved a call whose outcome was unknown
        if not proof:
            self._count(call)
            spans.settled_at = time_ns()
        if not spans.call.is_recording() and not proof:
            return
        attributes: dict[str, AttributeValue] = {
            "telecmi.reference": call.reference,
            m.REGION: call.region,
            m.OUTCOME: call.status,
        }
        if call.campaign is not None:
            attributes[m.CAMPAIGN] = _label(call.campaign)
        if call.request_id is not None:
            attributes["telecmi.request_id"] = call.request_id
        if call.may_be_duplicate:
            attributes["telecmi.may_be_duplicate"] = True
        if call.error is not None:
            attributes["error.type"] = call.error
        span = self._child("telecmi.proof", spans) if proof else spans.call
        span.set_attributes(attributes)
        if call.error is not None:
            span.set_status(Status(StatusCode.ERROR, call.error))
        span.end()

    def _count(self, call: ObservedCall) -> None:
        """Count how a call ended, unless its idempotency key is of another process's call."""
        if call.attempts or call.status not in _SENT:
            with self._measured.lock:
                self._measured.calls[call.status, call.region] += 1

    def _child(self, name: str, spans: _CallSpans, start_time: int | None = None) -> Span:
        context = set_span_in_context(spans.call, _ROOT)
        return self._tracer.start_span(name, context=context, start_time=start_time)

    def call_ended(self, call: ObservedCall, end: CallEnd) -> None:
        """Make the span of what followed, once the call's records have come."""
        spans: _CallSpans = call.data
        if not end.complete or spans.ended:
            return
        spans.ended = True
        if call.polled:  # else a receiver is sent the records
            self._talked(end.answered, end.talk_seconds, end.cost)
        attributes: dict[str, AttributeValue] = {
            "telecmi.stage": end.stage,
            "telecmi.reference": call.reference,
        }
        attributes |= _known(end.answered, end.talk_seconds, end.cost)
        span = self._child("telecmi.conversation", spans, spans.settled_at or None)
        span.set_attributes(attributes)
        span.end()

    # -- webhooks

    def delivered(self, delivery: ObservedDelivery) -> None:
        """Count a request to the receiver, and make a span of an event in it."""
        self._deliveries.add(1, {m.DELIVERY: delivery.result})
        if not delivery.kind:
            return
        fresh = delivery.result in {"accepted", "unmatched"}
        if fresh and delivery.lag is not None:
            self._lag.record(delivery.lag)
        if fresh and delivery.kind == "CallRecord":
            talked = None if delivery.leg == "b" else delivery.talk_seconds
            self._talked(delivery.answered, talked, delivery.cost)
        attributes: dict[str, AttributeValue] = {
            m.DELIVERY: delivery.result,
            "telecmi.event": delivery.kind,
        }
        names = {
            "telecmi.reference": delivery.reference,
            "telecmi.request_id": delivery.request_id,
            "telecmi.leg": delivery.leg,
        }
        attributes |= {name: value for name, value in names.items() if value is not None}
        attributes |= _known(delivery.answered, delivery.talk_seconds, delivery.cost)
        span = self._tracer.start_span(
            "telecmi.webhook",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=_links(delivery.trace),
        )
        span.end()

    def _talked(self, answered: bool | None, seconds: int | None, cost: float | None) -> None:  # noqa: FBT001  # a fact of a record
        if seconds is not None:
            self._talk_time.record(seconds, {m.ANSWERED: bool(answered)})
        if cost is not None and cost > 0:
            self._cost.add(cost)

    # -- what is going on

    def service_opened(self, read: Callable[[], ServiceReading | None]) -> None:
        """Measure a service until it is closed."""
        for each in tuple(self._measured.services):  # perhaps no gauge is ever read
            if each() is None:
                self._measured.services.pop(each, None)
        self._measured.services[read] = None

    def campaign_seen(self, campaign: ObservedCampaign) -> None:
        """Measure a campaign until it is seen no more."""
        self._measured.campaigns[campaign.name] = (monotonic(), campaign)

    def _call_counts(self, _: CallbackOptions) -> Iterable[Observation]:
        for (outcome, region), count in tuple(self._measured.calls.items()):
            yield Observation(count, {m.OUTCOME: outcome, m.REGION: region})

    def _service_sums(
        self, of: Callable[[ServiceReading], float | None], _: CallbackOptions
    ) -> Iterable[Observation]:
        """Return the sum over all open services that have a value."""
        readings = [(read, read()) for read in tuple(self._measured.services)]
        for read, reading in readings:
            if reading is None:
                self._measured.services.pop(read, None)
        values = [of(reading) for _, reading in readings if reading is not None]
        known = [value for value in values if value is not None]
        return [Observation(sum(known))] if known else []

    def _seen(self) -> Iterable[ObservedCampaign]:
        now = monotonic()
        for name, (at, campaign) in tuple(self._measured.campaigns.items()):
            if now - at > _GONE:
                self._measured.campaigns.pop(name, None)
            else:
                yield campaign

    def _campaign_values(
        self, of: Callable[[ObservedCampaign], float | None], _: CallbackOptions
    ) -> Iterable[Observation]:
        for campaign in self._seen():
            if (value := of(campaign)) is not None:
                yield Observation(value, {m.CAMPAIGN: _label(campaign.name)})

    def _contacts(self, _: CallbackOptions) -> Iterable[Observation]:
        for campaign in self._seen():
            for state, count in campaign.contacts.items():
                labels = {m.CAMPAIGN: _label(campaign.name), m.CONTACT_STATE: state}
                yield Observation(count, labels)

    def _statuses(self, _: CallbackOptions) -> Iterable[Observation]:
        for each in self._seen():
            yield Observation(
                1, {m.CAMPAIGN: _label(each.name), m.CAMPAIGN_STATUS: each.status}
            )

    def _address(self, url: str) -> dict[str, AttributeValue]:
        """Return the attributes of a request to an address."""
        if url not in self._addresses:
            parts = urlsplit(url)
            self._addresses[url] = {
                "http.request.method": "POST",
                "server.address": parts.hostname or "",
                "server.port": parts.port or (80 if parts.scheme == "http" else 443),
                "url.full": url,
            }
        return self._addresses[url]


def _counter(meter: Meter, metric: Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.description)


def _histogram(meter: Meter, metric: Metric, buckets: Sequence[float] = _BUCKETS) -> Histogram:
    return meter.create_histogram(
        metric.name,
        metric.unit,
        metric.description,
        explicit_bucket_boundaries_advisory=buckets,
    )


def _gauge(
    meter: Meter, metric: Metric, read: Callable[[CallbackOptions], Iterable[Observation]]
) -> None:
    meter.create_observable_gauge(metric.name, [read], metric.unit, metric.description)


def _label(name: str) -> str:
    """Return a campaign's name as a label: short, and without a number."""
    return mask_in(name)[:_LONGEST]


def _known(
    answered: bool | None,  # noqa: FBT001  # a fact of a record
    talk_seconds: int | None,
    cost: float | None,
) -> dict[str, AttributeValue]:
    found = {m.ANSWERED: answered, "telecmi.talk_seconds": talk_seconds, "telecmi.cost": cost}
    return {name: value for name, value in found.items() if value is not None}


def _text_of(span: Span) -> str | None:
    """Return a span's context as a ``traceparent``; ``None`` if it has none."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _links(trace: str | None) -> list[Link]:
    """Return a link to the span of a ``traceparent``."""
    if trace is None:
        return []
    _, trace_id, span_id, flags = trace.split("-")
    context = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
    )
    return [Link(context)] if context.is_valid else []
