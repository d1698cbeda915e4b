"""The ledger contract, on SQLite."""

from __future__ import annotations

from ledger_contract import *  # noqa: F403  # pytest finds its tests by name
