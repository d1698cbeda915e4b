"""What OpenTelemetry's in-memory exporters recorded of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from telecmi_async.telemetry import OpenTelemetryObserver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan


class Recorded:
    """An observer with exporters in memory."""

    def __init__(self, sampler: Sampler = ALWAYS_ON, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.observer = OpenTelemetryObserver(
            tracer_provider=self.tracers, meter_provider=self.meters, **options
        )
        #: The metrics of an earlier moment.
        self.kept: dict[str, list[tuple[dict[str, Any], Any]]] = {}

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Return the spans that ended, or those with a name."""
        found = self.exporter.get_finished_spans()
        return [span for span in found if not name or span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """Return the one span with a name."""
        (found,) = self.spans(name)
        return found

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Return the points of each metric: its labels, and its value, or count and sum."""
        return {name: list(points) for name, points in self._points()}

    def _points(self) -> Iterator[tuple[str, list[tuple[dict[str, Any], Any]]]]:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield (
                        metric.name,
                        [
                            (dict(point.attributes or {}), _value_of(point))
                            for point in metric.data.data_points
                        ],
                    )

    def texts(self) -> Iterator[str]:
        """Return every text that was exported: names, keys and values."""
        for span in self.spans():
            yield span.to_json()
        for name, points in self.metrics().items():
            yield name
            for labels, _ in points:
                yield repr(labels)


def _value_of(point: Any) -> Any:
    return point.value if hasattr(point, "value") else (point.count, point.sum)


def ids(span: ReadableSpan) -> tuple[int, int]:
    """Return a span's own ids."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    """Return the ids of the spans that a span has links to."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def parent(span: ReadableSpan) -> tuple[int, int]:
    """Return the ids of a span's parent."""
    assert span.parent is not None
    return span.parent.trace_id, span.parent.span_id


def facts(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})
