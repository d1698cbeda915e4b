"""Numbers that come twice, and people who opt out, on PostgreSQL."""

from __future__ import annotations

from campaign_numbers import *  # noqa: F403  # pytest finds its tests by name
