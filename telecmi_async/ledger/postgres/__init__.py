"""PostgreSQL ledger: the connection, its pipeline, and the ledger on top."""

from __future__ import annotations

__all__: list[str] = []
