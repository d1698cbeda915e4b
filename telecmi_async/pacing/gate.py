"""Gate: each attempt waits for an in-flight slot first, and for its start time last.

The order matters. If the start time came first, calls would bunch up behind a full client and
then leave all at once. Queueing in front of the HTTP client matters as well: httpx's pool does
some work for every queued request on every event, so that it slows down with the square of its
queue.

There are two lines, one for slots and one for start times. An attempt moves from the first to the
second when it is given a slot, before its task runs again: trio runs tasks that were woken
together in random order. Only the first in the second line sleeps. When it starts it wakes the
next, which starts as well if its time has come, without another timer: so a late timer delays
a start and not the rate. If the rate is shared with other processes, only the first one reserves
a start, so that a process that ends wastes no more than that.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.event_loop import current_loop, exact_clock_of, loop_time
from telecmi_async.errors import StoreError
from telecmi_async.pacing.spacing import Spacing
from telecmi_async.pacing.waiting_line import Waiter, WaitingLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.pacing.shared_starts import SharedStarts

# A remainder too short to sleep for: added to a clock reading it may change nothing.
_NEGLIGIBLE = 1e-9
# Timers have steps of a millisecond. Asked for less, asyncio and trio sleep that long, and uvloop
# does not sleep at all but runs its loop until the time has come.
_SHORTEST_SLEEP = 0.001


class Gate:
    """Lets attempts through one by one, first come first served, on one event loop.

    Args:
        limit: The limits to keep.
        shared: The starts that are reserved instead, if other processes share the rate.
    """

    def __init__(self, limit: RateLimit, shared: SharedStarts | None = None) -> None:
        #: Returns the event loop's time, by which deadlines count; a service replaces it by the
        #: clock of its event loop, which is faster.
        self.now: Callable[[], float] = loop_time
        self._clock: Callable[[], float] = self._first_reading
        # A pause that TeleCMI asked for always holds here as well.
        self._spacing = Spacing(None if shared else limit.calls_per_second)
        self._shared = shared
        self._paced = limit.calls_per_second is not None
        # The last failure of the shared limits, and when it was.
        self._failure: StoreError | None = None
        self._failed_at = -math.inf
        self._free = limit.max_in_flight
        self._for_slot: OrderedDict[Waiter, None] = OrderedDict()
        self._for_turn = WaitingLine()  # each of them has a slot

    async def enter(self) -> float | None:
        """Wait for a slot, then for the start time; the task that entered must `leave`.

        Cancelling the wait takes neither and does not delay other waiters.

        Returns:
            When its start is, if that is shared; it may be a little later, for `SharedStarts.reach`.

        Raises:
            StoreError: The shared limits fail.
        """
        if self._free:
            self._free -= 1
            if self._spacing.unlimited and not self._paced and not self._for_turn:
                return None
            waiter = Waiter(self._clock())
            self._for_turn.join(waiter)
        else:
            waiter = Waiter()
            self._for_slot[waiter] = None
        try:
            await self._for_turn.reach_front(waiter)
            due = await self._start(waiter)
        except BaseException:
            if waiter in self._for_slot:
                del self._for_slot[waiter]
            else:
                self._for_turn.leave(waiter)
                self.leave()
            raise
        self._for_turn.leave(waiter)
        return due

    def leave(self) -> None:
        """Release the slot."""
        if not self._for_slot:
            self._free += 1
            return
        waiter, _ = self._for_slot.popitem(last=False)
        self._for_turn.join(waiter)
        if self._paced:
            waiter.since = self._clock()
        # With a rate, those behind the first one would wake up in vain.
        if not self._paced or self._for_turn.is_first(waiter):
            waiter.wake()

    def pause(self, seconds: float) -> None:
        """Let no attempt through for ``seconds`` from now, whichever call it belongs to."""
        self._spacing.pause_until(self._clock() + seconds)

    async def _start(self, waiter: Waiter) -> float | None:
        """Sleep until the next start is due, and take it."""
        while True:
            await self._start_here(waiter)
            if self._shared is None:
                return None
            due = await self._take(self._shared, waiter)
            # A pause may have begun during the wait.
            if due is not None and self._spacing.wait(self._clock()) <= _NEGLIGIBLE:
                return due

    async def _take(self, shared: SharedStarts, waiter: Waiter) -> float | None:
        """Take a start of the shared limits; those that waited while they failed ask no more."""
        if self._failure is not None and waiter.since < self._failed_at:
            raise self._failure
        try:
            due = await shared.take()
        except StoreError as error:
            self._failure, self._failed_at = error, self._clock()
            raise
        self._failure = None
        return due

    async def _start_here(self, waiter: Waiter) -> None:
        """Sleep until the next start of this process is due, and take it."""
        while not self._spacing.unlimited:
            # A task that was woken may have been cancelled at the same moment.
            await anyio.lowlevel.checkpoint_if_cancelled()
            now = self._clock()
            wait = self._spacing.wait(now)
            if wait <= _NEGLIGIBLE:
                self._spacing.start(now, since=waiter.since)
                return
            # A pause may begin during the sleep, so the wait is computed again.
            await anyio.sleep(max(wait, _SHORTEST_SLEEP))

    def _first_reading(self) -> float:
        self._clock = exact_clock_of(current_loop())
        return self._clock()
