"""What the demo found, as a table, and what would be wrong with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async import Progress
from telecmi_async.phone import mask
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.terminal import Terminal

__all__ = ["Report"]

# Columns that the longest row takes with its note.
_WITH_NOTES: Final = 76


@frozen(kw_only=True)
class Report:
    """The demo's results: what the service says, and what the simulator saw.

    Args:
        progress: What the service says of its calls.
        simulator: What they arrived at.
        calls_per_second: The rate that was asked for.
        samples: Some numbers with their ``request_id``.
    """

    progress: Progress
    simulator: Simulator
    calls_per_second: float
    samples: tuple[tuple[int, str], ...]

    def problems(self) -> list[str]:
        """Return what should not have happened, in words; nothing if all is well.

        Requests that left evenly may bunch a little before they arrive, so the busiest second
        may hold a twentieth more than the limit, and at least one.
        """
        progress, simulator = self.progress, self.simulator
        strays = progress.not_sent + progress.cancelled + progress.invalid + progress.unknown
        crowd = simulator.busiest_second() - math.ceil(self.calls_per_second)
        checks = {
            f"{simulator.duplicates()} numbers were dialled twice": simulator.duplicates(),
            f"{strays} calls were neither accepted nor rejected": strays,
            f"{progress.accepted} calls were accepted and {simulator.numbers()} numbers "
            "dialled": progress.accepted != simulator.numbers(),
            f"{crowd} requests too many arrived in one second": crowd
            > max(1, self.calls_per_second / 20),
        }
        return [problem for problem, found in checks.items() if found]

    def print(self, terminal: Terminal) -> None:
        """Print the table, some ids, and what is wrong if anything is."""
        wide = terminal.width >= _WITH_NOTES
        for label, value, note in self._rows():
            shown = f"  {label:<33} {value:>7}"
            if note and wide:
                shown += terminal.style(f"   {note}", "dim")
            terminal.put(shown.rstrip())
        if self.samples:
            terminal.put()
            terminal.put("  the first request_ids")
        for to, request_id in self.samples:
            terminal.put(f"  {mask(to)}  {request_id}")
        for problem in self.problems():
            terminal.put(terminal.style(f"  wrong: {problem}", "red"))

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        progress, simulator = self.progress, self.simulator
        yield "accepted", str(progress.accepted), ""
        yield "  after at least one retry", str(progress.retried), "the first answer was a 502"
        yield "rejected", str(progress.rejected), ""
        yield "outcome unknown", str(progress.unknown), ""
        for label, count in (
            ("not sent", progress.not_sent),
            ("cancelled", progress.cancelled),
        ):
            if count:
                yield label, str(count), ""
        yield "", "", ""
        yield "calls per second, asked for", f"{self.calls_per_second:g}", ""
        yield (
            "calls per second, reached",
            f"{simulator.pace():.1f}",
            "as they arrived, retries too",
        )
        yield "in the busiest second", str(simulator.busiest_second()), "wherever it begins"
        yield "numbers dialled twice", str(simulator.duplicates()), ""
