"""Live calls: an account's channels, of which every call holds one until it ends.

A channel is taken before a call is sent and belongs to the call, not to an attempt. It is given
back when the call's end is heard of. Events and records can be lost, so a hold also ends by
itself, at the latest moment at which the call can still be live.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["LONGEST_CALL", "RINGING", "Channels"]

#: How long a call may last that names no ``duration``, in seconds. TeleCMI documents none; its
#: Python SDK sends 5,400 where a program gives nothing.
LONGEST_CALL: Final = 5_400.0
#: How long a call may ring before its duration begins to count, in seconds.
RINGING: Final = 60.0


class Channels:
    """A number of channels, given out first come first served, on any one event loop.

    Args:
        limit: How many there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # The queue: only its head looks for a channel.
        self._turns = anyio.Lock(fast_acquire=True)
        #: The clock; a service puts its event loop's own here.
        self.now: Callable[[], float] = anyio.current_time
        self._holds: dict[Hashable, float] = {}
        self._freed: anyio.Event | None = None

    @property
    def held(self) -> int:
        """How many channels are held."""
        return len(self._holds)

    async def acquire(self, key: Hashable) -> None:
        """Wait for a channel and hold it under a key, until `release`.

        Cancelling the wait gives everything back and delays nobody.
        """
        async with self._turns:
            while len(self._holds) >= self._limit:
                self._expire()
                if len(self._holds) < self._limit:
                    break
                self._freed = anyio.Event()
                with anyio.CancelScope(deadline=min(self._holds.values())):
                    await self._freed.wait()
            # The queue may let a task through that was cancelled at the same moment.
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._holds[key] = math.inf

    def hold(self, key: Hashable, *, until: float) -> None:
        """Hold a channel up to a reading of the clock, whether or not there is one to be had.

        A call that turns out to be live has one, whatever was thought of it before.
        """
        self._holds[key] = until
        self._wake()  # whoever waits may have to wait less long

    def holds(self, key: Hashable) -> bool:
        """Tell whether a channel is held under a key."""
        return self._holds.get(key, -math.inf) > self.now()

    def release(self, key: Hashable) -> None:
        """Give a channel back; harmless if it was given back before."""
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
