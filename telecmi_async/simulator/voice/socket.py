"""What a line and its socket have in common: sending, closing, and a queue of arrivals."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import anyio
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from anyio.abc import TaskGroup

_MOST_ARRIVALS: Final = 1_000


class NotConnected(Exception):  # it becomes a note of the call
    """The socket was refused, or cannot be reached; the message says why."""


def time_or_before() -> float:
    """Return the event loop's time; before all times outside an event loop."""
    try:
        return anyio.current_time()
    except anyio.NoEventLoopError:
        return -math.inf


@frozen
class Closed:
    """The bot closed the socket, or its connection broke (1006)."""

    code: int


class FarSocket(Protocol):
    """A WebSocket, seen by the client."""

    async def send(self, data: bytes | str) -> None:
        """Send a frame; after the end it is dropped."""
        ...

    async def close(self, code: int) -> None:
        """Close the socket; 1006 breaks the connection instead."""
        ...


class Arrivals:
    """What arrived from a bot, with the times.

    Only what came before a frame began is taken for it, so that a message that is sent in the very
    moment of a frame has the same effect in every run, in whichever order tasks run.
    """

    def __init__(self) -> None:
        self._items: deque[tuple[float, str | bytes | Closed]] = deque()
        self._room = anyio.Event()
        self.ended = False

    async def put(self, item: str | bytes | Closed) -> None:
        """Add a message; it waits while a thousand are not taken, as over a full connection."""
        while len(self._items) >= _MOST_ARRIVALS and not self.ended:
            await self._room.wait()
        self._items.append((anyio.current_time(), item))

    def take(self, before: float) -> Iterator[str | bytes | Closed]:
        """Yield, and remove, what came before a time."""
        while self._items and self._items[0][0] < before:
            yield self._items.popleft()[1]
        self._wake()

    def end(self) -> None:
        """Let nothing wait any more: nothing will be taken."""
        self.ended = True
        self._items.clear()
        self._wake()

    def _wake(self) -> None:
        self._room.set()
        self._room = anyio.Event()


#: Connects to a URL: a task group for what runs meanwhile, and the queue of what arrives.
OpenSocket: TypeAlias = "Callable[[str, TaskGroup, Arrivals], Awaitable[FarSocket]]"
