"""Stream socket: what a session needs of a WebSocket, whose it is, and what it may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen


@frozen
class Admission:
    """A connection whose address is genuine.

    Args:
        reference: The reference of its call.
        rate: Samples a second.
        cmiuuid: TeleCMI's id of an inbound call's leg.
        query: The values in the query of the address.
        signed: The end of its address, which nobody else has: for streams that follow.
    """

    reference: str
    rate: int
    cmiuuid: str | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    signed: str = field(default="", repr=False, eq=False)


class StreamSocket(Protocol):
    """An accepted WebSocket.

    One task receives while another sends; no two tasks do the same. Any wait may be cancelled.
    An implementer must keep no more than a few frames that were not received or not sent: `send`
    waits while the peer reads too slowly. Its session gives up after a time-out.
    """

    async def receive(self) -> bytes | str | None:
        """Return the next frame, or None once the WebSocket is closed, for whatever reason."""
        ...

    async def send(self, text: str) -> None:
        """Send a text frame.

        Raises:
            Exception: Any, if the WebSocket is closed.
        """
        ...

    async def close(self, code: int = 1000) -> None:
        """Close the WebSocket; it may be closed already."""
        ...


@frozen
class SessionLimits:
    """What one session may take; times are in seconds."""

    #: How much audio of the call waits for the program.
    inbox: float
    #: How long the peer may take to read a message.
    send: float
    #: How long the peer may send nothing; None for any time.
    idle: float | None
