"""Call state table: how far a leg has come, and a call.

Events arrive late, twice, in any order, or not at all; the record of a leg comes up to four
times, the live event before it perhaps never. Still, a call must never go backwards for those
who wait for "answered" or "ended", and two processes that saw the same events in different
orders must agree.

Both follow if a stage means *what is known* instead of *what happened last*. Knowledge only
grows, so the stages form a lattice: ::

    NEW → STARTED → RINGING → ANSWERED → BRIDGED ─────→ COMPLETED
                        └───→ HUNG_UP  →  MISSED ───↗

and an event moves a leg to the lowest stage that is above both its stage and the one that the
event alone would lead to. A leg that was hung up and gets a late ``answered`` is ``COMPLETED``:
it was answered and it is over. Events then commute (their order does not matter) and are
idempotent (repeats have no effect). `TABLE` holds these joins, written out cell by cell for a
reader to check. The tests check the three laws on the table itself.

It contains two decisions:

- An answer, once seen, stays, even if a record contradicts it: those who waited for it have gone on.
- ``hangup`` alone does not mean missed. The live event ``answered`` may have been lost, so the
  leg stays ``HUNG_UP``, over but undecided, until its record arrives.

A call has the stage of its first leg. Of the other legs only an answer matters, which makes the
call ``BRIDGED``: when one of them ends, or never answers, the call goes on. `CALL_TABLE` holds
what a signal of another leg means for the call.
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
    StreamEvent,
    UnknownEvent,
)


@unique
class Stage(StrEnum):
    """How far a leg, or a call, has come as far as is known."""

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
    #: Over; it was not answered.
    MISSED = "missed"
    #: Over; it was answered.
    COMPLETED = "completed"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self in {Stage.HUNG_UP, Stage.MISSED, Stage.COMPLETED}

    @property
    def answered(self) -> bool | None:
        """Whether it was answered; ``None`` as long as that is not known."""
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


# Rows: the stage of a leg. Columns: the signal. Cells: the stage that follows.
_TABLE = """
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


def _read(table: str) -> dict[Stage, dict[Signal, Stage]]:
    head, *rows = (line.split() for line in table.strip().splitlines())
    signals = [Signal(name) for name in head]
    return {
        Stage(at): dict(zip(signals, (Stage(name) for name in cells), strict=True))
        for at, *cells in rows
    }


#: For each stage of a leg and each signal, the stage that follows.
TABLE = _read(_TABLE)

#: For each signal of another leg than the first, the signal for the call, if there is one.
CALL_TABLE = {
    Signal.STARTED: None,
    Signal.RINGING: None,
    Signal.ANSWERED: Signal.BRIDGED,
    Signal.BRIDGED: Signal.BRIDGED,
    Signal.HANGUP: None,
    Signal.RECORD_MISSED: None,
    Signal.RECORD_ANSWERED: Signal.BRIDGED,
}


def advance(stage: Stage, signal: Signal) -> Stage:
    """Return the stage of a leg after one of its signals."""
    return TABLE[stage][signal]


def advance_call(stage: Stage, signal: Signal, *, first_leg: bool) -> Stage:
    """Return the stage of a call after a signal of its first leg, or of another one."""
    meaning = signal if first_leg else CALL_TABLE[signal]
    return stage if meaning is None else TABLE[stage][meaning]


def signal_of(event: Event) -> Signal | None:
    """Return what an event says about how far its leg has come, if it says anything."""
    match event:
        case LiveEvent():
            return Signal(event.status.value)
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
