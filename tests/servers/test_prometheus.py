"""Monitoring with Prometheus itself: promtool reads the rules, and a server collects a campaign."""

from __future__ import annotations

import json
import re
import runpy
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from cli_campaign import FLOW, wait_for
from consoles import serving
from free_ports import free_port
from project_paths import DOCS, docs_page
from prometheus_names import without_variables
from prometheus_server import PrometheusServer, promtool
from terminals import environment

from telecmi_async.simulator import Fault, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

RULES = DOCS / "monitoring" / "telecmi-alerts.yml"
DASHBOARD = DOCS / "monitoring" / "telecmi-dashboard.json"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
TOKEN = "t" * 43
CALLS = 'telecmi_calls_total{job="dial", instance="a", telecmi_outcome="%s"}'
ATTEMPTS = 'telecmi_attempt_duration_seconds_bucket{job="dial", instance="a", le="%s"}'
SERVICE = 'telecmi_%s{job="dial", instance="a"}'
CAMPAIGN = 'telecmi_campaign_%s{job="dial", instance="a", telecmi_campaign="spring"}'
STATUS = CAMPAIGN.replace("}", ', telecmi_campaign_status="%s"}') % ("status", "%s")
PLACED = CAMPAIGN.replace("}", ', telecmi_contact_state="placed"}') % "contacts"
DELIVERIES = 'telecmi_webhook_deliveries_total{job="web", instance="b", telecmi_delivery="%s"}'
LAG = 'telecmi_webhook_lag_seconds_bucket{job="web", instance="b", le="%s"}'

#: Two hours of a minute each in which nothing is wrong: series and their values.
HEALTHY = {
    CALLS % "progress": "0+60x120",
    CALLS % "rejected": "0+6x120",
    CALLS % "unknown": "3x120",
    ATTEMPTS % "1.0": "0+60x120",
    ATTEMPTS % "30.0": "0+61x120",
    ATTEMPTS % "+Inf": "0+61x120",
    SERVICE % "pauses_total": "0+0.5x120",
    SERVICE % "retry_budget_remaining": "50x120",
    SERVICE % "channels_live": "9x120",
    SERVICE % "channels_limit": "10x120",
    CAMPAIGN % "unknown": "2x120",
    STATUS % "dialling": "1x120",
    CAMPAIGN % "rate_per_second": "1x120",
    CAMPAIGN % "breaker_open": "0x120",
    CAMPAIGN % "slowdown": "1x120",
    PLACED: "4x120",
    CAMPAIGN % "live_limit": "5x120",
    DELIVERIES % "accepted": "0+240x120",
    DELIVERIES % "duplicates": "0+240x120",
    DELIVERIES % "forged": "1x120",
    DELIVERIES % "refused": "0+1x120",
    LAG % "1.0": "0+240x120",
    LAG % "300.0": "0+240x120",
    LAG % "+Inf": "0+240x120",
}
DIAL = {"job": "dial"}
PROCESS = {"job": "dial", "instance": "a"}
WEB = {"job": "web"}
SPRING = {"telecmi_campaign": "spring"}
#: What makes each alert fire at the end of the two hours, and the labels that it then has.
HARMS: list[tuple[str, dict[str, str], Mapping[str, str]]] = [
    # A counter that rises, and one that begins.
    ("TelecmiCallsUnknown", {CALLS % "unknown": "3x110 4x10"}, DIAL),
    ("TelecmiCallsUnknown", {CALLS % "unknown": "_x110 1x10"}, DIAL),
    ("TelecmiCallsRejected", {CALLS % "rejected": "0+20x120"}, DIAL),
    ("TelecmiRequestsSlow", {ATTEMPTS % "1.0": "0+6x120"}, DIAL),
    ("TelecmiPaused", {SERVICE % "pauses_total": "0+2x120"}, DIAL),
    ("TelecmiRetryBudgetUsedUp", {SERVICE % "retry_budget_remaining": "50x110 0x10"}, PROCESS),
    ("TelecmiChannelsAtLimit", {SERVICE % "channels_live": "9x100 10x20"}, PROCESS),
    ("TelecmiCampaignUnknownRises", {CAMPAIGN % "unknown": "2x115 3x5"}, SPRING),
    ("TelecmiCampaignStandsStill", {CAMPAIGN % "rate_per_second": "1x105 0x15"}, SPRING),
    ("TelecmiCampaignPaused", {STATUS % "dialling": "1x100", STATUS % "paused": "_x100 1x20"}, SPRING),
    ("TelecmiBreakerOpen", {CAMPAIGN % "breaker_open": "0x110 1x10"}, SPRING),
    ("TelecmiCampaignSlowed", {CAMPAIGN % "slowdown": "1x100 0.4x20"}, SPRING),
    ("TelecmiCampaignAtLimit", {PLACED: "4x100 5x20"}, SPRING),
    ("TelecmiWebhooksForged", {DELIVERIES % "forged": "1x118 2x2"}, WEB),
    ("TelecmiWebhooksForged", {DELIVERIES % "forged": "_x118 1x2"}, WEB),
    ("TelecmiWebhooksRefused", {DELIVERIES % "refused": "0+30x120"}, WEB),
    ("TelecmiWebhooksUnreadable", {DELIVERIES % "unreadable": "_x118 1x2"}, WEB),
    ("TelecmiWebhooksDeferred", {DELIVERIES % "deferred": "_x118 1x2"}, WEB),
    ("TelecmiWebhooksLate", {LAG % "1.0": "0+20x120"}, WEB),
    ("TelecmiWebhooksMissing", {DELIVERIES % "accepted": "0+240x80 19200x40"}, {}),
]  # fmt: skip


