"""Campaign progress: calls per second, live calls, and time left, from states of the ledger."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import frozen

from telecmi_async.ledger import CampaignState, ContactState

# The rate is an average over so many seconds.
_SPAN: Final = 10.0


@frozen
class CampaignView:
    """A campaign at one moment; ``rate`` is its recent rate in requests per second.

    ``receives`` says whether ends of calls are received; otherwise live calls are not known.
    """

    state: CampaignState
    rate: float
    receives: bool = True

    @property
    def left(self) -> int:
        """The number of contacts still to be dialled."""
        return self.state.left

    @property
    def done(self) -> int:
        """The number of other contacts."""
        return self.state.total - self.left

    def words(self) -> str:
        """Return the progress in one line."""
        counts = self.state.counts
        said = [
            f"{self.done:>{len(str(self.state.total))}} of {self.state.total}",
            f"{self.rate:.1f}/s",
            f"{counts[ContactState.PLACED]} {'live' if self.receives else 'placed'}",
        ]
        said += [
            f"{counts[state]} {state}"
            for state in (ContactState.UNKNOWN, ContactState.REJECTED, ContactState.FAILED,
                          ContactState.BLOCKED)
            if counts[state]
        ]  # fmt: skip
        if self.state.status != "dialling":
            said.append(self.state.status)
        elif self.left and self.rate:
            said.append(f"{duration(self.left / self.rate)} left")
        return ", ".join(said)


class ProgressMeter:
    """Computes views from states of a campaign; see `CampaignView`."""

    def __init__(self, *, receives: bool = True) -> None:
        self._receives = receives
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, state: CampaignState, now: float) -> CampaignView:
        """Return the campaign's view at a time in seconds."""
        self._looks.append((now, state.sends))
        while len(self._looks) > 2 and self._looks[0][0] < now - _SPAN:
            self._looks.popleft()
        began, sends = self._looks[0]
        passed = now - began
        rate = (state.sends - sends) / passed if passed > 0 else 0.0
        return CampaignView(state, rate, self._receives)


def duration(seconds: float) -> str:
    """Return a duration in words, rounded for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
