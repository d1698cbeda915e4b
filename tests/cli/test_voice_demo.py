"""The command ``demo voice``: its talk, its report, its time line, and its file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
from consoles import console
from terminal_output import Screen, terminal_on

import telecmi_async
from telecmi_async.cli import Exit, main
from telecmi_async.cli.talk_lines import event_lines_of, lane_lines
from telecmi_async.cli.voice_demo import Babble, TalkReport
from telecmi_async.simulator import Conversation
from telecmi_async.voice import Heard

LOUD = b"\x00\x20" * 160


def test_the_bot_is_interrupted_answers_and_hangs_up(tmp_path: Path) -> None:
    """The report is printed on 80 plain columns, and both voices are written."""
    screen, file = Screen(), tmp_path / "talk.wav"
    code = main(["demo", "voice", "--out", str(file)], terminal=terminal_on(screen))
    lines = screen.shown().replace(str(file), "FILE").splitlines()

    assert code == Exit.OK
    assert "no phone rings" in lines[0]
    assert "virtual clock" in lines[2]
    assert max(map(len, lines)) < 80
    assert "\x1b" not in screen.shown()
    assert [line.split()[0] for line in lines[5:7]] == ["callee", "bot"]
    assert lines[7].split() == ["break", "hangup"]
    assert "wrong" not in screen.shown()
    assert lines[-1] == "FILE: the callee is on the left, the bot on the right."
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 8_000)
        assert 9 < sound.getnframes() / 8_000 < 15


def test_the_report_is_read_by_programs() -> None:
    """With --json there is one object with all figures, and nothing else."""
    code, terminal = main(["demo", "voice", "--json"], terminal=(said := console())), said
    found = json.loads(terminal.out)

    assert code == Exit.OK
    assert terminal.err == ""
    assert found["problems"] == []
    assert found["file"] is None
    assert found["first_audio"] <= 0.1
    assert [each["delay"] <= 0.15 for each in found["barge_ins"]] == [True]
    plays = {each["name"]: each for each in found["plays"]}
    assert [plays[name]["interrupted"] for name in ("greeting", "answer", "goodbye")] == [
        True, False, False,
    ]  # fmt: skip
    assert plays["goodbye"]["heard"] == plays["goodbye"]["offered"] == 1.6
    assert all(abs(each["estimate"] - each["heard"]) <= 0.1 for each in plays.values())
    assert {each["what"] for each in found["timeline"]} >= {"bot", "callee", "break", "array"}


def test_each_run_is_the_same() -> None:
    """On the virtual clock, all figures and sounds are the same in each run."""
    outputs = set[str]()
    for _ in range(2):
        terminal = console()
        main(["demo", "voice", "--json"], terminal=terminal)
        outputs.add(terminal.out)

    assert len(outputs) == 1


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """A file that exists stays as it is, and the command says why it does nothing."""
    file = tmp_path / "talk.wav"
    file.write_bytes(b"mine")
    terminal = console()
    code = main(["demo", "voice", "--out", str(file)], terminal=terminal)

    assert code == Exit.USAGE
    assert f"cannot write {file}: File exists" in terminal.err
    assert terminal.out == ""
    assert file.read_bytes() == b"mine"


def test_a_file_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    """A folder that does not exist is said, without a traceback."""
    terminal = console()
    code = main(["demo", "voice", "--out", str(tmp_path / "no" / "x.wav")], terminal=terminal)

    assert code == Exit.USAGE
    assert "No such file or directory" in terminal.err


# Libraries of other extras: with `cli` alone the demo runs.
MISSING = "websockets soxr soundfile numpy trio pytest pipecat"
PROGRAM = f"""
import sys
for name in {MISSING.split()!r}:
    sys.modules[name] = None
from telecmi_async.cli import main
sys.exit(main(["demo", "voice"]))
"""


def test_the_demo_needs_no_other_extra() -> None:
    """It runs as a program without the libraries of the other extras."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        check=False,
        capture_output=True,
        env={"PYTHONPATH": str(Path(telecmi_async.__file__).parents[1])},
        timeout=60,
    )

    assert done.returncode == Exit.OK, done.stderr
    assert done.stderr == b""
    assert b"To listen to it: telecmi-async demo voice --out talk.wav" in done.stdout


def test_voices_are_the_same_each_time_and_never_silent() -> None:
    """A seed gives the same sounds at any rate, without a pause that would look like an end."""
    sound = Babble(1.0, 150, 7)

    assert sound.pcm(8_000) == sound.pcm(8_000) != Babble(1.0, 150, 8).pcm(8_000)
    assert len(sound.pcm(16_000)) == 32_000
    pcm = sound.pcm(8_000)
    assert all(any(pcm[at : at + 320]) for at in range(0, len(pcm), 320))


# --- the report -------------------------------------------------------------------------


def conversation() -> Conversation:
    """Return a conversation: 1 s of the bot with an interruption, then its goodbye."""
    talk = Conversation()
    spoken = [(1.0, True, False), (0.1, True, True), (0.4, False, True), (1.6, True, False)]
    for seconds, bot, callee in spoken:
        for _ in range(round(seconds * 50)):
            talk.add(LOUD if bot else b"", LOUD if callee else b"")
        if callee and bot:
            talk.cut()
            talk.note("break", "0.30 s unheard")
    talk.note("array", "hangup")
    talk.add(b"", b"")
    return talk


PLAYS = (
    ("greeting", Heard(1.12, 4.0, interrupted=True)),
    ("goodbye", Heard(1.6, 1.6, interrupted=False)),
)


