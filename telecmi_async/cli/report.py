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
_WITH_NOTES: Final = 59
_CALLED: Final = (ContactState.PLACED, ContactState.FINISHED)
# Requests are counted when they arrive. One that starts on time may arrive so many seconds late on
# a busy machine, and with those behind it.
_LATE: Final = 0.2


@frozen(kw_only=True)
class Report:
    """The demo's results: what the ledger says, and what the simulator saw.

    ``answered`` is the ledger's count of people, ``bad_gateways`` the simulator's count of replies
    with status 502, and ``calls_per_second`` the rate that was asked for.
    """

    state: CampaignState
    answered: int
    bad_gateways: int
    simulator: Simulator
    calls_per_second: float

    @property
    def forgotten(self) -> int:
        """How many contacts have no result."""
        return self.state.left

    @property
    def _called(self) -> int:
        return sum(self.state.counts[each] for each in _CALLED)

    def problems(self) -> list[str]:
        """Return what should not have happened, in words; an empty list if all is well.

        The starts of calls are limited, and their arrivals are counted. So the busiest second
        may hold what is started in 1.2 s.
        """
        counts, simulator, called = self.state.counts, self.simulator, self._called
        strays = sum(
            counts[each]
            for each in (ContactState.REJECTED, ContactState.FAILED, ContactState.BLOCKED)
        )
        busiest = simulator.busiest_second()
        checks = {
            f"{simulator.duplicates()} numbers were dialled twice": simulator.duplicates(),
            f"{self.forgotten} contacts were forgotten": self.forgotten,
            f"{strays} calls were rejected, failed or blocked": strays,
            f"the ledger says that {called} were called, and the simulator called "
            f"{simulator.numbers()}": called != simulator.numbers(),
            f"{busiest} requests arrived in one second, and {self.calls_per_second:g} were "
            "asked for": busiest > math.ceil(self.calls_per_second * (1 + _LATE)),
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
            "replies_502": self.bad_gateways,
            "calls_per_second": self.calls_per_second,
            "busiest_second": self.simulator.busiest_second(),
            "dialled_twice": self.simulator.duplicates(),
            "problems": self.problems(),
        }

    def print(self, terminal: Terminal) -> None:
        """Print the table, and the problems if there are any."""
        wide = terminal.width >= _WITH_NOTES
        for label, value, note in self._rows():
            aside = [(f"   {note}", "dim")] if note and wide else []
            terminal.put(f"  {label:<18} {value:>5}", *aside)
        for problem in self.problems():
            terminal.put((f"  wrong: {problem}", "red"))
        terminal.put()
        twice = self.simulator.duplicates()
        terminal.put((f"dialled twice: {twice}", "red" if twice else "green"))

    def _rows(self) -> Iterator[tuple[str, int, str]]:
        counts, simulator = self.state.counts, self.simulator
        yield "people", self.state.total, ""
        yield "  called", self._called, f"{self.answered} answered"
        if may_have_rung := counts[ContactState.UNKNOWN]:
            yield "  may have rung", may_have_rung, "not dialled again"
        yield "  forgotten", self.forgotten, ""
        yield "replies with a 502", self.bad_gateways, "retried: no phone rang"
        busiest = simulator.busiest_second()
        yield "busiest second", busiest, f"asked: {self.calls_per_second:g}; counted on arrival"
