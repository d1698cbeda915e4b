"""Private parts: event loops, tasks, JSON, validation, messages. Not for users to import."""

from __future__ import annotations

__all__: list[str] = []
