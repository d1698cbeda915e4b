"""How far a leg has come, and a call: a table.

Events arrive late, twice, in any order, or not at all; the record of a leg comes up to four
times, the live event before it perhaps never. Whoever waits for "answered" or "ended" must
nevertheless never see a call go backwards, and two processes that saw the same events in
different orders must agree.

Both follow if a stage is thought of as *what is known* instead of *what happened last*. What
is known only grows, so the stages form a lattice: ::

    NEW → STARTED → RINGING → ANSWERED → BRIDGED ─────→ COMPLETED
                        └───→ HUNG_UP  →  MISSED ───↗

and an event moves a leg to the lowest stage that is above both the one it is at and the one
that the event alone would lead to. A leg that was hung up and about which ``answered`` comes
in late is ``COMPLETED``: it was answered and it is over. Events then commute (their order
does not matter), and repeat without effect, and `TABLE` is nothing but these joins written
out, cell by cell, for a reader to check. The tests check the three laws on the table itself.

Two decisions are in it:

- An answer once seen stays, whatever a record says: those who waited for it were told.
- ``hangup`` alone does not mean missed. The live event ``answered`` may have been lost, and
  the leg stays ``HUNG_UP``, over but undecided, until its record tells.

A call is where its first leg is. Of the other legs only an answer matters, which makes the
call ``BRIDGED``: when one of them ends, or never answers, the call goes on. `CALL_TABLE` says
which signal for the call is in a signal of another leg.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import assert_never

from telecmi_async.events.model import (
    CallRecord,
    DigitsEvent,
    Event,
    InboundRequest,
    LiveEvent,
    LiveStatus,
    StreamEvent,
    UnknownEvent,
)

__all__ = [
    "Signal",
    "Stage",
    "advance",
    "advance_call",
    "render",
    "signal_of",
]


@unique
class Stage(StrEnum):
    """How far a leg, or a call, is known to have come."""

    #: Nothing is known yet.
    NEW = "new"
    #: Being dialled.
    STARTED = "started"
    RINGING = "ringing"
    ANSWERED = "answered"
    #: Answered, and connected with another leg.
    BRIDGED = "bridged"
    #: Over; whether it had been answered is not known.
    HUNG_UP = "hung_up"
    #: Over; nobody answered.
    MISSED = "missed"
    #: Over; it was answered.
    COMPLETED = "completed"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self in {Stage.HUNG_UP, Stage.MISSED, Stage.COMPLETED}

    @property
    def answered(self) -> bool | None:
        """Whether somebody answered; ``None`` while that may still come, or be told."""
        match self:
            case Stage.ANSWERED | Stage.BRIDGED | Stage.COMPLETED:
                return True
            case Stage.MISSED:
                return False
            case Stage.NEW | Stage.STARTED | Stage.RINGING | Stage.HUNG_UP:
                return None
            case _:
                assert_never(self)


@unique
class Signal(StrEnum):
    """What an event says about its leg."""

    STARTED = "started"
    RINGING = "ringing"
    ANSWERED = "answered"
    BRIDGED = "bridged"
    HANGUP = "hangup"
    RECORD_MISSED = "record_missed"
    RECORD_ANSWERED = "record_answered"


# Down: the stage a leg is at. Across: the signal. In the cell: the stage it is at then.
_DRAWN = """
            started     ringing     answered    bridged     hangup      record_missed  record_answered
new         started     ringing     answered    bridged     hung_up     missed         completed
started     started     ringing     answered    bridged     hung_up     missed         completed
ringing     ringing     ringing     answered    bridged     hung_up     missed         completed
answered    answered    answered    answered    bridged     completed   completed      completed
bridged     bridged     bridged     bridged     bridged     completed   completed      completed
hung_up     hung_up     hung_up     completed   completed   hung_up     missed         completed
missed      missed      missed      completed   completed   missed      missed         completed
completed   completed   completed   completed   completed   completed   completed      completed
"""

# A signal of a leg that is not the first, and the signal for the call that is in it.
_DRAWN_FOR_THE_CALL = """
started          -
ringing          -
answered         bridged
bridged          bridged
hangup           -
record_missed    -
record_answered  bridged
"""


def _read(drawn: str) -> dict[Stage, dict[Signal, Stage]]:
    head, *rows = (line.split() for line in drawn.strip().splitlines())
    signals = [Signal(name) for name in head]
    return {
        Stage(at): dict(zip(signals, (Stage(name) for name in cells), strict=True))
        for at, *cells in rows
    }


#: For each stage of a leg and each signal, the stage that follows.
TABLE = _read(_DRAWN)

#: For each signal of another leg than the first, the signal for the call, if there is one.
CALL_TABLE = {
    Signal(name): None if meaning == "-" else Signal(meaning)
    for name, meaning in (line.split() for line in _DRAWN_FOR_THE_CALL.strip().splitlines())
}


def advance(stage: Stage, signal: Signal) -> Stage:
    """Return the stage of a leg after a signal of its own."""
    return TABLE[stage][signal]


def advance_call(stage: Stage, signal: Signal, *, first_leg: bool) -> Stage:
    """Return the stage of a call after a signal of one of its legs.

    Args:
        stage: Where the call is.
        signal: What was said.
        first_leg: Whether it was said of leg a.
    """
    meaning = signal if first_leg else CALL_TABLE[signal]
    return stage if meaning is None else TABLE[stage][meaning]


def signal_of(event: Event) -> Signal | None:
    """Return what an event says about how far its leg has come, if it says anything."""
    match event:
        case LiveEvent():
            return _signal_of_status(event.status)
        case CallRecord(answered=True):
            return Signal.RECORD_ANSWERED
        case CallRecord(answered=False):
            return Signal.RECORD_MISSED
        case CallRecord():
            return Signal.HANGUP
        case DigitsEvent() | InboundRequest() | StreamEvent() | UnknownEvent():
            return None
        case _:
            assert_never(event)


def _signal_of_status(status: LiveStatus) -> Signal:
    match status:
        case LiveStatus.STARTED:
            return Signal.STARTED
        case LiveStatus.RINGING:
            return Signal.RINGING
        case LiveStatus.ANSWERED:
            return Signal.ANSWERED
        case LiveStatus.BRIDGED:
            return Signal.BRIDGED
        case LiveStatus.HANGUP:
            return Signal.HANGUP
        case _:
            assert_never(status)


def render() -> str:
    """Return both tables as Markdown, a dash where nothing changes."""
    legs = [
        ["a leg that is", *Signal],
        *(
            [f"**{at}**", *(_changed(at, to) for to in row.values())]
            for at, row in TABLE.items()
        ),
    ]
    call = [
        ["another leg's", "is for the call"],
        *([signal, meaning or "\u2013"] for signal, meaning in CALL_TABLE.items()),
    ]
    return f"{_markdown(legs)}\n\n{_markdown(call)}\n"


def _changed(at: Stage, to: Stage) -> str:
    return "\u2013" if to is at else to


def _markdown(rows: list[list[str]]) -> str:
    head, *body = [f"| {' | '.join(cells)} |".replace("_", " ") for cells in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])
