"""What the command line says of a clock that was ahead, and how to go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from cli_campaign import NUMBERS, begin, in_ledger
from consoles import Console, console, serving

from telecmi_async.cli import Exit, main
from telecmi_async.errors import StoreError
from telecmi_async.ledger import SqliteLedger
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

SAID = "no call starts before"


@pytest.fixture(autouse=True)
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign whose limit was last used by a clock that was a day ahead."""
    monkeypatch.chdir(tmp_path)

    async def ahead(ledger: SqliteLedger) -> None:
        await begin(ledger)
        tomorrow = SqliteLedger("l.db", clock=lambda: time.time() + 86_400)
        async with tomorrow:
            assert await tomorrow.reserve([("account", 0.05)], longest=1.0)

    in_ledger(ahead)


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def test_status_why_and_doctor_say_until_when_nothing_starts() -> None:
    """All three commands name the time, and the way out."""
    _, status = ran("status", "--ledger", "l.db")
    _, why = ran("why", str(NUMBERS[0]), "--ledger", "l.db")
    with serving(Simulator()) as environ:
        code, doctor = ran("doctor", "--ledger", "l.db", environ=environ)

    for said in (status.err, why.err, doctor.out):
        assert SAID in said
        assert "resume --clock-was-ahead" in said
    assert code == Exit.FAILED


def test_status_of_several_campaigns_says_so_of_each() -> None:
    """With several campaigns, each that is held up is mentioned."""
    in_ledger(lambda ledger: begin(ledger, "others"))
    code, status = ran("status", "--ledger", "l.db")

    assert code == Exit.OK
    assert status.err.count(SAID) == 2


def test_resume_goes_on_if_the_clock_is_said_to_be_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``resume --clock-was-ahead`` dials what was held up, and nothing is held up then."""
    monkeypatch.setattr("telecmi_async.campaigns.clock_check._SOON", 0.5)
    simulator = Simulator()
    with serving(simulator) as environ:
        code, _ = ran("resume", "--ledger", "l.db", "--clock-was-ahead", environ=environ)
    _, status = ran("status", "--ledger", "l.db")

    assert code == Exit.OK
    assert simulator.requests == simulator.numbers() == len(NUMBERS)
    assert SAID not in status.err


def test_a_ledger_that_is_only_read_says_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the limits cannot be asked, status says the rest."""

    async def refuse(*_: object, **__: object) -> list[float]:
        raise StoreError("the ledger may not be written to")

    monkeypatch.setattr(SqliteLedger, "reserve", refuse)
    code, status = ran("status", "--ledger", "l.db")

    assert code == Exit.PARTLY
    assert SAID not in status.err
