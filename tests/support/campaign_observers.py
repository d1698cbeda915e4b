"""Commands that observe a campaign while another process dials it, on any ledger.

A module that imports it has a fixture `place`: the environment with the address of the ledger.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from consoles import Console, console, serving

from telecmi_async.cli import Exit, main
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = range(19175550001, 19175550005)
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--window", "any", "--cps", "50"]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("phone\n" + "".join(f"+{n}\n" for n in NUMBERS))
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and its console."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


@pytest.mark.usefixtures("campaigns_poll_often")
def test_others_look_on_while_one_dials(place: dict[str, str]) -> None:
    """`status`, `pause` and `resume` work on a campaign that another process dials."""
    ended: list[int] = []
    simulator = Simulator()
    with serving(simulator) as environ:
        argv = [*DIAL, "--cps", "4", "--yes", "4"]
        terminal = console(environ | place)
        thread = threading.Thread(target=lambda: ended.append(main(argv, terminal=terminal)))
        thread.start()
        until = time.monotonic() + 20
        while simulator.requests < 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        _, seen = ran("status", environ=place)
        paused, _ = ran("pause", environ=place)
        while "waiting for `resume`" not in terminal.err:
            assert time.monotonic() < until
            time.sleep(0.01)
        between = simulator.requests
        resumed, _ = ran("resume", environ=environ | place)
        thread.join()

    assert "people: running" in seen.err
    assert paused == resumed == Exit.OK
    assert between < 4
    assert ended == [Exit.OK]
    assert "Going on." in terminal.err
    assert simulator.numbers() == simulator.requests == 4
