"""Telemetry: OpenTelemetry's spans and metrics of calls, webhooks and campaigns.

It needs the extra ``otel``: ``pip install 'telecmi-async[otel]'``. The SDK and its exporters are
your program's choice.
"""

from __future__ import annotations

from telecmi_async.telemetry.metrics import METRICS, Metric
from telecmi_async.telemetry.otel import OpenTelemetryObserver

__all__ = ["METRICS", "Metric", "OpenTelemetryObserver"]
