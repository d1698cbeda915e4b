"""Where the user's handlers of events run: as tasks, so that no answer waits for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async._internal.event_loop import call_in_loop, current_loop, is_asyncio
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    from telecmi_async.events import Event
    from telecmi_async.events.receiver.handlers import Handlers

__all__ = ["SHUTDOWN_SECONDS", "HandlerRunner"]

logger = logging.getLogger("telecmi_async")

#: How many seconds handlers that are under way are waited for at the end.
SHUTDOWN_SECONDS: Final = 30.0


class HandlerRunner:
    """Calls handlers of events, each event in a task of its own, in the order of arrival.

    It belongs to the event loop it is first used in, until that is closed. On trio there are
    tasks only while it is open; without them, and once it was closed, whoever brings an event
    waits for its handlers.

    Args:
        handlers: The user's functions.
    """

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._host = TaskRunner()
        self._running = 0
        self._closing = 0  # handlers that close the receiver themselves
        self._quiet: anyio.Event | None = None
        self._closed = False

    async def tell(self, event: Event) -> None:
        """Call the handlers of an event."""
        if not self._start(event):
            await self._handlers.tell(event)

    def dispatch(self, event: Event) -> None:
        """Call them from where nobody can wait, such as another event loop."""
        if self._start(event):
            return
        if self._closed or self._host.loop in {None, current_loop()}:
            logger.error(
                "no handler hears of %r: the receiver was closed, or, on trio, never opened "
                "(async with receiver)",
                event,
            )
        else:
            call_in_loop(self._host.loop, self.dispatch, event)

    def _start(self, event: Event) -> bool:
        """Start the handlers of an event; False if there is nowhere to start them."""
        if not self._handlers.of_events:
            return True
        if self._closed:
            return False
        loop = self._host.loop
        if is_asyncio(loop) and loop.is_closed():
            self._host, self._running = TaskRunner(), 0
        self._running += 1
        try:
            self._host.bind()
            self._host.start(self._handlers.tell, event, self._ended)
        except WrongEventLoop:
            self._running -= 1
            return False
        return True

    def _ended(self, _: Event) -> None:
        self._running -= 1
        self._wake()

    def _wake(self) -> None:
        if self._quiet is not None:
            self._quiet.set()
            self._quiet = None

    async def open(self) -> None:
        """Have tasks on trio, too."""
        if self._closed:
            self._host, self._running = TaskRunner(), 0
        await self._host.open()
        self._closed = False

    async def aclose(self) -> None:
        """Wait for what is under way; what takes longer than 30 seconds is cancelled.

        A handler that closes does not wait for itself, nor for others that do the same.
        """
        self._closed = True
        if not self._running or self._host.loop is not current_loop():
            return
        inside = self._host.is_inside()
        self._closing += inside
        self._wake()
        try:
            with anyio.move_on_after(SHUTDOWN_SECONDS):
                while self._running > (self._closing if inside else 0):
                    self._quiet = self._quiet or anyio.Event()
                    await self._quiet.wait()
        finally:
            left = self._running - (self._closing if inside else 0)
            if left:
                logger.error("handlers of %d events did not end, and are cancelled", left)
                self._host.cancel()
            # Shielded, for on trio whoever opened the receiver is cancelled with its tasks.
            with anyio.CancelScope(shield=True):
                await self._host.drain()
            self._closing -= inside

    async def leave(self, error: BaseException | None) -> None:
        """Close after `open`."""
        try:
            await self.aclose()
        finally:
            await self._host.close(error)
