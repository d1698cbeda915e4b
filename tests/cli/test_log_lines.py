"""``TELECMI_LOG``: what the command line logs, and that the package itself does not read it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from cli_campaign import FLOW, NUMBERS, ROWS, wait_for
from consoles import TO, Console, console, interrupted, serving
from free_ports import free_port
from terminals import environment

from telecmi_async.cli import Exit, main
from telecmi_async.cli.exits import Stop
from telecmi_async.cli.log_lines import log_shown
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from pathlib import Path

LOGGER = logging.getLogger("telecmi_async")
#: A line of the log: when, its level, and what it says.
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ([A-Z]+) (.*)$", re.MULTILINE)
CALL = ["call", "--to", TO, "--flow", "flow.json", "--yes"]
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--ledger", "l.db", "--window", "any"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(ROWS)
    (tmp_path / "flow.json").write_text(FLOW)


def ran(simulator: Simulator, *argv: str, level: str, tty: bool = False) -> tuple[int, Console]:
    """Run a command on a simulator; return its exit code and what it wrote."""
    with serving(simulator) as environ:
        terminal = console({**environ, "TELECMI_LOG": level}, tty=tty)
        return main(argv, terminal=terminal), terminal


def logged(level: str) -> list[str]:
    """Return the lines that a level shows, of one line of each level."""
    found: list[str] = []
    with log_shown({"TELECMI_LOG": level}, found.append):
        for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            LOGGER.log(each, "line")
        LOGGER.getChild("simulator").debug("line of the simulator")
    return [" ".join(each) for line in found for each in LINE.findall(line) or [(line,)]]


@pytest.mark.parametrize(
    ("level", "first"), [("debug", 0), ("info", 1), ("Warning", 2), (" ERROR ", 3), ("", 2)]
)
def test_a_level_shows_its_lines_and_those_above(level: str, first: int) -> None:
    """Each level has its lines and the more important ones; without the variable, warnings."""
    expected = ["DEBUG line", "INFO line", "WARNING line", "ERROR line"][first:]
    expected += [] if first else ["DEBUG line of the simulator"]

    assert logged(level) == (expected if level else ["line", "line"])


def test_the_log_is_as_before_afterwards() -> None:
    """A command leaves neither a handler nor a level behind, also if it fails."""
    before = LOGGER.level, [*LOGGER.handlers], [*LOGGER.filters]
    with pytest.raises(ZeroDivisionError), log_shown({"TELECMI_LOG": "debug"}, print):
        _ = 1 / 0

    assert (LOGGER.level, LOGGER.handlers, LOGGER.filters) == before


def test_a_line_is_written_once() -> None:
    """While a campaign runs, lines go to its display alone, and to stderr again after it."""
    outer: list[str] = []
    inner: list[str] = []
    with log_shown({}, outer.append):
        with log_shown({}, inner.append):
            LOGGER.warning("meanwhile")
        LOGGER.warning("afterwards")

    assert (outer, inner) == (["afterwards"], ["meanwhile"])


@pytest.mark.parametrize("argv", [CALL, [*DIAL, "--yes", "4"], ["status", "--ledger", "l.db"]])
def test_a_level_that_does_not_exist_is_refused(argv: list[str]) -> None:
    """The message names the levels, and nothing is done."""
    simulator = Simulator()
    code, terminal = ran(simulator, *argv, "--json", level="verbose")
    error = json.loads(terminal.out)["error"]

    assert code == Exit.USAGE == error["exit_code"]
    assert error["message"] in terminal.err
    assert (
        error["message"]
        == 'TELECMI_LOG must be "debug", "info", "warning" or "error", not "verbose"'
    )
    assert simulator.requests == 0


def test_a_wrong_level_shows_no_number() -> None:
    """A variable that holds something else is masked as all that is printed."""
    with (
        pytest.raises(Stop, match="not ") as caught,
        log_shown({"TELECMI_LOG": "919876543210"}, print),
    ):
        pass

    assert "9876543210" not in str(caught.value)


def test_debug_shows_each_request_of_a_call() -> None:
    """The attempts, the retry and the outcome of a call are logged; no number and no secret."""
    simulator = Simulator()
    simulator.faults.add(Fault("vendor_502", attempts=1))
    code, terminal = ran(simulator, *CALL, level="debug")
    lines = LINE.findall(terminal.err)

    assert code == Exit.OK
    assert [level for level, _ in lines] == ["DEBUG", "INFO", "DEBUG", "INFO"]
    assert "attempt 1 of 4: rejected" in lines[1][1]
    assert "accepted, 2 requests" in lines[3][1]
    assert all("19170000001" not in text and simulator.secret not in text for _, text in lines)


@pytest.mark.parametrize("tty", [False, True], ids=["file", "terminal"])
def test_debug_shows_each_call_of_a_campaign(tty: bool) -> None:
    """Every call of a campaign has its lines, above the display, and no full number."""
    dial = [*DIAL, "--cps", "200", "--yes", "4"]
    code, terminal = ran(Simulator(), *dial, level="debug", tty=tty)
    # The plan shows one number. The display of a terminal wraps lines.
    text = "".join(terminal.err.partition("DEBUG")[2].split())

    assert code == Exit.OK, terminal.err
    for number in NUMBERS:
        assert len(re.findall(rf"INFOcalltcm_\w+to•+{number % 10000:04}request", text)) == 1
        assert str(number) not in text


def test_without_the_variable_no_call_is_logged() -> None:
    """A command that says what became of its calls does not log them as well."""
    simulator = Simulator()
    simulator.faults.add(Fault("reply_lost", to=NUMBERS[0]))
    code, terminal = ran(simulator, *DIAL, "--cps", "200", "--yes", "4", level="")

    assert code == Exit.UNKNOWN
    assert "tcm_" not in terminal.err


PROGRAM = """
import logging, sys, telecmi_async, telecmi_async.campaigns, telecmi_async.simulator
from telecmi_async import CallService
CallService(2222226, "not-a-secret")
loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
found = [each.name for each in loggers if each.name.startswith("telecmi") or each is logging.root]
assert "telecmi_async" in found
for each in map(logging.getLogger, found):
    assert not each.handlers, each
    assert each.level in {logging.NOTSET, logging.WARNING}, each
