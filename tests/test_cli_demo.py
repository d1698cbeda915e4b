"""The command line's ``demo``, and how it shows itself."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

import telecmi_async
from telecmi_async import CallService, Progress, RetryPolicy
from telecmi_async.cli import Exit, Terminal, demo, main
from telecmi_async.cli.demo import fictional_numbers
from telecmi_async.cli.display import ChangingLine, PlainLines, display_for
from telecmi_async.cli.report import Report
from telecmi_async.simulator import Simulator

ESCAPE = re.compile(r"\x1b\[[0-9;]*[mK]")
NO_ENVIRONMENT: dict[str, str] = {}


class Screen(io.TextIOWrapper):
    """A stream with an encoding of its own that may be a terminal."""

    def __init__(self, *, tty: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.tty = tty

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.tty

    def shown(self) -> str:
        """What was written."""
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def terminal_on(screen: Screen, environ: dict[str, str] = NO_ENVIRONMENT) -> Terminal:
    """A terminal whose results go to a screen."""
    return Terminal(stdin=io.StringIO(), stdout=screen, stderr=io.StringIO(), environ=environ)


def rows(text: str) -> dict[str, str]:
    """The table's labels and values."""
    found = re.findall(r"^  (?:  )?(\S.*?) {2,}(\S+)", ESCAPE.sub("", text), re.MULTILINE)
    return dict(found)


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands on each event loop, though they only ever ask for asyncio."""
    monkeypatch.setattr(anyio, "run", partial(anyio.run, backend=request.param))


@pytest.mark.usefixtures("loop")
def test_the_demo_shows_what_it_promises() -> None:
    """Every call is accepted once, retries included, and the table says so."""
    screen = Screen()
    arguments = ["--calls", "40", "--cps", "100", "--errors-502", "0.1"]
    code = main(["demo", *arguments], terminal=terminal_on(screen))
    text = screen.shown()
    table = rows(text)

    assert code == Exit.OK
    assert "no phone rings" in text
    assert "40 calls, 100 a second, over HTTP to http://127.0.0.1:" in text
    assert "10 % are a 502" in text
    assert table["accepted"] == "40"
    assert int(table["after at least one retry"]) > 0
    assert table["rejected"] == table["outcome unknown"] == "0"
    assert table["calls per second, asked for"] == "100"
    assert 50 < float(table["calls per second, reached"]) < 130
    assert table["numbers dialled twice"] == "0"
    assert len(re.findall(r"^  •••••••\d{4}  \w{43}$", text, re.MULTILINE)) == 3
    assert "\x1b" not in text


def test_the_demo_runs_as_a_program() -> None:
    """As a process of its own it succeeds, and complains about nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "telecmi_async", "demo", "--calls", "8"],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={
            "PYTHONPATH": str(Path(telecmi_async.__file__).parents[1]),
            "PYTHONIOENCODING": "utf-8",
        },
        timeout=60,
    )

    assert done.returncode == Exit.OK
    assert rows(done.stdout)["accepted"] == "8"
    assert done.stderr == ""


def test_when_every_answer_is_a_502_the_demo_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are refused for good are counted as rejected, have no id, and are no fault."""
    monkeypatch.setattr(
        demo, "CallService", partial(CallService, retry=RetryPolicy(attempts=2))
    )
    screen = Screen()
    arguments = ["--calls", "2", "--cps", "1000", "--errors-502", "1"]
    code = main(["demo", *arguments], terminal=terminal_on(screen))

    assert code == Exit.OK
    assert rows(screen.shown())["rejected"] == "2"
    assert "request_ids" not in screen.shown()


def test_on_a_terminal_one_line_changes() -> None:
    """A terminal sees a line that is drawn again and again, and styles."""
    screen = Screen(tty=True)
    code = main(["demo", "--calls", "10"], terminal=terminal_on(screen))
    text = screen.shown()

    assert code == Exit.OK
    assert text.count("\r\x1b[K") > 2
    assert re.search(r"━+\x1b\[0m  10 of 10 calls, \d retried, \d\.\d s\n", text)


def test_numbers_are_fictional() -> None:
    """Each number is reserved for fiction, of eleven digits, and comes once."""
    numbers = list(fictional_numbers())

    assert len(set(numbers)) == len(numbers) > 50_000
    assert all(re.fullmatch(r"1[2-9]\d\d55501\d\d", str(number)) for number in numbers)
    assert not any(str(number)[2:4] == "11" for number in numbers)


def report(simulator: Simulator, progress: Progress) -> Report:
    """What a run with a limit of 50 would end with."""
    samples = ((19170000001, "x" * 43),)
    return Report(progress=progress, simulator=simulator, calls_per_second=50, samples=samples)


def dial(simulator: Simulator, to: int, at: float = 0.0) -> None:
    """Have a number dialled."""
    body = (
        f'{{"appid": {simulator.app_id}, "secret": "{simulator.secret}", "from": 19170000000,'
        f'"to": {to}, "pcmo": [{{"action": "hangup"}}]}}'
    )
    headers = {"content-type": "application/json"}
    simulator.receive("POST", "/v2/global_pcmo_make_call", headers, body.encode(), at=at)
    simulator.leave()


def crowded(requests: int) -> Simulator:
    """A simulator that was asked so often within a second."""
    simulator = Simulator()
    for n in range(requests):
        dial(simulator, 19170000000 + n)
    return simulator


def dialled_twice() -> Simulator:
    """A simulator that dialled one number twice."""
    simulator = Simulator()
    dial(simulator, 19170000001)
    dial(simulator, 19170000001)
    return simulator


@pytest.mark.parametrize(
    ("simulator", "progress", "problem"),
    [
        (Simulator(), Progress(unknown=1), "1 calls were neither accepted nor rejected"),
        (Simulator(), Progress(not_sent=1, cancelled=2, invalid=3), "6 calls were neither"),
        (Simulator(), Progress(accepted=1), "1 calls were accepted and 0 numbers dialled"),
        (dialled_twice(), Progress(accepted=1), "1 numbers were dialled twice"),
        (crowded(53), Progress(accepted=53), "3 requests too many arrived in one second"),
    ],
)
def test_what_should_not_happen_is_a_problem(
    simulator: Simulator, progress: Progress, problem: str
) -> None:
    """Each thing that can go wrong is found, alone, and printed."""
    screen = Screen()
    found = report(simulator, progress)
    found.print(terminal_on(screen))

    assert len(found.problems()) == 1
    assert found.problems()[0].startswith(problem)
    assert f"  wrong: {problem}" in screen.shown()


def test_two_requests_in_fifty_may_bunch_on_the_way() -> None:
    """A busiest second a little above the limit is shown, and is no problem."""
    assert report(crowded(52), Progress(accepted=52)).problems() == []


def test_a_problem_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo with a problem fails."""
    monkeypatch.setattr(Report, "problems", lambda _: ["something"])
    screen = Screen()

    assert main(["demo", "--calls", "1"], terminal=terminal_on(screen)) == Exit.FAILED
    assert "wrong: something" in screen.shown()


