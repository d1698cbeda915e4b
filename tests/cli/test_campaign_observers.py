"""Commands that read a campaign while another process dials it, on SQLite."""

from __future__ import annotations

import pytest
from campaign_observers import *  # noqa: F403  # pytest finds its tests by name


@pytest.fixture
def place(people: None) -> dict[str, str]:
    """The environment in which commands find the ledger."""
    return {"TELECMI_LEDGER": "l.db"}
