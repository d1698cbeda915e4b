"""A Prometheus server for tests, and its promtool: the programs that Debian packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from free_ports import free_port

__all__ = ["PrometheusServer", "promtool"]

_CONFIG = """
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: ["{rules}"]
scrape_configs:
  - {{job_name: telecmi, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}
"""


def _program(name: str) -> str:
    program = shutil.which(name)
    assert program is not None, f"{name} is missing: apt-get install prometheus"
    return program


def promtool(*arguments: str | Path) -> str:
    """Run promtool; return what it printed, which must be no complaint."""
    done = subprocess.run(
        [_program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class PrometheusServer:
    """Collects from one port of this machine twice a second, and evaluates rules.

    Args:
        target: The port.
        rules: A file of alert rules.
    """

    def __init__(self, target: int, rules: Path) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._port = free_port()
        config = Path(self._folder.name, "prometheus.yml")
        config.write_text(_CONFIG.format(rules=rules, target=target), encoding="utf-8")
        self._process = subprocess.Popen(
            [
                _program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={self._folder.name}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, path: str, **given: str) -> Any:
        """Return what its API answers."""
        query = urllib.parse.urlencode(given)
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query has now."""
        found: list[dict[str, Any]] = self.ask("query", query=query)["result"]
        return found

    def __enter__(self) -> Self:
        until = time.monotonic() + 30
        while True:
            try:
                self.query("up")
            except OSError:
                assert self._process.poll() is None, "Prometheus ended"
                assert time.monotonic() < until
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
