"""The commands: each file holds one, with its arguments, or some that belong together."""

from __future__ import annotations

__all__: list[str] = []
