"""Comparison with other clients: the same call, placed by each in a process of its own.

Every client posts to one fast local server, at 1, 20, 100 and 500 requests in flight, with a
server that answers at once and one that takes 50 ms, over plain HTTP and TLS. Server and client
have a core each, where there are two. Clients take turns, round after round; ratios are of the
same round, and the median counts.

    python benchmarks/compare.py [--quick] [--only own --only aiohttp] [--draw FILE]

The full form writes the figures of docs/explanation/performance.md, performance-figures.md beside
it and the plots in docs/images. The quick one takes about three minutes and writes to .nox/_bench instead.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.comparison import pages, servers
from benchmarks.comparison.pages import LABELS, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SCRIPT = Path(servers.__file__).with_name("clients.py")
KEPT = ROOT / ".nox" / "_bench"
RESULTS = KEPT / "results.json"
# How many calls are measured: enough for a 99th percentile, few enough for slow clients.
CALLS = {
    (0, 1): 300,
    (0, 20): 1000,
    (0, 100): 1000,
    (0, 500): 600,
    (50, 1): 25,
    (50, 20): 400,
    (50, 100): 800,
    (50, 500): 600,
}
FULL = [
    Setting(latency, tls, in_flight)
    for latency in (0, 50)
    for tls in (False, True)
    for in_flight in (1, 20, 100, 500)
]
QUICK = [
    Setting(0, False, 20),
    Setting(0, False, 100),
    Setting(0, True, 20),
    Setting(50, False, 100),
]
# Two versions of one package cannot share an environment.
PIOPIY = {"piopiy-1.0": "1.0.7.2", "piopiy-1.2": "1.2.2"}
TOO_LONG = 300  # seconds
GATHERED_LATENCY_MS = 1


class Clients:
    """Runs clients, each in a process of its own, on the core that the server leaves free."""

    def __init__(self, core: int | None) -> None:
        self._core = core
        self._pythons: dict[str, tuple[str | None, str]] = {}

    def run(
        self, name: str, server: servers.Server, in_flight: int, calls: int
    ) -> dict[str, Any]:
        """Measure one client once; on failure the row says why instead."""
        python, why = self._python(name)
        if python is None:
            return {"failure": why}
        server.reset()
        command = [python, str(SCRIPT), name, server.url, str(in_flight), str(calls)]
        try:
            done = subprocess.run(  # noqa: S603  # our own script
                command,
                env=environment(server),
                check=False,
                capture_output=True,
                text=True,
                timeout=TOO_LONG,
                preexec_fn=self._pin,  # one thread runs here
            )
        except subprocess.TimeoutExpired:
            return {"failure": f"took longer than {TOO_LONG} s"}
        if done.returncode:
            return {"failure": last_line(done.stderr)}
        counted = server.counted()
        found: dict[str, Any] = json.loads(done.stdout)
        if counted.requests < calls:
            return {"failure": f"{counted.requests} requests for {calls} calls"}
        return {
            **found,
            "connections": counted.connections,
            "most_in_flight": counted.most_in_flight,
        }

    def _pin(self) -> None:
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})

    def _python(self, name: str) -> tuple[str | None, str]:
        if name not in PIOPIY:
            return sys.executable, ""
        if name not in self._pythons:
            self._pythons[name] = install_piopiy(PIOPIY[name])
        return self._pythons[name]


def install_piopiy(version: str) -> tuple[str | None, str]:
    """Return the Python of an environment with this version of piopiy, or None and why."""
    folder = KEPT / f"piopiy-{version}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed"
    if done.exists():
        return str(python), ""
    uv = shutil.which("uv")
    steps = (
        [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), f"piopiy=={version}"],
        ]
        if uv
        else [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", f"piopiy=={version}"],
        ]
    )
    for step in steps:
        ran = subprocess.run(step, check=False, capture_output=True, text=True)  # noqa: S603  # fixed commands
        if ran.returncode:
            return None, f"it could not be installed: {last_line(ran.stderr)}"
    done.touch()
    return str(python), ""


def environment(server: servers.Server) -> dict[str, str]:
    """Return the environment of clients, which trust the server's authority."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Proxies of this machine are no part of the comparison.
    env = {k: v for k, v in env.items() if not k.lower().endswith("_proxy")}
    if server.certificate:
        authority = str(server.certificate.authority)
        env |= {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority}
    return env


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:160].replace("|", "/") if lines else "it said nothing"


