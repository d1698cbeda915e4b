"""What an observer sees of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telecmi_async.campaigns.observed import campaign_view
from telecmi_async.ledger import CampaignState, ContactState

if TYPE_CHECKING:
    from telecmi_async.ledger.status import CampaignStatus


@pytest.mark.parametrize(
    ("status", "waits_for", "shown"),
    [
        ("dialling", "", "dialling"),
        ("dialling", "redial: missed", "waiting for a retry"),
        ("waiting for a window", "calling_window: too early", "waiting for a window"),
        ("paused", "redial: missed", "paused"),
    ],
)
def test_a_campaign_that_waits_for_redials_is_not_dialling(
    status: CampaignStatus, waits_for: str, shown: str
) -> None:
    """So an alert can find a campaign that stands still while contacts are due."""
    state = CampaignState(
        name="spring",
        status=status,
        asked="running",
        why="",
        counts={ContactState.PENDING: 3},
        sends=3,
        cost=None,
        waits_for=waits_for,
    )
    view = campaign_view(state, breaker_open=False, slowdown=1.0, live_limit=None)

    assert view.status == shown
