"""The compose file and the manifests in docs/examples/deployment, as values."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import yaml
from attrs import field, frozen
from project_paths import DOCS

DEPLOYMENT: Final = DOCS / "examples" / "deployment"
COMPOSE: Final = DEPLOYMENT / "compose.yaml"
MANIFESTS: Final = sorted((DEPLOYMENT / "kubernetes").glob("*.yaml"))


@frozen
class Service:
    """A service of the compose file, or a container of the manifests.

    Args:
        name: Its name.
        image: Its image.
        command: Its command.
        environment: Its variables; those from a Secret are empty.
        grace: How many seconds it may take to end.
        probes: The ports and paths that probes ask for.
        pre_stop: The command that is run before it is asked to end.
        raw: All that the file has of it.
    """

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    grace: float
    probes: list[tuple[int, str]]
    pre_stop: list[str] = field(factory=list[str])
    raw: dict[str, Any] = field(factory=dict[str, Any], repr=False)

    @property
    def builds(self) -> bool:
        """Whether it runs the project's own image."""
        return "telecmi-app" in self.image

    @property
    def port(self) -> int:
        """The port that its command or its variables give it."""
        if "HEALTH_PORT" in self.environment:
            return int(self.environment["HEALTH_PORT"])
        return int(self.command[self.command.index("--port") + 1])

    def command_on(self, port: int) -> list[str]:
        """Return the command for this machine: its Python, its address, and a free port."""
        program, *arguments = self.command
        modules = {"uvicorn": ["-m", "uvicorn"], "telecmi-async": ["-m", "telecmi_async"]}
        here = {"0.0.0.0": "127.0.0.1", "8000": f"{port}"}
        return [
            sys.executable,
            *([] if program == "python" else modules[program]),
            *(here.get(each, each) for each in arguments),
        ]


def compose() -> dict[str, Any]:
    """Return the compose file."""
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return parsed


def services() -> dict[str, Service]:
    """Return the services of the compose file by their names."""
    return {
        name: Service(
            name,
            given["image"],
            given.get("command", []),
            {key: str(value) for key, value in given.get("environment", {}).items()},
            float(re.fullmatch(r"(\d+)s", given.get("stop_grace_period", "10s"))[1]),  # type: ignore[index]  # a test fails if it does not match
            [
                (int(port), path)
                for port, path in re.findall(
                    r"http://127\.0\.0\.1:(\d+)(/[\w/]+)",
                    " ".join(given.get("healthcheck", {}).get("test", [])),
                )
            ],
            raw=given,
        )
        for name, given in compose()["services"].items()
    }


def manifests() -> list[dict[str, Any]]:
    """Return all objects of the manifests."""
    return [
        each
        for path in MANIFESTS
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def containers() -> dict[str, Service]:
    """Return the containers of the manifests by their names."""
    found: dict[str, Service] = {}
    for each in manifests():
        pod = each["spec"].get("template", {}).get("spec", {})
        for given in pod.get("containers", []):
            ports = {port["name"]: port["containerPort"] for port in given.get("ports", [])}
            probes = [
                given[kind]["httpGet"]
                for kind in ("livenessProbe", "readinessProbe", "startupProbe")
                if kind in given
            ]
            hook = given.get("lifecycle", {}).get("preStop", {}).get("exec", {})
            found[given["name"]] = Service(
                given["name"],
                given["image"],
                given.get("command", []),
                {env["name"]: env.get("value", "") for env in given.get("env", [])},
                float(pod.get("terminationGracePeriodSeconds", 30)),
                [(ports[probe["port"]], probe["path"]) for probe in probes],
                hook.get("command", []),
                raw=given,
            )
    return found
