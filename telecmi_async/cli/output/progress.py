"""Campaign progress in words: calls per second, live calls, answers, and time left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from telecmi_async.ledger import CampaignState

# After so many seconds without a request, and so many times the usual pause, no time is foretold.
_SILENCE: Final = 10.0
_PAUSES: Final = 3.0
_SHOWN: Final = (
    ContactState.UNKNOWN, ContactState.REJECTED, ContactState.FAILED, ContactState.BLOCKED,
)  # fmt: skip


def silence_words(state: CampaignState) -> str:
    """Return for how long no request left, if that is longer than usual; else nothing."""
    silence = state.at - (state.last_start or state.at)
    usual = max(_SILENCE, _PAUSES / state.rate if state.rate else 0.0)
    return f"no request for {duration(silence)}" if silence > usual else ""


def progress_words(state: CampaignState, *, receives: bool = True) -> str:
    """Return a campaign's progress in one line.

    ``receives`` says whether ends of calls are received; otherwise live calls are not known.
    """
    counts = state.counts
    said = [
        f"{state.total - state.left:>{len(str(state.total))}} of {state.total}",
        f"{state.rate:.1f}/s",
        f"{state.live} {'live' if receives else 'placed'}",
    ]
    if state.answer_rate is not None:
        said.append(f"{state.answer_rate:.0%} answered")
    said += [f"{counts[each]} {each}" for each in _SHOWN if counts[each]]
    if state.status != "dialling":
        said.append(state.status)
    elif state.left and (silence := silence_words(state)):
        said.append(silence)
    elif state.time_left:
        said.append(f"{duration(state.time_left)} left")
    return ", ".join(said)


def duration(seconds: float) -> str:
    """Return a duration in words, rounded for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
