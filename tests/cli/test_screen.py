"""Streams that cannot be written: words are left out, results are written elsewhere."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from consoles import FLOW, Console, Stream, console, fail_in

from telecmi_async.cli import Exit, Terminal, main
from telecmi_async.cli.commands import call, flow
from telecmi_async.cli.output import screen
from telecmi_async.cli.output.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path


class Full(Stream):
    """A stream on a full disk, or one that fails otherwise."""

    def __init__(self, error: Exception | None = None, *, at_once: bool = False) -> None:
        super().__init__()
        self.at_once = at_once
        self.error = error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, text: str) -> int:
        """Fail at once, or when the buffer is flushed."""
        if self.at_once:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        """Fail."""
        raise self.error

    def isatty(self) -> bool:
        """Fail."""
        raise self.error


ERRORS = pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        ValueError("I/O operation on closed file"),
        RuntimeError("reentrant call"),
    ],
    ids=str,
)


@ERRORS
def test_words_that_cannot_be_written_are_left_out(error: Exception) -> None:
    """Nothing is raised, neither by a write nor by a look for a terminal."""
    terminal = Console(
        stdin=Stream(), stdout=Stream(), stderr=Full(error), environ={}
    ).unfailing(results=False)
    terminal.say("some words")

    assert terminal.unfailing(results=False).stderr is terminal.stderr
    assert terminal.stderr.isatty() is terminal.can_ask is False
    assert terminal.ask("Yes? ") == ""


@ERRORS
def test_results_that_cannot_be_written_are_among_the_words(error: Exception) -> None:
    """Why is said once, and each result follows."""
    words = Stream()
    terminal = Console(stdin=Stream(), stdout=Full(error), stderr=words, environ={}).unfailing(
        results=True
    )
    terminal.put("one")
    terminal.put("two")

    first, *rest = words.getvalue().splitlines()
    assert first.startswith("results cannot be written to stdout (")
    assert rest == ["one", "two"]


def test_a_flush_without_results_says_nothing() -> None:
    """If nothing was to be written, a stream that fails is no loss."""
    lost: list[str] = []
    Screen(Full(), lambda text, _: lost.append(text)).flush()

    assert lost == []


def test_characters_that_a_stream_lacks_are_replaced(tmp_path: Path) -> None:
    """A screen with a narrow encoding shows "?" for what it cannot."""
    with (tmp_path / "words").open("w", encoding="ascii") as file:
        Screen(file).write("→ ok")

    assert (tmp_path / "words").read_text() == "? ok"


def test_a_stream_that_fails_at_the_end_is_given_up(tmp_path: Path) -> None:
    """What a stream still holds goes nowhere, or Python's exit code would replace ours."""
    with (tmp_path / "words").open("w") as file:
        given = Full()
        given.fileno = file.fileno  # type: ignore[method-assign]  # a stream with a file
        screen.finish(given)
        os.write(file.fileno(), b"lost")

    assert (tmp_path / "words").read_text() == ""
    screen.finish(Full())


def test_closed_streams_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without stdin and stderr has empty ones."""
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    terminal = Terminal.of_process()
    with terminal.stdin, terminal.stderr:
        terminal.say("words")

        assert terminal.stdin.read() == ""
        assert terminal.stdout is sys.stdout


def test_numbers_of_closed_streams_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the program gets the number of a closed stream."""
    numbers = iter([1, 2, 7])
    closed: list[int] = []
    monkeypatch.setattr(sys, "stdout", None)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *_: next(numbers))
        patched.setattr(os, "close", closed.append)
        _, stdout, _ = screen.standard_streams()
    stdout.close()

    assert closed == [7]
    assert next(numbers, None) is None


def test_open_streams_are_used_as_they_are() -> None:
    """The streams of a process that has all of them are its own."""
    assert screen.standard_streams() == (sys.stdin, sys.stdout, sys.stderr)


def test_a_fault_of_the_program_says_that_a_phone_may_have_rung(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a bug in a command that calls people, the exit code is not "no phone rang"."""
    fail_in(monkeypatch, call.call, KeyError("a bug"))
    fail_in(monkeypatch, flow.check, KeyError("a bug"))
    file = tmp_path / "flow.json"
    file.write_text(FLOW)
    terminal = console()

    assert main(["call", "--to", "1", "--flow", str(file)], terminal=terminal) == Exit.UNKNOWN
    assert "KeyError: 'a bug'" in terminal.err
    with pytest.raises(KeyError):
        main(["flow", "check", str(file)], terminal=terminal)


def test_an_answer_from_a_terminal_that_is_gone_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A question on a lost terminal is answered with nothing, which confirms nothing."""

    def gone(*_: Any) -> str:
        raise OSError(errno.EIO, "Input/output error")

    given = io.StringIO()
    monkeypatch.setattr(given, "readline", gone, raising=False)
    terminal = Console(stdin=given, stdout=Stream(), stderr=Stream(), environ={})

    assert terminal.ask("Yes? ") == ""


@ERRORS
def test_a_write_that_fails_at_once_is_no_loss(error: Exception) -> None:
    """A stream that fails before its buffer is full loses no result either."""
    lost: list[str] = []
    stream = Screen(Full(error, at_once=True), lambda text, _: lost.append(text))
    stream.write("one\n")

    assert lost == ["one\n"]