def report(talk: Conversation | None = None, plays: Any = PLAYS) -> TalkReport:
    """Return a report."""
    return TalkReport(talk=conversation() if talk is None else talk, plays=plays)


def test_a_good_talk_has_no_problem() -> None:
    """The conversation that the other tests spoil has none."""
    assert report().problems() == []


def late() -> Conversation:
    """Return a conversation whose bot begins late, and goes on over the callee."""
    talk = Conversation()
    for _ in range(30):
        talk.add(b"", b"")
    for _ in range(60):
        talk.add(LOUD, LOUD if talk.frames > 50 else b"")
    return talk


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        (
            report(plays=((PLAYS[0][0], Heard(0.9, 4.0, interrupted=True)), PLAYS[1])),
            ["an estimate of what was heard is wrong"],
        ),
        (
            report(plays=(PLAYS[0], ("goodbye", Heard(1.6, 1.7, interrupted=True)))),
            ["the goodbye was cut off"],
        ),
        (report(plays=(*PLAYS, PLAYS[1])), ["not all that the bot said was heard"]),
        (
            report(Conversation(), plays=()),
            [
                "the bot was silent for too long at first",
                "the bot was not interrupted once",
                "the goodbye was cut off",
                "the bot did not hang up",
            ],
        ),
        (
            report(late(), plays=(("goodbye", Heard(1.2, 1.2, interrupted=False)),)),
            [
                "the bot was silent for too long at first",
                "the bot spoke too long over the callee",
                "the goodbye was cut off",
                "the bot did not hang up",
            ],
        ),
    ],
)
def test_what_should_not_happen_is_said(found: TalkReport, problems: list[str]) -> None:
    """Each problem is found by itself."""
    assert found.problems() == problems


def test_problems_are_printed_and_end_with_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run in which something went wrong says so, and ends with 1."""
    spoilt = report(late(), plays=())
    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", lambda _: spoilt)
    terminal = console()

    assert main(["demo", "voice"], terminal=terminal) == Exit.FAILED
    assert "  wrong: the bot did not hang up\n" in terminal.out


def test_the_file_is_what_was_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has the simulator's audio, and JSON names the file."""
    found, file = report(), tmp_path / "talk.wav"
    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", lambda _: found)
    terminal = console()
    code = main(["demo", "voice", "--json", "--out", str(file)], terminal=terminal)

    assert code == Exit.OK
    assert file.read_bytes() == found.talk.wav()
    assert json.loads(terminal.out)["file"] == str(file)


def test_a_bot_that_was_never_heard_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without audio of the bot there is no time to first audio."""
    silent = Conversation()
    silent.add(b"", b"")
    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", lambda _: report(silent, plays=()))
    terminal = console()
    main(["demo", "voice"], terminal=terminal)

    assert re.search(r"time to first audio +never", terminal.out)


# --- the time line ----------------------------------------------------------------------


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_time_line_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are as wide as the terminal, from 29 to 100 columns, and have one end."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = terminal_on(Screen(tty=True))
    lines = [
        "".join(part if isinstance(part, str) else part[0] for part in line)
        for line in lane_lines(terminal, conversation())
    ]
    widest = max(29, min(columns - 1, 100))

    assert max(map(len, lines)) == widest
    assert len(lines[1]) == len(lines[2]) == widest
    assert lines[2].startswith("bot      ██")
    assert lines[3].endswith("hangup")


def test_a_lane_shows_who_spoke_when() -> None:
    """Each column is a moment: a block if the side spoke then."""
    talk = Conversation()
    for n in range(100):
        talk.add(LOUD if n < 50 else b"", LOUD if n >= 75 else b"")
    _, callee, bot, _ = lane_lines(terminal_on(Screen()), talk)

    assert bot == ("bot      ", ("█" * 35 + "·" * 35, "green"))
    assert callee == ("callee   ", ("·" * 52 + "█" * 18, "yellow"))


def test_lanes_are_plain_letters_where_there_are_no_blocks() -> None:
    """A terminal that cannot show blocks gets signs of ASCII."""
    terminal = terminal_on(Screen(encoding="ascii"))
    shown = "".join(str(line) for line in lane_lines(terminal, conversation()))

    assert shown.isascii()
    assert "##" in shown
    assert ".." in shown


def test_words_that_would_touch_are_left_out() -> None:
    """Of messages at the same time the first has its word on the line; the list has all."""
    talk = Conversation()
    for what in ("pause", "resume", "ignored"):
        talk.note(what, "no JSON" if what == "ignored" else "")
    talk.add(b"", b"")
    *_, marks = lane_lines(terminal_on(Screen()), talk)

    assert marks == (" " * 9 + "pause",)
    assert list(event_lines_of(talk)) == [
        "   0.00          s  pause",
        "   0.00          s  resume",
        "   0.00          s  ignored  no JSON",
    ]


@pytest.mark.parametrize("seconds", [1, 60, 3_000, 20_000])
def test_the_axis_has_labels_with_room_between_them(seconds: int) -> None:
    """Times are in whole seconds, whatever the length."""
    talk = Conversation()
    talk.frames = seconds * 50
    ((axis,), *_) = lane_lines(terminal_on(Screen()), talk)

    assert isinstance(axis, str)
    assert len(axis) <= 79
    assert 2 <= len(re.findall(r"\b\d+ s", axis)) <= 12


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another program makes during the demo stays, too."""
    file = tmp_path / "talk.wav"

    def made(_: object) -> TalkReport:
        file.write_bytes(b"theirs")
        return report()

    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", made)
    terminal = console()

    assert main(["demo", "voice", "--out", str(file)], terminal=terminal) == Exit.USAGE
    assert file.read_bytes() == b"theirs"
