"""Rate limiting: calls per second, requests in flight, live calls; in one process or shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import lazy_names

__all__ = ["RateLimit", "RedisLimits", "SharedLimits"]

_MODULES: Final = {
    "rate_limit": "RateLimit",
    "redis": "RedisLimits",
    "shared": "SharedLimits",
}

if TYPE_CHECKING:
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.pacing.redis import RedisLimits
    from telecmi_async.pacing.shared import SharedLimits
else:  # hidden from type checkers, or they would accept any name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
