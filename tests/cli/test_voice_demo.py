"""The command ``demo voice``: its talk, its report, its time line, and its file."""

from __future__ import annotations

import io
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
from telecmi_async.cli.talk_report import Plot, TalkReport
from telecmi_async.cli.voice_demo import Babble, joined_wav
from telecmi_async.simulator import Conversation, Note
from telecmi_async.voice import Heard

LOUD = b"\x00\x20" * 160


def test_the_bot_is_interrupted_hangs_up_and_transfers(tmp_path: Path) -> None:
    """Both calls are printed on 80 plain columns, and all voices are written."""
    screen, file = Screen(), tmp_path / "talk.wav"
    code = main(["demo", "voice", "--out", str(file)], terminal=terminal_on(screen))
    lines = screen.shown().replace(str(file), "FILE").splitlines()

    assert code == Exit.OK
    assert "no phone rings" in lines[0]
    assert "virtual clock" in lines[2]
    assert max(map(len, lines)) < 80
    assert "\x1b" not in screen.shown()
    assert [line.split()[0] for line in lines[7:9]] == ["callee", "bot"]
    assert lines[9].split() == ["break", "hangup"]
    marks = lines.index(f"{'bridge':>79}")
    assert [line.split()[0] for line in lines[marks - 2 : marks]] == ["caller", "bot"]
    assert "wrong" not in screen.shown()
    assert lines[-1] == "FILE has both calls: left the people, right the bot."
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 8_000)
        assert 14 < sound.getnframes() / 8_000 < 20


def test_what_happens_is_said_in_its_order() -> None:
    """Each line has its time: first what is said, at last what phones do."""
    terminal = console()
    main(["demo", "voice"], terminal=terminal)
    lines = re.findall(r"^ +([\d.]+).{9} s  (\w+)(.*)", terminal.out, re.MULTILINE)
    times = [float(at) for at, _, _ in lines]
    second = times.index(times[0], 1)

    assert times[:second] == sorted(times[:second])
    assert times[second:] == sorted(times[second:])
    assert [words.strip().partition(":")[0] for _, _, words in lines[second:]] == [
        "greeting",
        "asks for a person",
        "one moment",
        "bridge",
        "the stream is closed by the call; 0.00 s unheard",
        "the colleague's phone rings",
        "the colleague answers, and talks to the caller",
        "the colleague hangs up",
        "the call is over",
    ]


def test_the_report_is_read_by_programs() -> None:
    """With --json there is one object with all figures of both calls, and nothing else."""
    terminal = console()
    code = main(["demo", "voice", "--json"], terminal=terminal)
    found = json.loads(terminal.out)
    called, answered = found["calls"]

    assert code == Exit.OK
    assert terminal.err == ""
    assert found["file"] is None
    assert called["problems"] == answered["problems"] == []
    assert max(called["first_audio"], answered["first_audio"]) <= 0.1
    assert [each["delay"] <= 0.15 for each in called["barge_ins"]] == [True]
    assert answered["barge_ins"] == []
    plays = {each["name"]: each for each in called["plays"]}
    assert [plays[name]["interrupted"] for name in ("greeting", "answer", "goodbye")] == [
        True, False, False,
    ]  # fmt: skip
    assert plays["goodbye"]["heard"] == plays["goodbye"]["offered"] == 1.6
    every = [*called["plays"], *answered["plays"]]
    assert all(abs(each["estimate"] - each["heard"]) <= 0.1 for each in every)
    assert {each["what"] for each in called["timeline"]} >= {"bot", "callee", "break", "array"}
    assert [each["what"] for each in called["phones"]] == ["the call is over"]
    assert len(answered["phones"]) == 4


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
    assert b"To listen to both calls: telecmi-async demo voice --out talk.wav" in done.stdout


def test_voices_are_the_same_each_time_and_never_silent() -> None:
    """A seed gives the same sounds at any rate, without a pause that would look like an end."""
    sound = Babble(1.0, 150, 7)

    assert sound.pcm(8_000) == sound.pcm(8_000) != Babble(1.0, 150, 8).pcm(8_000)
    assert len(sound.pcm(16_000)) == 32_000
    pcm = sound.pcm(8_000)
    assert all(any(pcm[at : at + 320]) for at in range(0, len(pcm), 320))


# --- the report -------------------------------------------------------------------------


def conversation(last: str = "hangup") -> Conversation:
    """Return a conversation: 1 s of the bot with an interruption, then its goodbye."""
    talk = Conversation()
    spoken = [(1.0, True, False), (0.1, True, True), (0.4, False, True), (1.6, True, False)]
    for seconds, bot, callee in spoken:
        for _ in range(round(seconds * 50)):
            talk.add(LOUD if bot else b"", LOUD if callee else b"")
        if callee and bot:
            talk.cut()
            talk.note("break", "0.30 s unheard")
    talk.note("array", last)
    talk.add(b"", b"")
    return talk


PLAYS = (
    ("greeting", Heard(1.12, 4.0, interrupted=True)),
    ("goodbye", Heard(1.6, 1.6, interrupted=False)),
)
BEGAN, OVER = Note(5.0, "stream_connected", "b"), Note(8.1, "hangup", "a")
BRIDGED = Note(9.0, "bridged", "b")


def plot(action: str = "hangup", interruptions: int = 1) -> Plot:
    """Return how a call should go."""
    return Plot(
        title="They talk",
        person="callee",
        said=("asks",),
        interruptions=interruptions,
        action=action,
    )


def report(
    talk: Conversation | None = None,
    plays: Any = PLAYS,
    notes: tuple[Note, ...] = (BEGAN, OVER),
    script: Plot | None = None,
) -> TalkReport:
    """Return a report."""
    return TalkReport(
        plot=script or plot(),
        talk=conversation() if talk is None else talk,
        plays=plays,
        notes=notes,
    )


