"""Random programs of two workers, on PostgreSQL."""

from __future__ import annotations

from ledger_model import *  # noqa: F403  # pytest finds its tests by name
