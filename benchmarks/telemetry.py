"""Telemetry: what an observer costs a call in CPU time, with 100 requests in flight.

In one process, in rounds that take turns: without an observer, with one that does nothing, with
OpenTelemetry's metrics alone (no trace is sampled), and with metrics and all spans, which a batch
processor hands to an exporter that drops them. What each costs more is the median of the rounds'
differences.

    python benchmarks/telemetry.py [--calls 2000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from telecmi_async import CallRequest, RateLimit
from telecmi_async.observer import Observer
from telecmi_async.simulator import Simulator
from telecmi_async.telemetry import OpenTelemetryObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler

FIRST: Final = 19170000000
FLOW: Final = [{"action": "speak", "text": "Hello"}, {"action": "hangup"}]


class Dropped(SpanExporter):
    """Drops all spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop them."""
        del spans
        return SpanExportResult.SUCCESS


def telemetry(sampler: Sampler) -> OpenTelemetryObserver:
    """Return an observer with an SDK of its own."""
    tracers = TracerProvider(sampler)
    tracers.add_span_processor(BatchSpanProcessor(Dropped()))
    return OpenTelemetryObserver(
        tracer_provider=tracers, meter_provider=MeterProvider([InMemoryMetricReader()])
    )


async def seconds(calls: int, observer: Observer | None) -> float:
    """Return the CPU time of one call."""
    simulator = Simulator(latency=0.002, life=None, magic=False, keep=0)
    limit = RateLimit(max_in_flight=100)
    async with simulator.service(from_=FIRST, rate=limit, observer=observer) as service:
        rows = (CallRequest(to=FIRST + row, pcmo=FLOW) for row in range(calls))
        gc.collect()
        began = time.process_time()
        accepted = sum([call.accepted async for call in service.make_calls(rows)])
        ended = time.process_time()
    if accepted != calls:
        sys.exit(f"only {accepted} of {calls} were accepted")
    return (ended - began) / calls


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    observers: dict[str, Callable[[], Observer | None]] = {
        "none": lambda: None,
        "does nothing": Observer,
        "metrics": lambda: telemetry(ALWAYS_OFF),
        "metrics and spans": lambda: telemetry(ALWAYS_ON),
    }
    ready = {name: make() for name, make in observers.items()}
    found: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(given.rounds + 1):
        for name, observer in ready.items():
            each = asyncio.run(seconds(given.calls, observer))
            if turn:  # the first warms up
                found[name].append(each * 1e6)
    plain = found["none"]
    print(f"{'observer':<20}{'µs a call':>12}{'more than without':>20}{'range':>16}")
    for name, taken in found.items():
        more = [with_it - without for with_it, without in zip(taken, plain, strict=True)]
        print(
            f"{name:<20}{median(taken):>12.0f}{median(more):>20.1f}"
            f"{min(more):>8.1f} to {max(more):.1f}"
        )


if __name__ == "__main__":
    main()
