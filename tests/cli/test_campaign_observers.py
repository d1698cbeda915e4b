"""Commands that look at a campaign while another dials, on SQLite."""

from __future__ import annotations

import pytest
from campaign_observers import *  # noqa: F403  # pytest finds its tests by name


@pytest.fixture
def place(people: None) -> dict[str, str]:
    """The environment in which commands find the ledger."""
    return {"TELECMI_LEDGER": "l.db"}
