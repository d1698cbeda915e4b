"""The ledger in a SQLite file."""

from __future__ import annotations

__all__: list[str] = []