"""


@pytest.mark.parametrize("level", ["debug", "verbose"])
def test_a_program_configures_its_own_log(level: str) -> None:
    """The package does not read the variable: an import installs no handler and sets no level."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment({}), "TELECMI_LOG": level},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_debug_shows_no_key_and_no_token_of_a_webhook() -> None:
    """What a receiver logs holds neither the token, nor pressed keys, nor a number."""
    port, token, done = free_port(), "t" * 43, threading.Event()
    events = [
        {"type": "event", "status": "started", "to": "919876543210", "request_id": "r" * 43},
        {"dtmf": "471147", "from": "919876543210", "to": "919170000000", "action_id": "a"},
        {"from": "919876543210"},
    ]

    def post() -> None:
        wait_for(lambda: "Listening" in terminal.err)
        for event in events:
            httpx.post(f"http://127.0.0.1:{port}/{token}", json=event)
        httpx.get(f"http://127.0.0.1:{port}/{token}")
        done.set()

    terminal = console({"TELECMI_WEBHOOK_TOKEN": token, "TELECMI_LOG": "debug"})
    thread = threading.Thread(target=post)
    thread.start()
    with interrupted(done):
        code = main(["hook", "listen", "--port", str(port)], terminal=terminal)
    thread.join()

    assert code == Exit.INTERRUPTED
    assert "WARNING a webhook was refused: it must be a POST" in terminal.err
    for secret in (token, "471147", "9876543210"):
        assert secret not in terminal.err
