"""Limits that several processes share: how fast calls start, and how many are live."""

from __future__ import annotations

from telecmi_async.limits.base import SharedLimits
from telecmi_async.limits.redis import RedisLimits

__all__ = ["RedisLimits", "SharedLimits"]
