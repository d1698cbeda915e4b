"""Contact states: the table of moves by which a contact gets from one state to another.

A contact that was ``sending`` when its worker died is ``unknown``: a phone may ring. It does
not become ``pending`` again without proof or a person's decision, while evidence that it was
placed counts at any time, from any state. So there are two kinds of moves: those of the worker
that holds the contact, which name the claim's epoch, and those that follow from evidence. They
are drawn and explained in docs/explanation/how-a-campaign-works.md.

SQLite's updates are rendered from the table `MOVES`. PostgreSQL's functions are written by
hand; a test makes every move from every state there, and compares the results with the table.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final


@unique
class ContactState(StrEnum):
    """The state of a contact in a campaign."""

    #: To be dialled, at once or later.
    PENDING = "pending"
    #: Held by a worker; nothing was sent.
    CLAIMED = "claimed"
    #: A request is about to leave, or has left.
    SENDING = "sending"
    #: TeleCMI has the call.
    PLACED = "placed"
    #: The call is over, and its outcome is known.
    FINISHED = "finished"
    #: TeleCMI rejected it for good.
    REJECTED = "rejected"
    #: It was not placed, and the attempts are used up.
    FAILED = "failed"
    #: A rule denies dialling it.
    BLOCKED = "blocked"
    #: A phone may have rung; it is not known whether one did.
    UNKNOWN = "unknown"


#: What each state means, in words.
STATE_MEANINGS: Final = {
    ContactState.PENDING: "to be dialled",
    ContactState.CLAIMED: "about to be dialled",
    ContactState.SENDING: "being sent",
    ContactState.PLACED: "TeleCMI has the call",
    ContactState.FINISHED: "over, and how it went is known",
    ContactState.REJECTED: "TeleCMI refused it",
    ContactState.FAILED: "could not be sent",
    ContactState.BLOCKED: "a rule forbids it",
    ContactState.UNKNOWN: "a phone may have rung: not dialled again",
}
#: The colour that stands for each; see `telecmi_async._internal.html`.
STATE_TONES: Final = {
    ContactState.PENDING: "idle",
    ContactState.CLAIMED: "idle",
    ContactState.SENDING: "busy",
    ContactState.PLACED: "busy",
    ContactState.FINISHED: "good",
    ContactState.REJECTED: "bad",
    ContactState.FAILED: "bad",
    ContactState.BLOCKED: "idle",
    ContactState.UNKNOWN: "doubt",
}


@unique
class Move(StrEnum):
    """A change of a contact's state."""

    CLAIM = "claim"
    #: The claim's lease expired, or its worker gives it back: nothing was sent.
    RELEASE = "release"
    #: The intent to send is on record.
    INTEND = "intend"
    #: A rule denies the call, for now (back to pending) or for good.
    POSTPONE = "postpone"
    BLOCK = "block"
    #: A person withdrew it.
    WITHDRAW = "withdraw"
    #: TeleCMI accepted the call, by its reply or by an event.
    ACCEPT = "accept"
    REJECT = "reject"
    #: The call was certainly not placed: it is tried again, or not.
    RETRY = "retry"
    FAIL = "fail"
    #: The request left, and no trustworthy reply came.
    MARK_UNKNOWN = "mark_unknown"
    #: The call is over.
    FINISH = "finish"
    #: An unknown send is proven not to have been placed: it is dialled again, or given up.
    RESOLVE_UNKNOWN = "resolve_unknown"
    GIVE_UP = "give_up"
    #: A person decided to dial an unknown contact again.
    REDIAL = "redial"
    #: A person decided to try a contact again that was refused, failed or blocked.
    REOPEN = "reopen"
    #: Its record proves that the call was not answered: it is redialled, by a plan or a person.
    REDIAL_MISSED = "redial_missed"


S = ContactState

#: For each move, the states it starts from and the one it ends in.
MOVES: Final[dict[Move, tuple[frozenset[ContactState], ContactState]]] = {
    Move.CLAIM: (frozenset({S.PENDING}), S.CLAIMED),
    Move.RELEASE: (frozenset({S.CLAIMED}), S.PENDING),
    Move.INTEND: (frozenset({S.CLAIMED}), S.SENDING),
    Move.POSTPONE: (frozenset({S.CLAIMED}), S.PENDING),
    Move.BLOCK: (frozenset({S.CLAIMED}), S.BLOCKED),
    Move.WITHDRAW: (frozenset({S.PENDING, S.CLAIMED}), S.BLOCKED),
    # Evidence that a phone rings counts in every state.
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
    Move.REOPEN: (frozenset({S.REJECTED, S.FAILED, S.BLOCKED}), S.PENDING),
    Move.REDIAL_MISSED: (frozenset({S.FINISHED}), S.PENDING),
}
