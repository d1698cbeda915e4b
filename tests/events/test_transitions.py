"""The table of stages: its laws, checked cell by cell, and its drawing."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from project_paths import docs_page

from telecmi_async.events import Signal, Stage, parse_event
from telecmi_async.events.transitions import (
    CALL_TABLE,
    TABLE,
    advance,
    advance_call,
    signal_of,
)

PAGE = docs_page("events.md")
PAIRS = list(product(Signal, Signal))


def reachable(stage: Stage) -> set[Stage]:
    """Return the stages that a leg can reach, including its own."""
    found = {stage}
    waiting = [stage]
    while waiting:
        new = set(TABLE[waiting.pop()].values()) - found
        found |= new
        waiting += new
    return found


def test_the_table_is_complete() -> None:
    """Every stage has a cell for every signal, and every signal a row for the call."""
    assert set(TABLE) == set(Stage)
    assert all(set(row) == set(Signal) for row in TABLE.values())
    assert set(CALL_TABLE) == set(Signal)


@pytest.mark.parametrize("stage", Stage)
def test_a_repeat_changes_nothing(stage: Stage) -> None:
    """The same signal twice has the effect of one."""
    for signal in Signal:
        once = advance(stage, signal)

        assert advance(once, signal) is once


@pytest.mark.parametrize("stage", Stage)
def test_order_makes_no_difference(stage: Stage) -> None:
    """Two signals lead to the same stage in either order."""
    for one, other in PAIRS:
        assert advance(advance(stage, one), other) is advance(advance(stage, other), one)


@pytest.mark.parametrize("stage", Stage)
def test_nothing_goes_back(stage: Stage) -> None:
    """A leg never returns to an earlier stage, and never undoes an end or an answer."""
    for later in reachable(stage) - {stage}:
        assert stage not in reachable(later)
        assert later.over or not stage.over
        assert later.answered or not stage.answered


def test_every_stage_is_of_use() -> None:
    """All stages can be reached; completed is final, and missed can only become completed."""
    assert reachable(Stage.NEW) == set(Stage)
    assert reachable(Stage.COMPLETED) == {Stage.COMPLETED}
    assert reachable(Stage.MISSED) == {Stage.MISSED, Stage.COMPLETED}


@pytest.mark.parametrize(
    ("signals", "stage"),
    [
        ("", "new"),
        ("started ringing answered bridged hangup record_answered", "completed"),
        ("started ringing", "ringing"),
        ("ringing started", "ringing"),
        ("started answered", "answered"),
        ("started ringing hangup", "hung_up"),
        ("hangup ringing", "hung_up"),
        ("started ringing hangup record_missed", "missed"),
        ("record_missed ringing hangup", "missed"),
        ("hangup answered", "completed"),
        ("answered hangup", "completed"),
        ("record_answered", "completed"),
        ("answered record_missed", "completed"),
        ("record_missed answered", "completed"),
        ("record_missed record_answered", "completed"),
    ],
)
def test_how_calls_go(signals: str, stage: str) -> None:
    """Usual and confused sequences of signals end in the expected stage."""
    at = Stage.NEW
    for name in signals.split():
        at = advance(at, Signal(name))

    assert at == stage


@pytest.mark.parametrize("stage", Stage)
def test_the_call_is_where_its_first_leg_is(stage: Stage) -> None:
    """A signal of leg a moves the call as it moves the leg."""
    for signal in Signal:
        assert advance_call(stage, signal, first_leg=True) is advance(stage, signal)


@pytest.mark.parametrize("stage", Stage)
def test_of_other_legs_only_an_answer_matters(stage: Stage) -> None:
    """Another leg can bridge the call, and never ends it."""
    for signal in Signal:
        then = advance_call(stage, signal, first_leg=False)
        if signal in {Signal.ANSWERED, Signal.BRIDGED, Signal.RECORD_ANSWERED}:
            assert then is advance(stage, Signal.BRIDGED)
        else:
            assert then is stage


@pytest.mark.parametrize("stage", Stage)
def test_a_call_has_the_laws_of_a_leg(stage: Stage) -> None:
    """Signals of all legs commute, and repeats have no effect."""
    moves = list(product(Signal, [True, False]))
    for (one, of_one), (other, of_other) in product(moves, moves):
        there = advance_call(
            advance_call(stage, one, first_leg=of_one), other, first_leg=of_other
        )
        back = advance_call(
            advance_call(stage, other, first_leg=of_other), one, first_leg=of_one
        )

        assert there is back
        assert advance_call(there, one, first_leg=of_one) is there


@pytest.mark.parametrize(
    ("stage", "over", "answered"),
    [
        ("new", False, None),
        ("started", False, None),
        ("ringing", False, None),
        ("answered", False, True),
        ("bridged", False, True),
        ("hung_up", True, None),
        ("missed", True, False),
        ("completed", True, True),
    ],
)
def test_a_stage_says_what_is_known(stage: str, over: bool, answered: bool | None) -> None:
    """A stage says whether a leg is over, and whether it was answered."""
    assert Stage(stage).over is over
    assert Stage(stage).answered is answered


@pytest.mark.parametrize(
    ("payload", "signal"),
    [
        ({"status": "out_started"}, "started"),
        ({"status": "ringing"}, "ringing"),
        ({"status": "in_answered"}, "answered"),
        ({"status": "out_bridged"}, "bridged"),
        ({"status": "hangup"}, "hangup"),
        ({"type": "cdr", "status": "answered"}, "record_answered"),
        ({"type": "cdr", "status": "busy"}, "record_missed"),
        ({"type": "cdr"}, "hangup"),
        ({"dtmf": "1"}, None),
        ({"action": "inbound"}, None),
        ({"status": "stream_connected"}, None),
        ({"status": "in_transit"}, None),
    ],
)
def test_what_an_event_says(payload: dict[str, Any], signal: str | None) -> None:
    """Each kind of event has its signal, or None if it says nothing about the stage."""
    assert signal_of(parse_event(payload)) == signal


def render() -> str:
    """Return both tables as the page shows them, with a dash where nothing changes."""
    legs = [
        ["a leg that is", *Signal],
        *(
            [f"**{at}**", *(changed(at, to) for to in row.values())]
            for at, row in TABLE.items()
        ),
    ]
    call = [
        ["another leg's", "is for the call"],
        *([signal, meaning or "\u2013"] for signal, meaning in CALL_TABLE.items()),
    ]
    return f"{markdown(legs)}\n\n{markdown(call)}\n"


def changed(at: Stage, to: Stage) -> str:
    """Return a cell."""
    return "\u2013" if to is at else to


def markdown(rows: list[list[str]]) -> str:
    """Return a table."""
    head, *body = [f"| {' | '.join(cells)} |".replace("_", " ") for cells in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def test_the_page_shows_the_table() -> None:
    """The page holds exactly the tables that are drawn from the code."""
    page = PAGE.read_text(encoding="utf-8")

    shown = page.partition("<!-- drawn: begin -->\n\n")[2].partition("\n<!-- drawn: end -->")[0]

    assert shown == render()
