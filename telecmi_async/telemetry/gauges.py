"""Gauges: what services and campaigns are doing, and how many calls ended, when that is read."""

from __future__ import annotations

from collections import Counter
from functools import partial
from operator import attrgetter
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Observation

from telecmi_async._internal.messages import mask_in
from telecmi_async.telemetry import metrics as m

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import Meter, MeterProvider

    from telecmi_async.observer import ObservedCampaign, ServiceReading
    from telecmi_async.telemetry.metrics import Metric

# Seconds after which a campaign that no worker of this process runs is no longer shown.
_GONE: Final = 10.0
# Characters of a campaign's name in a label.
_LONGEST: Final = 64

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


class Gauges:
    """What all observers of a meter provider measured: it ignores a second gauge of a name."""

    def __init__(self, meter: Meter) -> None:
        self._services: dict[Callable[[], ServiceReading | None], None] = {}
        # By a campaign's name, when it was seen, and how.
        self._campaigns: dict[str, tuple[float, ObservedCampaign]] = {}
        # How many calls ended, by outcome and region: cheaper than a counter of the SDK's.
        self._calls: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()  # several event loops may share an observer
        for metric, of_service in _SERVICE_GAUGES:
            _gauge(meter, metric, partial(self._service_sums, of_service))
        for metric, of_campaign in _CAMPAIGN_GAUGES:
            _gauge(meter, metric, partial(self._campaign_values, of_campaign))
        _gauge(meter, m.CONTACTS, self._contacts)
        _gauge(meter, m.DOING, self._statuses)
        meter.create_observable_counter(
            m.CALLS.name, [self._call_counts], m.CALLS.unit, m.CALLS.description
        )

    def count(self, outcome: str, region: str) -> None:
        """Count a call that ended."""
        with self._lock:
            self._calls[outcome, region] += 1

    def add_service(self, read: Callable[[], ServiceReading | None]) -> None:
        """Measure a service until it is closed."""
        for each in tuple(self._services):  # here, since perhaps no gauge is ever read
            if each() is None:
                self._services.pop(each, None)
        self._services[read] = None

    def add_campaign(self, campaign: ObservedCampaign) -> None:
        """Measure a campaign until it is seen no more."""
        self._campaigns[campaign.name] = (monotonic(), campaign)

    def _call_counts(self, _: CallbackOptions) -> Iterable[Observation]:
        for (outcome, region), count in tuple(self._calls.items()):
            yield Observation(count, {m.OUTCOME: outcome, m.REGION: region})

    def _service_sums(
        self, of: Callable[[ServiceReading], float | None], _: CallbackOptions
    ) -> Iterable[Observation]:
        """Return the sum over all open services that have a value."""
        readings = [read() for read in tuple(self._services)]
        values = [of(reading) for reading in readings if reading is not None]
        known = [value for value in values if value is not None]
        return [Observation(sum(known))] if known else []

    def _seen(self) -> Iterable[ObservedCampaign]:
        now = monotonic()
        for name, (at, campaign) in tuple(self._campaigns.items()):
            if now - at > _GONE:
                self._campaigns.pop(name, None)
            else:
                yield campaign

    def _campaign_values(
        self, of: Callable[[ObservedCampaign], float | None], _: CallbackOptions
    ) -> Iterable[Observation]:
        for campaign in self._seen():
            if (value := of(campaign)) is not None:
                yield Observation(value, {m.CAMPAIGN: label_of(campaign.name)})

    def _contacts(self, _: CallbackOptions) -> Iterable[Observation]:
        for campaign in self._seen():
            for state, count in campaign.contacts.items():
                labels = {m.CAMPAIGN: label_of(campaign.name), m.CONTACT_STATE: state}
                yield Observation(count, labels)

    def _statuses(self, _: CallbackOptions) -> Iterable[Observation]:
        for each in self._seen():
            yield Observation(
                1, {m.CAMPAIGN: label_of(each.name), m.CAMPAIGN_STATUS: each.status}
            )


# By meter provider, or that class: the program's own provider may be set later.
_GAUGES: Final[WeakKeyDictionary[object, Gauges]] = WeakKeyDictionary()


def gauges_of(provider: MeterProvider | None, meter: Meter) -> Gauges:
    """Return the gauges of a provider; ``None`` stands for the program's own."""
    key = provider or Gauges
    if key not in _GAUGES:
        _GAUGES[key] = Gauges(meter)
    return _GAUGES[key]


def _gauge(
    meter: Meter, metric: Metric, read: Callable[[CallbackOptions], Iterable[Observation]]
) -> None:
    meter.create_observable_gauge(metric.name, [read], metric.unit, metric.description)


def label_of(name: str) -> str:
    """Return a campaign's name as a label: short, and without a number."""
    return mask_in(name)[:_LONGEST]
