"""Shared channels: how many calls of an account may be live, counted with other processes.

Each call has a lease of the shared limits. While it waits to be sent the lease is short and is
renewed, so that the channels of a killed process are soon free. Once a phone may have rung, the
lease lasts as long as the call can be live: the call outlives its process. It ends earlier if an
event or a record shows the call's end, to whichever process.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async._internal.event_loop import loop_time
from telecmi_async.errors import StoreError
from telecmi_async.pacing.waiting_line import Waiter, WaitingLine

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from telecmi_async._internal.tasks import TaskRunner
    from telecmi_async.pacing.shared import SharedLimits

logger = logging.getLogger("telecmi_async")

# Seconds between two looks for a channel that another process freed.
_POLL: Final = 0.25
# For how many seconds a call that waits has its channel, and after how many that is renewed.
_WAITS, _RENEWED = 60.0, 20.0
# Seconds between two tries of limits that fail.
_PAUSE: Final = 2.0
# Leases that are changed at a time.
_MOST: Final = 64


class SharedChannels:
    """Gives out the channels of one service, with the methods of `Channels`.

    Args:
        limits: Where leases are kept.
        shared: The name of the limit.
        most: How many channels there are.
        tasks: Runs the task that changes leases.
        name: Returns the name of a key's call, which no other call has.
    """

    def __init__(
        self,
        limits: SharedLimits,
        shared: str,
        most: int,
        *,
        tasks: TaskRunner,
        name: Callable[[Hashable], str],
    ) -> None:
        self._lease = partial(limits.lease_channel, shared, limit=most)
        self._free = partial(limits.free_channel, shared)
        self._tasks = tasks
        self._name = name
        #: Returns the time; a service replaces it by the clock of its event loop.
        self.now: Callable[[], float] = loop_time
        #: Whether the service is being closed: limits that fail are tried once more.
        self.closed = False
        self._line = WaitingLine()  # only the first in it looks for a free channel
        self._freed = anyio.Event()
        # By key, until when its channel is leased, and its holder.
        self._holds: dict[Hashable, float] = {}
        self._holders: dict[Hashable, str] = {}
        # Those whose calls wait to be sent.
        self._waiting: set[Hashable] = set()
        # By holder, until when its channel is to be leased; None if it is to be freed.
        self._changes: dict[str, float | None] = {}
        self._changed: anyio.Event | None = None

    @property
    def held(self) -> int:
        """How many channels this service holds."""
        return len(self._holds)

    async def acquire(self, key: Hashable) -> None:
        """Wait for a channel and hold it under a key until `release`.

        Cancelling the wait takes no channel and does not delay other waiters.

        Raises:
            StoreError: The limits fail.
        """
        waiter, holder = Waiter(), _holder(self._name(key))
        self._line.join(waiter)
        try:
            await self._line.reach_front(waiter)
            until = self.now() + _WAITS
            try:
                while not await self._lease(holder, seconds=_WAITS):
                    self._freed = anyio.Event()
                    with anyio.move_on_after(_POLL):
                        await self._freed.wait()
                    until = self.now() + _WAITS
                # A channel can become free for a task that is cancelled at the same moment.
                await anyio.lowlevel.checkpoint_if_cancelled()
            except BaseException:
                self._change(holder, None)  # the limits may have leased it all the same
                raise
            self._holds[key], self._holders[key] = until, holder
            self._waiting.add(key)
            self._keep_up()
        finally:
            self._line.leave(waiter)

    def hold(self, key: Hashable, *, until: float) -> None:
        """Hold a channel until a reading of the clock, if one is free.

        A call that turns out to be live uses a channel, even if it was assumed to be over.
        """
        if key not in self._waiting and self._holds.get(key, -1.0) >= until:
            return
        self._waiting.discard(key)
        self._holds[key] = until
        holder = self._holders.setdefault(key, _holder(self._name(key)))
        self._change(holder, until)

    def holds(self, key: Hashable) -> bool:
        """Return whether a channel is held under a key."""
        return self._holds.get(key, -1.0) > self.now()

    def release(self, key: Hashable) -> None:
        """Release a channel; does nothing if it was released before."""
        if self._holds.pop(key, None) is not None:
            self._waiting.discard(key)
            self._change(self._holders.pop(key), None)

    def release_other(self, name: str) -> None:
        """Release the channel of a call of another process, if there is one, by its name."""
        holder = _holder(name)
        if holder not in self._holders.values():
            self._change(holder, None)

    def _change(self, holder: str, until: float | None) -> None:
        self._changes[holder] = until
        self._keep_up()

    def _keep_up(self) -> None:
        """Have leases changed and renewed, in a task that ends when there is nothing to do."""
        if self._changed is None:
            self._changed = anyio.Event()
            self._tasks.start(SharedChannels._keep, self)
        else:
            self._changed.set()

    async def _keep(self) -> None:
        try:
            while self._changes or self._waiting:
                if self._changes:
                    await self._make_changes()
                else:
                    self._changed = changed = anyio.Event()
                    with anyio.move_on_after(_RENEWED / 2):
                        await changed.wait()
                self._renew()
        finally:
            self._changed = None

    def _renew(self) -> None:
        """Renew the leases of calls that wait, and forget those that are over."""
        now = self.now()
        for key, until in tuple(self._holds.items()):
            if key in self._waiting and until - now < _WAITS - _RENEWED:
                self._changes.setdefault(self._holders[key], now + _WAITS)
            elif key not in self._waiting and until <= now:
                del self._holds[key], self._holders[key]

    async def _make_changes(self) -> None:
        """Make the oldest changes; try again later what fails."""
        batch = dict(islice(self._changes.items(), _MOST))
        for holder in batch:
            del self._changes[holder]
        failures: list[StoreError] = []
        async with anyio.create_task_group() as tasks:
            for holder, until in batch.items():
                tasks.start_soon(self._make_change, holder, until, failures)
        self._freed.set()
        if not failures:
            return
        logger.warning(
            "%d channels are freed or leased later: the shared limits fail: %s",
            len(failures),
            failures[0],
        )
        if self.closed:
            self._changes.clear()  # what they lease ends by itself
        else:
            await anyio.sleep(_PAUSE)

    async def _make_change(
        self, holder: str, until: float | None, failures: list[StoreError]
    ) -> None:
        try:
            if until is None:
                await self._free(holder)
            elif (seconds := until - self.now()) > 0 and await self._lease(
                holder, seconds=seconds
            ):
                for key in self._waiting:
                    if self._holders[key] == holder:
                        self._holds[key] = until
        except StoreError as error:
            failures.append(error)
            self._changes.setdefault(holder, until)


def _holder(name: str) -> str:
    """Return the name under which the limits know a call; campaigns have others."""
    return f"call/{name}"
