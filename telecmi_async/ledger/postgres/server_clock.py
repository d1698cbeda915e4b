"""PostgreSQL server clock: the time that all workers share, read as seldom as they permit."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telecmi_async.ledger.postgres.pipeline import PostgresPipeline

# By how many seconds this machine's two clocks may differ within a second.
_DRIFT: Final = 0.01


class ServerClock:
    """Reads the server's clock, and carries a reading forward by this machine's clocks."""

    def __init__(self, queries: PostgresPipeline) -> None:
        self._queries = queries
        # The server's time as it was last read, and this machine's clocks before that.
        self._reading = (0.0, -math.inf, 0.0)

    async def now(self, *, within: float) -> float:
        """Return the server's time; a reading ``within`` seconds old may be carried forward."""
        here, wall = time.monotonic(), time.time()
        read, read_here, read_wall = self._reading
        passed = here - read_here
        # A machine that slept has a wall clock that went on, and another one that did not.
        if passed < within and abs(wall - read_wall - passed) < _DRIFT:
            return read + passed
        read = float(await self._queries.value("SELECT clock()"))
        self._reading = (read, here, wall)
        return read
