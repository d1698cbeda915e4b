"""The command line's ``demo``, whose workers are processes."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
from functools import partial
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from consoles import TO, serving
from project_paths import DOCS
from terminal_output import Screen, rows, terminal_on

import telecmi_async
from telecmi_async.campaigns import CampaignSettings, Pace
from telecmi_async.cli import Exit, main, stage
from telecmi_async.cli.output.display import PlainLines
from telecmi_async.ledger import NewContact, SqliteLedger
from telecmi_async.simulator import Simulator

PICTURE = SimpleNamespace(**runpy.run_path(str(DOCS / "demo_picture.py")))


def run_demo(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the demo as a program."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "telecmi_async", "demo", *arguments],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={
            "PYTHONPATH": str(Path(telecmi_async.__file__).parents[1]),
            "PYTHONIOENCODING": "utf-8",
        },
        timeout=timeout,
    )


def test_the_demo_is_killed_resumed_and_dials_nobody_twice() -> None:
    """As a program, the demo kills a worker, resumes, and dials no number twice."""
    done = run_demo("--calls", "60", "--cps", "40")
    table = rows(done.stdout)

    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert done.stderr == ""
    assert "no phone rings" in done.stdout
    assert re.search(r"Killed process \d+", done.stdout)
    assert table["people"] == "60"
    assert table["forgotten"] == "0"
    assert int(table["called"]) + int(table.get("may have rung", 0)) == 60
    assert int(table["replies with a 502"]) > 0
    assert done.stdout.endswith("\ndialled twice: 0\n")
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_demo_runs_in_this_process(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo works on either event loop and on a terminal."""
    monkeypatch.setattr(anyio, "run", partial(anyio.run, backend=backend))
    screen = Screen(tty=True)
    code = main(["demo", "--calls", "20", "--cps", "40"], terminal=terminal_on(screen))

    assert code == Exit.OK
    assert "dialled twice: 0" in screen.shown()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_demo_may_speak_json(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json, results are one object on stdout, and progress is on stderr."""
    monkeypatch.setattr(anyio, "run", partial(anyio.run, backend=backend))
    screen = Screen()
    terminal = terminal_on(screen)
    code = main(["demo", "--calls", "20", "--cps", "40", "--json"], terminal=terminal)
    found = json.loads(screen.shown())

    assert code == Exit.OK
    assert (found["contacts"], found["dialled_twice"], found["problems"]) == (20, 0, [])
    assert isinstance(terminal.stderr, io.StringIO)
    assert "no phone rings" in terminal.stderr.getvalue()


def test_the_picture_in_the_readme_shows_what_the_demo_prints() -> None:
    """The pictures have the words of the demo's last screen; only figures may differ."""
    shots = PICTURE.record("--calls", "60", "--errors-502", "0.2")
    now = words_of(PICTURE.text_of(shots[-1].lines))
    for scheme in ("light", "dark"):
        drawn = (DOCS / "images" / f"demo-{scheme}.svg").read_text("utf-8")
        described = re.search(r"<desc [^>]*>(.*?)</desc>", drawn, re.DOTALL)
        letters = [
            re.sub("<[^>]+>", "", line)
            for line in re.findall(r"<text [^>]*>(.*?)</text>", drawn)
        ]

        assert described is not None
        shown = words_of(unescape(described[1]))
        assert shown == now
        # The text itself has them, too: with those that the picture shows in between.
        assert shown <= words_of(unescape("\n".join(letters)))
        assert len(drawn) < 60_000
        assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def words_of(screen: str) -> set[str]:
    """Return the lines of a screen without figures, except those that some runs do not have."""
    lines = {re.sub(r"\d[\d.]*", "#", line).strip() for line in screen.splitlines()}
    lines = {re.sub(" {2,}", "  ", line) for line in lines}
    return {
        line
        for line in lines
        if line and not re.search("━|unknown|may have rung {2}|answered, done$", line)
    }


def test_the_screen_of_the_picture_is_a_terminals() -> None:
    """Lines are redrawn, cleared and styled as on a terminal; an unknown style is an error."""
    screen = PICTURE.Screen()
    screen.feed("one\r\n\x1b[1mtwo\x1b[0m\r\nthree")
    screen.feed("\r\x1b[2K\x1b[1A\x1b[2K\x1b[32mnew\x1b[0m\r\nx\rab\x1b[?25l\x1b[K")

    assert PICTURE.text_of(screen.lines()) == "one\nnew\nab"
    assert screen.lines()[1] == (("n", "green"), ("e", "green"), ("w", "green"))
    with pytest.raises(ValueError, match="no style for code 45"):
        screen.feed("\x1b[45m")


def test_a_worker_that_fails_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the exit code of the failed worker."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    terminal = terminal_on(Screen())

    assert main(["demo", "--calls", "1"], terminal=terminal) == Exit.FAILED
    assert isinstance(terminal.stderr, io.StringIO)
    assert "a worker ended with 1" in terminal.stderr.getvalue()


def test_a_demo_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that takes too long fails."""
    monkeypatch.setattr(stage, "_OVER", 0.1)
    terminal = terminal_on(Screen())

    code = main(["demo", "--calls", "1", "--cps", "10000"], terminal=terminal)

    assert code == Exit.FAILED
    assert isinstance(terminal.stderr, io.StringIO)
    assert "far too long" in terminal.stderr.getvalue()


def test_the_demos_worker_dials_what_is_left(tmp_path: Path) -> None:
    """A worker process dials the campaign's remaining contacts and ends."""
    path = tmp_path / "demo.db"
    simulator = Simulator(life=None)
    settings = CampaignSettings(
        flow=[{"action": "hangup"}], from_=12025550199, pace=Pace(calls_per_second=100)
    )

    async def work(environ: dict[str, str]) -> None:
        async with SqliteLedger(path) as ledger:
            await ledger.create("demo", settings.dump())
            await ledger.load("demo", [NewContact(number=int(TO.strip("+").replace(" ", "")))])
            display = PlainLines(terminal_on(Screen()), 1.0)
            await stage._Stage(path, ledger, environ, display).resume()

    with serving(simulator) as environ:
        root = str(Path(telecmi_async.__file__).parents[1])
        anyio.run(work, {**os.environ, **environ, "PYTHONPATH": root})

    assert simulator.placed(TO) == 1
