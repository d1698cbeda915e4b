"""Event handlers: run as tasks, so that no reply to TeleCMI waits for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Self

import anyio

from telecmi_async._internal.event_loop import call_in_loop, current_loop, is_asyncio
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    from types import TracebackType

    from telecmi_async.events import Event
    from telecmi_async.events.receiver.handlers import Handlers

logger = logging.getLogger("telecmi_async")

#: How many seconds closing waits for running handlers.
SHUTDOWN_SECONDS: Final = 30.0


class HandlerRunner:
    """Runs event handlers, each event in a task of its own, in the order of arrival.

    It belongs to the event loop it is first used in, until that is closed. On trio there are
    tasks only while it is open (``async with``). Without them, and once it was closed, `run`
    waits for the handlers.
    """

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._tasks = TaskRunner()
        self._running = 0
        self._closing = 0  # handlers that close the receiver themselves
        self._changed: anyio.Event | None = None
        self._closed = False

    async def run(self, event: Event) -> None:
        """Start the handlers of an event; wait for them where no task can be started."""
        if not self._start(event):
            await self._handlers.run(event)

    def dispatch(self, event: Event) -> None:
        """Start the handlers of an event from code that cannot wait, in any event loop."""
        if self._start(event):
            return
        if self._closed or self._tasks.loop in {None, current_loop()}:
            logger.error(
                "no handler is called for %r: the receiver was closed, or, on trio, never "
                "opened (async with receiver)",
                event,
            )
        else:
            call_in_loop(self._tasks.loop, self.dispatch, event)

    def _start(self, event: Event) -> bool:
        """Start the handlers of an event; return False if no task can be started."""
        if not self._handlers.of_events:
            return True
        if self._closed:
            return False
        loop = self._tasks.loop
        if is_asyncio(loop) and loop.is_closed():
            self._tasks, self._running = TaskRunner(), 0
        self._running += 1
        try:
            self._tasks.bind()
            self._tasks.start(self._handlers.run, event, self._ended)
        except WrongEventLoop:
            self._running -= 1
            return False
        return True

    def _ended(self, _: Event) -> None:
        self._running -= 1
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def aclose(self) -> None:
        """Wait for running handlers; cancel those that take longer than 30 seconds.

        A handler that closes does not wait for itself, nor for others that do the same.
        """
        self._closed = True
        if not self._running or self._tasks.loop is not current_loop():
            return
        inside = self._tasks.is_inside()
        self._closing += inside
        self._wake()
        try:
            with anyio.move_on_after(SHUTDOWN_SECONDS):
                while self._running > (self._closing if inside else 0):
                    self._changed = self._changed or anyio.Event()
                    await self._changed.wait()
        finally:
            left = self._running - (self._closing if inside else 0)
            if left:
                logger.error("handlers of %d events did not end and are cancelled", left)
                self._tasks.cancel()
            # Shielded: on trio the task that opened the receiver is cancelled with its tasks.
            with anyio.CancelScope(shield=True):
                await self._tasks.drain()
            self._closing -= inside

    async def __aenter__(self) -> Self:
        if self._closed:
            self._tasks, self._running = TaskRunner(), 0
        await self._tasks.open()
        self._closed = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        finally:
            await self._tasks.close(error)
