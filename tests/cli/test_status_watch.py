"""``status --watch``, and what `status` says of rates, answers, workers and limits."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli_campaign import begin, in_ledger
from consoles import Console, Stream, interrupted
from cyclopts import Token

from telecmi_async import Hangup
from telecmi_async.campaigns import CampaignSettings, Pace
from telecmi_async.cli import Exit, main
from telecmi_async.cli.options import span_of_time
from telecmi_async.cli.state_words import campaign_words, limit_words
from telecmi_async.ledger import (
    CallEvidence,
    CampaignState,
    ContactState,
    SendLimits,
    SendResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telecmi_async.ledger import Ledger


class Reacting(Stream):
    """A stream that acts once when something was written."""

    act: Callable[[], object] | None = None

    def write(self, text: str) -> int:
        """Write, then act."""
        written = super().write(text)
        act, self.act = self.act, None
        if act is not None:
            act()
        return written


def stop() -> None:
    """Stop the campaign from outside."""
    with closing(sqlite3.connect("l.db", isolation_level=None)) as db:
        db.execute("UPDATE campaign SET status = 'stopped', why = 'enough'")


def watched(
    *more: str, tty: bool = False, act: Callable[[], object] = stop
) -> tuple[int, Console]:
    """Watch the campaign."""
    out = Reacting(tty=tty)
    out.act = act
    terminal = Console(stdin=Stream(), stdout=out, stderr=Stream(), environ={})
    every = [] if "--every" in more else ["--every", "0.1"]
    argv = ["status", "--ledger", "l.db", "--watch", *every, *more]
    return main(argv, terminal=terminal), terminal


async def half_done(ledger: Ledger) -> None:
    """Leave one answered call, one missed call and two contacts to be dialled."""
    await begin(ledger)
    for n, claim in enumerate(await ledger.claim("people", "w", most=2, lease=60)):
        token = f"tcm_{n}"
        await ledger.intend(claim, "w", token, limits=SendLimits(), fence=30, lease=90)
        await ledger.settle(token, SendResult(state=ContactState.PLACED))
        await ledger.record_event(
            CallEvidence(
                token=token,
                request_id=None,
                at=1.0,
                over=True,
                answered=not n,
                talk_seconds=0 if n else 75,
            )
        )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a campaign."""
    monkeypatch.chdir(tmp_path)
    in_ledger(half_done)


@pytest.mark.real_clock
@pytest.mark.parametrize("tty", [False, True])
def test_watch_ends_when_the_campaign_is_stopped(tty: bool) -> None:
    """Progress is shown until the end; then comes what `status` prints."""
    code, terminal = watched(tty=tty)

    assert code == Exit.PARTLY
    assert "2 of 4, " in terminal.out
    assert "50% answered" in terminal.out
    assert "answered   1 of 2 (50%)" in terminal.out
    assert "talk time       75 s" in terminal.out
    assert "people: stopped (enough)" in terminal.err
    assert ("\x1b[" in terminal.out) is tty


@pytest.mark.real_clock
def test_watch_prints_an_object_for_each_look() -> None:
    """With --json each line is the whole state, also on a terminal."""
    _, terminal = watched("--json", tty=True)
    first, *_, last = map(json.loads, terminal.out.splitlines())

    assert (first["status"], last["status"]) == ("dialling", "stopped")
    assert (first["ended"], first["answered"], first["answer_rate"]) == (2, 1, 0.5)
    assert (first["talk_seconds"], first["workers"]) == (75, 0)
    assert first["rate"] > 0
    assert first["time_left"] == pytest.approx(2 / first["rate"], rel=0.1)


@pytest.mark.real_clock
def test_ctrl_c_ends_watching_and_not_the_campaign() -> None:
    """Ctrl-C ends the command with its exit code; the campaign goes on."""
    seen = threading.Event()
    with interrupted(seen):
        code, terminal = watched(act=seen.set)

    assert code == Exit.INTERRUPTED
    assert "interrupted" in terminal.err
    assert in_ledger(lambda ledger: ledger.state("people")).asked == "running"


def state(**counts: int) -> CampaignState:
    """Return a state of a campaign that is being dialled."""
    return CampaignState(
        name="people", status="dialling", asked="running", why="", sends=9, cost=None,
        counts={each: counts.get(str(each), 0) for each in ContactState}, workers=2, at=100.0,
        last_start=60.0, waits_for="the reply was 429",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"placed": 2, "sending": 1, "pending": 1}, "all 3 live calls are in use"),
        ({"sending": 2, "pending": 1}, "all requests that may be in flight"),
        ({"placed": 2, "pending": 1}, "the reply was 429"),
        ({"placed": 3}, ""),
    ],
)
def test_the_limit_that_holds_up_a_campaign_is_named(counts: dict[str, int], said: str) -> None:
    """Live calls, requests in flight, or what the next contact waits for."""
    pace = Pace(max_live_calls=3, max_in_flight=1)
    words = limit_words(state(**counts), CampaignSettings(flow=[Hangup()], pace=pace))

    assert words.startswith(said)
    assert bool(words) is bool(said)


def test_a_worker_that_sends_nothing_does_not_simply_run() -> None:
    """After a worker was killed its lease goes on; the silence is said meanwhile."""
    held = state(pending=1, claimed=1)
    rules = CampaignSettings(flow=[Hangup()]).rules

    assert campaign_words(held, rules, None) == "running, no request for 40 s"


@pytest.mark.parametrize(
    ("written", "seconds"), [("2", 2), ("2s", 2), ("1m", 60), ("0.5h", 1800), ("0.1", 0.1)]
)
def test_a_time_has_a_unit_or_is_in_seconds(written: str, seconds: float) -> None:
    """The option takes seconds, minutes and hours."""
    assert span_of_time(0.1)(None, [Token(value=written)]) == seconds


@pytest.mark.parametrize(
    "written", ["0", "0.05", "2x", "m", "-1", "1e3", "nan", "\u0662", "2 s"]
)
def test_a_time_that_is_none_is_refused(written: str) -> None:
    """Too short a time and other words are refused, with examples."""
    code, terminal = watched("--every", written)

    assert code == Exit.USAGE
    assert "0.1 seconds or more, such as 2, 2s or 1m" in terminal.err
