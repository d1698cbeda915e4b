"""The gate in front of the HTTP client: an in-flight slot first, the rate token last.

The order matters. Were the token taken first, calls with a token would bunch up behind a
full client and then start all at once. Queueing here and not inside the client matters
too: httpx's pool does work for every queued request on every event, and slows down with
the square of the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from telecmi_async.pacing.spacing import Spacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.pacing.rate_limit import RateLimit

__all__ = ["Gate"]

# A remainder too short to sleep for: adding it to a clock reading may change nothing.
_NEGLIGIBLE = 1e-9


class Gate:
    """Lets attempts through one by one, first come first served, on any one event loop.

    Args:
        limit: The limits to keep.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._slots = anyio.CapacityLimiter(limit.max_in_flight)
        self._turns = anyio.Lock(fast_acquire=True)
        #: The clock; a service puts its event loop's own here, which is quicker to read.
        self.now: Callable[[], float] = anyio.current_time
        self._spacing = Spacing(limit.calls_per_second)

    async def enter(self) -> None:
        """Wait for a slot, then for a turn; the task that entered must `leave`.

        Cancelling the wait gives everything back and delays nobody.
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
        """Give the slot back."""
        self._slots.release()

    def pause(self, seconds: float) -> None:
        """Let no attempt through for ``seconds`` from now, whoever it belongs to."""
        self._spacing.pause_until(self.now() + seconds)

    async def _take_turn(self) -> None:
        """Wait until the next start is due. The lock is the queue: only its head sleeps."""
        if not self._spacing.paced and self._spacing.wait(self.now()) <= 0:
            return
        waited = False
        async with self._turns:
            # A pause may begin while it sleeps, so it looks again.
            while (wait := self._spacing.wait(self.now())) > _NEGLIGIBLE:
                await anyio.sleep(wait)
                waited = True
            self._spacing.start(self.now(), waited=waited)
