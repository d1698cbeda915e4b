"""Metrics endpoint: what a command measures, on an address where Prometheus collects it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from telecmi_async.cli.exits import missing_extra
from telecmi_async.cli.options import LOCALHOST
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.telemetry import OpenTelemetryObserver

_NEEDED: Final = frozenset({"opentelemetry", "prometheus_client"})


@asynccontextmanager
async def metrics_served(
    terminal: Terminal, address: str | None
) -> AsyncGenerator[OpenTelemetryObserver | None]:
    """Serve metrics on ``[host:]port`` while the context is open; yields what measures them.

    A thread answers. Its requests cannot hold up the event loop, and it ends with the process.

    Raises:
        Stop: The extra is missing.
        ConfigurationError: The address cannot be listened on.
    """
    if address is None:
        yield None
        return
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
        from prometheus_client import start_http_server

        from telecmi_async.telemetry import OpenTelemetryObserver
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise missing_extra("--metrics", "prometheus", error.name) from None
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or LOCALHOST
    try:
        server, thread = start_http_server(int(port), host)
    except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
        why = getattr(error, "strerror", None) or "it is no address"
        raise ConfigurationError(f"metrics cannot be served on {address}: {why}") from None
    provider = MeterProvider(
        [PrometheusMetricReader(disable_target_info=True)],
        shutdown_on_exit=False,
    )
    try:
        shown = f"[{host}]" if ":" in host else host
        terminal.say(f"Metrics for Prometheus: http://{shown}:{server.server_port}/metrics")
        yield OpenTelemetryObserver(meter_provider=provider)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        provider.shutdown()
