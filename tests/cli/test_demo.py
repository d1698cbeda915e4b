"""The command ``demo``, and the display of campaign progress."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import anyio
import pytest
from terminal_output import ESCAPE, Screen, rows, terminal_on

from telecmi_async.cli.output.display import Display, Panel, PlainLines, display_for
from telecmi_async.cli.output.progress import duration, progress_words
from telecmi_async.cli.stage import Report, _last_records, fictional_numbers
from telecmi_async.ledger import (
    CampaignState,
    CampaignStatus,
    ContactState,
)
from telecmi_async.simulator import Simulator


def state(
    *,
    status: CampaignStatus = "dialling",
    sends: int = 0,
    rate: float = 0.0,
    silence: float = 0.0,
    **counts: int,
) -> CampaignState:
    """Return the state of a campaign with so many contacts in some states."""
    return CampaignState(
        name="x",
        status=status,
        asked="running",
        why="",
        counts={each: counts.get(each, 0) for each in ContactState},
        sends=sends,
        cost=0.0,
        rate=rate,
        at=1_000.0,
        last_start=1_000.0 - silence,
    )


# --- the demo ---------------------------------------------------------------------------


def test_the_numbers_are_nobodys() -> None:
    """The demo's numbers are fictional 555-01xx lines, each used once."""
    numbers = list(islice(fictional_numbers(), 1_000))

    assert len(set(numbers)) == 1_000
    assert all(re.fullmatch(r"1[2-9]\d\d55501\d\d", str(number)) for number in numbers)


# --- the demo's report ------------------------------------------------------------------


def report(simulator: Simulator | None = None, **counts: int) -> Report:
    """Return a report on a campaign with these counts."""
    return Report(
        state=state(status="dialling", sends=0, **counts),
        answered=0,
        bad_gateways=0,
        simulator=Simulator() if simulator is None else simulator,
        calls_per_second=50,
    )


class Crowded(Simulator):
    """A simulator that reports a given busiest second and number of duplicates."""

    busiest: int = 0
    twice: int = 0

    def busiest_second(self) -> int:
        return self.busiest

    def duplicates(self) -> int:
        return self.twice


def crowded(*, busiest: int = 0, twice: int = 0) -> Simulator:
    """Return such a simulator."""
    simulator = Crowded()
    object.__setattr__(simulator, "busiest", busiest)
    object.__setattr__(simulator, "twice", twice)
    return simulator


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (report(crowded(twice=2)), "2 numbers were dialled twice"),
        (report(pending=1, sending=1), "2 contacts were forgotten"),
        (report(rejected=1), "1 calls were rejected, failed or blocked"),
        (report(finished=3), "the ledger says that 3 were called, and the simulator called 0"),
        (
            report(crowded(busiest=61)),
            "61 requests arrived in one second, and 50 were asked for",
        ),
    ],
)
def test_what_should_not_happen_is_said(found: Report, problem: str) -> None:
    """Each problem is found by itself and printed."""
    screen = Screen()
    found.print(terminal_on(screen))

    assert found.problems() == [problem]
    assert f"  wrong: {problem}" in screen.shown()


def test_a_few_requests_may_bunch_on_the_way() -> None:
    """A busiest second may hold what starts in 1.2 s, because arrivals are counted."""
    assert report(crowded(busiest=60)).problems() == []


def test_what_is_open_has_a_row_if_there_is_any() -> None:
    """Calls whose phones may have rung have a row if there are any."""
    screen = Screen()
    report(unknown=2, placed=1).print(terminal_on(screen))
    table = rows(screen.shown())
    certain = Screen()
    report(placed=1).print(terminal_on(certain))

    assert (table["may have rung"], table["called"]) == ("2", "1")
    assert "may have rung" not in rows(certain.shown())


