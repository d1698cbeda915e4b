"""What was heard of one call after it was accepted, and those who wait to hear more."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.telecmi import RECORD_PATIENCE
from telecmi_async.events import CallState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telecmi_async.errors import TelecmiError
    from telecmi_async.events import Event

__all__ = ["History"]

# Events of one call that are kept, and bytes of their payloads. Its state is made of all of
# them, however many there are.
_MOST = 1_000
_MOST_BYTES = 1 << 20


class History:
    """The events of one call in the order in which they were heard, and what they add up to.

    It is complete once the call is over and the record of every leg that was heard of is
    there. A record may be missing for good, so the last one is waited for `RECORD_PATIENCE` seconds
    and no longer.
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
        #: Why nothing more will be heard, if so.
        self.failure: TelecmiError | None = None
        #: How many tasks wait to hear more, as its watch counts them.
        self.waiters = 0
        self._keys: dict[str, int] = {}  # of the events, in their order, and their sizes
        self._room = _MOST_BYTES
        self._until = math.inf
        self._changed: anyio.Event | None = None

    def add(self, key: str, event: Event, *, size: int, now: float) -> bool:
        """Add an event; False if it was there before.

        Args:
            key: What it has in common with its repeats.
            event: The event.
            size: The bytes of its payload.
            now: The reading of the event loop's clock.
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
        """Return the events that are kept, each after its key and size as `add` takes them."""
        return zip(
            tuple(self._keys), tuple(self._keys.values()), tuple(self.events), strict=True
        )

    def fail(self, failure: TelecmiError) -> None:
        """Tell those who wait, and who will, that nothing more is heard."""
        self.failure = self.failure or failure
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def complete(self, now: float) -> bool:
        """Tell whether all is known that will be."""
        state = self.state
        return state.over and (state.recorded or now >= self._until)

    async def wait(self, done: Callable[[], bool]) -> None:
        """Wait until something holds of the history, or until it is complete.

        Raises:
            TelecmiError: Nothing more will be heard.
        """
        while not done() and not self.complete(anyio.current_time()):
            if self.failure is not None:
                raise copy.copy(self.failure)
            if self._changed is None:
                self._changed = anyio.Event()
            with anyio.CancelScope(deadline=self._until):
                await self._changed.wait()
