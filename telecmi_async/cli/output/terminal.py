"""Terminal: stdin, stdout and stderr of a command, confirmation, and masking of numbers."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias, cast

from attrs import evolve, frozen

from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.output.background import BackgroundStream, BackgroundWriter
from telecmi_async.cli.output.screen import Screen, encodable, on_one_line, standard_streams

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
#: A text, or a text and its style.
Part: TypeAlias = str | tuple[str, str]
# For more calls than this, the user must type the number instead of "yes".
_FEW: Final = 10


@contextmanager
def _plain_interrupts() -> Generator[None]:
    """Have Ctrl-C raise `KeyboardInterrupt`, if this is the thread that signals go to."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@frozen(kw_only=True)
class Terminal:
    """The three streams of a process (answers, results, words), and its environment."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]

    @classmethod
    def of_process(cls) -> Terminal:
        """Return this process's own."""
        stdin, stdout, stderr = standard_streams()
        return cls(stdin=stdin, stdout=stdout, stderr=stderr, environ=os.environ)

    @property
    def words(self) -> Terminal:
        """This terminal with words for results: what is drawn goes to stderr."""
        return evolve(self, stdout=self.stderr)

    def put(self, *parts: Part) -> None:
        """Write a line of results."""
        self._write(self.stdout, parts)

    def say(self, *parts: Part) -> None:
        """Write a line of words."""
        self._write(self.stderr, parts)

    def write(self, line: str, /) -> None:
        """Write a line for other programs: as it is, unless a terminal would obey it."""
        line = line.removesuffix("\n")
        if self.stdout.isatty():
            self.put(line.removesuffix("\r"))
        else:
            print(encodable(line, self.stdout), file=self.stdout, flush=True)

    def _write(self, stream: TextIO, parts: Sequence[Part]) -> None:
        styled = self._can_redraw(stream) and not self.environ.get("NO_COLOR")
        line = ""
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            text = on_one_line(text)
            line += f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if styled and style else text
        print(encodable(line, stream), file=stream, flush=True)

    def unfailing(self, *, results: bool) -> Terminal:
        """Return this terminal, but words that cannot be written end nothing.

        With ``results`` neither do results: those are written among the words then.
        """
        stderr = Screen.over(self.stderr)
        if not results:
            return evolve(self, stderr=stderr)
        was_said = False

        def instead(text: str, why: str) -> None:
            nonlocal was_said
            if not was_said:
                print(
                    f"results cannot be written to stdout ({why}); here they are:", file=stderr
                )
            was_said = True
            print(text, end="", file=stderr, flush=True)

        return evolve(self, stderr=stderr, stdout=Screen.over(self.stdout, instead))

    def ask(self, question: str) -> str:
        """Return what is answered to a question; empty if nothing can be.

        Ctrl-C ends the wait at once, though asyncio would put it off until an answer.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        self.stderr.write(encodable(on_one_line(question), self.stderr))
        self.stderr.flush()
        with _plain_interrupts(), suppress(OSError, ValueError):  # the terminal is gone
            return self.stdin.readline().strip()
        return ""

    @property
    def can_ask(self) -> bool:
        """Whether a user can answer questions."""
        return self.stdin.isatty() and self.stderr.isatty()

    @property
    def can_redraw(self) -> bool:
        """Whether lines of results can be replaced."""
        return self._can_redraw(self.stdout)

    def _can_redraw(self, stream: TextIO) -> bool:
        return stream.isatty() and self.environ.get("TERM") != "dumb"

    @contextmanager
    def in_background(self) -> Generator[tuple[Terminal, BackgroundWriter]]:
        """Yield a terminal that never waits, and what writes for it; it ends with the context."""
        writer = BackgroundWriter()
        words = BackgroundStream(self.stderr, writer, words=True)
        results = BackgroundStream(self.stdout, writer, words=False)
        try:
            yield (
                evolve(self, stdout=cast("TextIO", results), stderr=cast("TextIO", words)),
                writer,
            )
        finally:
            writer.end()
            if writer.left_out:
                self.say(f"{writer.left_out} lines were left out")

    def wait_for_words(self, seconds: float) -> None:
        """Wait for words to be written, but not longer than that."""
        if isinstance(self.stderr, BackgroundStream):
            self.stderr.wait(seconds)

    @property
    def is_behind(self) -> bool:
        """Whether results wait to be written, because the terminal takes nothing now."""
        return isinstance(self.stdout, BackgroundStream) and not self.stdout.wait(0)

    @property
    def width(self) -> int:
        """The number of columns of a line of results; 80 if it is not known."""
        return shutil.get_terminal_size().columns if self.stdout.isatty() else 80

    def console(self) -> Console:
        """Return rich's console over results, for what is more than a line."""
        from rich.console import Console  # slow to import; few commands draw

        return Console(
            file=self.stdout,
            force_terminal=self.can_redraw,
            no_color=bool(self.environ.get("NO_COLOR")),
            width=self.width,
            highlight=False,
            markup=False,
        )


def confirm(
    terminal: Terminal,
    count: int,
    total: int | None = None,
    calls: int = 0,
    *,
    given: int | None,
    can_ask: bool = True,
) -> None:
    """Ask the user to confirm how many people will be called.

    Args:
        terminal: Where to ask.
        count: How many.
        total: How many contacts the campaign has, with those that were called already.
        calls: How many calls that may be, if some are called more than once.
        given: The number in the argument ``--yes``, if there is one: ``count`` or ``total``, so
            that the same command goes on after an interruption.
        can_ask: Whether stdin is free for an answer.

    Raises:
        Stop: It is not confirmed.
    """
    if given is not None:
        if given not in {count, total}:
            of_all = "" if total in {None, count} else f" (of {total} in the campaign)"
            raise Stop(
                Exit.USAGE, f"--yes {given} was given, and {count} would be called{of_all}"
            )
        return
    if not (can_ask and terminal.can_ask):
        raise Stop(Exit.USAGE, f"there is no terminal to ask on: add --yes {count}")
    most = f" (at most {calls} calls)" if calls > count else ""
    if count <= _FEW:
        agreed = terminal.ask(f"Call {count}{most}? Type yes: ").lower() in {"y", "yes"}
    else:
        agreed = terminal.ask(f"Type how many will be called{most}, to call them: ") == str(
            count
        )
    if not agreed:
        raise Stop(Exit.FAILED, "no call was placed")
