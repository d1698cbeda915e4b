"""The package's metrics as Prometheus names them, and what a query in PromQL uses."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import promql_parser
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from telecmi_async.telemetry import METRICS

__all__ = ["Series", "Used", "exported", "name_of", "queries_use", "without_variables"]

# Labels that Prometheus adds, or the exporter to buckets.
_ADDED = frozenset({"instance", "job", "le"})
# What Grafana puts in the place of its variables.
_VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$job": ".+",
    "$campaign": ".+",
}


class Series(NamedTuple):
    """A series that the exporter shows: its metric, and the labels that it may have."""

    metric: str
    labels: frozenset[str]


class Used(NamedTuple):
    """What queries use.

    Args:
        names: The names of series.
        selected: Series, and a label that they are selected by.
        grouped: The series of an expression, and a label that they are grouped by.
        values: A label, and a value that it is compared with.
    """

    names: set[str]
    selected: set[tuple[str, str]]
    grouped: set[tuple[frozenset[str], str]]
    values: set[tuple[str, str]]


@cache
def exported() -> dict[str, Series]:
    """Return each series that the real exporter shows, by its name."""
    found: dict[str, Series] = {}
    for metric in METRICS:
        # One metric at a time: the exporter does not say which name became which.
        provider = MeterProvider(
            [PrometheusMetricReader(disable_target_info=True)], shutdown_on_exit=False
        )
        meter, labels = provider.get_meter("test"), dict.fromkeys(metric.labels, "x")
        try:
            match metric.kind:
                case "counter":
                    meter.create_counter(metric.name, metric.unit).add(1, labels)
                case "gauge":
                    meter.create_gauge(metric.name, metric.unit).set(1, labels)
                case "histogram":
                    meter.create_histogram(metric.name, metric.unit).record(1, labels)
            text = generate_latest().decode()
        finally:
            provider.shutdown()
        for family in text_string_to_metric_families(text):
            if family.name.startswith("telecmi"):
                for sample in family.samples:
                    known = {name for name in sample.labels if not name.startswith("otel_")}
                    found[sample.name] = Series(metric.name, frozenset(known))
    return found


def name_of(metric: str) -> str:
    """Return a metric's name in Prometheus, without what a histogram adds to it."""
    (name,) = {
        re.sub("_(bucket|sum|count)$", "", name)
        for name, series in exported().items()
        if series.metric == metric
    }
    return name


def without_variables(query: str) -> str:
    """Return a query of the dashboard with values in the place of Grafana's variables."""
    for name, value in _VARIABLES.items():
        query = query.replace(name, value)
    return query


def queries_use(*queries: str) -> Used:
    """Return what queries use; one that is no PromQL raises an error."""
    used = Used(set(), set(), set(), set())
    for query in queries:
        names: set[str] = set()
        groups: set[str] = set()

        def visit(node: object, names: set[str] = names, groups: set[str] = groups) -> None:
            match node:
                case promql_parser.VectorSelector():
                    names.add(str(node.name))
                    for each in node.matchers.matchers:
                        used.selected.add((str(node.name), each.name))
                        used.values.update((each.name, one) for one in each.value.split("|"))
                case promql_parser.AggregateExpr(modifier=by) if by is not None:
                    groups.update(by.labels)

        promql_parser.walk(promql_parser.parse(without_variables(query)), visit)
        used.names.update(names)
        used.grouped.update((frozenset(names), label) for label in groups)
    return Used(
        used.names,
        {each for each in used.selected if each[1] not in _ADDED},
        {each for each in used.grouped if each[1] not in _ADDED},
        {each for each in used.values if each[0] not in _ADDED},
    )
