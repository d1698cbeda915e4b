"""The contract of steering on PostgreSQL."""

from __future__ import annotations

from steering_contract import *  # noqa: F403  # pytest finds tests and fixtures by name
