"""What a receiver and a service need of whatever carries events from one to the other.

An event reaches one worker process, and the call it is about is awaited in another. So the
receiver files it under every id it holds, then tells; and who waits has said what it waits for
before it looks. In that order nothing can fall between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from telecmi_async.events import Event

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "KEPT",
    "REMEMBERED",
    "STRAYING",
    "EventStore",
    "FiledEvent",
    "Listener",
    "names_of",
]

#: How long one of our events is kept, in seconds. TeleCMI delivers a record for the last time
#: half an hour after the first.
KEPT: Final = 3600.0
#: How long an event is kept of which it is not known whose it is.
STRAYING: Final = 600.0
#: How long it is remembered which of our events were there.
REMEMBERED: Final = 24 * 3600.0

_LONGEST: Final = 256


@frozen(eq=False)
class FiledEvent:
    """An event as a store keeps it.

    Args:
        event: The event.
        key: What it has in common with its repeats only. Never empty: an event that has no
            repeats gets one of its own.
        names: The ids it is found by: ``request_id``, ``conversation_uuid``, ``cmiuuid``, and
            the call's own reference if its code is right.
        ours: Whether it is certain that a call of this account is meant, or none at all (an
            inbound call's event). What is not certain is kept for a short while.
        size: The bytes of its payload, by which a store bounds what it keeps.
    """

    event: Event
    key: str
    names: tuple[str, ...]
    ours: bool
    size: int


def names_of(event: Event, reference: str | None) -> tuple[str, ...]:
    """Return the ids that an event is found by, each once.

    TeleCMI's have 43 letters or less. By one of more than 256 nothing is found.

    Args:
        event: The event.
        reference: The call's own reference, if the event brought it back with its code.
    """
    ids = (event.request_id, reference, event.conversation_uuid, event.cmiuuid)
    return tuple(dict.fromkeys(name for name in ids if name and len(name) <= _LONGEST))


class Listener(Protocol):
    """Who waits for events of calls: the service that placed them.

    Its methods are called in any order, from a store's own tasks, and must not block.
    """

    def wants(self, names: Collection[str]) -> bool:
        """Tell whether a call is known here by one of these ids."""
        ...

    def take(self, filed: FiledEvent) -> None:
        """Hand an event to the call it is about. One that was handed over before is ignored."""
        ...

    def waiting(self) -> list[str]:
        """Return the ids of the calls whose end is not known yet, with those of their legs."""
        ...


class EventStore(Protocol):
    """Carries events from receivers to services, within a process or between many.

    An implementer must keep an event before it tells anybody: one of ours for ``KEPT`` seconds,
    another one for ``STRAYING``, and either within a bound of its own. What it hands out it must
    keep, for a call may be taken up again. It must never raise what is foreign: what fails
    becomes a `StoreError`.

    One event is handed to the user's handlers once, whichever process sees it: by whoever is
    told True by `put` of one of ours, or by `claim` of another. An event that was put as
    another one's and is then put as ours is therefore no repeat, unless it was claimed.
    """

    #: Whether other processes see the same events.
    shared: bool

    async def put(self, filed: FiledEvent) -> bool:
        """Keep an event and tell the listeners; False if it is a repeat.

        Raises:
            StoreError: It could not be kept. The receiver then asks TeleCMI to send it again.
        """
        ...

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return the events that are kept under any of these ids, oldest first, each once.

        Raises:
            StoreError: The store cannot be reached.
        """
        ...

    async def claim(self, key: str) -> bool:
        """Tell whether this is the first claim to hand an event to the user's handlers.

        Asked for an event that is not ``ours`` once its call turned up, by whoever takes it.
        It is one of ours from then on.

        Raises:
            StoreError: The store cannot be reached.
        """
        ...

    def follow(self, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Tell ``listener`` of every event it wants, as long as the context is open.

        An implementer must survive the loss of its connection: it connects again by itself,
        and then, and every 30 seconds besides, looks up all that the listener waits for.
        """
        ...