def alert(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return an alert as promtool expects it."""
    rule = ALERTS[name]
    texts = {
        key: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        for key, text in rule["annotations"].items()
    }
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": texts}


def hours(series: Mapping[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a test for promtool: two hours of series, and the alerts that fire meanwhile."""
    given = [{"series": key, "values": each} for key, each in series.items()]
    return {"interval": "1m", "input_series": given, "alert_rule_test": expected}


def run_rules(folder: Path, *tests: dict[str, Any]) -> None:
    """Have promtool evaluate the rules."""
    path = folder / "test.yml"
    path.write_text(
        yaml.safe_dump(
            {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [*tests]}
        )
    )
    promtool("test", "rules", path)


def test_promtool_accepts_the_rules() -> None:
    """Prometheus' own tool reads each rule."""
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


def test_promtool_accepts_the_configuration_of_the_page(tmp_path: Path) -> None:
    """What the guide shows is a configuration of Prometheus."""
    page = docs_page("monitoring.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(shown)
    (tmp_path / RULES.name).write_text(RULES.read_text(encoding="utf-8"))

    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_no_alert_fires_while_nothing_is_wrong(tmp_path: Path) -> None:
    """Old unknown calls, some refusals and a few forged events of long ago are no alert."""
    expected: list[dict[str, Any]] = [
        {"eval_time": at, "alertname": name, "exp_alerts": []}
        for at in ("40m", "1h", "2h")
        for name in ALERTS
    ]
    run_rules(tmp_path, hours(HEALTHY, expected))


def test_every_alert_is_tried() -> None:
    """Each rule has an example that makes it fire."""
    assert {name for name, _, _ in HARMS} == ALERTS.keys()


def test_each_alert_fires(tmp_path: Path) -> None:
    """It fires once what it is about happens, and not before, and says for what."""
    tests = []
    for name, harm, labels in HARMS:
        # What grows steadily is wrong from the beginning.
        begins = not any(re.match(r"0\+(\d+)x120$", each) for each in harm.values())
        before = {"eval_time": "75m", "alertname": name, "exp_alerts": []}
        after = {"eval_time": "2h", "alertname": name, "exp_alerts": [alert(name, labels)]}
        tests.append(hours({**HEALTHY, **harm}, [before, after] if begins else [after]))
    run_rules(tmp_path, *tests)


def test_the_dashboard_is_up_to_date() -> None:
    """The file is what docs/dashboard.py builds with Grafana's own library."""
    built = runpy.run_path(str(DOCS / "dashboard.py"))["dashboard_as_json"]()

    assert built == DASHBOARD.read_text(encoding="utf-8"), "run python docs/dashboard.py"


#: Panels that are empty here: a service's own limit of live calls is not an option of `dial`.
EMPTY = {"Live channels against the limit"}


def test_prometheus_collects_a_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each query of the dashboard has values, and each rule is evaluated, while `dial` runs."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"+1917555{n:04},N\n" for n in range(1000, 1200))
    (tmp_path / "people.csv").write_text(f"phone,name\n{rows}")
    (tmp_path / "flow.json").write_text(FLOW)
    simulator, port, target = Simulator(speed=20.0, magic=False), free_port(), free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    simulator.faults.add(Fault("rate_limited", to=19175551003, attempts=1))
    simulator.faults.add(Fault("vendor_502", to=19175551005, attempts=1))
    dial = (
        "dial people.csv --flow flow.json --ledger l.db --window any --cps 20 --yes 200 "
        f"--max-live-calls 100 --metrics {target} --webhook-port {port}"
    )
    with ExitStack() as stack:
        prometheus = stack.enter_context(PrometheusServer(target, RULES))
        environ = stack.enter_context(serving(simulator))
        process = subprocess.Popen(
            [sys.executable, "-m", "telecmi_async", *dial.split()],
            env=environment({**environ, "TELECMI_WEBHOOK_TOKEN": TOKEN}),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.kill)
        wait_for(lambda: simulator.requests > 20)
        for path, body in ((TOKEN, b"no JSON"), ("wrong", b"{}")):
            httpx.post(f"http://127.0.0.1:{port}/{path}", content=body)
        wait_for(lambda: bool(prometheus.query("rate(telecmi_call_cost_total[1m]) > 0")))
        wait_for(
            lambda: bool(prometheus.query("rate(telecmi_webhook_lag_seconds_count[1m]) > 0"))
        )
        dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
        empty = {
            (panel["title"], target["expr"])
            for panel in dashboard["panels"]
            for target in panel.get("targets", ())
            if not prometheus.query(without_variables(target["expr"]))
        }
        rules = prometheus.ask("rules")["groups"]
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        said = process.communicate(timeout=60)[1]

    assert {title for title, query in empty if "forged" not in query} <= EMPTY
    assert len(empty) <= 3
    assert {each["health"] for group in rules for each in group["rules"]} == {"ok"}
    assert sum(len(group["rules"]) for group in rules) == len(ALERTS)
    assert "Traceback" not in said
