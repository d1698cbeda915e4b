"""Metrics: every one is measured, with few labels, and without anything to hide."""

from __future__ import annotations

import importlib
import json
import logging
import re
import sys
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from campaign_scene import FIRST, contacts, settings
from memory_ledger import MemoryLedger
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest
from recorded_telemetry import Recorded

from telecmi_async import (
    ConfigurationError,
    Hangup,
    RateLimit,
    Receiver,
    RetryPolicy,
    Speak,
)
from telecmi_async._internal.secrets import Secret
from telecmi_async.campaigns import Campaign
from telecmi_async.errors import CallNotPlaced, CallOutcomeUnknown
from telecmi_async.events.reference import References, new_reference
from telecmi_async.observer import ObservedCampaign, ObservedDelivery
from telecmi_async.service import CdrPoller
from telecmi_async.simulator import Fault, Simulator
from telecmi_async.telemetry import METRICS, OpenTelemetryObserver

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

FROM = 19170000000
TO = 19170000001
TOKEN = "a-token-of-32-letters-and-digits1"
SAID = "Dear Asha, your secret order"


async def everything(simulator: Simulator, seen: Recorded) -> None:
    """Have calls of all outcomes, webhooks of all kinds and a campaign observed."""
    receiver = Receiver(TOKEN, observer=seen.observer)
    for number, kind in enumerate(("rate_limited", "vendor_502", "reply_lost", "no_json")):
        simulator.faults.add(Fault(kind, to=TO + 1 + number, attempts=1))
    async with (
        receiver,
        simulator.service(
            from_=FROM,
            events=receiver,
            observer=seen.observer,
            rate=RateLimit(max_live_calls=10),
            retry=RetryPolicy(at_most_once=True),
        ) as service,
    ):
        made = [
            service.make_call(
                to=TO + number, pcmo=[Speak(SAID), Hangup()], extra_params={"name": SAID}
            )
            for number in range(6)
        ]
        for call in made:
            try:
                await call
            except (CallNotPlaced, CallOutcomeUnknown):
                continue
        forged = References(Secret("another-secret")).sign(new_reference())
        started = {"status": "started", "to": str(TO), "request_id": "r" * 43, "leg": "a"}
        for path, body in (
            (TOKEN, json.dumps(started)),
            (TOKEN, json.dumps(started)),
            (
                TOKEN,
                json.dumps(started | {"extra_params": {"tcm_reference": forged}}),
            ),
            (TOKEN, "no JSON"),
            ("wrong", "{}"),
        ):
            await receiver.handle("POST", f"/telecmi/{path}", {}, body.encode())
        await anyio.sleep(30)
        pace = {"max_live_calls": 3}
        campaign = Campaign(MemoryLedger(), service, f"orders of +{TO}", settings(pace=pace))
        await campaign.load(contacts(3))
        await campaign.run()
        seen.kept = seen.metrics()


async def test_every_metric_is_measured(telecmi_simulator: Simulator) -> None:
    """Each has the labels that `METRICS` says, and no others are there."""
    seen = Recorded()
    await everything(telecmi_simulator, seen)

    assert {metric.name for metric in METRICS} == seen.kept.keys()
    for metric in METRICS:
        labels = {name for found, _ in seen.kept[metric.name] for name in found}
        assert labels <= {*metric.labels}, metric.name
    values = {name: dict_of(points) for name, points in seen.kept.items()}
    assert values["telecmi.webhook.deliveries"]["forged"] == 1
    assert values["telecmi.webhook.deliveries"]["refused"] == 1
    assert values["telecmi.webhook.deliveries"]["unreadable"] == 1
    assert values["telecmi.channels.limit"] == {"": 10}
    assert values["telecmi.campaign.breaker_open"] == {"orders of +•••••••0001": 0}
    assert values["telecmi.campaign.slowdown"] == {"orders of +•••••••0001": 1}
    assert values["telecmi.campaign.live_limit"] == {"orders of +•••••••0001": 3}
    assert values["telecmi.campaign.status"] == {"orders of +•••••••0001 done": 1}
    assert sum(values["telecmi.calls"].values()) == 6 + 3


