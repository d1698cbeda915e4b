"""What every ledger must do, on PostgreSQL."""

from __future__ import annotations

from ledger_contract import *  # noqa: F403  # pytest finds its tests by name
