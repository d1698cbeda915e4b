"""The table of moves: how a contact gets from one state to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telecmi_async.ledger.states import MOVES, ContactState, Move

if TYPE_CHECKING:
    from collections.abc import Collection

S = ContactState

#: From where evidence of a call may come late.
EVIDENCE = {Move.ACCEPT}
#: States that only evidence can change.
FINAL = frozenset({S.FINISHED, S.REJECTED, S.FAILED, S.BLOCKED})


def targets(state: ContactState) -> frozenset[ContactState]:
    """The states that one move can lead to."""
    return frozenset(target for sources, target in MOVES.values() if state in sources)


def reach(start: ContactState, without: Collection[Move] = ()) -> set[ContactState]:
    """The states that can follow one, in any number of moves."""
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
    """None is forgotten, and none leads from where it ends."""
    assert set(MOVES) == set(Move)
    assert [move for move, (sources, target) in MOVES.items() if target in sources] == []


def test_every_state_can_be_reached() -> None:
    """There is none that a new contact cannot come to."""
    assert reach(S.PENDING) == set(S)


def test_nothing_is_sent_but_by_an_intent_of_who_holds_it() -> None:
    """Only a claimed contact is sent."""
    assert [move for move, (_, target) in MOVES.items() if target is S.SENDING] == [Move.INTEND]
    assert MOVES[Move.INTEND][0] == {S.CLAIMED}


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PLACED, S.FINISHED])
def test_what_may_have_rung_is_dialled_again_by_decision_or_proof_only(
    state: ContactState,
) -> None:
    """By itself it never comes back to be sent; what was placed does not even then."""
    decisions = {Move.RESOLVE_UNKNOWN, Move.REDIAL}

    assert S.SENDING not in reach(state, without=decisions)
    assert (S.SENDING in reach(state)) is (state is S.UNKNOWN)


@pytest.mark.parametrize("state", sorted(set(S) - {S.PLACED, S.FINISHED}))
def test_evidence_counts_from_everywhere(state: ContactState) -> None:
    """Whatever was thought of a contact, a call of it that exists counts."""
    assert S.PLACED in targets(state)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_of_a_final_state_only_evidence_is_left(state: ContactState) -> None:
    """Nothing else leads out of it."""
    assert targets(state) <= {S.PLACED}


def test_every_other_state_leads_on() -> None:
    """From each there is a way to a final one, without evidence where it need not come."""
    stuck = [s for s in S if s is not S.PLACED and not reach(s, without=EVIDENCE) & FINAL]

    assert stuck == []
    assert targets(S.PLACED) == {S.FINISHED}
