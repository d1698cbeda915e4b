"""State transitions of a contact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telecmi_async.ledger.states import MOVES, ContactState, Move

if TYPE_CHECKING:
    from collections.abc import Collection

S = ContactState

#: Transitions by evidence of a call, which may come late.
EVIDENCE = {Move.ACCEPT}
#: Transitions by proof that no phone rang, or that nobody answered.
PROOFS = {Move.RESOLVE_UNKNOWN, Move.REDIAL_MISSED}
#: Transitions that a person decides on.
DECISIONS = {Move.REDIAL, Move.REOPEN}
#: States that only evidence or a decision can change.
FINAL = frozenset({S.FINISHED, S.REJECTED, S.FAILED, S.BLOCKED})


def targets(state: ContactState) -> frozenset[ContactState]:
    """Return the states that one transition can lead to."""
    return frozenset(target for sources, target in MOVES.values() if state in sources)


def reach(start: ContactState, without: Collection[Move] = ()) -> set[ContactState]:
    """Return the states that can follow one, in any number of transitions."""
    found: set[ContactState] = set()
    new = {start}
    while new:
        found |= new
        new = {
            target
            for move, (sources, target) in MOVES.items()
            if move not in without and sources & found
        } - found
    return found


def test_every_move_has_its_line() -> None:
    """Each transition is in the table, and none leads to a state it starts from."""
    assert set(MOVES) == set(Move)
    assert [move for move, (sources, target) in MOVES.items() if target in sources] == []


def test_every_state_can_be_reached() -> None:
    """Every state can be reached from a new contact."""
    assert reach(S.PENDING) == set(S)


def test_nothing_is_sent_but_by_an_intent_of_who_holds_it() -> None:
    """Only an intent leads to sending, and only from a claimed contact."""
    assert [move for move, (_, target) in MOVES.items() if target is S.SENDING] == [Move.INTEND]
    assert MOVES[Move.INTEND][0] == {S.CLAIMED}


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PLACED, S.FINISHED])
def test_what_may_have_rung_is_dialled_again_by_decision_or_proof_only(
    state: ContactState,
) -> None:
    """Only a decision or a proof leads to another call of what may have rung."""
    assert S.SENDING not in reach(state, without={*DECISIONS, *PROOFS})
    assert S.SENDING in reach(state)


@pytest.mark.parametrize("state", sorted(set(S) - {S.PLACED, S.FINISHED}))
def test_evidence_counts_from_everywhere(state: ContactState) -> None:
    """Evidence of a call leads to placed from every state but placed and finished."""
    assert S.PLACED in targets(state)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_of_a_final_state_only_evidence_and_decisions_are_left(state: ContactState) -> None:
    """Only evidence of a call, its record, or a person's decision leads out of a final state."""
    assert reach(state, without={*DECISIONS, Move.REDIAL_MISSED}) <= {
        state,
        S.PLACED,
        S.FINISHED,
    }


def test_what_was_certainly_not_placed_can_be_tried_again() -> None:
    """A decision makes rejected, failed and blocked contacts pending, and no others."""
    assert MOVES[Move.REOPEN] == (frozenset({S.REJECTED, S.FAILED, S.BLOCKED}), S.PENDING)


def test_every_other_state_leads_on() -> None:
    """Every other state leads to a final one; a placed contact can only finish."""
    stuck = [s for s in S if s is not S.PLACED and not reach(s, without=EVIDENCE) & FINAL]

    assert stuck == []
    assert targets(S.PLACED) == {S.FINISHED}


def test_states_and_moves_are_stored_under_these_names() -> None:
    """A ledger holds the names, and workers of another version read them."""
    assert {state.value for state in S} == {
        "pending", "claimed", "sending", "placed", "finished", "rejected", "failed", "blocked",
        "unknown",
    }  # fmt: skip
    assert {move.value for move in Move} == {
        "claim", "release", "intend", "postpone", "block", "accept", "reject", "retry", "fail",
        "mark_unknown", "finish", "resolve_unknown", "give_up", "redial", "reopen", "redial_missed",
        "withdraw",
    }  # fmt: skip


def test_evidence_of_a_call_counts_in_every_state_that_does_not_know_it() -> None:
    """An accepted call is placed, from whichever state, unless it was known to be."""
    assert MOVES[Move.ACCEPT] == (frozenset(S) - {S.PLACED, S.FINISHED}, S.PLACED)
