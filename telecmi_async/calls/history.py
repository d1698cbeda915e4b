"""Call history: the events of one call, and the tasks that wait for more of them."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.telecmi import RECORD_PATIENCE
from telecmi_async.events.state import CallState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from telecmi_async.errors import TelecmiError
    from telecmi_async.events import Event

# Events of one call that are kept, and bytes of their payloads. Its state counts all events.
_MOST = 1_000
_MOST_BYTES = 1 << 20


class History:
    """The events of one call in their order of arrival, and the state they add up to.

    It is complete once the call is over and the record of every known leg is there, or
    `RECORD_PATIENCE` seconds after the end, as a record may be missing for good.
    """

    __slots__ = (
        "_changed",
        "_keys",
        "_room",
        "_until",
        "events",
        "failure",
        "state",
        "waiters",
    )

    def __init__(self) -> None:
        self.state = CallState()
        self.events: list[Event] = []
        #: Why no more events will come, if so.
        self.failure: TelecmiError | None = None
        #: How many tasks wait for events.
        self.waiters = 0
        self._keys: dict[str, int] = {}  # each event's key and size, in order
        self._room = _MOST_BYTES
        self._until = math.inf
        self._changed: anyio.Event | None = None

    def add(self, key: str, event: Event, *, size: int, now: float) -> bool:
        """Add an event; False if it was there before.

        ``key`` is what it has in common with its repeats, ``size`` the bytes of its payload.
        """
        if key in self._keys:
            return False
        was_over = self.state.over
        self.state = self.state.after(event)
        if self.state.over and not was_over:
            self._until = now + RECORD_PATIENCE
        if len(self.events) < _MOST and size <= self._room:
            self._room -= size
            self._keys[key] = size
            self.events.append(event)
        self._wake()
        return True

    def known(self) -> Iterator[tuple[str, int, Event]]:
        """Return the kept events, each after its key and size as `add` takes them."""
        return zip(
            tuple(self._keys), tuple(self._keys.values()), tuple(self.events), strict=True
        )

    def fail(self, failure: TelecmiError) -> None:
        """End all waits, present and future, with an error: no more events will come."""
        self.failure = self.failure or failure
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def complete(self, now: float) -> bool:
        """Return whether no more events are expected."""
        state = self.state
        return state.over and (state.recorded or now >= self._until)

    @contextmanager
    def waiter(self) -> Generator[None]:
        """Count a waiting task as long as the context is open."""
        self.waiters += 1
        try:
            yield
        finally:
            self.waiters -= 1

    async def wait(self, done: Callable[[], bool]) -> None:
        """Wait until ``done`` returns true or the history is complete; raise its failure."""
        while not done() and not self.complete(anyio.current_time()):
            if self.failure is not None:
                raise copy.copy(self.failure)
            if self._changed is None:
                self._changed = anyio.Event()
            with anyio.CancelScope(deadline=self._until):
                await self._changed.wait()
