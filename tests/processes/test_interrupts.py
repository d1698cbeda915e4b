"""Ctrl-C on commands in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli_campaign import begin, in_ledger, wait_for
from consoles import serving

import telecmi_async
from telecmi_async.cli import Exit
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)


def running(environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a slow campaign in a process of its own."""
    in_ledger(begin)
    return subprocess.Popen(
        [sys.executable, "-m", "telecmi_async", "resume", "--ledger", "l.db"],
        env={
            **os.environ,
            **environ,
            "PYTHONPATH": str(Path(telecmi_async.__file__).parents[1]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_waits_for_what_was_sent_and_twice_does_not(presses: int) -> None:
    """One Ctrl-C waits for calls in flight; a second one leaves them in state sending."""
    simulator = Simulator(latency=1.5)
    with serving(simulator) as environ:
        process = running(environ)
        wait_for(lambda: simulator.requests >= 1)
        process.send_signal(signal.SIGINT)
        if presses == 2:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    state = in_ledger(lambda ledger: ledger.state("people"))

    assert process.returncode == Exit.INTERRUPTED
    assert "No more calls are started; waiting for what was sent" in err
    assert ("the ledger has them" in err) == (presses == 2)
    assert (state.counts[ContactState.SENDING] > 0) == (presses == 2)
    assert (state.counts[ContactState.PLACED] > 0) == (presses == 1)
    assert "Traceback" not in out + err
