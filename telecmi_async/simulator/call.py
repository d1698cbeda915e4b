"""Simulated calls: their legs, their timelines, and manual control by tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field, frozen

from telecmi_async._internal.messages import mask
from telecmi_async.events.model import Direction
from telecmi_async.phone import Region
from telecmi_async.simulator.callee import Ending
from telecmi_async.simulator.voice.caller import CallVoice

if TYPE_CHECKING:
    from telecmi_async.simulator.voice.conversation import Conversation

_STAGES: Final = frozenset({"started", "ringing", "answered", "bridged"})
_RATE_A_MINUTE: Final = Decimal("0.390000")


@frozen
class Note:
    """One thing that happened in a call.

    Args:
        at: When, in seconds on the simulator's clock.
        what: ``started``, ``ringing``, ``answered``, ``bridged``, ``step``, ``keys``,
            ``hangup``, ``record``, ``stream_connected``, ``stream_disconnected``,
            ``not_streamed`` and the like.
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
        ending: How it ended.
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
        """The talk time in whole seconds, as in its call detail record."""
        if self.answered is None or self.ended is None:
            return 0
        return math.floor(self.ended) - math.floor(self.answered)

    @property
    def cost(self) -> Decimal:
        """The cost: a price for each minute begun, and 0 if it was not answered."""
        return _RATE_A_MINUTE * math.ceil(self.talk_seconds / 60)


class CallControl(Protocol):
    """Executes manual commands in a call: the simulator's `World`."""

    def command(self, call: SimulatedCall, name: str, value: object = None) -> None:
        """Execute a manual command in a call."""
        ...

    def hang_up(self, call: SimulatedCall, who: str) -> bool:
        """End a call; False if it is over."""
        ...

    def commands(self, call: SimulatedCall) -> frozenset[str]:
        """Return what a call waits for, by the names of `command`."""
        ...


@define(eq=False)
class SimulatedCall:
    """A call that the simulator placed: a phone would have rung.

    It shows what happened in the call, also if its events were lost.

    Args:
        to: The number dialled; masked in the repr.
        from_: The caller id; masked in the repr.
        request_id: Its id, which the caller knows only if the answer arrived.
        at: When its request arrived, in seconds on the event loop's clock.
        region: Which endpoint took it; ``None`` for a call that came in.
        attempt: Which attempt for this number it was, from 1.
        pcmo: The actions it carried.
        extra_params: The values it carried.
        duration: Its longest duration in seconds, if it named one.

    Attributes:
        accepted: When it was accepted, in seconds on the simulator's clock.
        timeline: What happened in it, oldest first, at seconds on the same clock.
    """

    to: int = field(repr=mask)
    from_: int = field(repr=mask)
    request_id: str
    at: float
    region: Region | None
    attempt: int
    pcmo: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    extra_params: Mapping[str, object] | str | None = field(default=None, repr=False)
    duration: float | None = None
    accepted: float = field(default=0.0, init=False)
    timeline: list[Note] = field(factory=list[Note], init=False, repr=False)
    _control: CallControl | None = field(default=None, init=False, repr=False)
    #: The receiver of the service that placed it, if the service was opened by the simulator.
    home: object = field(default=None, init=False, repr=False)
    _legs: list[Leg] = field(factory=list[Leg], init=False, repr=False)
    _voice: CallVoice | None = field(default=None, init=False, repr=False)

    def begin(self, control: CallControl, legs: list[Leg], now: float) -> None:
        """Start the call's lifecycle, which adds to ``legs``; for the simulator only."""
        self._control = control
        self._legs = legs
        self.accepted = now

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Its legs, the callee's first."""
        return tuple(self._legs)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self._legs) and self._legs[0].ended is not None

    @property
    def answered(self) -> bool:
        """Whether the callee answered."""
        return bool(self._legs) and self._legs[0].answered is not None

    @property
    def talk_seconds(self) -> int:
        """The callee's talk time in seconds, as in the call detail record; 0 until the end."""
        return self._legs[0].talk_seconds if self._legs else 0

    @property
    def cost(self) -> Decimal:
        """The cost of all its legs."""
        return sum((leg.cost for leg in self._legs), Decimal(0))

    @property
    def stage(self) -> str:
        """The stage of the call, in a word."""
        if self.over:
            return "completed" if self.answered else self._legs[0].ending or "missed"
        moves = [note.what for note in self.timeline if note.what in _STAGES]
        return moves[-1] if moves else "accepted"

    @property
    def voice(self) -> CallVoice:
        """The callee's voice and ears, to talk by hand while a flow streams the call."""
        if self._voice is None:  # few calls are streamed
            self._voice = CallVoice()
        return self._voice

    @property
    def heard(self) -> Conversation:
        """What the callee heard and said while a flow streamed the call; empty before that."""
        return self.voice.heard

    @property
    def waits_for(self) -> frozenset[str]:
        """Which of ``answer``, ``miss`` and ``press`` the call waits for now."""
        return self._control.commands(self) if self._control else frozenset()

    def answer(self) -> None:
        """Let the leg that rings be answered; the first one if several do."""
        self._driven().command(self, "answer")

    def miss(self) -> None:
        """Let the leg that rings go unanswered."""
        self._driven().command(self, "miss")

    def press(self, keys: str) -> None:
        """Let the callee press keys, where the call waits for some."""
        self._driven().command(self, "press", keys)

    def hangup(self) -> None:
        """Let the callee hang up, wherever the call is."""
        self._driven().hang_up(self, "the callee")

    def _driven(self) -> CallControl:
        if self._control is None:
            raise RuntimeError("the simulator only accepts calls (life=None): nothing follows")
        return self._control
