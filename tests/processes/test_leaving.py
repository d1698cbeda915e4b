"""Leaving a campaign: from Python by two Ctrl-C, and while the ledger does not answer."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from cli_campaign import in_ledger, wait_for
from consoles import serving
from free_ports import free_port
from terminals import environment

from telecmi_async.cli import Exit
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Simulator

PROGRAM = Path(__file__).parents[1] / "support" / "interrupted_campaign.py"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("how", ["asyncio.run", "asyncio", "trio"])
@pytest.mark.parametrize("gap", [0.0, 0.01, 0.3])
def test_two_interrupts_end_a_program_as_one_does(how: str, gap: float) -> None:
    """Two Ctrl-C end `Campaign.run` with KeyboardInterrupt, and no number is dialled twice.

    Of two at one moment, the second may interrupt asyncio between two steps of its own, where
    it loses the end of the task that it waits for: such a program needs more of them.
    """
    simulator = Simulator(latency=1.0, magic=False)
    with serving(simulator) as environ:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), how],
            env=environment(environ),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: simulator.requests >= 20)
        process.send_signal(signal.SIGINT)
        time.sleep(gap)
        process.send_signal(signal.SIGINT)
        more = 2 if how != "trio" and gap < 0.1 else 0
        said = ended(process, more)
    state = in_ledger(lambda ledger: ledger.state("people"))

    assert process.returncode == -signal.SIGINT, said
    assert "KeyboardInterrupt" in said
    assert "RuntimeError" not in said
    assert "ExceptionGroup" not in said
    assert simulator.requests == simulator.numbers() <= state.sends


def ended(process: subprocess.Popen[str], more: int) -> str:
    """Wait until a process ends, with so many interrupts at most, and return what it said."""
    for _ in range(more):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=10)[1]
        process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)[1]


def test_sigterm_while_the_ledger_is_locked() -> None:
    """Then a command says how long it may take, and what is not on record when it ends."""
    rows = "".join(f"+1917555{n:04}\n" for n in range(100, 140))
    Path("people.csv").write_text("phone\n" + rows)
    Path("flow.json").write_text('[{"action": "hangup"}]')
    simulator = Simulator(latency=1.0)
    dial = "dial people.csv --flow flow.json --ledger l.db --window any --cps 20 --yes 40"
    with serving(simulator) as environ:
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, *dial.split()],
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: simulator.requests >= 5)
        with closing(sqlite3.connect("l.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=90)
    state = in_ledger(lambda ledger: ledger.state("people"))

    assert process.returncode == Exit.UNKNOWN, said
    assert "That takes at most 4 s, or 12 s if the ledger does not answer" in said
    assert said.count("not on record: the send to •••••••0") >= 1
    assert "ended placed, request_id" in said
    assert "sends is not on record: they are taken for unknown" in said
    assert state.counts[ContactState.SENDING] >= 1
    assert "Traceback" not in said


#: The command line with shorter waits.
IMPATIENT = """
import inspect
import sys
from telecmi_async import Timeouts
from telecmi_async.campaigns import CampaignTimeouts, campaign, settings
from telecmi_async.cli import main
from telecmi_async.ledger.sqlite import ledger
inspect.unwrap(ledger.SqliteLedger.__init__).__kwdefaults__["timeout"] = 1.0
settings._LAST_ATTEMPT = 1.0
campaign.CampaignTimeouts = lambda: CampaignTimeouts(
    fence=2.0, grace=1.0, timeouts=Timeouts(total=4.0)
)
sys.exit(main())
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_collector_of_metrics_does_not_keep_a_command(times: int) -> None:
    """Ctrl-C and SIGTERM end a command that serves metrics, also one that is asked and not read."""
    rows = "".join(f"+1917555{n:04}\n" for n in range(100, 140))
    Path("people.csv").write_text("phone\n" + rows)
    Path("flow.json").write_text('[{"action": "hangup"}]')
    simulator, port = Simulator(latency=1.0), free_port()
    dial = "dial people.csv --flow flow.json --ledger l.db --window any --cps 20 --yes 40"
    with serving(simulator) as environ:
        process = subprocess.Popen(
            [sys.executable, "-m", "telecmi_async", *dial.split(), "--metrics", str(port)],
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: simulator.requests >= 5)
        with closing(socket.create_connection(("127.0.0.1", port))) as silent:
            silent.sendall(b"GET /metrics HTTP/1.1\r\n")
            for each in range(times):
                process.send_signal(signal.SIGINT if each else signal.SIGTERM)
                time.sleep(0.2)
            began = time.monotonic()
            _, said = process.communicate(timeout=60)
            seconds = time.monotonic() - began

    assert process.returncode == Exit.INTERRUPTED, said
    assert "Traceback" not in said
    assert seconds < (10 if times == 1 else 1)
