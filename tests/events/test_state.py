"""The state of a call: it does not depend on the order or the repeats of events."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.events import CallState, Event, Signal, Stage, parse_event
from telecmi_async.events.state import MOST_LEGS

WORDS = ["out_started", "ringing", "out_answered", "out_bridged", "hangup"]


def event(**fields: Any) -> Event:
    """Return an event of leg a, unless ``fields`` say otherwise."""
    return parse_event({"leg": "a", "cmiuuid": "leg-a", "time": 1632307235000, **fields})


def record(status: str = "answered", **fields: Any) -> Event:
    """Return a call detail record."""
    return event(type="cdr", status=status, **fields)


def after(*events: Event) -> CallState:
    """Return the state of a call after some events."""
    state = CallState()
    for one in events:
        state = state.after(one)
    return state


legs = st.sampled_from(
    [
        {"leg": "a", "cmiuuid": "leg-a"},
        {"leg": "a", "cmiuuid": "leg-z"},
        {"leg": "a", "cmiuuid": None},
        {"leg": None, "cmiuuid": "leg-a"},
        {"leg": "b", "cmiuuid": "leg-b"},
        {"leg": "b", "cmiuuid": "leg-c"},
        {"leg": "b", "cmiuuid": None},
    ]
)
times = st.sampled_from([None, 1632307235000, 1632307236000])
live = st.builds(
    lambda leg, status, time: event(status=status, **leg | {"time": time}),
    legs,
    st.sampled_from(WORDS),
    times,
)
records = st.builds(
    lambda leg, status, time, duration, rate: record(
        status, duration=duration, call_rate=rate, **leg | {"time": time}
    ),
    legs,
    st.sampled_from(["answered", "missed", "busy", "wrapped_up"]),
    times,
    st.sampled_from([None, 0, 5, 6]),
    st.sampled_from([None, "0.5", "0.6"]),
)
others = st.sampled_from(
    [parse_event({"dtmf": "1"}), parse_event({}), parse_event({"action": "inbound"})]
)
events = live | records | others


@given(st.data())
def test_order_and_repeats_make_no_difference(data: st.DataObject) -> None:
    """Any permutation of a call's events, each any number of times, ends in the same state."""
    once = data.draw(st.lists(events, max_size=10))
    again = data.draw(st.lists(st.sampled_from(once), max_size=10)) if once else []
    shuffled = data.draw(st.permutations(once + again))

    assert after(*shuffled) == after(*once)


@given(st.lists(events, max_size=12))
def test_a_call_never_goes_back(seen: list[Event]) -> None:
    """A call that is over stays over, and a call that was answered stays answered."""
    state = CallState()
    for one in seen:
        later = state.after(one)

        assert later.over or not state.over
        assert later.answered or not state.answered
        assert len(later.legs) >= len(state.legs)
        assert all(old.record is None or new.record for old, new in zip_legs(state, later))
        assert later.after(one) == later
        state = later


def zip_legs(earlier: CallState, later: CallState) -> list[tuple[Any, Any]]:
    """Pair the legs of two states of a call."""
    found = {(leg.leg, leg.cmiuuid if leg.leg != "a" else None): leg for leg in later.legs}
    return [
        (leg, found[leg.leg, leg.cmiuuid if leg.leg != "a" else None]) for leg in earlier.legs
    ]


def test_a_bridged_call_from_start_to_end() -> None:
    """A bridged call goes through its stages, and its cost is the sum of both legs."""
    stages = []
    state = CallState()
    for one in [
        event(status="out_started"),
        event(status="out_answered"),
        event(status="out_started", leg="b", cmiuuid="leg-b"),
        event(status="out_bridged", leg="b", cmiuuid="leg-b"),
        record(leg="b", cmiuuid="leg-b", duration=20, call_rate="0.25"),
        event(status="out_hangup"),
        record(duration=31, call_rate="0.500"),
    ]:
        state = state.after(one)
        stages.append(state.stage.value)

    assert stages == [
        "started", "answered", "answered", "bridged", "bridged", "completed", "completed",
    ]  # fmt: skip
    assert [(leg.leg, leg.cmiuuid, leg.stage) for leg in state.legs] == [
        ("a", "leg-a", "completed"),
        ("b", "leg-b", "completed"),
    ]
    assert state.over
    assert state.answered
    assert state.recorded
    assert state.talk_seconds == 31
    assert state.cost == Decimal("0.750")


def test_nothing_is_known_at_first() -> None:
    """A new call has no answer, record, talk time or cost."""
    state = CallState()

    assert state.stage is Stage.NEW
    assert not state.over
    assert state.answered is None
    assert not state.recorded
    assert state.talk_seconds is None
    assert state.cost is None


def test_a_record_alone_is_enough() -> None:
    """The record alone sets the stage and the talk time when all live events were lost."""
    missed, answered = after(record("missed", duration=0)), after(record(duration=9))

    assert (missed.stage, missed.talk_seconds, missed.recorded) == ("missed", 0, True)
    assert (answered.stage, answered.talk_seconds, answered.recorded) == ("completed", 9, True)
    assert missed.answered is False


def test_a_missed_second_leg_ends_no_call() -> None:
    """A missed leg b neither ends the call nor counts as the call's record."""
    state = after(event(status="answered"), record("missed", leg="b", cmiuuid="leg-b"))

    assert state.stage is Stage.ANSWERED
    assert not state.recorded
    assert not after(record("missed", leg="b")).recorded
    assert after(record("missed", leg="b")).talk_seconds is None


