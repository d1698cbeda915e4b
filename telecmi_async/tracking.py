"""Brings what is heard of calls to the calls, and ends what waits for their end.

::

    store, look-up  →  Tracker  →  Call  →  its history, its channel, those who wait

A service has one if it has a source of events or a limit on live calls. Calls are known to it
by TeleCMI's ids and by their own references, and as long as somebody holds their handle or they
hold a channel: it keeps no call alive by itself.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

import anyio

from telecmi_async.call import Call, CallStatus
from telecmi_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidCall,
    ServiceClosed,
    StoreError,
)
from telecmi_async.events import dedupe_key
from telecmi_async.history import History
from telecmi_async.poller import poll
from telecmi_async.rate import LONGEST_CALL, RINGING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Sequence

    from telecmi_async.events import CallRecord, Event
    from telecmi_async.host import Host
    from telecmi_async.rate import Channels
    from telecmi_async.reference import References
    from telecmi_async.sources import Sources
    from telecmi_async.store import FiledEvent

__all__ = ["Tracker"]

logger = logging.getLogger("telecmi_async")

# Events of one call whose ids are learnt. A real call has a handful of legs.
_TEACHING = 200
_WORD = re.compile(r"[!-~]{1,256}")


class Tracker:
    """Follows the calls of one service beyond TeleCMI's answers to their requests.

    It is a `telecmi_async.call.Watch` for its calls and a `telecmi_async.store.Listener` for
    the store.

    Args:
        sources: Where events come from.
        host: Runs its tasks.
        records: Looks up the records of a call by its ``request_id``.
        channels: The live calls' limit, if there is one.
        by_reference: Whether calls carry their references.
    """

    def __init__(
        self,
        sources: Sources,
        host: Host,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        channels: Channels | None,
        by_reference: bool,
    ) -> None:
        self.by_reference = by_reference
        self.hears = sources.hears
        self._now: Callable[[], float] = anyio.current_time
        self._sources = sources
        self._host = host
        self._records = records
        self._channels = channels
        self._calls: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self._polled: set[Call] = set()
        self._slots = anyio.CapacityLimiter(sources.poller.at_once if sources.poller else 1)
        self._unread: deque[str] = deque()
        self._claims: deque[FiledEvent] = deque()
        self._work: anyio.Event | None = None
        self._scopes: set[anyio.CancelScope] = set()
        self._stopped = False

    @classmethod
    def of(
        cls,
        sources: Sources,
        host: Host,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        channels: Channels | None,
        references: References,
        signed: bool,
    ) -> Tracker | None:
        """Return a service's tracker, attached to its receiver; None if nothing needs one.

        Args:
            sources: Where events come from.
            host: Runs its tasks.
            records: Looks up the records of a call by its ``request_id``.
            channels: The live calls' limit, if there is one.
            references: The account's references.
            signed: Whether calls carry theirs.
        """
        if not sources.hears and channels is None:
            return None
        tracker = cls(
            sources,
            host,
            records=records,
            channels=channels,
            by_reference=sources.store is not None and signed,
        )
        if sources.receiver is not None:
            sources.receiver.attach(references, tracker)
        return tracker

    # -- what the service asks

    def open(self, now: Callable[[], float]) -> None:
        """Begin to listen in the event loop that is running, whose clock is ``now``."""
        self._now = now
        if self._sources.store is not None:
            self._host.start(Tracker._listen, self, Tracker.stop)

    def follow(self, call: Call) -> None:
        """Follow a call from before its request is sent."""
        call.watch = self
        if self.by_reference:
            self._calls[call.reference] = call

    def take_up(self, request_id: str) -> Call:
        """Return the call that has an id: the one that somebody holds, or a new one for it.

        Raises:
            ConfigurationError: There is no source of events.
            InvalidCall: It is no such id.
        """
        if not self.hears:
            raise ConfigurationError(
                "a call is taken up again to hear of it: give the service a source of events"
            )
        if not isinstance(cast("object", request_id), str) or not _WORD.fullmatch(request_id):
            raise InvalidCall(
                "must be the id that TeleCMI gave an accepted call", path="request_id"
            )
        call = self._calls.get(request_id)
        if call is None:
            call = Call(None, source=request_id, region=None)
            call.watch = self
            call.adopt(request_id)
        return call

    def stop(self) -> None:
        """Listen no more, and tell those who wait that nothing more is heard."""
        self._stopped = True
        if self._sources.receiver is not None:
            self._sources.receiver.detach(self)
        for scope in tuple(self._scopes):
            scope.cancel()
        for call in set(self._calls.values()):
            if call.history is not None:
                self._give_up(call.history)

    @staticmethod
    def _give_up(history: History) -> None:
        history.fail(
            ServiceClosed(
                "the service was closed before all was known of the call; a service that is "
                "open takes it up again by service.handle_for(request_id)"
            )
        )

    # -- what calls ask (call.Watch)

    def settled(self, call: Call) -> None:
        """Find the call by its id from now on, and look up what came before it was known."""
        placed = call.status in {CallStatus.PROGRESS, CallStatus.UNKNOWN}
        if self._channels is not None:
            if placed:
                duration = call.request.duration if call.request is not None else None
                self._channels.hold_until(
                    call, self._now() + (duration or LONGEST_CALL) + RINGING
                )
            else:
                self._channels.release(call)
        if not placed or not self.hears:
            return
        if call.request_id is not None:
            self._calls[call.request_id] = call
        self._look_up(call.request_id, call.reference if self.by_reference else None)
        if call.history is not None and call.history.waiters:
            self._poll_for(call)

    def over(self, call: Call) -> None:
        """Give the call's channel to the next one."""
        if self._channels is not None:
            self._channels.release(call)

    @contextmanager
    def attend(self, call: Call) -> Generator[None]:
        """Look the call's records up as long as somebody waits for them."""
        history = call.history = call.history or History()
        if self._stopped:
            self._give_up(history)
        history.waiters += 1
        try:
            self._poll_for(call)
            yield
        finally:
            history.waiters -= 1

    # -- what the store asks (store.Listener)

    def wants(self, names: Collection[str]) -> bool:
        """Tell whether a call is known here by one of these ids."""
        return any(name in self._calls for name in names)

    def take(self, filed: FiledEvent) -> None:
        """Hand an event to its call, and learn the ids of the call that it brings."""
        found = (self._calls.get(name) for name in filed.names)
        call = next((call for call in found if call is not None), None)
        if call is None:
            return
        proven = self.by_reference and call.reference in filed.names
        if not call.hear(filed.key, filed.event, now=self._now(), proven=proven):
            return
        if call.history is not None and len(call.history.events) <= _TEACHING:
            fresh = [name for name in filed.names if name not in self._calls]
            self._calls.update(dict.fromkeys(fresh, call))
            self._look_up(*fresh)
        if not filed.ours and self._sources.dispatch is not None:
            self._claims.append(filed)
            self._wake()

    def waiting(self) -> list[str]:
        """Return the ids of the calls whose end is not known yet."""
        return [
            call.request_id or call.reference
            for call in set(self._calls.values())
            if call.history is None or not call.history.complete(self._now())
        ]

    # -- its tasks

    async def _listen(self) -> None:
        """Follow the store, and look up in it what was filed before it was wanted."""
        store = self._sources.store
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            if store is None or self._stopped:
                return
            async with store.follow(self):
                while True:
                    while self._unread or self._claims:
                        try:
                            await self._catch_up(store.get, store.claim)
                        except StoreError as error:
                            # The store looks up all that is waited for once it is back.
                            logger.warning("what came earlier cannot be looked up: %s", error)
                    self._work = anyio.Event()
                    await self._work.wait()

    async def _catch_up(
        self,
        get: Callable[[Collection[str]], Awaitable[list[FiledEvent]]],
        claim: Callable[[str], Awaitable[bool]],
    ) -> None:
        names = [self._unread.popleft() for _ in range(min(len(self._unread), 500))]
        for filed in await get(names) if names else ():
            self.take(filed)
        while self._claims:
            filed = self._claims.popleft()
            if await claim(filed.key) and self._sources.dispatch is not None:
                self._sources.dispatch(filed.event)

    def _look_up(self, *names: str | None) -> None:
        """Have the store asked for what is filed under these ids."""
        if self._sources.store is not None and not self._stopped:
            self._unread.extend(name for name in names if name is not None)
            self._wake()

    def _wake(self) -> None:
        if self._work is not None:
            self._work.set()

    def _poll_for(self, call: Call) -> None:
        """Begin to look the call's records up, if that is not done already."""
        if (
            self._sources.poller is not None
            and call.request_id is not None
            and call not in self._polled
            and not self._stopped
        ):
            self._polled.add(call)
            self._host.start(self._poll, call, self._polled.discard)

    async def _poll(self, call: Call) -> None:
        poller = self._sources.poller
        history = call.history
        request_id = call.request_id
        if poller is None or history is None or request_id is None:
            return

        def heard(record: CallRecord) -> None:
            call.hear(_key_of(record), record, now=self._now(), proven=False)

        def done() -> bool:
            return not history.waiters or history.complete(self._now())

        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await poll(
                    lambda: self._records(request_id),
                    heard,
                    done,
                    settings=poller,
                    slots=self._slots,
                )
            except AuthenticationError as error:
                history.fail(error)
            finally:
                self._scopes.discard(scope)


def _key_of(event: Event) -> str:
    return dedupe_key(event) or ""
