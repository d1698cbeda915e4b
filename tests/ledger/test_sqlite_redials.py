"""Random programs of calls, records and redials, on SQLite."""

from __future__ import annotations

from redial_model import *  # noqa: F403  # pytest finds its tests by name
