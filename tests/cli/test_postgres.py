"""The command line on a PostgreSQL ledger: a real server, with a password that nobody sees."""

from __future__ import annotations

import csv
import json
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

import pg_server
import pytest
from consoles import Console, console, serving

from telecmi_async.cli import Exit, main
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = range(19175550001, 19175550005)
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--window", "any", "--cps", "50"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A database of the test's own, whose address is in a file, and contacts to dial."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("phone\n" + "".join(f"+{n}\n" for n in NUMBERS))
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')
    url = pg_server.shared().database(f"cli-{secrets.token_hex(4)}")
    (tmp_path / "ledger").write_text(f"{url}\n")
    return {"TELECMI_LEDGER_FILE": "ledger"}


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def test_a_campaign_lives_in_a_database(place: dict[str, str]) -> None:
    """It is dialled, looked at, explained and exported, and no password is seen."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code, dialled = ran(*DIAL, "--yes", "4", "--json", environ=environ | place)
        again, quiet = ran(*DIAL, "--yes", "4", environ=environ | place)
    status, seen = ran("status", "--json", environ=place)
    _, why = ran("why", str(NUMBERS[0]), environ=place)
    _, table = ran("export", "--reveal", environ=place)
    _, lines = ran("export", "--json", "--state", "placed", environ=place)
    said = "".join(each.out + each.err for each in (dialled, quiet, seen, why, table, lines))

    assert code == again == status == Exit.OK
    assert json.loads(dialled.out) == json.loads(seen.out)
    assert json.loads(seen.out)["counts"]["placed"] == 4
    assert "nothing is left to be done" in quiet.err
    assert "sent once" in why.out
    assert [int(row["number"]) for row in csv.DictReader(table.out.splitlines())] == list(
        NUMBERS
    )
    assert lines.out.count("\n") == 4
    assert simulator.numbers() == simulator.requests == 4
    assert "sesame" not in said


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_others_look_on_while_one_dials(place: dict[str, str], kind: str) -> None:
    """`status`, `pause` and `resume` work on a campaign that is being dialled elsewhere."""
    place = place if kind == "postgres" else {"TELECMI_LEDGER": "l.db"}
    ended: list[int] = []
    simulator = Simulator()
    with serving(simulator) as environ:
        argv = [*DIAL, "--cps", "2", "--yes", "4"]
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

    assert "people running" in seen.err
    assert paused == resumed == Exit.OK
    assert between < 4
    assert ended == [Exit.OK]
    assert "Going on." in terminal.err
    assert simulator.numbers() == simulator.requests == 4


def test_a_database_that_is_away_is_told(place: dict[str, str]) -> None:
    """Who cannot log in, or reaches nobody, gets code 6 and no password in the words."""
    wrong = pg_server.shared().url(password="not-the-one")
    refused, bare = ran("status", environ={"TELECMI_LEDGER": wrong})
    gone, away = ran(
        "status", environ={"TELECMI_LEDGER": "postgresql://me:not-the-one@127.0.0.1:1/x"}
    )

    assert refused == gone == Exit.UNAVAILABLE
    assert "not-the-one" not in bare.err + away.err
