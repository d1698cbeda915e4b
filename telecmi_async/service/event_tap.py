"""Event tap: brings a receiver's events, which may come in another thread, to a service's loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async._internal.event_loop import call_in_loop, current_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.events import Event
    from telecmi_async.events.receiver.intake import Intake


class EventTap:
    """Calls a function that returns at once with each event of a receiver, while it is open.

    Args:
        intake: The inside of the receiver; ``None`` if no event arrives here.
        take: The function.
    """

    def __init__(self, intake: Intake | None, take: Callable[[Event], None]) -> None:
        self._intake = intake
        self._function = take
        self._loop: object = None

    def open(self) -> None:
        """Begin, in the running event loop."""
        if self._intake is not None:
            self._loop = current_loop()
            self._intake.handlers.add_recorder(self._put)

    def close(self) -> None:
        """Take no more events; does nothing if it is not open."""
        if self._intake is not None and self._loop is not None:
            self._loop = None
            self._intake.handlers.remove_recorder(self._put)

    def _put(self, event: Event) -> None:
        loop = self._loop
        if loop is current_loop():
            self._function(event)
        elif loop is not None:
            call_in_loop(loop, self._take_later, event)

    def _take_later(self, event: Event) -> None:
        if self._loop is not None:  # it may have been closed meanwhile
            self._function(event)
