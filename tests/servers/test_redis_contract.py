"""What every store of events must do, on a Valkey server."""

from __future__ import annotations

import pytest
from event_store_contract import *  # noqa: F403  # pytest finds its tests by name


@pytest.fixture
def anyio_backend() -> str:
    """The one event loop that redis-py knows."""
    return "asyncio"
