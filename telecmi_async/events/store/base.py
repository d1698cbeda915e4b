"""Event store: carries events from the receiver to the calls they are about.

An event reaches one worker process, and the call it is about may be awaited in another. So the
receiver stores the event under every id it holds and then notifies listeners; and a listener
says what it waits for before it looks. In that order no event is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from telecmi_async.events import Event

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

#: How long a matched event is kept. TeleCMI delivers a record for the last time half an hour
#: after the first.
KEPT_SECONDS: Final = 3600.0
#: How long an unmatched event is kept.
UNMATCHED_SECONDS: Final = 600.0
#: How long the deduplication key of a matched event is remembered.
REMEMBERED_SECONDS: Final = 24 * 3600.0

_LONGEST: Final = 256


@frozen(eq=False)
class StoredEvent:
    """An event as a store keeps it.

    Args:
        event: The event.
        key: Its deduplication key, never empty: a question, which has no repeats, gets a
            unique one.
        ids: The ids it is found by: ``request_id``, ``conversation_uuid``, ``cmiuuid``, and
            the call's own reference if its code is right.
        matched: Whether it is certainly about a call of this account, or about none that was
            placed (an inbound call). An unmatched event is kept for a short while.
        payload: The body that it came in: `parse_event` makes the same event of it.
    """

    event: Event
    key: str
    ids: tuple[str, ...]
    matched: bool
    payload: bytes

    @property
    def size(self) -> int:
        """The bytes of its payload, by which a store limits what it keeps."""
        return len(self.payload)


def event_ids(event: Event, reference: str | None) -> tuple[str, ...]:
    """Return the ids that an event is found by, each once.

    TeleCMI's have at most 43 characters; those of more than 256 are left out. The reference is
    the call's own, if the event carries it with the right code.
    """
    ids = (event.request_id, reference, event.conversation_uuid, event.cmiuuid)
    return tuple(dict.fromkeys([name for name in ids if name and len(name) <= _LONGEST]))


class Listener(Protocol):
    """Waits for events of calls: a service that placed them.

    Its methods are called in any order, from a store's own tasks, and must not block.
    """

    def wants(self, ids: Collection[str]) -> bool:
        """Return whether a call is known here by one of these ids."""
        ...

    def take(self, stored: StoredEvent) -> None:
        """Give an event to its call. One that was given before is ignored."""
        ...

    def waiting(self) -> list[str]:
        """Return the ids of the calls that have not ended yet, with those of their legs."""
        ...


class EventStore(Protocol):
    """Carries events from receivers to services, within a process or between many.

    `telecmi_async.testing.check_event_store` checks an implementation of your own. You open and
    close it: receivers and services only call these methods, many of them at a time.

    An implementer must keep an event before it notifies listeners: a matched one for an hour
    (`KEPT_SECONDS`), an unmatched one for ten minutes (`UNMATCHED_SECONDS`), each within a
    separate limit, so that forged events cannot push out real ones; the oldest is dropped first.
    Events stay after they were read, since another handle may be attached to the call. That an
    event was put as matched, or claimed, is remembered for 24 hours (`REMEMBERED_SECONDS`), also
    after the event itself was dropped. Foreign errors must not leave it: every failure becomes a
    `StoreError` (``StoreError("what happened")``), and no secret or number may be in its text.

    An answer may be lost: `put` or `claim` took effect, and then failed or was cancelled, for
    example by a time-out. If this store object is asked again for the same key, it must return
    what was lost. Otherwise the event looks like a repeat, and the user's handlers never get it.

    For each deduplication key the store is in one of three states, and each call is one atomic
    step, whichever process makes it:

    ==================  ==================  ==================  ==================
    state of the key    put, matched        put, unmatched      claim
    ==================  ==================  ==================  ==================
    unknown             True → known        True → unmatched    True → known
    unmatched           True → known        False               True → known
    known               False               False               False
    ==================  ==================  ==================  ==================

    The user's handlers get an event once, in whichever process: where `put` returned True for
    a matched event, or `claim` for an unmatched one. So an event that was put as unmatched,
    and is then put as matched, is not a repeat unless it was claimed. A key that is known and
    whose event was never put, as it was claimed after the event was dropped, has no event: `get`
    returns none, and a later `put` keeps none.
    """

    #: Whether other processes see the same events.
    shared: bool

    async def put(self, stored: StoredEvent) -> bool:
        """Keep an event and notify the listeners; return False if it is a repeat.

        A repeat is neither kept again nor given to listeners. An event that is put as matched
        and was kept as unmatched replaces that one, as the newest, and is given to listeners
        again.

        Raises:
            StoreError: It could not be kept. The receiver then asks TeleCMI to send it again.
        """
        ...

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return the events that are kept under any of these ids, oldest first, each once.

        ``ids`` may be empty, hold hundreds of ids, an id twice, and any text. What is returned
        equals what was put. ``StoredEvent.payload`` may be any bytes: Latin-1, gzip, a form. Keep
        it as it is, or as its text in UTF-8: ``parse_event(payload)`` must make the same event
        again. ``StoredEvent.ids`` keep their order. ``matched`` is True if the event was put as
        matched, or claimed, at any time. A claim may make an event the newest, or leave it in
        its place.

        Raises:
            StoreError: The store cannot be reached.
        """
        ...

    async def claim(self, key: str) -> bool:
        """Return whether this is the first claim of an event, by its deduplication key.

        An unmatched event is claimed when its call turns up, before the user's handlers get
        it. From then on it is matched, and its expiry that of a matched event.

        A key that the store does not know, since its event was dropped meanwhile, can be claimed
        as well: True once, and then False. The key of an event that was put as matched cannot:
        its handlers were called by the receiver.

        Raises:
            StoreError: The store cannot be reached.
        """
        ...

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Give ``listener`` every event it wants, as long as the context is open.

        That is every event for which ``listener.wants(stored.ids)`` is true when it is put, in
        this process or another. An event may reach it more than once, and a few seconds late.
        Several listeners may follow at a time, and each is asked by itself; none gets anything
        after its context was left.

        An implementer must survive the loss of its connection: it connects again by itself, and
        `follow` neither fails nor ends. After it has connected again, and every 30 seconds, it
        looks up all that the listener waits for (``await self.get(listener.waiting())``) and
        gives that to it. A store without a connection, that cannot miss an event, needs neither.
        The context can be entered while the store cannot be reached, too: an error that leaves
        `follow` ends the service's events for good.

        What the body of the context raises must leave it as it is: a store that uses a task
        group unwraps the group. A cancellation of the body ends the context at once.
        """
        ...
