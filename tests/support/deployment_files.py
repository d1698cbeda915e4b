"""The compose file and the manifests in docs/examples/deployment, as values."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import yaml
from attrs import frozen
from project_paths import DOCS

DEPLOYMENT: Final = DOCS / "examples" / "deployment"
COMPOSE: Final = DEPLOYMENT / "compose.yaml"
MANIFESTS: Final = sorted((DEPLOYMENT / "kubernetes").glob("*.yaml"))


@frozen
class Service:
    """A service of the compose file that runs the project's own image.

    Args:
        name: Its name.
        command: Its command.
        environment: Its variables.
        grace: How many seconds it may take to end.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    grace: float

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


def seconds(text: str) -> float:
    """Return how many seconds a duration of the compose file is."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found is not None, text
    return float(found[1])


def services() -> dict[str, Service]:
    """Return the services of the compose file by their names."""
    return {
        name: Service(
            name,
            given.get("command", []),
            {key: str(value) for key, value in given.get("environment", {}).items()},
            seconds(given.get("stop_grace_period", "10s")),
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
