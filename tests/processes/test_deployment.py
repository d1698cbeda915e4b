"""The deployment's files are checked by tools of their own, and everything in them is restarted."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from deployment_files import COMPOSE, DEPLOYMENT, MANIFESTS, manifests
from deployment_run import DeploymentRun

from telecmi_async.telemetry import METRICS

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = pytest.mark.real_clock

# The version of Kubernetes whose schemas the manifests are checked with.
KUBERNETES = "1.34.0"


def run(program: str, *arguments: str, **variables: str) -> CompletedProcess[str]:
    """Run a program that came with a package of this environment."""
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def composed(folder: Path, text: str) -> CompletedProcess[str]:
    """Return what Docker Compose says of a compose file."""
    (folder / "compose.yaml").write_text(text, encoding="utf-8")
    variables = dict.fromkeys(re.findall(r"\$\{(\w+):\?\}", text), "1")
    return run("docker-compose", "--project-directory", str(folder), "config", **variables)


def test_docker_compose_accepts_the_compose_file(tmp_path: Path) -> None:
    """Docker Compose reads it, and refuses it with a word that it does not know."""
    text = COMPOSE.read_text(encoding="utf-8")
    accepted = composed(tmp_path, text)
    refused = composed(tmp_path, text.replace("stop_grace_period", "stop_grace_time"))

    assert accepted.returncode == 0, accepted.stderr
    assert yaml.safe_load(accepted.stdout)["services"]["worker"]["deploy"]["replicas"] == 2
    assert refused.returncode != 0
    assert "stop_grace_time" in refused.stderr


def test_docker_compose_requires_what_has_no_default(tmp_path: Path) -> None:
    """Without a secret in ``.env`` nothing is started."""
    text = COMPOSE.read_text(encoding="utf-8").replace("${TELECMI_SECRET:?}", "${NOT_SET:?}")
    (tmp_path / "compose.yaml").write_text(text, encoding="utf-8")
    found = run("docker-compose", "--project-directory", str(tmp_path), "config")

    assert found.returncode != 0
    assert "required variable" in found.stderr


def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    """The linter of Dockerfiles finds nothing, and finds a version that is not pinned."""
    accepted = run("hadolint", str(DEPLOYMENT / "Dockerfile"))
    loose = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), "-"],
        input="FROM python:latest\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (accepted.returncode, accepted.stdout) == (0, "")
    assert loose.returncode != 0


@pytest.mark.parametrize("given", manifests(), ids=lambda each: each["metadata"]["name"])
def test_kubernetes_accepts_each_object(given: dict[str, Any]) -> None:
    """Each object of the manifests follows the schema of its kind, without unknown fields."""
    kubernetes_validate.validate(given, KUBERNETES, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**given, "spec": {**given["spec"], "replica": 1}}, KUBERNETES, strict=True
        )


def test_each_manifest_is_checked() -> None:
    """No file of the folder holds nothing."""
    assert len(MANIFESTS) == 4
    assert len(manifests()) == 8


def test_everything_is_restarted_while_calls_are_placed(tmp_path: Path) -> None:
    """Some hundred calls, each part restarted: none twice, none lost, all drained in time.

    ``nox -s crash`` runs it with 10,000 calls.
    """
    ran = asyncio.run(DeploymentRun(200, 20.0, 1, tmp_path, every=0.3).run())

    assert ran.twice == ran.lost == ran.clicks.bad == ran.clicks.unknown == 0, ran
    assert ran.placed == ran.contacts == 140
    assert ran.clicks.placed == ran.clicks.keys >= 60
    assert {name: each.late for name, each in ran.restarts.items()} == dict.fromkeys(
        ("web", "worker", "valkey", "collector", "pgbouncer", "postgres"), 0
    )
    assert ran.faults == 0, ran.logged
    # Gauges of what did not happen are not sent.
    assert ran.metrics <= {metric.name for metric in METRICS}
    assert {
        "telecmi.calls",
        "telecmi.attempt.duration",
        "telecmi.webhook.deliveries",
    } <= ran.metrics
    assert {"telecmi.call", "telecmi.attempt", "telecmi.webhook"} <= ran.spans.keys()
