"""Campaign status: what a campaign is doing, derived from what its ledger holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from telecmi_async._internal.telecmi import LONGEST_CALL, RECORD_PATIENCE, RINGING
from telecmi_async.ledger.states import ContactState

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a campaign is doing: see `telecmi_async.ledger.CampaignState`.
CampaignStatus: TypeAlias = Literal[
    "dialling", "waiting for records", "waiting for a window", "done", "paused", "stopped"
]

# How long after a request something may still be received of its call.
_RECORDS: Final = RINGING + LONGEST_CALL + RECORD_PATIENCE
# Rules that postpone a contact to a later time of day, or to another day.
_WINDOWS: Final = frozenset({"calling_window", "per_day", "per_number"})
_LEFT: Final = (ContactState.PENDING, ContactState.CLAIMED, ContactState.SENDING)


def status_of(
    asked: str,
    counts: Mapping[ContactState, int],
    *,
    now: float,
    due: float | None,
    reason: str,
    last_send: float | None,
    unknown: str | None,
) -> CampaignStatus:
    """Return what a campaign is doing by the ledger's time ``now``.

    The first pending contact is ``due`` then, and waits for a ``reason``: the rule that
    postponed it, or why a send is retried. ``unknown`` is the policy for unknown outcomes.
    """
    if any(counts[each] for each in _LEFT):
        if asked != "running":
            return cast("CampaignStatus", asked)
        busy = counts[ContactState.CLAIMED] or counts[ContactState.SENDING]
        waits = not reason or reason.partition(":")[0] in _WINDOWS
        if due is not None and due > now and waits and not busy:
            return "waiting for a window"
        return "dialling"
    # A contact of unknown outcome is awaited if proof can move it.
    awaited = counts[ContactState.PLACED]
    if unknown not in {None, "hold"}:
        awaited += counts[ContactState.UNKNOWN]
    recent = last_send is not None and now < last_send + _RECORDS
    return "waiting for records" if awaited and recent else "done"
