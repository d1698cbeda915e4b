"""Progress panel, drawn by rich: a bar, and below it a table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from telecmi_async.ledger import ContactState
from telecmi_async.ledger.states import STATE_MEANINGS

if TYPE_CHECKING:
    from telecmi_async.cli.progress import CampaignView
    from telecmi_async.cli.terminal import Terminal

_STYLES: Final = {
    ContactState.FINISHED: "green",
    ContactState.PLACED: "green",
    ContactState.UNKNOWN: "bold yellow",
    ContactState.REJECTED: "red",
    ContactState.FAILED: "red",
}
# Columns of the bar.
_WIDEST: Final = 30
_NARROWEST: Final = 10


class Panel:
    """Draws on a terminal, some lines that change."""

    def __init__(self, terminal: Terminal) -> None:
        self._console = Console(
            file=terminal.stdout,
            force_terminal=True,
            no_color=bool(terminal.environ.get("NO_COLOR")),
            width=terminal.width,
            highlight=False,
            markup=False,
        )
        self._live = Live(console=self._console, auto_refresh=False)
        self._began = False

    def show(self, view: CampaignView) -> None:
        """Draw all of it anew."""
        if not self._began:
            self._began = True
            self._live.start()
        self._live.update(_drawn(view, self._console.width), refresh=True)

    def note(self, text: str) -> None:
        """Put it above."""
        self._console.print(Text.from_ansi(text))

    def finish(self, view: CampaignView | None) -> None:
        """Draw it for the last time, and leave it there."""
        if view is not None:
            self.show(view)
        if self._began:
            self._live.stop()


def _drawn(view: CampaignView, columns: int) -> Group:
    head = Table.grid(padding=(0, 2))
    words = view.words()
    bar = ProgressBar(
        total=max(view.state.total, 1),
        completed=view.done,
        width=max(_NARROWEST, min(_WIDEST, columns - len(words) - 2)),
        style="bright_black",
        complete_style="green",
        finished_style="green",
    )
    head.add_row(bar, Text(words))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right")
    for state in ContactState:
        if count := view.state.counts[state]:
            style = _STYLES.get(state, "")
            rows.add_row(
                Text(str(count), style), Text(state, style), Text(STATE_MEANINGS[state], "dim")
            )
    return Group(head, rows)