# --- progress ---------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["58", "60", "80", "120"])
def test_no_line_is_longer_than_the_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider than the terminal; the table omits its notes if they do not fit."""
    monkeypatch.setenv("COLUMNS", columns)
    screen = Screen(tty=True)
    terminal = terminal_on(screen)
    report(unknown=1).print(terminal)
    display = Panel(terminal)
    display.show(state(pending=100, placed=7, unknown=3, finished=90, rate=12.5))
    display.note("a note", "bold")
    display.finish(state(finished=200, rate=1.0))
    lines = ESCAPE.sub("", screen.shown()).replace("\r", "\n").splitlines()

    assert max(map(len, lines)) <= int(columns)
    assert "a note" in lines
    assert ("asked: 50; counted on arrival" in screen.shown()) == (columns != "58")


@pytest.mark.anyio
async def test_plain_lines_come_now_and_then() -> None:
    """A pipe gets a line every ten seconds, notes at once, and a last line."""
    screen = Screen()
    lines = PlainLines(terminal_on(screen), 10.0)
    for n in range(25):
        lines.show(state(pending=30 - n, finished=n, rate=1.0))
        await anyio.sleep(1)
    lines.note("a note")
    lines.finish(None)
    lines.finish(state(finished=30, rate=1.0))

    assert screen.shown().splitlines() == [
        "10 of 30, 1.0/s, 0 live, 20 s left",
        "20 of 30, 1.0/s, 0 live, 10 s left",
        "a note",
        "30 of 30, 1.0/s, 0 live",
    ]


@pytest.mark.anyio
async def test_the_last_line_is_not_repeated() -> None:
    """What was printed already is not printed again at the end, unless a note came after it."""
    screen = Screen()
    lines = PlainLines(terminal_on(screen), 1.0)
    for _ in range(2):
        lines.show(state(finished=30, rate=2.0))
        await anyio.sleep(1)
    lines.finish(state(finished=30, rate=1.0))
    lines.note("a note")
    lines.finish(state(finished=30, rate=0.5))

    assert screen.shown().splitlines() == [
        "30 of 30, 2.0/s, 0 live",
        "a note",
        "30 of 30, 0.5/s, 0 live",
    ]


@pytest.mark.parametrize(
    ("rate", "silence", "words"),
    [
        (10.0, 0.0, "10 min left"),
        (9.0, 5.0, "11 min left"),
        (6.0, 20.0, "no request for 20 s"),
        (0.0, 5.0, "0 live"),
        (0.05, 30.0, "33.3 h left"),  # a call every twenty seconds is no silence
        (0.05, 61.0, "no request for 61 s"),
    ],
)
def test_a_silence_foretells_no_hours(rate: float, silence: float, words: str) -> None:
    """The time left follows the rate; after an unusual silence the silence is said instead."""
    shown = progress_words(state(pending=6_000, finished=50, rate=rate, silence=silence))

    assert shown.split(", ")[-1] == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (600, "10 min"), (9_000, "2.5 h")]
)
def test_durations_are_as_exact_as_people_need(seconds: float, words: str) -> None:
    """Durations are shown in seconds, then minutes, then hours."""
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("tty", "environ", "kind", "styles"),
    [
        (True, {}, Panel, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, Panel, True),
        (True, {"NO_COLOR": "1"}, Panel, False),
        (True, {"TERM": "dumb"}, PlainLines, False),
        (False, {}, PlainLines, False),
    ],
)
def test_a_terminals_wishes_are_respected(
    environ: dict[str, str], kind: type[Display], *, tty: bool, styles: bool
) -> None:
    """NO_COLOR, TERM=dumb and pipes select the display and its colours."""
    screen = Screen(tty=tty)
    terminal = terminal_on(screen, environ)
    display = display_for(terminal)
    display.finish(None)

    terminal.put(("x", "green"), " and y")

    assert isinstance(display, kind)
    assert screen.shown().endswith("\x1b[32mx\x1b[0m and y\n" if styles else "x and y\n")
    assert styles or "\x1b[3" not in screen.shown()


def test_fictional_numbers_come_to_an_end() -> None:
    """There are a hundred fictional numbers in each area code, and no duplicates."""
    numbers = list(fictional_numbers())

    assert (
        len(numbers) == len(set(numbers)) == 100 * sum(n % 100 != 11 for n in range(203, 990))
    )


class Placed:
    """A demo stage with live calls that end by the second look."""

    def __init__(self) -> None:
        self.looks = 0

    async def look(self) -> CampaignState:
        """Return the campaign's state."""
        self.looks += 1
        counts = dict.fromkeys(ContactState, 0)
        counts[ContactState.PLACED] = 2 - self.looks
        return CampaignState(
            name="demo",
            status="done",
            asked="running",
            why="",
            counts=counts,
            sends=2,
            cost=0.0,
        )


@pytest.mark.anyio
async def test_the_records_of_the_last_calls_are_waited_for() -> None:
    """The demo waits until no call is without its call record."""
    stage: Any = Placed()
    await _last_records(stage)

    assert stage.looks == 2
