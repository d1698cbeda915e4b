"""Gate: each attempt waits for an in-flight slot first, and for its start time last.

The order matters. If the start time came first, calls would bunch up behind a full client and
then leave all at once. Queueing in front of the HTTP client matters as well: httpx's pool does
some work for every queued request on every event, so that it slows down with the square of its
queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from telecmi_async.pacing.spacing import Spacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.pacing.rate_limit import RateLimit

# A remainder too short to sleep for: added to a clock reading it may change nothing.
_NEGLIGIBLE = 1e-9


class Gate:
    """Lets attempts through one by one, first come first served, on one event loop.

    Args:
        limit: The limits to keep.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._slots = anyio.CapacityLimiter(limit.max_in_flight)
        self._turns = anyio.Lock(fast_acquire=True)
        #: Returns the time; a service replaces it by the clock of its event loop, which is faster.
        self.now: Callable[[], float] = anyio.current_time
        self._spacing = Spacing(limit.calls_per_second)

    async def enter(self) -> None:
        """Wait for a slot, then for the start time; the task that entered must `leave`.

        Cancelling the wait takes neither and does not delay other waiters.
        """
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._slots.acquire()
        try:
            await self._take_turn()
        except BaseException:
            self._slots.release()
            raise

    def leave(self) -> None:
        """Release the slot."""
        self._slots.release()

    def pause(self, seconds: float) -> None:
        """Let no attempt through for ``seconds`` from now, whichever call it belongs to."""
        self._spacing.pause_until(self.now() + seconds)

    async def _take_turn(self) -> None:
        """Wait until the next start is due. The lock is the queue: only the head of it sleeps."""
        if not self._spacing.paced and self._spacing.wait(self.now()) <= 0:
            return
        waited = False
        async with self._turns:
            # A pause may begin during the sleep, so the wait is computed again.
            while (wait := self._spacing.wait(self.now())) > _NEGLIGIBLE:
                await anyio.sleep(wait)
                waited = True
            self._spacing.start(self.now(), waited=waited)
