"""Channels: how many calls of an account may be live, counted in one process.

A call takes a channel before it is sent and keeps it through all its attempts. The channel is
released when an event or a record shows that the call has ended. Both can be lost, so a channel
is also released at the latest time at which the call can still be live.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.event_loop import loop_time
from telecmi_async.pacing.waiting_line import Waiter, WaitingLine

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Channels:
    """Gives out a number of channels, first come first served, on one event loop.

    Args:
        limit: How many channels there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = WaitingLine()  # only the first in it looks for a free channel
        #: Returns the time; a service replaces it by the clock of its event loop.
        self.now: Callable[[], float] = loop_time
        #: Whether the service is being closed.
        self.closed = False
        self._holds: dict[Hashable, float] = {}
        self._freed: anyio.Event | None = None

    @property
    def held(self) -> int:
        """How many channels are held."""
        return len(self._holds)

    async def acquire(self, key: Hashable) -> None:
        """Wait for a channel and hold it under a key until `release`.

        Cancelling the wait takes no channel and does not delay other waiters.
        """
        waiter = Waiter()
        self._line.join(waiter)
        try:
            await self._line.reach_front(waiter)
            while len(self._holds) >= self._limit:
                self._expire()
                if len(self._holds) < self._limit:
                    break
                self._freed = anyio.Event()
                with anyio.CancelScope(deadline=min(self._holds.values())):
                    await self._freed.wait()
            # A channel can become free for a task that is cancelled at the same moment.
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._holds[key] = math.inf
        finally:
            self._line.leave(waiter)

    def hold(self, key: Hashable, *, until: float) -> None:
        """Hold a channel until a reading of the clock, even if that makes one too many.

        A call that turns out to be live uses a channel, even if it was assumed to be over.
        """
        self._holds[key] = until
        self._wake()  # the waiter at the head may have less time to wait now

    def holds(self, key: Hashable) -> bool:
        """Return whether a channel is held under a key."""
        return self._holds.get(key, -math.inf) > self.now()

    def release(self, key: Hashable) -> None:
        """Release a channel; does nothing if it was released before."""
        if self._holds.pop(key, None) is not None:
            self._wake()

    def _expire(self) -> None:
        now = self.now()
        for key in [key for key, when in self._holds.items() if when <= now]:
            del self._holds[key]

    def _wake(self) -> None:
        if self._freed is not None:
            self._freed.set()
            self._freed = None
