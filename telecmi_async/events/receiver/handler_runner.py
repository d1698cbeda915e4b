"""Event handlers: run as tasks, so that no reply to TeleCMI waits for them.

Each handler gets the events of one call in the order of their arrival, one at a time, and those
of other calls at the same time: it works on a *lane* for each call. No handler waits for another
one. What waits is bounded: at the bound a receiver refuses events, before they are stored.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Self, TypeVar

import anyio
from attrs import define, field

from telecmi_async._internal.event_loop import call_in_loop, current_loop, is_asyncio
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.errors import WrongEventLoop
from telecmi_async.events import Event
from telecmi_async.events.receiver.handlers import EventHandler, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from telecmi_async.events.receiver.handlers import Handlers

logger = logging.getLogger("telecmi_async")

# How many calls a handler works on at the same time.
_AT_ONCE: Final = 100
# How many lost events are logged one by one.
_MOST_LOGGED: Final = 100

_T = TypeVar("_T")


@define(eq=False)
class _Lane:
    """The events of one call that one handler has not finished, the first under way or next."""

    handler: EventHandler
    key: tuple[int, str]
    events: deque[Event] = field(factory=deque["Event"])


@define(eq=False)
class _Worker:
    """A task that works on one lane after another; it has none when it is done."""

    lane: _Lane | None


class HandlerRunner:
    """Runs event handlers, on lanes of their own, in tasks.

    It belongs to the event loop it is first used in, until that is closed. On trio there are
    tasks only while it is open (``async with``). Without them, and once it was closed, `run`
    waits for the handlers.
    """

    def __init__(
        self, handlers: Handlers, *, max_pending: int, shutdown_timeout: float | None
    ) -> None:
        self._handlers = handlers
        self._max_pending = max_pending
        self._shutdown_timeout = shutdown_timeout
        self._tasks = TaskRunner()
        self._closed = self._closing = False
        self._lanes: dict[tuple[int, str], _Lane] = {}
        # By handler: the lanes that no task works on yet, and how many tasks there are.
        self._idle: dict[int, deque[_Lane]] = {}
        self._working: Counter[int] = Counter()
        self._pending = 0
        self._lost: list[tuple[EventHandler, Event]] = []
        self._unnamed = 0

    @property
    def full(self) -> bool:
        """Whether so many events wait for handlers that no more may be accepted."""
        return self._pending >= self._max_pending

    def slowest(self) -> str:
        """Return the name of the handler for which most events wait."""
        waiting: Counter[str] = Counter()
        for lane in self._lanes.values():
            waiting[name_of(lane.handler)] += len(lane.events)
        return waiting.most_common(1)[0][0] if waiting else "?"

    async def run(self, event: Event, *, inside: bool = False) -> None:
        """Start the handlers of an event; wait for them where no task can be started.

        ``inside`` a task that was started here, others may be started while the receiver closes.
        """
        if not self._offer(event, inside=inside):
            for handler in tuple(self._handlers.of_events):
                await self._handlers.notify(handler, event)

    def dispatch(self, event: Event) -> None:
        """Start the handlers of an event from code that cannot wait, in any event loop."""
        if self._offer(event):
            return
        if self._closed or self._tasks.loop in {None, current_loop()}:
            logger.error(
                "no handler is called for %r: the receiver was closed, or, on trio, never "
                "opened (async with receiver)",
                event,
            )
        else:
            call_in_loop(self._tasks.loop, self.dispatch, event)

    def start(
        self,
        work: Callable[[_T], Coroutine[object, object, None]],
        subject: _T,
        ended: Callable[[_T], None] | None = None,
    ) -> bool:
        """Run ``work(subject)`` as a task, which `aclose` waits for; False if none can be started.

        ``ended(subject)`` is called once it ended in any way.
        """
        if not self._bind():
            return False
        self._tasks.start(work, subject, ended)
        return True

    def _bind(self, *, inside: bool = False) -> bool:
        """Return whether tasks can be started here."""
        if self._closed and not (inside and self._closing):
            return False
        loop = self._tasks.loop
        if is_asyncio(loop) and loop.is_closed():
            self._tasks = TaskRunner()
            self._forget()
        try:
            self._tasks.bind()
        except WrongEventLoop:
            return False
        return True

    def _offer(self, event: Event, *, inside: bool = False) -> bool:
        """Start the handlers of an event; return False if no task can be started."""
        handlers = self._handlers.of_events
        if not handlers:
            return True
        if not self._bind(inside=inside):
            return False
        call = event.conversation_uuid or event.request_id or event.cmiuuid
        if call is None:  # of no known call: a separate lane
            self._unnamed += 1
            call = f" {self._unnamed}"
        for handler in tuple(handlers):
            self._add(handler, call, event)
        return True

    def _add(self, handler: EventHandler, call: str, event: Event) -> None:
        self._pending += 1
        mine = id(handler)
        key = (mine, call)
        if (lane := self._lanes.get(key)) is not None:
            lane.events.append(event)
            return
        lane = self._lanes[key] = _Lane(handler, key)
        lane.events.append(event)
        if self._working[mine] < _AT_ONCE:
            self._working[mine] += 1
            self._tasks.start(self._work, _Worker(lane), self._ended)
        else:
            self._idle.setdefault(mine, deque()).append(lane)

    async def _work(self, worker: _Worker) -> None:
        while (lane := worker.lane) is not None:
            while lane.events:
                await self._handlers.notify(lane.handler, lane.events[0])
                lane.events.popleft()
                self._pending -= 1
            del self._lanes[lane.key]
            worker.lane = self._next_after(lane)

    def _next_after(self, lane: _Lane) -> _Lane | None:
        """Return the next lane of the same handler; without one the task counts no more.

        A task ends a little before `_ended` is called: a lane that comes in between must not
        wait for it.
        """
        mine = lane.key[0]
        if idle := self._idle.get(mine):
            following = idle.popleft()
            if not idle:
                del self._idle[mine]
            return following
        self._retire(mine)
        return None

    def _retire(self, handler: int) -> None:
        """Count one task less; nothing stays of a handler that may be removed."""
        self._working[handler] -= 1
        if not self._working[handler]:
            del self._working[handler]

    def _ended(self, worker: _Worker) -> None:
        """Note what a task left that was cancelled."""
        if (lane := worker.lane) is not None:
            self._retire(lane.key[0])
            self._lose(lane)

    def _lose(self, lane: _Lane) -> None:
        self._lanes.pop(lane.key, None)
        self._pending -= len(lane.events)
        self._lost += [(lane.handler, event) for event in lane.events]
        lane.events.clear()

    def _forget(self) -> None:
        """Give up what no task works on any more, and log it."""
        for lane in tuple(self._lanes.values()):
            self._lose(lane)
        self._idle.clear()
        self._working.clear()
        self._log_lost()

    def _log_lost(self) -> None:
        lost, self._lost = self._lost, []
        if not lost:
            return
        logger.error(
            "handlers of %d accepted events did not end before the receiver was closed; these "
            "events are not handled:",
            len(lost),
        )
        for handler, event in lost[:_MOST_LOGGED]:
            logger.error("lost for the handler %s: %r", name_of(handler), event)

    async def aclose(self) -> None:
        """Wait for running handlers; after ``shutdown_timeout`` cancel them, and log what is lost.

        A handler that closes does not wait for itself, nor for others that do the same.
        """
        self._closed = self._closing = True
        if self._tasks.loop is not current_loop():
            return
        if self._tasks.unfinished():
            limit = self._shutdown_timeout
            logger.info(
                "the receiver closes: it waits for handlers of %d events%s",
                self._pending,
                "" if limit is None else f", {limit} s at most",
            )
        try:
            with anyio.move_on_after(self._shutdown_timeout):
                await self._tasks.idle()
        finally:
            self._closing = False
            if self._tasks.unfinished():
                for lanes in self._idle.values():
                    while lanes:
                        self._lose(lanes.popleft())
                self._tasks.cancel()
            # Shielded: on trio the task that opened the receiver is cancelled with its tasks.
            with anyio.CancelScope(shield=True):
                await self._tasks.drain()
            self._log_lost()

    async def __aenter__(self) -> Self:
        if self._closed:
            self._tasks = TaskRunner()
        await self._tasks.open()
        self._closed = False
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            await self.aclose()
        finally:
            await self._tasks.close(error)
