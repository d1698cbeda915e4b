"""``--metrics``: what Prometheus collects from commands that place calls or receive webhooks."""

from __future__ import annotations

import re
import socket
import sys
import threading
import urllib.request
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from cli_campaign import FLOW, NUMBERS, ROWS, begin, in_ledger, wait_for
from consoles import Console, console, interrupted, serving
from free_ports import free_port

from telecmi_async.cli import Exit, main
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from telecmi_async.simulator import SimulatedRequest

TOKEN = "t" * 43
DIAL = [
    "dial", "people.csv", "--flow", "flow.json", "--cps", "200", "--ledger", "l.db",
    "--window", "any", "--yes", "4",
]  # fmt: skip
SAID = re.compile(r"Metrics for Prometheus: (http://(.+):(\d+)/metrics)")


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands on each event loop, although they ask for asyncio only."""
    monkeypatch.setattr(anyio, "run", partial(anyio.run, backend=request.param))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(ROWS)
    (tmp_path / "flow.json").write_text(FLOW)


def ran(*argv: str, environ: Mapping[str, str]) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(environ)
    return main(argv, terminal=terminal), terminal


def collected(said: str) -> str:
    """Return what Prometheus would collect from the address that a command names."""
    found = SAID.search(said)
    assert found is not None, said
    with urllib.request.urlopen(found[1], timeout=10) as reply:
        text: str = reply.read().decode()
    return text


def value_of(text: str, name: str, **labels: str) -> float | None:
    """Return the value of a metric that has these labels; ``None`` if it is not there."""
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}({{.*}})? (\S+)", line)
        if found and all(f'telecmi_{key}="{each}"' in found[1] for key, each in labels.items()):
            return float(found[2])
    return None


def is_open(port: int) -> bool:
    """Return whether a server listens on a port of this machine."""
    with closing(socket.socket()) as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def measured(
    *argv: str, at: int, simulator: Simulator, **environ: str
) -> tuple[str, Console, int]:
    """Run a command, and collect its metrics when the request ``at`` arrives.

    Return them, what the command wrote, and its exit code.
    """
    terminal = console()
    texts: list[str] = []
    seen: list[SimulatedRequest] = []

    def collect(request: SimulatedRequest) -> None:
        seen.append(request)
        if len(seen) == at:
            texts.append(collected(terminal.err))

    simulator.on_request = collect
    with serving(simulator) as given:
        terminal = console({**given, **environ})
        code = main(argv, terminal=terminal)
    assert len(texts) == 1, terminal.err
    return texts[0], terminal, code


@contextmanager
def collecting(
    terminal: Console,
    words: str,
    before: Callable[[], object] = lambda: None,
    done: threading.Event | None = None,
) -> Iterator[list[str]]:
    """Collect a command's metrics from another thread until they have these words."""
    texts: list[str] = []

    def look() -> bool:
        if SAID.search(terminal.err):
            with suppress(OSError):  # it has ended
                texts.append(collected(terminal.err))
        return bool(texts) and words in texts[-1]

    def work() -> None:
        try:
            before()
            wait_for(look)
        finally:
            (done or threading.Event()).set()

    thread = threading.Thread(target=work)
    thread.start()
    yield texts
    thread.join()
    assert texts, terminal.err
    assert words in texts[-1]


@pytest.mark.usefixtures("loop")
def test_a_campaign_is_measured() -> None:
    """Calls, requests and the campaign are there while it runs, and the port is closed after it."""
    argv = (*DIAL, "--metrics", "0", "--cps", "5")
    text, terminal, code = measured(*argv, at=4, simulator=Simulator())
    found = SAID.search(terminal.err)

    assert code == Exit.OK, terminal.err
    assert value_of(text, "telecmi_calls_total", outcome="progress", region="global") == 3
    assert value_of(text, "telecmi_requests_in_flight") == 1
    assert value_of(text, "telecmi_call_waiting_seconds_count") == 4
    assert value_of(text, "telecmi_attempt_duration_seconds_count", verdict="accepted") == 3
    assert (
        value_of(text, "telecmi_campaign_contacts", campaign="people", contact_state="failed")
        == 0
    )
    assert value_of(text, "telecmi_campaign_status", campaign_status="dialling") == 1
    assert found is not None
    assert found[2] == "127.0.0.1"
    assert not is_open(int(found[3]))
    assert terminal.err.count("Metrics") == 1


@pytest.mark.usefixtures("loop")
def test_webhooks_of_a_campaign_are_measured_and_nothing_secret_is() -> None:
    """Neither a number, the secret, the token nor a text of the flow is in what is collected."""
    simulator, port = Simulator(life="immediate"), free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    argv = (*DIAL, "--metrics", "0", "--webhook-port", str(port), "--cps", "20")
    text, _, code = measured(*argv, at=4, simulator=simulator, TELECMI_WEBHOOK_TOKEN=TOKEN)

    assert code == Exit.OK
    assert value_of(text, "telecmi_webhook_deliveries_total", delivery="accepted")
    for secret in (*map(str, NUMBERS), "9170000000", simulator.secret, TOKEN, "Hello", "N0"):
        assert secret not in text


