"""What every store of events must do, on a Valkey server."""

from __future__ import annotations

from event_store_contract import *  # noqa: F403  # pytest finds its tests by name
