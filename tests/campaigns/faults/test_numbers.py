"""Duplicate numbers and opt-outs, on SQLite."""

from __future__ import annotations

from campaign_numbers import *  # noqa: F403  # pytest finds its tests by name