@contextlib.contextmanager
def started(settings: list[Setting], core: int | None) -> Iterator[dict[Any, servers.Server]]:
    """Start a server for each latency, plain and TLS; those that are not asked do nothing."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        certificate = None
        if any(setting.tls for setting in settings):
            certificate = servers.make_certificate(folder)
        found: dict[Any, servers.Server] = {}
        wanted = [(setting.latency_ms, setting.tls) for setting in settings]
        for latency, tls in dict.fromkeys([*wanted, (GATHERED_LATENCY_MS, False)]):
            server = servers.start_server(
                folder,
                latency_ms=latency,
                certificate=certificate if tls else None,
                core=core,
            )
            found[latency, tls] = stack.enter_context(server)
        yield found


def cores() -> tuple[int | None, int | None, str]:
    """Return a core for the server, one for the client, and a sentence about it."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None, "server and clients share the cores"
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 2:
        return None, None, "server and clients share one core"
    return there[0], there[1], "server and client have a core each"


def machine() -> str:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def warnings_now() -> list[str]:
    """Say what makes the figures doubtful."""
    load = os.getloadavg()[0]
    return [f"its load was {load:.1f} before the first run"] if load > 0.5 else []


def measure(
    settings: list[Setting], names: list[str], rounds: int, share: float
) -> dict[str, Any]:
    """Run all rounds and return what was found; what is there so far is kept on the way."""
    server_core, client_core, about_cores = cores()
    clients = Clients(client_core)
    about = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "python": platform.python_version(),
        "cores": about_cores,
        "rounds": rounds,
        "servers": {},
        "warnings": warnings_now(),
    }
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {"about": about, "rows": rows, "gathered": None}
    with started(settings, server_core) as running:
        about["servers"] = {
            Setting(latency, tls, 1).group: server.kind
            + ("" if server.kind == "nginx" else " server")
            for (latency, tls), server in running.items()
        }
        for turn in range(rounds):
            for setting in settings:
                began = time.monotonic()
                server = running[setting.latency_ms, setting.tls]
                calls = max(20, int(CALLS[setting.latency_ms, setting.in_flight] * share))
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    result = clients.run(name, server, setting.in_flight, calls)
                    rows.append({"client": name, **setting._asdict(), **result})
                RESULTS.write_text(json.dumps(found, indent=1), encoding="utf-8")
                print(
                    f"round {turn + 1} of {rounds}: {setting.group}, {setting.in_flight} in "
                    f"flight: {time.monotonic() - began:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
        # Its cost grows with the square of the number.
        found["gathered"] = gather_all(
            clients, running[GATHERED_LATENCY_MS, False], 2000 if share == 1 else 500
        )
    RESULTS.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def gather_all(clients: Clients, server: servers.Server, calls: int) -> dict[str, Any] | None:
    """Ask for many calls at once, as a newcomer would, with this package and with httpx."""
    rows = {
        name: clients.run(f"{name}-gather", server, calls, calls) for name in ("own", "httpx")
    }
    if any("failure" in row for row in rows.values()):
        print(f"calls asked for at once were not measured: {rows}", file=sys.stderr)
        return None
    faster = rows["httpx"]["seconds"] / rows["own"]["seconds"]
    return {
        "calls": calls,
        "latency_ms": GATHERED_LATENCY_MS,
        "times_faster": faster,
        "rows": rows,
    }


def keep(found: dict[str, Any], into: Path, page: Path) -> None:
    """Write the page, the table of everything, and the plots."""
    figures = pages.Figures(found)
    images = into / "images"
    images.mkdir(parents=True, exist_ok=True)
    text = pages.put_between_marks(page.read_text("utf-8"), pages.summary(figures))
    written = into / "explanation"
    written.mkdir(exist_ok=True)
    (written / "performance.md").write_text(text, encoding="utf-8")
    (written / "performance-figures.md").write_text(pages.details(figures), encoding="utf-8")
    for name, plot in pages.PLOTS.items():
        drawn = pages.draw(figures, plot)
        if drawn:
            (images / name).write_text(drawn, encoding="utf-8")
    print(pages.summary(figures))
    print(f"\nwritten: {into}", file=sys.stderr)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four settings, one round")
    parser.add_argument("--rounds", type=int, help="3, or 1 of the quick form")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(LABELS),
        help="measure this client and the bases",
    )
    parser.add_argument("--share", type=float, help="this part of the calls (1; quick: 0.4)")
    parser.add_argument("--draw", type=Path, help="draw an earlier run's results.json again")
    parser.add_argument(
        "--into", type=Path, help="write here (docs, or .nox/_bench if only a part is measured)"
    )
    options = parser.parse_args()
    partly = options.quick or bool(options.only) or bool(options.share)
    into = options.into or (KEPT if partly else ROOT / "docs")
    KEPT.mkdir(parents=True, exist_ok=True)
    if options.draw:
        found = json.loads(options.draw.read_text("utf-8"))
    else:
        names = [
            name
            for name in LABELS
            if not options.only or name in {*options.only, "aiohttp", "httpx"}
        ]
        found = measure(
            QUICK if options.quick else FULL,
            names,
            options.rounds or (1 if options.quick else 3),
            options.share or (0.4 if options.quick else 1),
        )
    keep(found, into, ROOT / "docs" / "explanation" / "performance.md")


if __name__ == "__main__":
    main()
