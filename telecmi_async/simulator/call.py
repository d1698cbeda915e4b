"""A call of the simulator's, as tests look at it and by hand drive it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from telecmi_async._internal.messages import mask
from telecmi_async.phone import Region
from telecmi_async.simulator.leg import Note
from telecmi_async.simulator.life import Life
from telecmi_async.simulator.payload import cost_of

if TYPE_CHECKING:
    from telecmi_async.simulator.leg import Leg

__all__ = ["Hands", "SimulatedCall"]


class Hands(Protocol):
    """What a call can be driven by: the simulator's world."""

    def command(self, call: SimulatedCall, name: str, value: object = None) -> None:
        """Do something in a call."""
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

    What is said of how it went is the truth, whatever became of the events.

    Args:
        to: The number dialled; masked in the repr.
        from_: The caller id; masked in the repr.
        request_id: Its id, which the caller knows only if the answer arrived.
        at: When its request arrived, in seconds on the event loop's clock.
        region: Which endpoint took it; ``None`` for a call that came in.
        attempt: Which try for this number it was, from 1.
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
    pcmo: tuple[Mapping[str, object], ...] = field(repr=False)
    extra_params: Mapping[str, object] | str | None = field(repr=False)
    duration: float | None
    accepted: float = field(default=0.0, init=False)
    timeline: list[Note] = field(factory=list[Note], init=False, repr=False)
    _hands: Hands | None = field(default=None, init=False, repr=False)
    _life: Life | None = field(default=None, init=False, repr=False)

    def begin(self, hands: Hands, life: Life, now: float) -> None:
        """Come alive; the simulator's own business."""
        self._hands = hands
        self._life = life
        self.accepted = now

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Its legs, the callee's first."""
        return tuple(self._life.legs) if self._life else ()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._life is not None and self._life.over

    @property
    def answered(self) -> bool:
        """Whether the callee answered."""
        return bool(self.legs) and self.legs[0].answered is not None

    @property
    def talk_seconds(self) -> int:
        """How long the callee was on the line, as the record says it; 0 until the end."""
        return self.legs[0].talk_seconds if self.legs else 0

    @property
    def cost(self) -> Decimal:
        """What its legs cost together."""
        return sum((cost_of(leg) for leg in self.legs), Decimal(0))

    @property
    def stage(self) -> str:
        """How far it has come, in a word."""
        if self.over:
            return "completed" if self.answered else self.legs[0].ending or "missed"
        moves = [note.what for note in self.timeline if note.what in _STAGES]
        return moves[-1] if moves else "accepted"

    @property
    def waits_for(self) -> frozenset[str]:
        """Which of ``answer``, ``miss`` and ``press`` can be done by hand now."""
        return self._hands.commands(self) if self._hands else frozenset()

    def answer(self) -> None:
        """Let the leg that rings be answered; the first one if several do."""
        self._alive().command(self, "answer")

    def miss(self) -> None:
        """Let the leg that rings ring in vain."""
        self._alive().command(self, "miss")

    def press(self, keys: str) -> None:
        """Let the callee press keys, where the call waits for some."""
        self._alive().command(self, "press", keys)

    def hangup(self) -> None:
        """Let the callee hang up, wherever the call is."""
        self._alive().hang_up(self, "the callee")

    def _alive(self) -> Hands:
        if self._hands is None:
            raise RuntimeError("the simulator only accepts calls (life=None): nothing follows")
        return self._hands


_STAGES = frozenset({"started", "ringing", "answered", "bridged"})
