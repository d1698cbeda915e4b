"""Progress display: a panel that is drawn anew, or a new line from time to time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from telecmi_async.cli.output.progress import progress_words
from telecmi_async.cli.output.screen import on_one_line
from telecmi_async.ledger import ContactState
from telecmi_async.ledger.states import STATE_MEANINGS

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.ledger import CampaignState

# How each state is drawn, if not as other text is.
_STYLES: Final = {
    ContactState.PLACED: "green",
    ContactState.FINISHED: "green",
    ContactState.REJECTED: "red",
    ContactState.FAILED: "red",
    ContactState.UNKNOWN: "bold yellow",
}


def display_for(terminal: Terminal, *, every: float = 10.0, receives: bool = True) -> Display:
    """Return the display that suits a terminal, or the file or pipe in its place.

    ``every`` is the number of seconds between two lines of output that cannot be redrawn,
    ``receives`` as in `progress_words`.
    """
    if terminal.can_redraw:
        return Panel(terminal, receives=receives)
    return PlainLines(terminal, every, receives=receives)


class PlainLines:
    """A line now and then, for what keeps all of them."""

    def __init__(self, terminal: Terminal, every: float, *, receives: bool = True) -> None:
        self._terminal = terminal
        self._receives = receives
        self._every = every
        self._next: float | None = None
        self._shown: CampaignState | None = None

    def show(self, state: CampaignState) -> None:
        """Print where things stand, unless that was a moment ago."""
        now = anyio.current_time()
        if self._next is None:
            self._next = now + self._every
        elif now >= self._next:
            self._next += self._every
            if not self._terminal.is_behind:
                self._put(state)

    def note(self, text: str, style: str = "") -> None:
        """Say something in between."""
        self._shown = None
        self._terminal.put((text, style))

    def finish(self, state: CampaignState | None) -> None:
        """Print where things stand for the last time, unless that was the last line."""
        if state is not None and state != self._shown:
            self._put(state)

    def _put(self, state: CampaignState) -> None:
        self._shown = state
        self._terminal.put(progress_words(state, receives=self._receives))


class Panel:
    """A bar, and below it a table of results: some lines of a terminal that change."""

    def __init__(self, terminal: Terminal, *, receives: bool = True) -> None:
        self._terminal = terminal
        self._receives = receives
        self._console = terminal.console()
        self._live = Live(console=self._console, auto_refresh=False)

    def show(self, state: CampaignState) -> None:
        """Draw all of it anew, unless the terminal has not taken what was drawn before."""
        if not self._terminal.is_behind:
            self._draw(state)

    def note(self, text: str, style: str = "") -> None:
        """Put something above it."""
        self._console.print(on_one_line(text), style=style)

    def finish(self, state: CampaignState | None) -> None:
        """Draw it for the last time, and leave it there."""
        if state is not None:
            self._draw(state)
        self._live.stop()

    def _draw(self, state: CampaignState) -> None:
        self._live.start()
        words = progress_words(state, receives=self._receives)
        self._live.update(_drawn(state, words), refresh=True)


Display: TypeAlias = PlainLines | Panel


def _drawn(state: CampaignState, words: str) -> Group:
    head = Table.grid(padding=(0, 2))
    head.add_row(
        ProgressBar(total=max(state.total, 1), completed=state.total - state.left, width=30),
        Text(words),
    )
    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right")
    for each, meaning in STATE_MEANINGS.items():
        style = _STYLES.get(each, "")
        if count := state.counts[each]:
            rows.add_row(Text(str(count), style), Text(each, style), Text(meaning, "dim"))
    return Group(head, rows)
