"""Thousands of connections that send nothing, or little, against a receiver with few files."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from consoles import serving
from free_ports import free_port
from terminals import environment

from telecmi_async.cli import Exit
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKEN = "t" * 43
IDLE, SLOW = 2_000, 1_000
FILES = 1_024
# What a receiver may take for them, in KiB: some hundred connections and their buffers.
_MOST_MEMORY = 100_000
LIMITED = f'ulimit -n {FILES}; exec "$@"'
SCHEME = "HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """Let this process have as many connections open as it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * (IDLE + SLOW)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("this machine lets no process open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def running(*argv: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command that may open 1,024 files."""
    with Path("words.txt").open("w") as words:
        process = subprocess.Popen(
            ["sh", "-c", LIMITED, "sh", sys.executable, "-m", "telecmi_async", *argv],
            env=environment({"TELECMI_WEBHOOK_TOKEN": TOKEN, **environ}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def words() -> str:
    """Return what the command has said."""
    return Path("words.txt").read_text()


def wait_for_words(process: subprocess.Popen[str], pattern: str) -> None:
    """Wait until the command has said something."""
    until = time.monotonic() + 60
    while not re.search(pattern, words()):
        assert process.poll() is None, words()
        assert time.monotonic() < until, words()
        time.sleep(0.02)


@contextlib.contextmanager
def crowd(port: int) -> Iterator[None]:
    """Open connections that send nothing, and others that send a little of a request."""
    with contextlib.ExitStack() as stack:
        for n in range(IDLE + SLOW):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            if n % 3 == 0:  # from here on one byte at a time would come
                with contextlib.suppress(OSError):
                    client.send(
                        f"POST /{'x' * 43} {SCHEME}Content-Length: 9000\r\n\r\n{{".encode()
                    )
        yield


def deliver(port: int, n: int) -> tuple[int, float]:
    """Deliver an event; return the status of the reply, and how long that took."""
    began = time.monotonic()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    event = {"type": "event", "status": "answered", "request_id": f"r{n}", "time": n}
    client.request("POST", f"/{TOKEN}", json.dumps(event), {"Content-Type": "application/json"})
    status = client.getresponse().status
    client.close()
    return status, time.monotonic() - began


def memory(process: subprocess.Popen[str]) -> int:
    """Return how much memory a process takes, in KiB; 0 where that cannot be read."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def test_hook_listen_under_thousands_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 idle and 1,000 slow connections keep no delivery from being answered."""
    monkeypatch.chdir(tmp_path)
    port = free_port()
    with running("hook", "listen", "--port", str(port), environ={}) as process:
        wait_for_words(process, "Listening on")
        assert deliver(port, 0)[0] == 204
        before = memory(process)

        with crowd(port):
            found = [deliver(port, n) for n in range(1, 40)]
            grown = memory(process) - before
        found.append(deliver(port, 100))
        process.send_signal(signal.SIGINT)
        code = process.wait(30)

    assert {status for status, _ in found} == {204}
    assert max(seconds for _, seconds in found) < 10
    assert grown < _MOST_MEMORY
    assert code == Exit.INTERRUPTED
    assert "accepted: 41" in words()
    assert words().count("connections are open") == 1
    assert "Traceback" not in words()


def test_a_campaign_under_thousands_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign goes on, and hears how its calls ended, under a crowd of connections."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"+1917555{n:04}\n" for n in range(100, 200))
    (tmp_path / "people.csv").write_text("phone\n" + rows)
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')
    port = free_port()
    simulator = Simulator(
        life="immediate", magic=False, webhooks=Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    )
    dial = (
        "dial people.csv --flow flow.json --ledger l.db --window any --cps 40 --yes 100 "
        f"--webhook-port {port}"
    )
    with serving(simulator) as environ, running(*dial.split(), environ=environ) as process:
        wait_for_words(process, "Listening for webhooks")
        with crowd(port):
            code = process.wait(60)

    assert code == Exit.OK, words()
    assert simulator.requests == simulator.numbers() == 100
    assert "100 of 100" in words()
    assert "Traceback" not in words()
