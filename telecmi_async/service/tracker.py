"""Brings what is heard of calls to the calls, and ends what waits for their end.

::

    store, look-up  →  Tracker  →  Call  →  its history, its channel, those who wait

A service has one if it has a source of events or a limit on live calls. Calls are known to it
by TeleCMI's ids and by their own references, and as long as somebody holds their handle or they
hold a channel: it keeps no call alive by itself.

Whose is an event? TeleCMI signs nothing, so what it says of itself counts in this order: a
reference with the right code; the ``request_id``; the id of a leg, which other events of the
call told. An event that names another request is not the call's, whatever leg it names. What
only a leg's id or a ``request_id`` ties to a call adds to what is known of it, and proves
nothing about what became of its request.
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

from telecmi_async._internal.telecmi import LONGEST_CALL, RINGING
from telecmi_async.calls.call import Call
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
    from telecmi_async.phone import Region
    from telecmi_async.service.sources import Sources

__all__ = ["Tracker"]

logger = logging.getLogger("telecmi_async")

# Events of one call that teach the ids of its legs. A real call has a handful.
_TEACHING = 200
# Calls whose handles may be gone, and whose events are the user's all the same.
_MOST_PLACED = 10_000
# Ids to be looked up in a store, if that is away for long. It looks up by itself all that is
# waited for once it is back.
_MOST_UNREAD = 10_000
# Of these, how many at once.
_AT_ONCE = 500
# Until a store that failed is asked again, in seconds.
_PAUSE = 5.0
_WORD = re.compile(r"[!-~]{1,256}")


class Tracker:
    """Follows the calls of one service beyond TeleCMI's answers to their requests.

    It is a `telecmi_async.calls.state.Watch` for its calls and a `telecmi_async.events.store.Listener` for
    the store.

    Args:
        sources: Where events come from.
        tasks: Runs its tasks.
        records: Looks up the records of a call by its ``request_id``.
        channels: The live calls' limit, if there is one.
        by_reference: Whether calls carry their references.
    """

    def __init__(
        self,
        sources: Sources,
        tasks: TaskRunner,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        channels: Channels | None,
        by_reference: bool,
    ) -> None:
        self.by_reference = by_reference
        self.has_sources = sources.has_any
        self._now: Callable[[], float] = anyio.current_time
        self._sources = sources
        self._tasks = tasks
        self._channels = channels
        self._calls: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self._placed: OrderedDict[str, None] = OrderedDict()
        self._polling: Polling | None = None
        if sources.poller is not None:
            self._polling = Polling(
                sources.poller,
                tasks,
                records=records,
                heard=self._read,
                wanted=self._is_wanted,
                refused=self._refuse,
            )
        self._unread: deque[str] = deque(maxlen=_MOST_UNREAD)
        self._claims: deque[StoredEvent] = deque()
        self._work: anyio.Event | None = None
        self._store_failed = False
        self._listening: anyio.CancelScope | None = None
        #: Why nothing more is heard of any call, if so.
        self._failure: TelecmiError | None = None

    @classmethod
    def of(
        cls,
        sources: Sources,
        tasks: TaskRunner,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        channels: Channels | None,
        references: References,
        signed: bool,
    ) -> Tracker | None:
        """Return a service's tracker, attached to its receiver; None if nothing needs one.

        Args:
            sources: Where events come from.
            tasks: Runs its tasks.
            records: Looks up the records of a call by its ``request_id``.
            channels: The live calls' limit, if there is one.
            references: The account's references.
            signed: Whether calls carry theirs.
        """
        if not sources.has_any and channels is None:
            return None
        tracker = cls(
            sources,
            tasks,
            records=records,
            channels=channels,
            by_reference=sources.store is not None and signed,
        )
        if sources.intake is not None:
            sources.intake.attach(references, tracker)
        return tracker

    # -- what the service asks

    def open(self, now: Callable[[], float]) -> None:
        """Begin to listen in the event loop that is running, whose clock is ``now``."""
        self._now = now
        if self._sources.store is not None:
            self._tasks.start(self._listen, self._sources.store, lambda _: self.stop())

    def follow(self, call: Call) -> None:
        """Follow a call from before its request is sent."""
        call.follow(self)
        if self.by_reference:
            self._calls[call.reference] = call

    def attach(self, request_id: str) -> Call:
        """Return the call that has an id: the one that somebody holds, or a new one for it.

        Raises:
            ConfigurationError: There is no source of events.
            InvalidCall: It is no such id.
        """
        if not self.has_sources:
            raise ConfigurationError(
                "a call is taken up again to hear of it: give the service a source of events"
            )
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
        """Return where the call went that has a leg, if that is known."""
        call = self._calls.get(leg) if isinstance(cast("object", leg), str) else None
        return None if call is None else call.region

    def stop(self) -> None:
        """Listen no more, and tell those who wait that nothing more is heard."""
        self._give_up(
            ServiceClosed(
                "the service was closed before all was known of the call; a service that is "
                "open takes it up again by service.handle_for(request_id)"
            )
        )

    def _give_up(self, failure: TelecmiError) -> None:
        """Hear no more of any call, for a reason that those who wait are told."""
        failure.safe_to_redial = False  # the call may well be under way
        self._failure = self._failure or failure
        if self._sources.intake is not None:
            self._sources.intake.detach(self)
        if self._listening is not None:
            self._listening.cancel()
        if self._polling is not None:
            self._polling.stop()
        for call in set(self._calls.values()):
            call.history.fail(self._failure)

    # -- what calls ask (CallWatcher)

    def call_settled(self, call: Call) -> None:
        """Find the call by its id from now on, and look up what came before it was known."""
        placement = call.placement
        placed = placement.status in {CallStatus.PROGRESS, CallStatus.UNKNOWN}
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
            self._remember(request_id)
        self._look_up(request_id, call.reference if self.by_reference else None)
        if self._polling is not None:
            self._polling.look(call)

    def _remember(self, request_id: str) -> None:
        """Know for a while whose an event is that brings no reference, its handle being gone."""
        self._placed[request_id] = None
        if len(self._placed) > _MOST_PLACED:
            self._placed.popitem(last=False)

    def _hold_channel(self, channels: Channels, call: Call, *, placed: bool) -> None:
        """Hold a call's channel as long as it may be live, or give it back.

        One that was taken up again may be over for days: it holds none.
        """
        over = any(map(call.is_ended_by, call.events))
        if call.request is None or over or not placed:
            channels.release(call)
        else:
            longest = call.request.duration or LONGEST_CALL
            channels.hold(call, until=self._now() + longest + RINGING)

    def call_ended(self, call: Call) -> None:
        """Give the call's channel to the next one."""
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

    # -- what the store asks (store.Listener)

    def wants(self, ids: Collection[str]) -> bool:
        """Tell whether a call is known here by one of these ids, or was placed here lately."""
        return any(name in self._calls or name in self._placed for name in ids)

    def take(self, stored: StoredEvent) -> None:
        """Hand an event to its call, and learn the ids of the call that it brings."""
        call, proven = self._whose(stored)
        if call is None:
            if stored.event.request_id in self._placed:  # its handle is gone
                self._claim(stored)
            return
        if not call.add_event(
            stored.key, stored.event, size=stored.size, now=self._now(), proven=proven
        ):
            return
        if len(call.events) <= _TEACHING:
            taught = (stored.event.cmiuuid, stored.event.request_id if proven else None)
            fresh = [n for n in taught if n in stored.ids and n not in self._calls]
            self._calls.update(dict.fromkeys(fresh, call))
            self._look_up(*fresh)
        self._claim(stored)

    def _claim(self, stored: StoredEvent) -> None:
        """Have the user's handlers hear of an event that turned out to be ours."""
        if not stored.matched and self._sources.dispatch is not None:
            self._claims.append(stored)
            self._wake()

    def _whose(self, stored: StoredEvent) -> tuple[Call | None, bool]:
        """Return the call that an event is about, and whether the event proves that."""
        event = stored.event
        ids = (event.request_id, event.conversation_uuid, event.cmiuuid)
        # Its code is right: else it would not be among the names. An id may only look like it.
        reference = next((name for name in stored.ids if name not in ids), "")
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
        """Return the ids of the calls whose end is not known yet, with those of their legs."""
        now = self._now()
        return [name for name, call in self._calls.items() if not call.history.complete(now)]

    # -- its tasks

    async def _listen(self, store: EventStore) -> None:
        """Follow the store, and look up in it what was stored before it was wanted."""
        try:
            with anyio.CancelScope() as scope:
                self._listening = scope
                if self._failure is None:  # else that was before its first step
                    async with store.follow(self):
                        while True:
                            await self._catch_up(store)
                            self._work = anyio.Event()
                            await self._work.wait()
        except Exception:
            logger.exception("the store of events failed, nothing more is heard of calls")
            self._give_up(StoreError("the store of events failed; the log tells how"))

    async def _catch_up(self, store: EventStore) -> None:
        """Look up what is to be looked up, until nothing is left."""
        while self._unread or self._claims:
            names = [self._unread.popleft() for _ in range(min(len(self._unread), _AT_ONCE))]
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
                    logger.warning("what came earlier cannot be looked up now: %s", error)
                self._store_failed = True
                self._unread.extend(names)
                await anyio.sleep(_PAUSE)
            else:
                self._store_failed = False

    def _look_up(self, *names: str | None) -> None:
        """Have the store asked for what is stored under these ids."""
        if self._sources.store is not None and self._failure is None:
            self._unread.extend(name for name in names if name is not None)
            self._wake()

    def _wake(self) -> None:
        if self._work is not None:
            self._work.set()

    # -- its look-ups

    def _is_wanted(self, call: Call) -> bool:
        """Tell whether a call's records are to be looked up."""
        history = call.history
        if history.failure or history.complete(self._now()):
            return False
        if history.waiters:
            return True
        return self._channels is not None and self._channels.holds(call)

    def _read(self, call: Call, record: CallRecord) -> None:
        """Take in a record that was looked up, unless it was sent as well, with more in it."""
        legs = call.state.legs
        if not any(leg.leg == record.leg and leg.record and leg.cmiuuid for leg in legs):
            key = json.dumps(record.raw, sort_keys=True)
            call.add_event(key, record, size=len(key), now=self._now(), proven=False)

    def _refuse(self, call: Call, error: AuthenticationError) -> None:
        """Look up no more: TeleCMI refuses. That says nothing about the call."""
        if self._sources.store is not None and self._polling is not None:
            self._polling.stop()
            logger.error(
                "records are looked up no more, events are still heard: %s", error.message
            )
            return
        refused = RequestFailed(
            f"the call's records cannot be looked up ({error.code}): {error.message}",
            status=error.status,
            code=error.code,
        )
        refused.safe_to_redial = False
        call.history.fail(refused)


def _is_known_as(call: Call, request_id: str) -> bool:
    """Tell whether an id is a request's of this call, and not what somebody called its leg."""
    return request_id == call.placement.request_id or any(
        event.request_id == request_id for event in call.events
    )
