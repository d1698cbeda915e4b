"""What every store of events must do, in memory."""

from __future__ import annotations

from event_store_contract import *  # noqa: F403  # pytest finds its tests by name
