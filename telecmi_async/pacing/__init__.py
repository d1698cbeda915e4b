"""Rate limiting: calls per second, requests in flight, live calls; in one process or shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async._internal.public_names import import_public

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

    def __getattr__(name: str) -> object:
        return import_public(__name__, _MODULES, name)

    def __dir__() -> list[str]:
        return __all__
