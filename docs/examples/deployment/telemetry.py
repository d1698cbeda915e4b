"""Metrics and traces of this process, for the OpenTelemetry collector."""

from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from telecmi_async.telemetry import OpenTelemetryObserver

# Gauges of two processes with the same id would overwrite each other in the collector.
_RESOURCE = Resource.create({"service.instance.id": str(uuid4())})
_TRACES = TracerProvider(resource=_RESOURCE)
_TRACES.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
_METRICS = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], _RESOURCE)

observer = OpenTelemetryObserver(tracer_provider=_TRACES, meter_provider=_METRICS)


def shutdown() -> None:
    """Send what is left. Each request takes OTEL_EXPORTER_OTLP_TIMEOUT seconds at most."""
    _TRACES.shutdown()
    _METRICS.shutdown()
