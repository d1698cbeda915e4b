"""The dashboard, the alert rules and their pages name what is measured, and all of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, get_args

import attrs
import pytest
import yaml
from project_paths import DOCS, docs_page
from prometheus_names import exported, name_of, queries_use

from telecmi_async.attempt import Outcome
from telecmi_async.calls.state import CallStatus
from telecmi_async.events.receiver.intake import Counts
from telecmi_async.ledger import ContactState
from telecmi_async.ledger.status import CampaignStatus
from telecmi_async.telemetry import METRICS

pytestmark = pytest.mark.source

DASHBOARD: dict[str, Any] = json.loads(
    (DOCS / "monitoring/telecmi-dashboard.json").read_text(encoding="utf-8")
)
RULES: dict[str, Any] = yaml.safe_load(
    (DOCS / "monitoring/telecmi-alerts.yml").read_text(encoding="utf-8")
)
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
GUIDE = docs_page("monitoring.md").read_text(encoding="utf-8")
REFERENCE = docs_page("metrics.md").read_text(encoding="utf-8")
IN_DASHBOARD = [each["expr"] for each in TARGETS]
IN_ALERTS = [each["expr"] for each in ALERTS]
#: The values that each label may have.
VALUES = {
    "telecmi.outcome": {str(each) for each in CallStatus}
    - {CallStatus.QUEUED, CallStatus.SENDING, CallStatus.INVALID},
    "telecmi.verdict": {str(each) for each in Outcome},
    "telecmi.contact.state": {str(each) for each in ContactState},
    "telecmi.campaign.status": {*get_args(CampaignStatus), "waiting for a retry"},
    "telecmi.delivery": {each.name for each in attrs.fields(Counts)},
    "telecmi.region": {"india", "global"},
    "telecmi.answered": {"true", "false"},
}


@pytest.mark.parametrize("queries", [IN_DASHBOARD, IN_ALERTS], ids=["dashboard", "alerts"])
def test_queries_use_what_is_exported(queries: list[str]) -> None:
    """Each query is PromQL, and its series, labels and values are those of the real exporter."""
    used, known = queries_use(*queries), exported()
    values = {key.replace(".", "_"): each for key, each in VALUES.items()}

    assert used.names <= known.keys()
    assert [each for each in used.selected if each[1] not in known[each[0]].labels] == []
    assert [
        (names, label)
        for names, label in used.grouped
        if not any(label in known[name].labels for name in names)
    ] == []
    assert [
        (label, value) for label, value in used.values if value not in values.get(label, {".+"})
    ] == []


def test_every_metric_is_on_the_dashboard() -> None:
    """An operator sees all that is measured."""
    known = exported()
    shown = {known[name].metric for name in queries_use(*IN_DASHBOARD).names}

    assert shown == {metric.name for metric in METRICS}


def test_a_counter_is_not_shown_as_it_is() -> None:
    """It begins anew with each process: queries take its rate or increase."""
    counters = {
        name
        for name, series in exported().items()
        for metric in METRICS
        if metric.name == series.metric and metric.kind != "gauge"
    }
    for query in IN_DASHBOARD:
        for name in queries_use(query).names & counters:
            assert re.search(rf"(rate|increase)\({name}\{{", query), query


def test_the_dashboard_can_be_imported() -> None:
    """It has an id of its own, asks for its data source, and keeps its variables."""
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    used = {
        name
        for query in IN_DASHBOARD
        for name in re.findall(r"\$\{?(\w+)", query)
        if not name.startswith("__")
    }

    assert DASHBOARD["uid"] == "telecmi-async"
    assert DASHBOARD["title"]
    assert DASHBOARD.get("id") is None
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert used | {"datasource"} == variables.keys()
    for name in ("job", "campaign"):
        assert variables[name]["includeAll"]
        assert variables[name]["current"]["value"] == "$__all"
    for each in (*PANELS, *TARGETS, variables["job"], variables["campaign"]):
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_panels_explain_themselves_and_do_not_overlap() -> None:
    """Each has a title, a description, queries and an id; they fill rows of 24 columns."""
    taken: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )

    assert set(taken.values()) == {1}
    assert len(taken) % 24 == 0
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({each["title"] for each in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert len(panel["description"]) > 20
        letters = [each["refId"] for each in panel["targets"]]
        assert letters == sorted(set(letters)) != []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_happens_and_what_to_do(rule: dict[str, Any]) -> None:
    """Each has a severity, a summary, a description, and a row on the page."""
    rows = re.findall(r"^`(Telecmi\w+)` \((\w+)\)\n: (.+)$", GUIDE, re.MULTILINE)
    (row,) = (each for each in rows if each[0] == rule["alert"])

    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["labels"]["severity"] == row[1]
    assert len(row[2]) > 50
    assert rule["annotations"].keys() == {"summary", "description"}
    # What a template names is there: the expression keeps these labels.
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"])


def test_the_page_has_no_other_alerts() -> None:
    """Each alert that the page names exists, once."""
    names = [rule["alert"] for rule in ALERTS]

    assert len(set(names)) == len(names)
    assert {*re.findall(r"`(Telecmi\w+)`", GUIDE)} == {*names}
    assert {*re.findall(r"`(telecmi_\w+)`", GUIDE)} <= exported().keys()


def test_every_exporter_makes_the_same_names() -> None:
    """OpenTelemetry's collector adds ``_ratio`` to gauges of unit 1, and the SDK's exporter does not."""
    assert [metric.name for metric in METRICS if metric.unit == "1"] == []


def test_the_reference_has_every_metric_and_no_other() -> None:
    """Each metric has a row with its name in Prometheus, its kind and its labels."""
    rows = {
        name: (shown, kind.lower(), re.findall(r"`([\w.]+)`", labels))
        for name, kind, labels, shown in re.findall(
            r"^`([\w.]+)`\n: (\w+)([^;]*);\s+in Prometheus\s+`(\w+)`", REFERENCE, re.MULTILINE
        )
    }

    assert rows == {
        metric.name: (name_of(metric.name), metric.kind, [*metric.labels]) for metric in METRICS
    }


def test_the_reference_has_the_values_of_each_label() -> None:
    """The labels are those of the metrics, and the values are those of the code."""
    section = REFERENCE.partition("## Label values")[2]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+) \|$", section, re.MULTILINE))

    assert rows.keys() == {label for metric in METRICS for label in metric.labels}
    for label, values in VALUES.items():
        assert {*re.findall(r"`([^`]+)`", rows[label])} == values
