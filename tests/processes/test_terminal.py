"""The command line on a terminal, in a pipe, and with Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from consoles import serving
from terminals import OnTerminal, environment

from telecmi_async.cli import Exit
from telecmi_async.ledger import ContactState, SqliteLedger
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

DIAL = ["dial", "people.csv", "--flow", "flow.json", "--ledger", "l.db", "--window", "any"]
CTRL_C, CTRL_Q, CTRL_S = "\x03", "\x11", "\x13"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(
        "phone\n" + "".join(f"+191755500{n:02}\n" for n in range(20))
    )
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')
    return tmp_path


def counts() -> Mapping[ContactState, int]:
    """Return the number of contacts in each state."""

    async def look() -> Mapping[ContactState, int]:
        async with SqliteLedger("l.db") as ledger:
            return (await ledger.state("people")).counts

    return anyio.run(look)


def piped(*argv: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "telecmi_async", *argv],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(environ),
        timeout=60,
    )


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_campaign_on_a_terminal(columns: int, more: dict[str, str]) -> None:
    """The count is typed, progress fits the width, and colours can be switched off."""
    with (
        serving(Simulator()) as environ,
        OnTerminal(*DIAL, "--cps", "20", environ=environ | more, columns=columns) as terminal,
    ):
        terminal.wait_for("Type how many will be called")
        terminal.press("20\n")
        code = terminal.end()
    drawn = re.split(r"[\r\n]+", terminal.text)

    assert code == Exit.OK
    assert "20 of 20" in terminal.text
    assert "20 placed" in terminal.text
    assert [line for line in drawn if len(line) > columns] == []
    assert ("\x1b[" in terminal.raw) is ("TERM" not in more)
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.raw)) is (not more)
    assert "Traceback" not in terminal.text


def test_ctrl_c_once_waits_for_what_was_sent() -> None:
    """No more calls start, calls in flight are settled, and the command to resume is shown."""
    with (
        serving(Simulator(latency=0.5)) as environ,
        OnTerminal(*DIAL, "--cps", "10", environ=environ) as terminal,
    ):
        terminal.wait_for("Type how many")
        terminal.press("20\n")
        terminal.wait_for("being sent")
        terminal.press(CTRL_C)
        code = terminal.end()
    found = counts()

    assert code == Exit.INTERRUPTED
    assert "No more calls are started" in terminal.text
    assert found[ContactState.PLACED] > 0
    assert found[ContactState.PENDING] == 20 - found[ContactState.PLACED]
    assert "To go on: telecmi-async resume --ledger l.db --name people" in terminal.text


def test_a_terminal_that_takes_nothing_stops_no_call() -> None:
    """After Ctrl-S all calls are placed; after Ctrl-Q the result is written."""
    simulator = Simulator()
    with (
        serving(simulator) as environ,
        OnTerminal(*DIAL, "--cps", "5", "--yes", "20", environ=environ) as terminal,
    ):
        terminal.wait_for("TeleCMI has the call")
        terminal.press(CTRL_S)
        until = time.monotonic() + 30
        while simulator.requests < 20:
            assert time.monotonic() < until, simulator.requests
            time.sleep(0.05)
        stopped = terminal.text
        terminal.press(CTRL_Q)
        code = terminal.end()

    assert code == Exit.OK
    assert "20 of 20" not in stopped
    assert "20 of 20" in terminal.text
    assert re.search(r"placed +20\n", terminal.text.replace("\r", ""))
    assert "left out" not in terminal.text


def test_ctrl_c_ends_a_command_whose_terminal_takes_nothing() -> None:
    """Interrupted twice, a command leaves at once although its words cannot be written."""
    simulator = Simulator(latency=20.0)
    with (
        serving(simulator) as environ,
        OnTerminal(*DIAL, "--cps", "10", "--yes", "20", environ=environ) as terminal,
    ):
        terminal.wait_for("being sent")
        terminal.press(CTRL_S)
        time.sleep(3)  # the kernel takes a little more
        terminal.send(signal.SIGINT)
        time.sleep(0.3)
        began = time.monotonic()
        terminal.send(signal.SIGINT)
        code = terminal.end()

    assert code == Exit.INTERRUPTED
    assert time.monotonic() - began < 10
    assert counts()[ContactState.SENDING] > 0


def test_ctrl_c_twice_leaves_at_once() -> None:
    """Calls in flight stay in state sending."""
    with (
        serving(Simulator(latency=20.0)) as environ,
        OnTerminal(*DIAL, "--cps", "10", environ=environ) as terminal,
    ):
        terminal.wait_for("Type how many")
        terminal.press("20\n")
        terminal.wait_for("being sent")
        terminal.press(CTRL_C)
        terminal.wait_for("No more calls are started")
        time.sleep(0.1)  # two signals at the same moment would count as one
        terminal.press(CTRL_C)
        code = terminal.end()

    assert code == Exit.INTERRUPTED
    assert "the ledger has them" in terminal.text
    assert counts()[ContactState.SENDING] > 0
    assert "Traceback" not in terminal.text


def test_ctrl_c_at_the_question_calls_nobody() -> None:
    """Ctrl-C at the question ends the command, and no call is placed."""
    simulator = Simulator()
    with serving(simulator) as environ, OnTerminal(*DIAL, environ=environ) as terminal:
        terminal.wait_for("Type how many")
        terminal.press(CTRL_C)
        code = terminal.end()

    assert code == Exit.INTERRUPTED
    assert "telecmi-async dial: interrupted" in terminal.text
    assert "Traceback" not in terminal.text
    assert simulator.requests == 0


def test_nothing_is_drawn_into_a_pipe() -> None:
    """Results are on stdout, messages on stderr, and neither has escape codes."""
    with serving(Simulator()) as environ:
        done = piped(*DIAL, "--cps", "200", "--yes", "20", "--json", environ=environ)
        table = piped("export", "--ledger", "l.db", environ=environ)

    assert done.returncode == table.returncode == Exit.OK
    assert json.loads(done.stdout)["counts"]["placed"] == 20
    assert "20 of 20" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr + table.stdout + table.stderr
    assert table.stdout.count("\n") == 21
    assert table.stderr == "Masked numbers in: number (20). --reveal writes them in full.\n"


def test_results_that_cannot_be_written_are_told() -> None:
    """A full disk gives a short error, and a closed pipe is not an error."""
    with serving(Simulator()) as environ:
        piped(*DIAL, "--cps", "200", "--yes", "20", environ=environ)
    command = [sys.executable, "-m", "telecmi_async", "export", "--ledger", "l.db"]
    given: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "env": environment({})}
    with Path("/dev/full").open("w") as full:
        on_full = subprocess.run(command, check=False, stdout=full, **given)
    with subprocess.Popen(command, stdout=subprocess.PIPE, **given) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate()

    assert on_full.returncode == Exit.PARTLY
    assert on_full.stderr == "telecmi-async export: No space left on device\n"
    assert (process.returncode, said) == (Exit.OK, "")
