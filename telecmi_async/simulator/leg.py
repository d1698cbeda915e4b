"""One leg of a simulated call, and one thing that happened to it."""

from __future__ import annotations

import math

from attrs import define, field, frozen

from telecmi_async.events.model import Direction
from telecmi_async.simulator.callee import Ending

__all__ = ["Leg", "Note"]


@frozen
class Note:
    """One thing that happened in a call.

    Args:
        at: When, in seconds on the simulator's clock.
        what: ``started``, ``ringing``, ``answered``, ``bridged``, ``step``, ``keys``,
            ``hangup``, ``record``, ``stream_connected``, ``stream_disconnected`` and the like.
        leg: The leg it is about, ``a`` or ``b``.
        detail: More about it; no number, no key.
    """

    at: float
    what: str
    leg: str = "a"
    detail: str = ""


@define(eq=False)
class Leg:
    """One leg of a call. Times are seconds on the simulator's clock.

    Args:
        name: ``a`` for the first one, ``b`` for those it is bridged to.
        to: The number dialled, or a SIP user's name.
        from_: The number shown.
        cmiuuid: Its id.
        started: When it was dialled.
        answered: When it was answered, if it was.
        ended: When it was over, if it is.
        ending: What it came to.
        recorded: Whether its record was made.
    """

    name: str
    to: int | str = field(repr=False)
    from_: int = field(repr=False)
    cmiuuid: str
    started: float
    direction: Direction = Direction.OUTBOUND
    answered: float | None = None
    ended: float | None = None
    ending: Ending | None = None
    recorded: bool = False

    @property
    def talk_seconds(self) -> int:
        """How long it was talked on, in whole seconds, as its record says."""
        if self.answered is None or self.ended is None:
            return 0
        return math.floor(self.ended) - math.floor(self.answered)