def dict_of(points: list[tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    """Return the values of a metric by their labels."""
    return {" ".join(map(str, labels.values())): value for labels, value in points}


async def test_nothing_that_is_secret_is_exported(
    telecmi_simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """No span, name, label or log holds a number, the secret, the token or text of a flow."""
    seen = Recorded()
    caplog.set_level(logging.DEBUG)
    await everything(telecmi_simulator, seen)

    texts = [*seen.texts(), *(record.getMessage() for record in caplog.records)]
    numbers = [str(TO + n) for n in range(6)] + [str(FIRST + n) for n in range(3)] + [str(FROM)]
    secrets = [*numbers, telecmi_simulator.secret, TOKEN, "Asha", SAID]
    assert len(texts) > 100
    assert [word for word in secrets if any(word in text for text in texts)] == []


async def test_prometheus_shows_them(telecmi_simulator: Simulator) -> None:
    """The names and units are those that Prometheus' exporter accepts."""
    provider = MeterProvider([PrometheusMetricReader(disable_target_info=True)])
    observer = OpenTelemetryObserver(meter_provider=provider)
    try:
        async with telecmi_simulator.service(from_=FROM, observer=observer) as service:
            await service.make_call(to=TO, pcmo=[Hangup()])
            shown = generate_latest().decode()
    finally:
        provider.shutdown()

    assert re.search(r'telecmi_calls_total\{.*telecmi_outcome="progress".*\} 1.0', shown)
    assert "telecmi_attempt_duration_seconds_bucket{" in shown


async def test_gauges_end_with_what_they_measure(telecmi_simulator: Simulator) -> None:
    """A closed service is measured no more; two open ones are added up."""
    seen = Recorded()
    async with telecmi_simulator.service(from_=FROM, observer=seen.observer) as one:
        await one.make_call(to=TO, pcmo=[Hangup()])
        alone = seen.metrics()["telecmi.retry_budget.remaining"]
        async with telecmi_simulator.service(from_=FROM, observer=seen.observer) as two:
            await two.make_call(to=TO + 1, pcmo=[Hangup()])
            both = seen.metrics()["telecmi.retry_budget.remaining"]

    assert both[0][1] == 2 * alone[0][1] > 0
    assert "telecmi.retry_budget.remaining" not in seen.metrics()


async def test_two_observers_add_up(telecmi_simulator: Simulator) -> None:
    """A second observer of a meter provider shares the gauges of the first, and its count."""
    seen = Recorded()
    second = OpenTelemetryObserver(meter_provider=seen.meters)
    async with (
        telecmi_simulator.service(from_=FROM, observer=seen.observer) as one,
        telecmi_simulator.service(from_=FROM, observer=second) as two,
    ):
        alone = one._runner.read().retries_left
        await one.make_call(to=TO, pcmo=[Hangup()])
        await two.make_call(to=TO + 1, pcmo=[Hangup()])
        measured = seen.metrics()

    assert [count for _, count in measured["telecmi.calls"]] == [2]
    assert measured["telecmi.retry_budget.remaining"] == [({}, 2 * alone)]


def test_services_that_are_closed_are_forgotten() -> None:
    """They are also where no gauge is ever read, such as without an SDK."""
    observer = OpenTelemetryObserver(meter_provider=NoOpMeterProvider())
    closed: list[weakref.ref[Callable[[], None]]] = []
    for _ in range(100):

        def read() -> None:
            """Read a service that is closed."""

        closed.append(weakref.ref(read))
        observer.service_opened(read)
    del read

    assert [each() is None for each in closed] == [True] * 99 + [False]


async def test_a_campaign_that_is_seen_no_more_is_shown_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its gauges end some seconds after its last worker of this process."""
    seen, now = Recorded(), 100.0
    monkeypatch.setattr("telecmi_async.telemetry.otel.monotonic", lambda: now)
    seen.observer.campaign_seen(
        ObservedCampaign(
            name="spring",
            status="dialling",
            contacts={"pending": 3},
            answer_rate=None,
            cost=None,
            rate=0.5,
            breaker_open=True,
            slowdown=0.25,
        )
    )
    first = seen.metrics()
    now += 11

    assert first["telecmi.campaign.slowdown"] == [({"telecmi.campaign": "spring"}, 0.25)]
    assert "telecmi.campaign.answer_rate" not in first
    assert seen.metrics() == {}


async def test_records_that_are_looked_up_are_measured(telecmi_simulator: Simulator) -> None:
    """Without a receiver, talk time and cost are those of the records that a poller finds."""
    seen = Recorded()
    async with telecmi_simulator.service(
        from_=FROM, events=CdrPoller(first=1.0), observer=seen.observer
    ) as service:
        call = await service.make_call(to=TO, pcmo=[Hangup()])
        result = await call.ended()

    ((labels, (count, seconds)),) = seen.metrics()["telecmi.call.talk_time"]
    assert labels == {"telecmi.answered": True}
    assert (count, seconds) == (1, result.talk_seconds)


def test_the_record_of_a_second_leg_costs_and_does_not_talk() -> None:
    """A call was talked once, however many legs it was bridged to."""
    seen = Recorded()
    for leg in ("a", "b"):
        seen.observer.delivered(
            ObservedDelivery(
                result="accepted", kind="CallRecord", leg=leg, talk_seconds=7, cost=0.5
            )
        )

    assert seen.metrics()["telecmi.call.talk_time"] == [({"telecmi.answered": False}, (1, 7))]
    assert seen.metrics()["telecmi.call.cost"] == [({}, 1.0)]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry's API the error says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    monkeypatch.delitem(sys.modules, "telecmi_async.telemetry.otel")

    with pytest.raises(ConfigurationError, match=r"pip install 'telecmi-async\[otel\]'"):
        importlib.import_module("telecmi_async.telemetry.otel")


async def test_a_keyed_call_counts_where_it_was_sent(telecmi_simulator: Simulator) -> None:
    """Two processes with the same key have a span each, and one of them counts the call."""
    processes, ledger = [Recorded(), Recorded()], MemoryLedger()
    for seen in processes:
        async with telecmi_simulator.service(
            from_=FROM, observer=seen.observer, ledger=ledger
        ) as service:
            await service.make_call(to=TO, pcmo=[Hangup()], idempotency_key="order-42")

    assert [len(seen.spans("telecmi.call")) for seen in processes] == [1, 1]
    assert ["telecmi.calls" in seen.metrics() for seen in processes] == [True, False]
