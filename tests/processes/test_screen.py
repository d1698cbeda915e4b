"""Commands whose output cannot be written: a full disk, a lost terminal, closed streams."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from cli_campaign import in_ledger, wait_for
from consoles import serving
from terminals import environment

from telecmi_async.cli import Exit
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIAL = [
    "dial",
    "people.csv",
    "--flow",
    "flow.json",
    "--ledger",
    "l.db",
    "--window",
    "any",
    "--cps",
    "60",
    "--yes",
    "40",
]
CALL = ["call", "--to", "+917000000001", "--flow", "flow.json", "--yes"]
RUN = [sys.executable, "-m", "telecmi_async"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"+1917555{n:04}\n" for n in range(100, 140))
    (tmp_path / "people.csv").write_text("phone\n" + rows)
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')


@contextlib.contextmanager
def gone_terminal() -> Iterator[int]:
    """Yield a terminal whose other end is closed: what is written to it gives EIO."""
    master, slave = pty.openpty()
    os.close(master)
    yield slave
    os.close(slave)


@contextlib.contextmanager
def closed_pipe() -> Iterator[int]:
    """Yield a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextlib.contextmanager
def full_disk() -> Iterator[int]:
    """Yield a file on a full disk."""
    file = os.open("/dev/full", os.O_WRONLY)
    yield file
    os.close(file)


@contextlib.contextmanager
def stuffed_pipe() -> Iterator[int]:
    """Yield a pipe that is full and does not block, as a busy parent process leaves it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    yield writer
    os.close(writer)
    os.close(reader)


BROKEN = pytest.mark.parametrize(
    "broken", [gone_terminal, closed_pipe, full_disk, stuffed_pipe]
)


def ended(command: list[str], environ: Mapping[str, str], **streams: Any) -> int:
    """Run a command with such streams, and return its exit code."""
    given = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": None,
    } | streams
    done = subprocess.run(command, check=False, env=environment(environ), timeout=60, **given)
    return done.returncode


@BROKEN
def test_a_campaign_goes_on_without_its_screen(broken: Any) -> None:
    """A campaign dials all contacts, and its exit code is that of what happened to them."""
    simulator = Simulator()
    with serving(simulator) as environ, broken() as stream:
        code = ended([*RUN, *DIAL], environ, stdout=stream, stderr=stream)

    assert code == Exit.OK
    assert simulator.requests == simulator.numbers() == 40


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&- 1>&- 2>&-"])
def test_a_campaign_without_streams(closed: str) -> None:
    """With closed streams a campaign dials all contacts, and its ledger stays sound."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code = ended(["sh", "-c", f'exec "$@" {closed}', "sh", *RUN, *DIAL], environ)
    state = in_ledger(lambda ledger: ledger.state("people"))

    assert code == Exit.OK
    assert state.counts[ContactState.PLACED] == simulator.numbers() == 40


@BROKEN
def test_a_call_says_how_it_went_by_its_exit_code(broken: Any) -> None:
    """Without a screen, a call of unknown outcome still ends with the code for that."""
    simulator = Simulator(magic=False)
    with serving(simulator) as environ, broken() as stream:
        placed = ended([*RUN, *CALL], environ, stdout=stream, stderr=stream)
        simulator.faults.add(Fault("reply_lost"))
        unknown = ended([*RUN, *CALL], environ, stdout=stream, stderr=stream)

    assert (placed, unknown) == (Exit.OK, Exit.UNKNOWN)


def test_a_request_id_that_cannot_be_written_is_among_the_words() -> None:
    """The request_id of a call is written to stderr if stdout is on a full disk."""
    with serving(Simulator()) as environ, full_disk() as full:
        done = subprocess.run(
            [*RUN, *CALL],
            check=False,
            env=environment(environ),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    lines = done.stderr.splitlines()

    said = "results cannot be written to stdout (No space left on device); here they are:"
    assert done.returncode == Exit.OK
    assert len(lines[lines.index(said) + 1]) > 20
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("broken", [gone_terminal, full_disk])
def test_every_command_survives_stderr(broken: Any) -> None:
    """Other commands end with the code of what they did, whatever becomes of their words."""
    simulator = Simulator(magic=False)
    with serving(simulator) as environ, broken() as stream:
        simulator.faults.add(Fault("reply_lost", to=19175550100))
        codes = {
            command: ended([*RUN, *command.split()], environ, stderr=stream)
            for command in (
                "dial people.csv --flow flow.json --ledger l.db --window any --cps 90 --yes 40",
                "status --ledger l.db",
                "why +19175550100 --ledger l.db",
                "export --ledger l.db",
                "pause --ledger l.db",
                "retry-unknown --ledger l.db --yes 1",
                "flow check flow.json",
                "flow check nothing.json",
                "doctor",
                "nonsense",
            )
        }

    assert list(codes.values()) == [
        Exit.UNKNOWN,
        Exit.UNKNOWN,
        *[Exit.OK] * 5,
        Exit.USAGE,
        Exit.PARTLY,
        Exit.USAGE,
    ]


def test_nohup_keeps_a_campaign_going_after_its_terminal() -> None:
    """Under nohup, a campaign survives the end of its terminal and SIGHUP."""
    simulator = Simulator(latency=0.2)
    dial = [*DIAL[:-4], "--cps", "20", "--yes", "40"]
    master, slave = pty.openpty()
    with serving(simulator) as environ:
        process = subprocess.Popen(
            ["nohup", *RUN, *dial],
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        wait_for(lambda: simulator.requests >= 3)
        os.close(master)
        process.send_signal(signal.SIGHUP)
        code = process.wait(60)

    assert code == Exit.OK
    assert simulator.numbers() == 40


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_hangup_drains_as_sigterm_does(number: signal.Signals) -> None:
    """SIGHUP starts nothing more and waits for what was sent: no contact is left unknown."""
    simulator = Simulator(latency=0.5)
    dial = [*DIAL[:-4], "--cps", "20", "--yes", "40"]
    with serving(simulator) as environ, gone_terminal() as terminal:
        process = subprocess.Popen(
            [*RUN, *dial],
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        )
        wait_for(lambda: simulator.requests >= 3)
        process.send_signal(number)
        time.sleep(0.01)  # together with another one it counts once
        process.send_signal(number)
        code = process.wait(60)
    state = in_ledger(lambda ledger: ledger.state("people"))

    assert code == Exit.INTERRUPTED
    assert state.counts[ContactState.SENDING] == state.counts[ContactState.UNKNOWN] == 0
    assert 3 <= state.counts[ContactState.PLACED] == simulator.numbers() < 40
