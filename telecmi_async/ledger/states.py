"""Where a contact stands in a campaign, and how it gets from one place to another.

::

    pending ──claim──▶ claimed ──intend──▶ sending ──accepted──▶ placed ──record──▶ finished
       ▲                  │ lease over        │
       ├──────────────────┘                   ├── refused for good ──▶ rejected
       ├───────── certainly not placed ───────┤── attempts used up ──▶ failed
       │                                      └── fate unknown, or its worker died ──▶ unknown
       └──────────────── proven not placed ─────────────────────────────────┘
    blocked: by a rule, with the reason

What was ``sending`` when its worker died is ``unknown``: a phone may ring. It never becomes
``pending`` again without proof, while evidence that it was placed counts at any time, from any
state. So the table below has two kinds of moves: those of the worker that holds the contact,
which name its epoch, and those that follow from evidence.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

__all__ = ["FINAL", "MOVES", "ContactState", "Move", "targets"]


@unique
class ContactState(StrEnum):
    """Where a contact stands."""

    #: To be dialled, at once or later.
    PENDING = "pending"
    #: Taken by a worker; nothing was sent.
    CLAIMED = "claimed"
    #: A request is about to leave, or has left.
    SENDING = "sending"
    #: TeleCMI has the call.
    PLACED = "placed"
    #: The call is over, and how it went is known.
    FINISHED = "finished"
    #: TeleCMI refused it for good.
    REJECTED = "rejected"
    #: It could not be sent, however often it was tried.
    FAILED = "failed"
    #: A rule forbids dialling it.
    BLOCKED = "blocked"
    #: A phone may have rung, and nobody knows.
    UNKNOWN = "unknown"


@unique
class Move(StrEnum):
    """What happens to a contact."""

    CLAIM = "claim"
    #: The claim's lease is over, or its worker gives it back: nothing was sent.
    RELEASE = "release"
    #: The intent to send is on record.
    INTEND = "intend"
    #: A rule forbids it, for now (back to pending) or for good.
    POSTPONE = "postpone"
    BLOCK = "block"
    #: TeleCMI accepted it, by its answer or by an event.
    ACCEPT = "accept"
    REJECT = "reject"
    #: Certainly not placed: to be tried again, or not.
    RETRY = "retry"
    FAIL = "fail"
    #: The request left, and no trustworthy answer came.
    MARK_UNKNOWN = "mark_unknown"
    #: It is over.
    FINISH = "finish"
    #: It is proven that an unknown send was not placed.
    RESOLVE_UNKNOWN = "resolve_unknown"
    #: Somebody decided to dial an unknown one again, or to let it rest.
    REDIAL = "redial"
    GIVE_UP = "give_up"


S = ContactState

#: For each move, the states it starts from and the one it ends in.
MOVES: Final[dict[Move, tuple[frozenset[ContactState], ContactState]]] = {
    Move.CLAIM: (frozenset({S.PENDING}), S.CLAIMED),
    Move.RELEASE: (frozenset({S.CLAIMED}), S.PENDING),
    Move.INTEND: (frozenset({S.CLAIMED}), S.SENDING),
    Move.POSTPONE: (frozenset({S.CLAIMED}), S.PENDING),
    Move.BLOCK: (frozenset({S.CLAIMED}), S.BLOCKED),
    # Evidence that a phone rings counts whatever was thought before.
    Move.ACCEPT: (
        frozenset(
            {S.SENDING, S.UNKNOWN, S.PENDING, S.CLAIMED, S.REJECTED, S.FAILED, S.BLOCKED}
        ),
        S.PLACED,
    ),
    Move.REJECT: (frozenset({S.SENDING}), S.REJECTED),
    Move.RETRY: (frozenset({S.SENDING}), S.PENDING),
    Move.FAIL: (frozenset({S.SENDING}), S.FAILED),
    Move.MARK_UNKNOWN: (frozenset({S.SENDING}), S.UNKNOWN),
    Move.FINISH: (frozenset({S.PLACED}), S.FINISHED),
    Move.RESOLVE_UNKNOWN: (frozenset({S.UNKNOWN}), S.PENDING),
    Move.REDIAL: (frozenset({S.UNKNOWN}), S.PENDING),
    Move.GIVE_UP: (frozenset({S.UNKNOWN}), S.FAILED),
}

#: States from which nothing more happens by itself.
FINAL: Final = frozenset({S.FINISHED, S.REJECTED, S.FAILED, S.BLOCKED})


def targets(state: ContactState) -> frozenset[ContactState]:
    """Return the states that can follow one."""
    return frozenset(target for sources, target in MOVES.values() if state in sources)
