"""The command line on a PostgreSQL ledger: a real server with a password."""

from __future__ import annotations

import csv
import json
import secrets
from typing import TYPE_CHECKING

import pg_server
import pytest
from campaign_observers import *  # noqa: F403  # pytest finds its tests by name
from campaign_observers import DIAL, NUMBERS, ran
from consoles import serving

from telecmi_async.cli import Exit
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(people: None, tmp_path: Path) -> dict[str, str]:
    """The environment for commands: a database of this test, whose address is in a file."""
    url = pg_server.shared().database(f"cli-{secrets.token_hex(4)}")
    (tmp_path / "ledger").write_text(f"{url}\n")
    return {"TELECMI_LEDGER_FILE": "ledger"}


def test_a_campaign_lives_in_a_database(place: dict[str, str]) -> None:
    """Dial, status, why and export work on PostgreSQL, and none prints the password."""
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
    found = json.loads(dialled.out)
    assert found.pop("plan")["contacts"] == 4
    later = json.loads(seen.out)
    assert found.pop("at") < later.pop("at")
    assert found == later
    assert json.loads(seen.out)["counts"]["placed"] == 4
    assert "nothing is left to be done" in quiet.err
    assert "sent once" in why.out
    assert [int(row["number"]) for row in csv.DictReader(table.out.splitlines())] == list(
        NUMBERS
    )
    assert lines.out.count("\n") == 4
    assert simulator.numbers() == simulator.requests == 4
    assert "sesame" not in said


def test_a_database_that_is_away_is_told(place: dict[str, str]) -> None:
    """A wrong password and an unreachable server give exit code 6, and no password."""
    wrong = pg_server.shared().url(password="not-the-one")
    refused, bare = ran("status", environ={"TELECMI_LEDGER": wrong})
    gone, away = ran(
        "status", environ={"TELECMI_LEDGER": "postgresql://me:not-the-one@127.0.0.1:1/x"}
    )

    assert refused == gone == Exit.UNAVAILABLE
    assert "not-the-one" not in bare.err + away.err
