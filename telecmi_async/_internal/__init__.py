"""Private plumbing: event loops, tasks, frozen JSON, validators, wording. Import nothing from here."""

from __future__ import annotations

__all__: list[str] = []