def test_a_record_that_does_not_say_leaves_it_open() -> None:
    """A record with an unknown status ends its leg, and leaves `answered` at None."""
    state = after(record("wrapped_up"))

    assert (state.stage, state.over, state.answered) == ("hung_up", True, None)
    assert state.recorded


def test_of_two_records_the_one_that_tells_more_counts() -> None:
    """An answered record beats a missed one, then the later and the longer record counts."""
    vague = record("wrapped_up")
    missed = record("missed")
    short = record(duration=5)
    longer = record(duration=6)
    late = record(duration=4, time=1632307236000)
    other = record(duration=4, time=1632307236000, vn=1)
    # As text, 10 comes before 9 and before none.
    longest, none = record(duration=10), record(duration=None)
    first = record(duration=10, time=None)

    for weak, strong in [
        (vague, missed),
        (missed, short),
        (short, longer),
        (longer, longest),
        (none, longest),
        (none, record(duration=1)),
        (record(duration=0), none),
        (first, short),
        (longest, late),
    ]:
        for order in ([weak, strong], [strong, weak]):
            assert after(*order).legs[0].record == strong
    assert after(late, other) == after(other, late)


def test_the_order_of_members_decides_nothing() -> None:
    """Of two records that say as much, the same one is kept, in whichever order members came."""
    strong = record(x=2, y=1)

    for weak in (record(x=1, y=2), record(y=2, x=1)):
        assert after(weak, strong).legs[0].record == strong
        assert after(strong, weak).legs[0].record == strong


def test_an_event_that_names_no_leg_is_of_the_first() -> None:
    """An event without a leg, as older editions send it, belongs to leg a."""
    state = after(event(status="answered", leg=None), record(duration=9))

    assert [leg.leg for leg in state.legs] == ["a"]
    assert state.over


def test_a_leg_whose_id_is_unknown_has_none() -> None:
    """A leg has no id until an event brings it."""
    state = after(event(status="started", cmiuuid=None))

    assert state.legs[0].cmiuuid is None
    assert state.after(event(status="ringing")).legs[0].cmiuuid == "leg-a"


def test_a_leg_that_was_looked_up_costs_once() -> None:
    """A record that was looked up, without the leg's id, does not count twice."""
    sent = record(leg="b", cmiuuid="leg-b", call_rate="0.5")
    looked_up = record(leg="b", cmiuuid=None, call_rate="0.5")

    assert after(looked_up).cost == Decimal("0.5")
    assert after(sent, looked_up).cost == Decimal("0.5")
    assert after(sent, looked_up, record(cmiuuid=None, call_rate=1)).cost == Decimal("1.5")


@pytest.mark.parametrize(
    ("rates", "cost"),
    [
        (["0.390000"], "0.39"),
        (["0.390000", "0.45"], "0.84"),
        (["0.000001"], "0.000001"),
        (["1.000000"], "1.00"),
        (["100"], "100"),
        (["0.300"], "0.30"),
        (["12.345600"], "12.3456"),
        (["-0.390000"], "-0.39"),
    ],
)
def test_a_cost_is_written_as_people_write_it(rates: list[str], cost: str) -> None:
    """Zeros beyond two decimal places, which TeleCMI sends, are not shown."""
    events = [
        record(leg="ab"[n], cmiuuid=f"leg-{n}", call_rate=rate) for n, rate in enumerate(rates)
    ]

    assert str(after(*events).cost) == cost


def test_a_record_without_a_rate_adds_nothing_to_the_cost() -> None:
    """The cost is what the other records say, and unknown if no record says."""
    first, second = record(call_rate="0.5"), record(leg="b", cmiuuid="leg-b")

    assert after(first, second).cost == Decimal("0.5")
    assert after(second).cost is None


def test_a_record_with_an_id_stands_for_its_own_leg_alone() -> None:
    """A leg without an id and a record is not recorded by another one's record."""
    ended = [record(), record(leg="b", cmiuuid="leg-b")]

    assert after(*ended).recorded
    assert not after(*ended, event(status="started", leg="b", cmiuuid=None)).recorded


@pytest.mark.parametrize(("others", "recorded"), [(1, True), (2, False)])
def test_a_record_that_was_looked_up_is_of_the_only_leg(others: int, recorded: bool) -> None:
    """A record without an id is that of leg b if there is one, and nobody's if there are two."""
    bridged = [event(status="started", leg="b", cmiuuid=str(n)) for n in range(others)]

    state = after(record(), *bridged, record(leg="b", cmiuuid=None))

    assert state.recorded is recorded


def test_legs_are_bounded() -> None:
    """At most 64 legs are kept; known legs and leg a still take events."""
    state = after(
        *(event(status="started", leg="b", cmiuuid=str(n)) for n in range(MOST_LEGS + 9))
    )

    assert len(state.legs) == MOST_LEGS == 64
    assert state.after(event(status="out_bridged", leg="b", cmiuuid="0")).answered
    assert state.after(record("missed")).over


@pytest.mark.parametrize("signal", Signal)
def test_a_state_is_a_value(signal: Signal) -> None:
    """A state can be hashed and pickled, so that a store can hold it."""
    state = after(event(status="out_started"), record("missed"), event(status=signal))

    assert pickle.loads(pickle.dumps(state)) == state
    assert hash(pickle.loads(pickle.dumps(state))) == hash(state)
