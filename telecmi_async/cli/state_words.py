"""Words for what a ledger holds: what a campaign does, states of contacts, and their moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.cli.event_lines import status_words
from telecmi_async.cli.output.progress import silence_words
from telecmi_async.cli.rows import moment_words
from telecmi_async.ledger import ContactState
from telecmi_async.ledger.states import Move

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.campaigns import CampaignRules, CampaignSettings
    from telecmi_async.ledger import CampaignState

#: States of contacts that a worker is handling, by a lease that has not expired.
BUSY: Final = (ContactState.CLAIMED, ContactState.SENDING)
#: What each move means. The detail that follows says why.
MOVE_WORDS: Final[Mapping[str, str]] = {
    Move.CLAIM: "a worker took it",
    Move.RELEASE: "given back: nothing was sent",
    Move.INTEND: "a request is about to leave",
    Move.POSTPONE: "has to wait",
    Move.BLOCK: "blocked",
    Move.ACCEPT: "TeleCMI has the call",
    Move.REJECT: "not placed",
    Move.RETRY: "not placed, to be tried again",
    Move.FAIL: "not placed, and not tried again",
    Move.MARK_UNKNOWN: "no trustworthy answer came",
    Move.FINISH: "the call is over",
    Move.RESOLVE_UNKNOWN: "proven that no phone rang: to be dialled again",
    Move.GIVE_UP: "proven that no phone rang: given up",
    Move.REDIAL: "dialled again by your decision",
    Move.WITHDRAW: "not to be dialled any more",
    Move.REOPEN: "tried again by your decision",
    Move.REDIAL_MISSED: "to be dialled again",
}
# The detail of these names the worker.
_BY_A_WORKER: Final = frozenset({Move.CLAIM, Move.INTEND})


def reason_words(reason: str) -> str:
    """Return a reason without the name of its rule, which programs read."""
    rule, _, words = reason.partition(": ")
    return words if words and rule.isidentifier() else reason


def history_words(what: str, detail: str) -> str:
    """Return an entry of a contact's history in words."""
    if what == "event":
        return ": ".join(filter(None, ("event", detail, status_words(detail))))
    if what in _BY_A_WORKER and detail:
        return f"{MOVE_WORDS[what]} ({detail})"
    return ": ".join(filter(None, (MOVE_WORDS[what], reason_words(detail))))


def is_spent(state: CampaignState, rules: CampaignRules) -> bool:
    """Return whether the calls have cost as much as they may."""
    return rules.cost is not None and (state.cost or 0.0) >= rules.cost.most


def limit_words(state: CampaignState, settings: CampaignSettings) -> str:
    """Return which limit holds up the next call, as far as its ledger shows; else nothing."""
    if state.status != "dialling" or not state.left:
        return ""
    most, sending = settings.pace.max_live_calls, state.counts[ContactState.SENDING]
    if most is not None and state.live + sending >= most:
        return (
            f"all {most} live calls are in use (--max-live-calls); one is free when the record "
            "of a call arrives"
        )
    if sending >= settings.pace.max_in_flight * max(state.workers, 1):
        return "all requests that may be in flight at once await TeleCMI's answers"
    return reason_words(state.waits_for)


def campaign_words(  # noqa: PLR0911  # a row of the table each
    state: CampaignState, rules: CampaignRules, due: float | None
) -> str:
    """Return what a campaign is doing, as far as its ledger proves it.

    Args:
        state: Its state, after expired leases were taken back.
        rules: Its rules.
        due: When the next contact that waits may be dialled.
    """
    unknown = state.counts[ContactState.UNKNOWN]
    if not state.total:
        return "it has no contacts"
    if any(state.counts[each] for each in BUSY):
        if state.asked != "running":
            return f"{state.doing}, awaiting what was sent"
        return ", ".join(filter(None, ("running", silence_words(state))))
    if state.left:
        if state.asked != "running":
            return state.doing
        if is_spent(state, rules):
            return "not running, since its calls have cost as much as they may"
        if state.status == "waiting for a window" and due is not None:
            return f"waiting: no contact that is left may be called before {moment_words(due)}"
        return "contacts are left, and no worker holds one now"
    if state.status == "waiting for records":
        return "dialled: how some of the calls went may still become known"
    if unknown:
        return f"done, but it is not known whether {unknown} of the phones rang"
    return "done"
