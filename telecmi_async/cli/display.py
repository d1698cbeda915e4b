"""How far the demo is: one line that changes, or a new line each second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from telecmi_async import Progress
    from telecmi_async.cli.terminal import Terminal

__all__ = ["ChangingLine", "Display", "PlainLines", "display_for"]

_WIDEST_BAR: Final = 50
_FULL, _EMPTY = "━", "╌"


class Display(Protocol):
    """Shows how far a stream of calls is."""

    #: Seconds between two calls of `show`.
    every: ClassVar[float]

    def show(self, progress: Progress) -> None:
        """Show where things stand."""
        ...

    def finish(self, progress: Progress) -> None:
        """Show where things stand for the last time."""
        ...


def display_for(terminal: Terminal, calls: int) -> Display:
    """Return what suits a terminal, or the file or pipe in its place."""
    kind = ChangingLine if terminal.can_redraw else PlainLines
    return kind(terminal, calls)


def _words(progress: Progress, calls: int) -> str:
    return (
        f"{progress.settled:>{len(str(calls))}} of {calls} calls, "
        f"{progress.retried} retried, {progress.seconds:.1f} s"
    )


class PlainLines:
    """A line each second, for what keeps all of them."""

    every: ClassVar[float] = 1.0

    def __init__(self, terminal: Terminal, calls: int) -> None:
        self._terminal = terminal
        self._calls = calls

    def show(self, progress: Progress) -> None:
        """Print where things stand, once there is anything."""
        if progress.settled:
            self._terminal.put(_words(progress, self._calls))

    def finish(self, progress: Progress) -> None:
        """Print where things stand."""
        self._terminal.put(_words(progress, self._calls))


class ChangingLine:
    """A bar that grows, for a terminal."""

    every: ClassVar[float] = 0.1

    def __init__(self, terminal: Terminal, calls: int) -> None:
        self._terminal = terminal
        self._calls = calls
        full, empty = (_FULL, _EMPTY) if terminal.shows(_FULL + _EMPTY) else ("=", " ")
        self._full, self._empty = full, empty

    def show(self, progress: Progress) -> None:
        """Draw the line anew."""
        # One column stays free: a full line would wrap and could not be redrawn.
        columns = self._terminal.width - 1
        words = _words(progress, self._calls)[:columns]
        width = max(min(_WIDEST_BAR, columns - len(words) - 2), 0)
        done = width * progress.settled // self._calls
        bar = self._terminal.style(self._full * done, "green")
        self._terminal.redraw(
            f"{bar}{self._empty * (width - done)}{'  ' if width else ''}{words}"
        )

    def finish(self, progress: Progress) -> None:
        """Draw the line for the last time."""
        self.show(progress)
        self._terminal.put()
