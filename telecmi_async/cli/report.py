"""Demo report: the results as a table, and the problems in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.ledger import CampaignState, ContactState
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.output.terminal import Terminal

# Columns that the longest row takes with its note.
_WITH_NOTES: Final = 79
_CALLED: Final = (ContactState.PLACED, ContactState.FINISHED)


@frozen(kw_only=True)
class Report:
    """The demo's results: what the ledger says, and what the simulator saw.

    ``answered`` is the ledger's count of people, ``calls_per_second`` the rate that was asked
    for.
    """

    state: CampaignState
    answered: int
    simulator: Simulator
    calls_per_second: float

    @property
    def forgotten(self) -> int:
        """How many contacts nothing came of."""
        return self.state.left

    def problems(self) -> list[str]:
        """Return what should not have happened, in words; nothing if all is well.

        Requests that left evenly may bunch a little before they arrive, so the busiest second
        may hold a twentieth more than the limit, and at least one.
        """
        counts, simulator = self.state.counts, self.simulator
        called = sum(counts[each] for each in _CALLED)
        strays = sum(
            counts[each]
            for each in (ContactState.REJECTED, ContactState.FAILED, ContactState.BLOCKED)
        )
        crowd = simulator.busiest_second() - math.ceil(self.calls_per_second)
        checks = {
            f"{simulator.duplicates()} numbers were dialled twice": simulator.duplicates(),
            f"{self.forgotten} contacts were forgotten": self.forgotten,
            f"{strays} calls were rejected, failed or blocked": strays,
            f"the ledger says that {called} were called, and the simulator called "
            f"{simulator.numbers()}": called != simulator.numbers(),
            f"{crowd} requests too many arrived in one second": crowd
            > max(1, self.calls_per_second / 20),
        }
        return [problem for problem, found in checks.items() if found]

    def as_json(self) -> dict[str, object]:
        """Return it for other programs."""
        return {
            "contacts": self.state.total,
            "counts": {str(each): self.state.counts[each] for each in ContactState},
            "answered": self.answered,
            "forgotten": self.forgotten,
            "requests": self.simulator.requests,
            "calls_per_second": self.calls_per_second,
            "busiest_second": self.simulator.busiest_second(),
            "dialled_twice": self.simulator.duplicates(),
            "problems": self.problems(),
        }

    def print(self, terminal: Terminal) -> None:
        """Print the table, and what is wrong if anything is."""
        wide = terminal.width >= _WITH_NOTES
        for label, value, note in self._rows():
            aside = [(f"   {note}", "dim")] if note and wide else []
            terminal.put(f"  {label:<33} {value:>7}", *aside)
        for problem in self.problems():
            terminal.put((f"  wrong: {problem}", "red"))
        terminal.put()
        terminal.put((f"dialled twice: {self.simulator.duplicates()}", "bold"))

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        counts, simulator = self.state.counts, self.simulator
        yield "contacts", str(self.state.total), ""
        yield "  over", str(counts[ContactState.FINISHED]), "TeleCMI's records say how it went"
        yield "    answered", str(self.answered), ""
        for state, label, note in (
            (ContactState.PLACED, "  called, its record to come", ""),
            (ContactState.UNKNOWN, "  may have rung", "it is not dialled again"),
        ):
            if counts[state]:
                yield label, str(counts[state]), note
        yield "forgotten", str(self.forgotten), ""
        yield "requests", str(simulator.requests), "a 502 of TeleCMI is tried again"
        yield "calls per second, asked for", f"{self.calls_per_second:g}", ""
        yield "in the busiest second", str(simulator.busiest_second()), "wherever it begins"
