"""Commands on a ledger that is damaged while they run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from campaign_observers import DIAL, people  # noqa: F401  # a fixture
from consoles import console, serving

from telecmi_async.cli import Exit, main
from telecmi_async.simulator import Simulator


@pytest.mark.real_clock
@pytest.mark.usefixtures("people", "campaigns_poll_often")
def test_dial_ends_when_its_file_is_damaged() -> None:
    """Random bytes over the file end `dial` with exit code 7 and one clear sentence."""
    Path("people.csv").write_text(
        "phone\n" + "".join(f"+{19175550001 + n}\n" for n in range(400))
    )
    ended: list[int] = []
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console(environ)
        argv = [*DIAL, "--yes", "400", "--ledger", "ledger.db"]
        thread = threading.Thread(target=lambda: ended.append(main(argv, terminal=terminal)))
        thread.start()
        until = time.monotonic() + 20
        while simulator.requests < 3 and thread.is_alive():
            assert time.monotonic() < until
            time.sleep(0.01)
        with Path("ledger.db-wal").open("r+b") as log, Path("ledger.db").open("r+b") as file:
            for each in (log, file):
                each.write(os.urandom(os.fstat(each.fileno()).st_size))
        thread.join(20)

    assert ended == [Exit.UNKNOWN]
    assert "damaged" in terminal.err or "not a SQLite database" in terminal.err
    assert "works again" not in terminal.err
    assert simulator.requests == simulator.numbers() < 400
