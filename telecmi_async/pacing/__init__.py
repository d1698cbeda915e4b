"""Rate limiting: calls per second, requests in flight, live calls; in one process or shared."""

from __future__ import annotations

from telecmi_async.pacing.rate_limit import RateLimit
from telecmi_async.pacing.redis import RedisLimits
from telecmi_async.pacing.shared import SharedLimits

__all__ = ["RateLimit", "RedisLimits", "SharedLimits"]
