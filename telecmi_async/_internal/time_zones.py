"""Time zones by their names in the tz database."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo


@lru_cache(maxsize=4096)
def zone_named(name: str) -> ZoneInfo | None:
    """Return a time zone of the tz database, such as ``Asia/Kolkata``.

    It is ``None`` if this machine does not know it. Where the system has no tz database, as on
    Windows, the package tzdata provides it.
    """
    try:
        return ZoneInfo(name)
    # Unknown; a path out of the database, or a file of another kind; a folder of it.
    except (KeyError, ValueError, OSError):
        return None
