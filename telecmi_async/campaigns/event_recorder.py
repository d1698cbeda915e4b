"""Event recorder: puts a receiver's events on record while a campaign runs or is open.

Events wait in a queue of the campaign's own. A ledger that is slow, fails or is closed therefore
delays no other campaign, and no handler of the user's. The queue is bounded: of later events it
notes the calls, and takes them from the receiver's store when there is room.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async._internal.event_loop import call_in_loop, current_loop, make_signal
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async._internal.telecmi import RECORD_PATIENCE
from telecmi_async.campaigns.evidence import record_call_event
from telecmi_async.errors import ConfigurationError, StoreError, TelecmiError
from telecmi_async.events.reference import reference_in
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from telecmi_async.campaigns.worker import Worker
    from telecmi_async.events import Event
    from telecmi_async.events.receiver.intake import Intake
    from telecmi_async.ledger import Contact

logger = logging.getLogger("telecmi_async")

# Events that may wait while the ledger fails: all that comes of some thousand live calls. Of
# later ones as many calls are noted.
_MOST_WAITING: Final = 20_000
# Events that are written at a time: a ledger puts what comes together into one transaction.
_MOST_TASKS: Final = 64
# Ids that are looked up at a time in the store of events.
_BATCH: Final = 500
# Seconds between two tries of a ledger or a store of events that fails.
_PAUSE: Final = 2.0
_MAY_END: Final = (ContactState.PLACED, ContactState.UNKNOWN)


class _GivenUpError(Exception):
    """The ledger failed while the recorder was closing."""


class EventRecorder:
    """Records events in the ledger of a worker's campaign while it is open."""

    def __init__(self, worker: Worker, intake: Intake | None) -> None:
        self._worker = worker
        self._intake = intake
        self._loop: object = None
        # The tasks of each context that is open, the newest last.
        self._opened: list[TaskRunner] = []
        self._writers = 0
        # What wakes the writers that wait for an event.
        self._idle: list[Callable[[], None]] = []
        self._events: deque[Event] = deque()
        # By a call's id, how many of its events came while the queue was full.
        self._deferred: Counter[str] = Counter()
        self._fetching = False
        self._missed = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Record events while the context is open; it ends when those that came are on record.

        Those that came before, and that the receiver's store still has, are recorded as well.
        Several tasks may have it open. If the ledger fails at the end, what is left is given up.
        """
        if self._intake is None:
            yield
            return
        tasks = TaskRunner()
        try:
            # Its end is not cancelled: what was received is not sent again.
            async with tasks.running(partial(self._end, tasks, self._intake)):
                self._begin(tasks, self._intake)
                yield
        finally:
            self._report()

    def _begin(self, tasks: TaskRunner, intake: Intake) -> None:
        if not self._opened:
            self._loop = current_loop()
            intake.handlers.add_recorder(self.put)
        self._opened.append(tasks)
        if len(self._opened) == 1:
            tasks.start(partial(self._catch_up, intake=intake), tasks)

    def _end(self, tasks: TaskRunner, intake: Intake) -> None:
        self._opened.remove(tasks)
        if not self._opened:
            intake.handlers.remove_recorder(self.put)
        else:  # their writers go on with what is left
            for _ in self._events:
                self._wake_writer(self._opened[-1])
        while self._idle:
            self._idle.pop()()

    def put(self, event: Event) -> None:
        """Have an event recorded; any thread's event loop may call this."""
        if current_loop() is self._loop:
            self._take(event)
        else:
            call_in_loop(self._loop, self._take, event)

    def _take(self, event: Event) -> None:
        if not self._opened:
            return
        if len(self._events) >= _MOST_WAITING:
            self._defer(event)
            return
        self._events.append(event)
        self._wake_writer(self._opened[-1])

    def _defer(self, event: Event) -> None:
        """Note the call of an event for which the queue has no room."""
        call = event.request_id or reference_in(event)
        if call is None:  # of no campaign
            return
        if not self._deferred:
            logger.error(
                "campaign %s: %d events wait for the ledger; later ones are looked up in the "
                "receiver's store when it works again",
                self._worker.campaign,
                _MOST_WAITING,
            )
        if call in self._deferred or len(self._deferred) < _MOST_WAITING:
            self._deferred[call] += 1
        else:
            self._missed += 1

    def _wake_writer(self, tasks: TaskRunner) -> None:
        if self._idle:
            self._idle.pop()()
        elif self._writers < _MOST_TASKS:
            self._writers += 1
            tasks.start(self._write_all, tasks, self._writer_ended)

    def _writer_ended(self, _: TaskRunner) -> None:
        self._writers -= 1

    async def _catch_up(self, tasks: TaskRunner, intake: Intake) -> None:
        """Record events that came before: of contacts whose calls may have ended meanwhile."""
        worker, failed = self._worker, False
        with anyio.CancelScope(shield=True):
            while tasks in self._opened and worker.ledger_health.lost is None:
                try:
                    await self._look_up_contacts(tasks, intake)
                except ConfigurationError:  # the campaign is not in the ledger yet
                    return
                except StoreError as error:
                    if not failed:
                        failed = True
                        logger.warning(
                            "campaign %s: events that came before it was opened are not looked "
                            "up until that works: %s",
                            worker.campaign,
                            error,
                        )
                    await anyio.sleep(_PAUSE)
                else:
                    return

    async def _look_up_contacts(self, tasks: TaskRunner, intake: Intake) -> None:
        ledger, name = self._worker.ledger, self._worker.campaign
        ids: list[str] = []
        async with aclosing(ledger.contacts(name, states=_MAY_END)) as contacts:
            async for contact in contacts:
                if tasks not in self._opened:
                    return
                ids += await self._ids_of(contact)
                if len(ids) >= _BATCH:
                    await self._look_up(ids, intake)
                    ids = []
        await self._look_up(ids, intake)

    async def _ids_of(self, contact: Contact) -> list[str]:
        """Return the ids by which events of a contact's calls are found."""
        if contact.request_id is not None:
            return [contact.request_id]
        found = await self._worker.ledger.find(self._worker.campaign, contact.number)
        return [p.token for p in (found.history if found else ()) if p.token is not None]

    async def _look_up(self, ids: list[str], intake: Intake) -> None:
        for stored in await intake.store.get(list(dict.fromkeys(ids))) if ids else ():
            self._take(stored.event)

    async def _write_all(self, tasks: TaskRunner) -> None:
        """Write one event after another while the context of these tasks is open."""
        with anyio.CancelScope(shield=True):
            while True:
                while self._events and (tasks in self._opened or not self._opened):
                    await self._write(self._events.popleft(), tasks)
                    await self._fetch_deferred()
                if tasks not in self._opened:
                    return
                idle, wake = make_signal()
                self._idle.append(wake)
                await idle

    async def _fetch_deferred(self) -> None:
        """Take from the store what the queue had no room for, once half of it is free."""
        if self._fetching or self._intake is None:
            return
        self._fetching = True
        try:
            while self._deferred and len(self._events) <= _MOST_WAITING // 2:
                await self._fetch(self._intake)
        finally:
            self._fetching = False

    async def _fetch(self, intake: Intake) -> None:
        calls = {
            call: self._deferred.pop(call) for call in tuple(islice(self._deferred, _BATCH))
        }
        try:
            found = await intake.store.get(list(calls))
        except Exception as error:  # noqa: BLE001  # of a store of the user's own
            if self._opened:
                self._deferred.update(calls)
                await anyio.sleep(_PAUSE)
                return
            said = str(error) if isinstance(error, StoreError) else type(error).__name__
            logger.error(  # noqa: TRY400  # it says it all
                "campaign %s: the store of events fails: %s", self._worker.campaign, said
            )
            found = []
        # A store drops the oldest events first, and those of a call that came last are missed.
        left = Counter(name for stored in found for name in set(stored.ids))
        self._missed += sum(max(count - left[call], 0) for call, count in calls.items())
        for stored in found:
            self._events.append(stored.event)
            if self._opened:
                self._wake_writer(self._opened[-1])

    def _give_up(self) -> None:
        """Record nothing of what waits."""
        self._missed += len(self._events) + self._deferred.total()
        self._events.clear()
        self._deferred.clear()

    async def _write(self, event: Event, tasks: TaskRunner) -> None:
        """Put an event on record, and retry that while the ledger fails."""
        worker = self._worker

        async def write() -> None:
            try:
                await record_call_event(
                    worker.ledger, event, limits=worker.limits, own=worker.leases
                )
            except StoreError:
                if tasks in self._opened:
                    raise
                raise _GivenUpError from None

        try:
            # Not for ever: an event may be what the ledger refuses.
            patience = max(worker.timeouts.outcomes, RECORD_PATIENCE)
            await worker.ledger_health.persist(write, patience)
        except _GivenUpError:
            self._events.append(event)
            if self._opened:
                self._wake_writer(self._opened[-1])
            else:
                self._give_up()
        except StoreError:  # the worker logged it
            self._missed += 1
            if worker.ledger_health.lost is not None:
                self._give_up()
        except TelecmiError as error:
            logger.error("campaign %s: %r is not recorded: %s", worker.campaign, event, error)  # noqa: TRY400  # it says it all
        else:
            worker.wake()

    def _report(self) -> None:
        """Log how many events are not on record, once nothing is open."""
        if self._missed and not self._opened:
            logger.error(
                "campaign %s: %d events could not be recorded: the ends of their calls stay "
                "unknown to the ledger",
                self._worker.campaign,
                self._missed,
            )
            self._missed = 0
