"""Campaign progress: calls per second, live calls, and time left, from states of the ledger."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import frozen

from telecmi_async.ledger import CampaignState, ContactState

# The rate is an average over so many seconds.
_SPAN: Final = 10.0
# The time left is computed from an average over so many: a ledger that was locked for a while says
# nothing about the hours to come.
_LONG_SPAN: Final = 60.0
# After so many seconds without a request, and so many times the usual pause, no time is foretold.
_SILENCE: Final = 10.0
_PAUSES: Final = 3.0


@frozen
class CampaignView:
    """A campaign at one moment; ``rate`` is its recent rate in requests per second.

    ``receives`` says whether ends of calls are received; otherwise live calls are not known.
    ``pace`` is the rate over a longer time, and ``silence`` for how many seconds there was no
    request; by them the time left is computed.
    """

    state: CampaignState
    rate: float
    receives: bool = True
    pace: float | None = None
    silence: float = 0.0

    @classmethod
    def of(cls, state: CampaignState) -> CampaignView:
        """Return the view of a campaign that other processes run."""
        silence = state.at - (state.last_start or state.at)
        return cls(state, state.rate, silence=silence)

    @property
    def done(self) -> int:
        """The number of contacts that are not still to be dialled."""
        return self.state.total - self.state.left

    def words(self) -> str:
        """Return the progress in one line."""
        counts = self.state.counts
        said = [
            f"{self.done:>{len(str(self.state.total))}} of {self.state.total}",
            f"{self.rate:.1f}/s",
            f"{counts[ContactState.PLACED]} {'live' if self.receives else 'placed'}",
        ]
        if self.state.answer_rate is not None:
            said.append(f"{self.state.answer_rate:.0%} answered")
        said += [
            f"{counts[state]} {state}"
            for state in (ContactState.UNKNOWN, ContactState.REJECTED, ContactState.FAILED,
                          ContactState.BLOCKED)
            if counts[state]
        ]  # fmt: skip
        if self.state.status != "dialling":
            said.append(self.state.status)
        elif self.state.left:
            pace = self.rate if self.pace is None else self.pace
            if self.silence > max(_SILENCE, _PAUSES / pace if pace else 0.0):
                said.append(f"no request for {duration(self.silence)}")
            elif pace:
                wait = (self.state.last_due or 0.0) - self.state.at
                said.append(f"{duration(max(self.state.left / pace, wait))} left")
        return ", ".join(said)


class ProgressMeter:
    """Computes views from states of a campaign; see `CampaignView`."""

    def __init__(self, *, receives: bool = True) -> None:
        self._receives = receives
        self._looks: deque[tuple[float, int]] = deque()
        self._moved = -1.0

    def look(self, state: CampaignState, now: float) -> CampaignView:
        """Return the campaign's view at a time in seconds."""
        if not self._looks or state.sends != self._looks[-1][1]:
            self._moved = now
        self._looks.append((now, state.sends))
        while len(self._looks) > 2 and self._looks[0][0] < now - _LONG_SPAN:
            self._looks.popleft()
        rate, pace = self._rate(_SPAN), self._rate(_LONG_SPAN)
        return CampaignView(state, rate, self._receives, pace, now - self._moved)

    def _rate(self, span: float) -> float:
        """Return the requests per second of the last ``span`` seconds."""
        now, sends = self._looks[-1]
        recent = [look for look in self._looks if look[0] >= now - span]
        began, before = recent[0] if len(recent) > 1 else self._looks[-min(2, len(self._looks))]
        return (sends - before) / (now - began) if now > began else 0.0


def duration(seconds: float) -> str:
    """Return a duration in words, rounded for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
