"""SQLite ledger: the write-ahead log thread, its jobs, and the ledger on top."""

from __future__ import annotations

__all__: list[str] = []
