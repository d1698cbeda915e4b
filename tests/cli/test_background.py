"""Output in the background: nothing that a terminal does not take holds a program up."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from consoles import Stream, console

from telecmi_async.cli.exits import Exit
from telecmi_async.cli.interrupts import Interrupts
from telecmi_async.cli.output import background
from telecmi_async.cli.output.display import Panel, PlainLines
from telecmi_async.ledger import CampaignState, ContactState

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real_clock


class Stopped(Stream):
    """A stream that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__(tty=True)
        self.free = threading.Event()
        self.waits = threading.Event()

    def write(self, text: str) -> int:
        """Wait, and take a text."""
        self.waits.set()
        assert self.free.wait(20)
        return super().write(text)


@pytest.fixture
def stopped() -> Iterator[Stopped]:
    """A stream that is released in the end."""
    stream = Stopped()
    yield stream
    stream.free.set()


def test_all_is_written_in_order(stopped: Stopped) -> None:
    """Words and results wait while the terminal takes nothing, and are written afterwards."""
    given = evolve(console(), stdout=stopped)
    with given.in_background() as (terminal, writer):
        terminal.put("one")
        terminal.say("two")
        assert stopped.waits.wait(20)
        behind = terminal.is_behind
        terminal.put("three")
        stopped.free.set()
        writer.finish(lambda: 0)
        assert not terminal.is_behind

    assert behind
    assert not given.is_behind
    assert stopped.getvalue() == "one\nthree\n"
    assert given.err == "two\n"


def test_words_that_nothing_takes_are_left_out_in_the_end(
    stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound words are left out, which is said, and results wait."""
    monkeypatch.setattr(background, "_MOST", 2)
    given = evolve(console(), stderr=stopped)
    with given.in_background() as (terminal, writer):
        for word in "abcd":
            terminal.say(word)
        timer = threading.Timer(0.2, stopped.free.set)
        timer.start()
        terminal.put("result")  # it waits for room
        timer.join()
        writer.finish(lambda: 0)

    assert given.out == "result\n"
    assert stopped.getvalue() == "a\nb\n2 lines were left out\n"


def test_ctrl_c_ends_the_wait_for_the_last_words(
    stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the terminal still takes nothing in the end, Ctrl-C ends the process."""
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        stopped.free.set()

    monkeypatch.setattr(os, "_exit", end)
    with evolve(console(), stdout=stopped).in_background() as (terminal, writer):
        pressed = Interrupts(terminal)
        terminal.put("result")
        timer = threading.Timer(0.2, pressed.receive)
        timer.start()
        writer.finish(lambda: pressed.count)
        timer.join()

    assert ended[0] == Exit.INTERRUPTED


def test_a_second_interrupt_does_not_wait_for_its_words(stopped: Stopped) -> None:
    """Ctrl-C twice ends the process, although its words cannot be written."""
    ended: list[int] = []
    times = iter([0.0, 1.0])
    with evolve(console(), stderr=stopped).in_background() as (terminal, _):
        pressed = Interrupts(terminal, ended.append, lambda: next(times))
        pressed.receive()
        pressed.receive()
        stopped.free.set()

    assert ended == [Exit.INTERRUPTED]
    assert "Gone." in stopped.getvalue()


class Full(Stream):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        """Fail."""
        raise OSError(28, "No space left on device")


def test_a_stream_that_cannot_be_written_ends_nothing() -> None:
    """What cannot be written is left out, and the next texts are written."""
    given = console()
    with evolve(given, stderr=Full()).in_background() as (terminal, writer):
        terminal.say("lost")
        terminal.stdout.flush()  # of nothing
        terminal.put("result")
        writer.finish(lambda: 0)

    assert given.out == "result\n"


@pytest.mark.anyio
async def test_progress_is_not_drawn_into_a_queue(stopped: Stopped) -> None:
    """While a terminal takes nothing, progress is skipped; the last state is written."""
    counts = dict.fromkeys(ContactState, 0) | {ContactState.FINISHED: 2}
    state = CampaignState(
        name="x", status="done", asked="running", why="", counts=counts, sends=2, cost=None
    )
    with evolve(console(), stdout=stopped).in_background() as (terminal, writer):
        lines = PlainLines(terminal, every=0.0)
        lines.note("first")
        assert stopped.waits.wait(20)
        for _ in range(5):
            lines.show(state)
        lines.finish(state)
        stopped.free.set()
        writer.finish(lambda: 0)

    assert stopped.getvalue().count("\n") == 2


def test_a_panel_is_not_drawn_into_a_queue(stopped: Stopped) -> None:
    """While a terminal takes nothing, the panel is not drawn; it is drawn at the end."""
    views = [
        CampaignState(
            name="x",
            status="dialling",
            asked="running",
            why="",
            counts=dict.fromkeys(ContactState, 0) | {ContactState.FINISHED: finished},
            sends=finished,
            cost=None,
        )
        for finished in (71, 72)
    ]
    with evolve(console(), stdout=stopped).in_background() as (terminal, writer):
        panel = Panel(terminal)
        terminal.put("first")
        assert stopped.waits.wait(20)
        panel.show(views[0])
        panel.finish(views[1])
        stopped.free.set()
        writer.finish(lambda: 0)

    assert "72" in stopped.getvalue()
    assert "71" not in stopped.getvalue()
