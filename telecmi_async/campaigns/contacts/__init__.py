"""Contacts: files of numbers, country codes and time zones, and export."""

from __future__ import annotations

__all__: list[str] = []
