"""Event tracking: routes events and call records to calls, and wakes their waiters.

::

    store, look-up  →  Tracker  →  Call  →  its history, its channel, its waiters

A service has a tracker if it has a source of events or a limit on live calls. The tracker knows
calls by TeleCMI's ids and by their own references. It keeps no call alive: it forgets a call when
its handle is gone and its channel is free.

TeleCMI signs nothing, so an event is matched to a call in this order: a reference with a valid
code; the ``request_id``; the id of a leg that earlier events named. An event that names another
request is not the call's, even if it names one of its legs. Only a reference proves what became of the
call's request; the other matches merely add to what is known of the call.
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

import anyio

from telecmi_async._internal.event_loop import loop_time
from telecmi_async.calls.call import Call
from telecmi_async.calls.log import log_departed
from telecmi_async.calls.state import CallStatus
from telecmi_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidCall,
    RequestFailed,
    ServiceClosed,
    StoreError,
    TelecmiError,
)
from telecmi_async.service.poller import Polling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Sequence

    from telecmi_async._internal.tasks import TaskRunner
    from telecmi_async.events import CallRecord
    from telecmi_async.events.reference import References
    from telecmi_async.events.store import EventStore, StoredEvent
    from telecmi_async.pacing.channels import Channels
    from telecmi_async.pacing.shared_channels import SharedChannels
    from telecmi_async.phone import Region
    from telecmi_async.service.sources import Sources

logger = logging.getLogger("telecmi_async")

# Events of one call whose leg ids are learned. A real call has a handful.
_MOST_TEACHING = 200
# Placed calls that are remembered: their events are the user's even if their handles are gone.
_MOST_PLACED = 10_000
# Ids to look up in a store that is unavailable. Once it is back, it looks up all waiting calls.
_MOST_UNREAD = 10_000
# How many of them at a time.
_BATCH = 500
# Seconds until a store that failed is asked again.
_PAUSE = 5.0
_WORD = re.compile(r"[!-~]{1,256}")


class Tracker:
    """Follows the calls of one service beyond TeleCMI's answers to their requests.

    It is a `telecmi_async.calls.call.CallWatcher` for its calls and a
    `telecmi_async.events.store.Listener` for the store, and attaches itself to a receiver.
    ``records`` looks up the records of a call by its ``request_id``, ``references`` finds the
    account's references in events, ``signed`` says whether calls carry theirs, and ``proven`` is
    called with each call that was settled.
    """

    def __init__(
        self,
        sources: Sources,
        tasks: TaskRunner,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        channels: Channels | SharedChannels | None,
        references: References,
        signed: bool,
        proven: Callable[[Call], None] | None = None,
    ) -> None:
        self._proven = proven
        self.by_reference = sources.store is not None and signed
        self.has_sources = sources.has_any
        self._now: Callable[[], float] = loop_time
        self._sources = sources
        self._tasks = tasks
        self._channels = channels
        self._calls: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self._placed: OrderedDict[str, None] = OrderedDict()
        self._logged: OrderedDict[str, None] = OrderedDict()
        self._polling: Polling | None = None
        if sources.poller is not None:
            self._polling = Polling(
                sources.poller,
                tasks,
                records=records,
                found=self._add_record,
                wanted=self._is_wanted,
                refused=self._stop_polling,
            )
        self._unread: deque[str] = deque(maxlen=_MOST_UNREAD)
        self._claims: deque[StoredEvent] = deque()
        self._work: anyio.Event | None = None
        self._store_failed = False
        self._scope: anyio.CancelScope | None = None
        #: Why no more events will come for any call, if so.
        self._failure: TelecmiError | None = None
        if sources.intake is not None:
            sources.intake.attach(references, self)

    # -- for the service

    def open(self, now: Callable[[], float]) -> None:
        """Begin to follow the store, in the running event loop; ``now`` reads its clock."""
        self._now = now
        if self._sources.store is not None:
            self._tasks.start(self._listen, self._sources.store, lambda _: self.stop())

    def follow(self, call: Call) -> None:
        """Follow a call whose request is not sent yet."""
        call.follow(self)
        if self.by_reference:
            self._calls[call.reference] = call

    def attach(self, request_id: str) -> Call:
        """Return the call with an id: the one that is known here, or else a new one."""
        if not self.has_sources:
            raise ConfigurationError("handle_for needs a source of events (events=)")
        if not isinstance(cast("object", request_id), str) or not _WORD.fullmatch(request_id):
            raise InvalidCall(
                "must be the id that TeleCMI gave an accepted call", path="request_id"
            )
        call = self._calls.get(request_id)
        if call is None or not _is_known_as(call, request_id):
            call = Call(None, source=request_id, region=None)
            call.follow(self)
            call.attach(request_id)
        return call

    def region_of(self, leg: str) -> Region | None:
        """Return the region of the call that a leg belongs to, if it is known."""
        call = self._calls.get(leg) if isinstance(cast("object", leg), str) else None
        return None if call is None else call.region

    def stop(self) -> None:
        """Stop, and end all waits with `ServiceClosed`."""
        self._give_up(
            ServiceClosed(
                "the service was closed before all was known of the call; follow it again in "
                "an open service with service.handle_for(request_id)"
            )
        )

    def _give_up(self, failure: TelecmiError) -> None:
        """Stop following calls, and end all waits with an error."""
        failure.safe_to_redial = False  # the call may be under way
        self._failure = self._failure or failure
        if self._sources.intake is not None:
            self._sources.intake.detach(self)
        if self._scope is not None:
            self._scope.cancel()
        if self._polling is not None:
            self._polling.stop()
        for call in set(self._calls.values()):
            call.history.fail(self._failure)

    # -- for calls (CallWatcher)

    def call_settled(self, call: Call) -> None:
        """Find the call by its id from now on, and look up events that came earlier."""
        placement = call.placement
        placed = placement.status in {CallStatus.PROGRESS, CallStatus.UNKNOWN}
        if self._proven is not None:
            self._proven(call)
        if self._channels is not None:
            self._hold_channel(self._channels, call, placed=placed)
        if not placed or not self.has_sources:
            return
        request_id = placement.request_id
        if request_id is not None:
            other = self._calls.get(request_id)
            # An event may have called another call's leg by this id.
            if other and other is not call and other.placement.request_id == request_id:
                call.share_events(other, now=self._now())
            self._calls[request_id] = call
        # Its events are recognised for a while, even if its handle is gone.
        self._placed[request_id or call.reference] = None
        if len(self._placed) > _MOST_PLACED:
            self._placed.popitem(last=False)
        self._look_up(request_id, call.reference if self.by_reference else None)
        if self._polling is not None:
            self._polling.look(call)

    def _hold_channel(
        self, channels: Channels | SharedChannels, call: Call, *, placed: bool
    ) -> None:
        """Hold a call's channel as long as it may be live, or release it.

        A call that was attached may have ended days ago, so it holds none. The call of an
        idempotency key that another process sent has its channel there.
        """
        over = any(map(call.is_ended_by, call.events))
        if call.request is None or call.placement.elsewhere or over or not placed:
            channels.release(call)
        else:
            channels.hold(call, until=self._now() + call.longest)

    def call_renamed(self, call: Call) -> None:
        """Find the call by the reference that it was sent with."""
        if self.by_reference:
            self._calls[call.reference] = call

    def call_ended(self, call: Call) -> None:
        """Release the call's channel."""
        if self._channels is not None:
            self._channels.release(call)

    @contextmanager
    def registered_waiter(self, call: Call) -> Generator[None]:
        """Look up the call's records as long as a task waits for them."""
        if self._failure is not None:
            call.history.fail(self._failure)
        with call.history.waiter():
            if self._polling is not None:
                self._polling.look(call)
            yield

    # -- for the store (store.Listener)

    def wants(self, ids: Collection[str]) -> bool:
        """Return whether a call of this service is known by one of these ids."""
        return any(name in self._calls or name in self._placed for name in ids)

    def take(self, stored: StoredEvent) -> None:
        """Add an event to its call, and learn the call's ids that it names."""
        call, proven = self._match(stored)
        if call is None:
            reference = _reference_in(stored)
            if not self._placed.keys().isdisjoint((stored.event.request_id, reference)):
                if self._is_news(stored):  # its handle is gone
                    log_departed(stored.event, reference)
                self._claim(stored)
            return
        if not call.add_event(
            stored.key, stored.event, size=stored.size, now=self._now(), proven=proven
        ):
            return
        self._is_news(stored)
        if len(call.events) <= _MOST_TEACHING:
            ids = (stored.event.cmiuuid, stored.event.request_id if proven else None)
            fresh = [n for n in ids if n in stored.ids and n not in self._calls]
            self._calls.update(dict.fromkeys(fresh, call))
            self._look_up(*fresh)
        self._claim(stored)

    def _is_news(self, stored: StoredEvent) -> bool:
        """Return whether an event was not in the log before; a look-up may bring it again."""
        if not logger.isEnabledFor(logging.INFO) or stored.key in self._logged:
            return False
        self._logged[stored.key] = None
        if len(self._logged) > _MOST_PLACED:
            self._logged.popitem(last=False)
        return True

    def _claim(self, stored: StoredEvent) -> None:
        """Have an event given to the user's handlers: it was not known to be ours before."""
        if not stored.matched and self._sources.dispatch is not None:
            self._claims.append(stored)
            self._wake()

    def _match(self, stored: StoredEvent) -> tuple[Call | None, bool]:
        """Return the call that an event belongs to, and whether the event proves that."""
        event = stored.event
        reference = _reference_in(stored)
        call = self._calls.get(reference)
        if call is not None and call.reference == reference:
            return call, True
        for name in stored.ids:
            call = self._calls.get(name)
            if call is not None and (
                name == event.request_id
                or None in {event.request_id, call.placement.request_id}
                or event.request_id == call.placement.request_id
            ):
                return call, False
        return None, False

    def waiting(self) -> list[str]:
        """Return the ids of calls, and of their legs, whose end is not known yet."""
        now = self._now()
        return [name for name, call in self._calls.items() if not call.history.complete(now)]

    # -- tasks

    async def _listen(self, store: EventStore) -> None:
        """Follow the store, and look up events that it got before they were wanted."""
        try:
            with anyio.CancelScope() as scope:
                self._scope = scope
                if self._failure is None:  # it may be set before this task's first step
                    async with store.follow(self):
                        while True:
                            await self._catch_up(store)
                            self._work = anyio.Event()
                            await self._work.wait()
        except Exception:
            logger.exception("the store of events failed; calls are no longer followed")
            self._give_up(StoreError("the store of events failed; see the log"))

    async def _catch_up(self, store: EventStore) -> None:
        """Look up events and claim them, until nothing is left."""
        while self._unread or self._claims:
            names = [self._unread.popleft() for _ in range(min(len(self._unread), _BATCH))]
            try:
                for stored in await store.get(names) if names else ():
                    self.take(stored)
                names.clear()
                while self._claims:
                    if await store.claim(self._claims[0].key) and self._sources.dispatch:
                        self._sources.dispatch(self._claims[0].event)
                    self._claims.popleft()
            except StoreError as error:
                if not self._store_failed:
                    logger.warning("earlier events cannot be looked up now: %s", error)
                self._store_failed = True
                self._unread.extend(names)
                await anyio.sleep(_PAUSE)
            else:
                self._store_failed = False

    def _look_up(self, *names: str | None) -> None:
        """Ask the store for the events that are stored under these ids."""
        if self._sources.store is not None and self._failure is None:
            self._unread.extend(name for name in names if name is not None)
            self._wake()

    def _wake(self) -> None:
        if self._work is not None:
            self._work.set()

    # -- look-ups

    def _is_wanted(self, call: Call) -> bool:
        """Return whether a call's records should be looked up."""
        history = call.history
        if history.failure or history.complete(self._now()):
            return False
        if history.waiters:
            return True
        return self._channels is not None and self._channels.holds(call)

    def _add_record(self, call: Call, record: CallRecord) -> None:
        """Add a record that was looked up, unless a webhook brought it, with more in it."""
        legs = call.state.legs
        if not any(leg.leg == record.leg and leg.record and leg.cmiuuid for leg in legs):
            key = json.dumps(record.raw, sort_keys=True)
            call.add_event(key, record, size=len(key), now=self._now(), proven=False)

    def _stop_polling(self, call: Call, error: AuthenticationError) -> None:
        """Stop looking records up: TeleCMI refuses. That says nothing about the call."""
        if self._sources.store is not None and self._polling is not None:
            self._polling.stop()
            logger.error(
                "records are no longer looked up, events still arrive: %s", error.message
            )
            return
        refused = RequestFailed(
            f"the call's records cannot be looked up ({error.code}): {error.message}",
            status=error.status,
            code=error.code,
        )
        refused.safe_to_redial = False
        call.history.fail(refused)


def _reference_in(stored: StoredEvent) -> str:
    """Return the reference that an event carries, with a valid code; "" if there is none."""
    event = stored.event
    # An id may merely look like a reference.
    ids = (event.request_id, event.conversation_uuid, event.cmiuuid)
    return next((name for name in stored.ids if name not in ids), "")


def _is_known_as(call: Call, request_id: str) -> bool:
    """Return whether an id is one of this call's requests, and not merely of a leg."""
    return request_id == call.placement.request_id or any(
        event.request_id == request_id for event in call.events
    )
