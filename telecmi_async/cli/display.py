"""Progress display: a panel, one changing line, or a new line from time to time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import anyio

if TYPE_CHECKING:
    from telecmi_async.cli.progress import CampaignView
    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.ledger import CampaignState

_WIDEST_BAR: Final = 40
_FULL, _EMPTY = "━", "╌"


class Display(Protocol):
    """Shows how far a campaign is."""

    def show(self, view: CampaignView) -> None:
        """Show where things stand; it may be asked for as often as one likes."""
        ...

    def note(self, text: str) -> None:
        """Say something in between."""
        ...

    def finish(self, view: CampaignView | None) -> None:
        """Show where things stand for the last time, if that is known."""
        ...


def display_for(terminal: Terminal, *, every: float = 10.0) -> Display:
    """Return the display that suits a terminal, or the file or pipe in its place.

    ``every`` is the number of seconds between two lines of output that cannot be redrawn.
    """
    if not terminal.can_redraw:
        return PlainLines(terminal, every)
    try:
        from telecmi_async.cli.panel import Panel  # noqa: PLC0415  # rich is an extra
    except ImportError:
        return ChangingLine(terminal)
    return Panel(terminal)


class PlainLines:
    """A line now and then, for what keeps all of them."""

    def __init__(self, terminal: Terminal, every: float) -> None:
        self._terminal = terminal
        self._every = every
        self._next: float | None = None
        self._shown: CampaignState | None = None

    def show(self, view: CampaignView) -> None:
        """Print where things stand, unless that was a moment ago."""
        now = anyio.current_time()
        if self._next is None:
            self._next = now + self._every
        elif now >= self._next:
            self._next += self._every
            self._put(view)

    def note(self, text: str) -> None:
        """Print it."""
        self._shown = None
        self._terminal.put(text)

    def finish(self, view: CampaignView | None) -> None:
        """Print where things stand, unless that was the last line."""
        if view is not None and view.state != self._shown:
            self._put(view)

    def _put(self, view: CampaignView) -> None:
        self._shown = view.state
        self._terminal.put(view.words())


class ChangingLine:
    """A bar that grows, for a terminal without rich."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        full, empty = (_FULL, _EMPTY) if terminal.shows(_FULL + _EMPTY) else ("=", " ")
        self._full, self._empty = full, empty

    def show(self, view: CampaignView) -> None:
        """Draw the line anew."""
        # One column stays free: a full line would wrap and could not be redrawn.
        columns = self._terminal.width - 1
        words = view.words()[:columns]
        width = max(min(_WIDEST_BAR, columns - len(words) - 2), 0)
        done = width * view.done // max(view.state.total, 1)
        bar = self._terminal.style(self._full * done, "green")
        self._terminal.redraw(
            f"{bar}{self._empty * (width - done)}{'  ' if width else ''}{words}"
        )

    def note(self, text: str) -> None:
        """Put it above the line."""
        self._terminal.redraw("")
        self._terminal.put(text)

    def finish(self, view: CampaignView | None) -> None:
        """Draw the line for the last time."""
        if view is not None:
            self.show(view)
        self._terminal.put()