def test_calls_that_were_not_sent_have_a_row_if_there_are_any() -> None:
    """Rows for what should not happen are shown only if it did."""
    screen = Screen()
    report(Simulator(), Progress(not_sent=2, cancelled=1)).print(terminal_on(screen))
    table = rows(screen.shown())

    assert (table["not sent"], table["cancelled"]) == ("2", "1")


@pytest.mark.parametrize(("columns", "longest"), [("60", 60), ("80", 79), ("120", 119)])
def test_no_line_is_longer_than_the_terminal(
    columns: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table leaves its notes out where they have no room, and never wraps."""
    monkeypatch.setenv("COLUMNS", columns)
    screen = Screen(tty=True)
    terminal = terminal_on(screen)
    report(crowded(50), Progress(accepted=50)).print(terminal)
    display_for(terminal, 100).finish(Progress(accepted=50, seconds=1.0))
    lines = ESCAPE.sub("", screen.shown()).replace("\r", "\n").splitlines()

    assert max(map(len, lines)) <= longest
    assert ("retries too" in screen.shown()) == (columns != "60")


@pytest.mark.parametrize(
    ("settled", "drawn"), [(0, "╌" * 50), (50, "━" * 25 + "╌" * 25), (100, "━" * 50)]
)
def test_the_bar_grows(settled: int, drawn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar shows the share of calls that are settled."""
    monkeypatch.setenv("COLUMNS", "120")
    screen = Screen(tty=True)
    terminal = terminal_on(screen, {"NO_COLOR": "1"})
    ChangingLine(terminal, 100).show(Progress(accepted=settled, retried=3, seconds=2.25))

    assert screen.shown() == f"\r\x1b[K{drawn}  {settled:>3} of 100 calls, 3 retried, 2.2 s"


def test_a_narrow_terminal_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room the bar goes first, and then the words' end."""
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen(tty=True)
    ChangingLine(terminal_on(screen, {"NO_COLOR": "1"}), 100).show(Progress(accepted=7))

    assert screen.shown() == "\r\x1b[K  7 of 100 calls, 0"


def test_a_terminal_without_these_characters_gets_others() -> None:
    """What a terminal cannot show is drawn with what it can, or as a question mark."""
    screen = Screen(tty=True, encoding="ascii")
    terminal = terminal_on(screen, {"NO_COLOR": "1"})
    ChangingLine(terminal, 2).show(Progress(accepted=1))
    terminal.put("•1234")

    assert re.fullmatch(r"\r\x1b\[K=+ +1 of 2 calls, 0 retried, 0\.0 s\?1234\n", screen.shown())


def test_plain_lines_wait_until_there_is_something() -> None:
    """A file gets no line before the first call is settled, and always a last one."""
    screen = Screen()
    lines = PlainLines(terminal_on(screen), 20)
    for progress in (Progress(), Progress(accepted=5, seconds=1.0)):
        lines.show(progress)
    lines.finish(Progress(accepted=20, retried=1, seconds=1.44))

    assert screen.shown().splitlines() == [
        " 5 of 20 calls, 0 retried, 1.0 s",
        "20 of 20 calls, 1 retried, 1.4 s",
    ]


@pytest.mark.parametrize(
    ("tty", "environ", "redraws", "styles"),
    [
        (True, {}, True, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        (True, {"NO_COLOR": "1"}, True, False),
        (True, {"TERM": "dumb"}, False, False),
        (False, {}, False, False),
    ],
)
def test_a_terminals_wishes_are_respected(
    environ: dict[str, str], *, tty: bool, redraws: bool, styles: bool
) -> None:
    """NO_COLOR, TERM=dumb and pipes get what they can show."""
    terminal = terminal_on(Screen(tty=tty), environ)

    assert terminal.can_redraw == redraws
    assert isinstance(display_for(terminal, 1), ChangingLine if redraws else PlainLines)
    assert (terminal.style("x", "green") == "\x1b[32mx\x1b[0m") == styles
    assert styles or terminal.style("x", "green") == "x"