@pytest.mark.usefixtures("loop")
def test_a_campaign_that_goes_on_is_measured() -> None:
    """`resume` serves metrics, and what is printed for resuming names the same address."""
    port = free_port()
    in_ledger(partial(begin, pace=5))
    argv = ("resume", "--ledger", "l.db", "--metrics", f"localhost:{port}")
    text, terminal, code = measured(*argv, at=4, simulator=Simulator())

    assert code == Exit.OK, terminal.err
    assert value_of(text, "telecmi_calls_total", outcome="progress") == 3
    assert f"http://localhost:{port}/metrics" in terminal.err


def test_the_option_is_kept_for_resuming() -> None:
    """`dial` that leaves contacts prints a `resume` with the same address of metrics."""
    port = str(free_port())
    with serving(Simulator()) as environ:
        _, terminal = ran(*DIAL, "--per-day", "1", "--metrics", port, environ=environ)

    assert f"resume --ledger l.db --name people --metrics {port}\n" in terminal.err


def test_a_rehearsal_is_measured() -> None:
    """With `--dry-run` metrics are served, too, and webhooks arrive as soon as they are sent."""
    Path("people.csv").write_text(
        "phone,name\n" + "".join(f"+1917555{n},N\n" for n in range(1000, 1100))
    )
    terminal = console({"TELECMI_FROM": "19170000000"})
    with collecting(terminal, "telecmi_webhook_lag_seconds_sum") as texts:
        code = main(
            [*DIAL[:4], "--window", "any", "--dry-run", "--metrics", "0"], terminal=terminal
        )
    lag = value_of(texts[-1], "telecmi_webhook_lag_seconds_sum")
    deliveries = value_of(texts[-1], "telecmi_webhook_lag_seconds_count")

    assert code == Exit.OK, terminal.err
    assert lag is not None
    assert deliveries is not None
    assert lag / deliveries < 10


@pytest.mark.usefixtures("loop")
def test_received_webhooks_are_measured() -> None:
    """`hook listen` measures its receiver: an event that comes twice counts once, and once more."""
    port, done = free_port(), threading.Event()
    terminal = console({"TELECMI_WEBHOOK_TOKEN": TOKEN})
    event = {"type": "event", "request_id": "r" * 43, "status": "started", "cmiuuid": "u" * 36}

    def work() -> None:
        wait_for(lambda: is_open(port))
        for _ in range(2):
            httpx.post(f"http://127.0.0.1:{port}/{TOKEN}", json=event)
        httpx.post(f"http://127.0.0.1:{port}/wrong", json=event)

    words = 'telecmi_delivery="refused"'
    with collecting(terminal, words, before=work, done=done) as texts, interrupted(done):
        code = main(
            ["hook", "listen", "--port", str(port), "--metrics", "0"], terminal=terminal
        )

    assert code == Exit.INTERRUPTED
    for result in ("accepted", "duplicates", "refused"):
        assert value_of(texts[-1], "telecmi_webhook_deliveries_total", delivery=result) == 1


@pytest.mark.parametrize(
    "wrong", ["a", "70000", "localhost", ":9464", "a b:1", "[::1", "::1:9464"]
)
def test_a_wrong_address_is_refused(wrong: str) -> None:
    """The message shows how an address is written."""
    code, terminal = ran(*DIAL, "--metrics", wrong, environ={})

    assert code == Exit.USAGE
    assert (
        "--metrics must be a port, or an address and a port, such as 127.0.0.1:94"
        in terminal.err
    )


@pytest.mark.parametrize(
    "argv", [DIAL, [*DIAL, "--dry-run"], ["hook", "listen", "--port", "0"]], ids=" ".join
)
def test_an_address_in_use_is_refused(argv: list[str]) -> None:
    """Nothing is called then, and no ledger is made."""
    simulator = Simulator()
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        serving(simulator) as environ,
    ):
        port = taken.getsockname()[1]
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        code, terminal = ran(*argv, "--metrics", str(port), environ=environ)

    assert code == Exit.USAGE
    assert f"metrics cannot be served on {port}: Address already in use" in terminal.err
    assert simulator.requests == 0
    assert not Path("l.db").exists()


@pytest.mark.parametrize(
    ("address", "why"), [("nowhere.invalid:0", ""), ("no..where:0", "it is no address")]
)
def test_a_name_that_does_not_exist_is_refused(address: str, why: str) -> None:
    """A host that cannot be resolved is an address that cannot be used."""
    environ = {"TELECMI_FROM": "19170000000"}
    code, terminal = ran(*DIAL, "--dry-run", "--metrics", address, environ=environ)

    assert code == Exit.USAGE
    assert f"metrics cannot be served on {address}: {why}" in terminal.err


@pytest.mark.parametrize("module", ["opentelemetry.exporter.prometheus", "prometheus_client"])
def test_without_the_extra_a_command_says_how_to_install_it(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the command, and nothing is called."""
    monkeypatch.setitem(sys.modules, module, None)
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran(*DIAL, "--metrics", "0", environ=environ)

    assert code == Exit.USAGE
    assert 'pip install "telecmi-async[cli,prometheus]"' in terminal.err
    assert f"({module} is missing)" in terminal.err
    assert simulator.requests == 0


def test_another_missing_module_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of this package shows its traceback."""
    monkeypatch.setitem(sys.modules, "telecmi_async.telemetry", None)
    with serving(Simulator()) as environ:
        code, terminal = ran(*DIAL, "--metrics", "0", environ=environ)

    assert code == Exit.UNKNOWN
    assert "ModuleNotFoundError: import of telecmi_async.telemetry halted" in terminal.err