@pytest.mark.parametrize(
    "good",
    [report(), report(conversation("bridge"), PLAYS, (BEGAN, BRIDGED, OVER), plot("bridge"))],
)
def test_a_good_talk_has_no_problem(good: TalkReport) -> None:
    """The conversations that the other tests spoil have none."""
    assert good.problems() == []


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
            ["the bot's last words were cut off"],
        ),
        (
            report(plays=(PLAYS[0], ("goodbye", Heard(1.7, 1.7, interrupted=False)))),
            ["the bot's last words were cut off"],
        ),
        (report(plays=(*PLAYS, PLAYS[1])), ["not all that the bot said was heard"]),
        (
            report(script=plot(interruptions=0)),
            ["the bot was interrupted 1 times, not 0"],
        ),
        (
            report(conversation("bridge"), notes=(BEGAN, OVER), script=plot("bridge")),
            ["the colleague was not connected"],
        ),
        (
            report(notes=(BEGAN, BRIDGED, OVER), script=plot("bridge")),
            ["the bot did not transfer the call"],
        ),
        (report(notes=(BEGAN,)), ["the call did not end"]),
        (
            report(Conversation(), plays=(), notes=()),
            [
                "the bot was silent for too long at first",
                "the bot was interrupted 0 times, not 1",
                "the bot's last words were cut off",
                "the bot did not hang up",
                "the call did not end",
            ],
        ),
        (
            report(late(), plays=(("goodbye", Heard(1.2, 1.2, interrupted=False)),)),
            [
                "the bot was silent for too long at first",
                "the bot spoke too long over the callee",
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
    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", lambda _: (report(), spoilt))
    terminal = console()

    assert main(["demo", "voice"], terminal=terminal) == Exit.FAILED
    assert "  wrong: the bot did not hang up\n" in terminal.out


def test_the_file_is_what_was_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has the simulator's audio, and JSON names the file."""
    found, file = report(), tmp_path / "talk.wav"
    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", lambda _: (found, found))
    terminal = console()
    code = main(["demo", "voice", "--json", "--out", str(file)], terminal=terminal)

    assert code == Exit.OK
    assert file.read_bytes() == joined_wav([found.talk, found.talk])
    assert json.loads(terminal.out)["file"] == str(file)


def test_calls_in_a_file_have_a_second_between_them() -> None:
    """The people are on the left, the bot is on the right, and no sample is lost."""
    talk = conversation()
    with wave.open(io.BytesIO(joined_wav([talk, talk]))) as sound:
        samples = sound.readframes(sound.getnframes())
    with wave.open(io.BytesIO(talk.wav())) as sound:
        one = sound.readframes(sound.getnframes())

    assert samples == one + bytes(32_000) + one


def test_a_bot_that_was_never_heard_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without audio of the bot there is no time to first audio."""
    silent = Conversation()
    silent.add(b"", b"")
    monkeypatch.setattr(
        "telecmi_async.cli.voice_demo.run", lambda _: (report(silent, plays=()),)
    )
    terminal = console()
    main(["demo", "voice"], terminal=terminal)

    assert re.search(r"time to first audio: never", terminal.out)


# --- the time line ----------------------------------------------------------------------


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_time_line_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are as wide as the terminal, from 29 to 100 columns, and have one end."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = terminal_on(Screen(tty=True))
    lines = [
        "".join(part if isinstance(part, str) else part[0] for part in line)
        for line in lane_lines(terminal, conversation(), "callee")
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
    _, callee, bot, _ = lane_lines(terminal_on(Screen()), talk, "callee")

    assert bot == ("bot      ", ("█" * 35 + "·" * 35, "green"))
    assert callee == ("callee   ", ("·" * 52 + "█" * 18, "yellow"))


def test_lanes_are_plain_letters_where_there_are_no_blocks() -> None:
    """A terminal that cannot show blocks gets signs of ASCII."""
    terminal = terminal_on(Screen(encoding="ascii"))
    shown = "".join(str(line) for line in lane_lines(terminal, conversation(), "callee"))

    assert shown.isascii()
    assert "##" in shown
    assert ".." in shown


def test_words_that_would_touch_are_left_out() -> None:
    """Of messages at the same time the first has its word on the line; the list has all."""
    talk = Conversation()
    for what in ("pause", "resume", "ignored"):
        talk.note(what, "no JSON" if what == "ignored" else "")
    talk.add(b"", b"")
    *_, marks = lane_lines(terminal_on(Screen()), talk, "callee")

    assert marks == (" " * 9 + "pause",)
    assert [line for _, line in event_lines_of(talk, "callee", {})] == [
        "   0.00          s  pause",
        "   0.00          s  resume",
        "   0.00          s  ignored  no JSON",
    ]


@pytest.mark.parametrize("seconds", [1, 60, 3_000, 20_000])
def test_the_axis_has_labels_with_room_between_them(seconds: int) -> None:
    """Times are in whole seconds, whatever the length."""
    talk = Conversation()
    talk.frames = seconds * 50
    ((axis,), *_) = lane_lines(terminal_on(Screen()), talk, "callee")

    assert isinstance(axis, str)
    assert len(axis) <= 79
    assert 2 <= len(re.findall(r"\b\d+ s", axis)) <= 12


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another program makes during the demo stays, too."""
    file = tmp_path / "talk.wav"

    def made(_: object) -> tuple[TalkReport, ...]:
        file.write_bytes(b"theirs")
        return (report(),)

    monkeypatch.setattr("telecmi_async.cli.voice_demo.run", made)
    terminal = console()

    assert main(["demo", "voice", "--out", str(file)], terminal=terminal) == Exit.USAGE
    assert file.read_bytes() == b"theirs"
