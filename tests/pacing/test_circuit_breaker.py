"""Circuit breaker and adaptive rate: what pauses a campaign or slows it down."""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.errors import (
    CallCancelled,
    CallOutcomeUnknown,
    CallRejected,
    ConfigurationError,
    NotSent,
    RateLimited,
)
from telecmi_async.pacing.circuit_breaker import AdaptiveRate, CircuitBreaker, SendThrottle

if TYPE_CHECKING:
    from telecmi_async.errors import TelecmiError

UNKNOWN = CallOutcomeUnknown("no answer", reference="r", cause="gone")
REJECTED = CallRejected("no", status=404, code=404)
LIMITED = RateLimited("slow down", status=429, code=429)


def tripped(now: float = 100.0) -> CircuitBreaker:
    """Return a breaker that has just tripped."""
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.ended(now, began=now, failed=True)
    return breaker


# --- the circuit breaker ----------------------------------------------------------------


def test_five_of_twenty_five_stop_all_sends() -> None:
    """The fifth unknown outcome among the last 25 pauses sending for five seconds."""
    breaker = CircuitBreaker()
    for n in range(24):
        breaker.ended(n, began=n, failed=n % 6 == 0)
    assert (breaker.open, breaker.wait(24)) == (False, 0)

    breaker.ended(24, began=24, failed=True)

    assert (breaker.open, breaker.wait(24)) == (True, 5)


def test_five_of_twenty_six_stop_nothing() -> None:
    """An unknown outcome before the last 25 no longer counts."""
    breaker = CircuitBreaker()

    for n in range(26):
        breaker.ended(n, began=n, failed=n in {0, 6, 12, 18, 25})

    assert not breaker.open


def test_few_unknown_ends_stop_nothing() -> None:
    """One unknown outcome in seven does not trip the breaker, and four are too few."""
    breaker = CircuitBreaker()

    for n in range(700):
        breaker.ended(n, began=n, failed=n % 7 == 0)

    assert not breaker.open


def test_probes_go_out_alone_and_further_apart() -> None:
    """After 5, 10, 20 … 120 seconds one probe is sent, and no second one meanwhile."""
    breaker, now = tripped(0.0), 0.0
    pauses = []

    for _ in range(7):
        pauses.append(pause := breaker.wait(now))
        assert breaker.wait(now + pause - 0.5) == pytest.approx(0.5)
        now += pause
        assert breaker.wait(now) == 0
        assert breaker.probing
        assert breaker.wait(now) > 0
        breaker.ended(now, began=now, failed=True)

    assert pauses == [5, 10, 20, 40, 80, 120, 120]


def test_an_answered_probe_ends_the_pause() -> None:
    """After an answered probe all may send, and the next pause starts at five seconds."""
    breaker = tripped(0.0)
    assert breaker.wait(5.0) == 0
    breaker.ended(6.0, began=5.0, failed=True)
    assert breaker.wait(16.0) == 0

    breaker.ended(16.5, began=16.0, failed=False)

    assert (breaker.open, breaker.probing, breaker.wait(16.5)) == (False, False, 0)
    for _ in range(5):
        breaker.ended(20.0, began=17.0, failed=True)
    assert breaker.wait(20.0) == 5


def test_what_led_to_a_pause_does_not_lead_to_the_next() -> None:
    """After a pause, outcomes are counted afresh: four unknown ones are too few again."""
    breaker = tripped(0.0)
    assert breaker.wait(5.0) == 0
    breaker.ended(6.0, began=5.0, failed=False)

    for n in range(4):
        breaker.ended(10.0 + n, began=9.0, failed=True)

    assert not breaker.open


@pytest.mark.parametrize("began", [99.0, 100.0, 104.9])
@pytest.mark.parametrize("failed", [False, True, None])
def test_what_was_sent_before_the_probe_ends_nothing(
    began: float, *, failed: bool | None
) -> None:
    """The outcome of another send neither closes the breaker nor ends the probe.

    A coarse clock reads the same when the breaker opens and when that send began.
    """
    breaker = tripped(100.0)
    assert breaker.wait(105.0) == 0

    breaker.ended(106.0, began=began, failed=failed)

    assert breaker.open
    assert breaker.probing
    assert breaker.wait(106.0) == 119.0


def test_a_probe_counts_whose_start_reads_the_same_as_its_permission() -> None:
    """The probe itself closes the breaker, also if no time passed since it was permitted."""
    breaker = tripped(100.0)
    assert breaker.wait(105.0) == 0

    breaker.ended(105.0, began=105.0, failed=False)

    assert not breaker.open


def test_a_probe_that_was_given_up_for_lost_does_not_end_the_next() -> None:
    """If a probe ends after the next was sent, the next one is still under way."""
    breaker = tripped(0.0)
    assert breaker.wait(5.0) == 0
    assert breaker.wait(125.0) == 0

    breaker.ended(126.0, began=5.0, failed=True)

    assert breaker.probing
    assert breaker.wait(126.0) == 119.0


def test_an_end_that_is_no_probes_changes_nothing() -> None:
    """A send that started while the breaker tripped does not count as a probe."""
    breaker = tripped(100.0)

    breaker.ended(101.0, began=100.5, failed=False)

    assert breaker.wait(101.0) == 4


def test_a_probe_that_was_not_sent_is_followed_by_a_later_one() -> None:
    """A probe that was not sent does not count as an answer."""
    breaker = tripped(0.0)
    assert breaker.wait(5.0) == 0

    breaker.ended(5.0, began=5.0, failed=None)

    assert breaker.wait(5.0) == 10


def test_a_probe_whose_end_is_never_told_does_not_stop_all_for_ever() -> None:
    """If a probe's outcome is never recorded, another probe is sent after two minutes."""
    breaker = tripped(0.0)
    assert breaker.wait(5.0) == 0

    assert breaker.wait(6.0) == 119
    assert breaker.wait(125.0) == 0


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from([True, False, None]), st.floats(0, 60)),
        max_size=200,
    )
)
def test_the_breaker_always_lets_somebody_through(
    ends: list[tuple[float, bool | None, float]],
) -> None:
    """For any outcomes, the wait is at most two minutes and probes are sent one at a time."""
    breaker, now = CircuitBreaker(), 1000.0
    for later, unknown, ago in ends:
        now += later
        wait = breaker.wait(now)
        assert 0 <= wait <= 120
        if wait == 0 and breaker.open:
            assert breaker.wait(now) > 0
        breaker.ended(now, began=now - ago, failed=unknown)

    assert breaker.wait(now + breaker.wait(now) + 120) == 0


# --- the adaptive rate ------------------------------------------------------------------


def test_nothing_slows_down_what_is_not_refused() -> None:
    """Without a refusal the rate stays as configured."""
    assert AdaptiveRate(50).rate(1e9) == 50


def test_a_changed_rate_holds_at_once_but_a_cut_goes_on() -> None:
    """What TeleCMI refused stays slow after a change, unless the rate had grown back by then."""
    rates = []
    for wait in (0.0, 60.0):
        rate = AdaptiveRate(10.0)
        rate.refused(100.0, round_trip=1.0)
        rate.change(20.0, 100.0 + wait)
        rates.append(rate.rate(100.0 + wait))

    assert rates[0] < 10.0
    assert rates[1] == 20.0


def test_a_refusal_cuts_the_rate_and_time_brings_it_back() -> None:
    """A refusal cuts the rate to 0.7; it is back at the ceiling after K seconds."""
    adaptive_rate = AdaptiveRate(50)

    adaptive_rate.refused(0.0, round_trip=0.2)

    back = math.cbrt(50 * 0.3 / 0.4)
    assert adaptive_rate.rate(0.0) == pytest.approx(35)
    assert adaptive_rate.rate(back / 2) == pytest.approx(50 - 0.4 * (back / 2) ** 3)
    assert adaptive_rate.rate(back) == 50
    assert adaptive_rate.rate(1e6) == 50


@pytest.mark.parametrize(("round_trip", "until"), [(0.2, 1.0), (3.0, 6.0), (1e9, 20.0)])
def test_a_burst_of_refusals_is_one(round_trip: float, until: float) -> None:
    """Refusals cut the rate once a second, or once in two round trips if they take longer."""
    adaptive_rate = AdaptiveRate(50)
    adaptive_rate.refused(0.0, round_trip=round_trip)

    once = adaptive_rate.rate(until)
    adaptive_rate.refused(until - 0.01, round_trip=round_trip)
    assert adaptive_rate.rate(until) == once
    adaptive_rate.refused(until, round_trip=round_trip)

    assert adaptive_rate.rate(until) == pytest.approx(max(0.7 * once, 0.5))


@given(
    st.floats(0.01, 500),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 30)), max_size=200),
)
def test_the_rate_stays_between_floor_and_ceiling(
    ceiling: float, refusals: list[tuple[float, float]]
) -> None:
    """The rate stays between half a call per second and the configured rate."""
    adaptive_rate, now = AdaptiveRate(ceiling), 0.0
    for later, round_trip in refusals:
        now += later
        before = adaptive_rate.rate(now)
        adaptive_rate.refused(now, round_trip=round_trip)

        assert min(0.5, ceiling) <= adaptive_rate.rate(now) <= before <= ceiling

    assert adaptive_rate.rate(now + 1000) == ceiling


@pytest.mark.parametrize(("ceiling", "floor"), [(0.6, 0.5), (0.5, 0.5), (0.4, 0.4)])
def test_the_rate_is_not_cut_below_its_floor(ceiling: float, floor: float) -> None:
    """One call in two seconds always gets through, or all of a rate that is lower."""
    adaptive_rate = AdaptiveRate(ceiling)

    adaptive_rate.refused(0.0, round_trip=0.2)

    assert adaptive_rate.rate(0.0) == floor


def model(*, adaptive: bool) -> tuple[float, float]:
    """Dial for 600 s at 50/s against a cap of 50, then 15, then 50 accepted in any second.

    Answers take 0.2 s. Returns the accepted share of what the cap would have let through, and
    the refused share of what was sent, both in percent.
    """

    def cap(now: float) -> int:
        return 15 if 180 <= now < 420 else 50

    adaptive_rate = AdaptiveRate(50)
    recent: deque[float] = deque()
    answers: deque[tuple[float, bool]] = deque()
    now, sent, accepted = 0.0, 0, 0
    while now < 600:
        while answers and answers[0][0] <= now:
            when, fine = answers.popleft()
            if not fine and adaptive:
                adaptive_rate.refused(when, round_trip=0.2)
        arrives = now + 0.1
        while recent and recent[0] <= arrives - 1:
            recent.popleft()
        sent += 1
        fine = len(recent) < cap(arrives)
        if fine:
            accepted += 1
            recent.append(arrives)
        answers.append((now + 0.2, fine))
        now += 1 / adaptive_rate.rate(now)
    ideal = 50 * 360 + 15 * 240
    return 100 * accepted / ideal, 100 * (sent - accepted) / sent


def test_the_slow_down_gives_up_little_and_is_refused_little() -> None:
    """Against a limit that falls and rises, few sends are refused and most of it is used."""
    fixed, adaptive = model(adaptive=False), model(adaptive=True)

    assert list(fixed) == [pytest.approx(98.4, abs=2), pytest.approx(29.2, abs=1.5)]
    assert list(adaptive) == [pytest.approx(93.4, abs=2), pytest.approx(1.5, abs=0.7)]


# --- both -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, REJECTED, LIMITED, NotSent("no"), CallCancelled("no")])
def test_only_unknown_ends_trip_the_brake(error: TelecmiError | None) -> None:
    """Answers, and sends that were never sent, do not trip the breaker."""
    throttle = SendThrottle(10)

    for n in range(100):
        throttle.record(error, float(n), began=float(n))

    assert (throttle.open, throttle.room(), throttle.wait(100.0)) == (False, sys.maxsize, 0)


def test_sends_that_cannot_be_connected_trip_the_brake() -> None:
    """Five sends that could not be connected open the breaker, as unknown ones do; a probe ends it."""
    throttle, error = SendThrottle(10), NotSent("no")
    error.unreached = "ConnectError (connection refused)"
    for mixed in (error, UNKNOWN, error, UNKNOWN, error):
        assert not throttle.open
        throttle.record(mixed, 0.0, began=0.0)

    assert (throttle.open, throttle.wait(5.0)) == (True, 0)
    throttle.record(error, 5.0, began=5.0)
    assert (throttle.open, throttle.wait(15.0)) == (True, 0)
    throttle.record(REJECTED, 15.0, began=15.0)
    assert not throttle.open


def test_the_brake_lets_one_probe_claim_a_contact() -> None:
    """While sends are paused there is room for one probe, and none while it is in flight."""
    throttle = SendThrottle(10)
    for _ in range(5):
        throttle.record(UNKNOWN, 0.0, began=0.0)

    assert (throttle.open, throttle.room(), throttle.wait(0.0)) == (True, 1, 5)
    assert (throttle.wait(5.0), throttle.room()) == (0, 0)
    throttle.record(REJECTED, 6.0, began=5.0)
    assert (throttle.open, throttle.room()) == (False, sys.maxsize)


def test_the_brake_takes_a_probe_back() -> None:
    """A probe that is given up leaves room for another one."""
    throttle = SendThrottle(10)
    for _ in range(5):
        throttle.record(UNKNOWN, 0.0, began=0.0)
    assert (throttle.wait(5.0), throttle.room()) == (0, 0)

    throttle.withdraw()

    assert (throttle.wait(5.0), throttle.room()) == (0, 0)
    throttle.withdraw()
    assert throttle.room() == 1


def test_too_many_slows_the_brake_down() -> None:
    """Only a "too many" refusal cuts the rate."""
    throttle = SendThrottle(10)

    throttle.record(REJECTED, 0.0, began=0.0)
    assert throttle.rate(0.0) == 10
    throttle.record(LIMITED, 0.0, began=0.0)

    assert throttle.rate(0.0) == pytest.approx(7)


def test_the_brake_measures_the_round_trip() -> None:
    """Late on the clock, too, two refusals with more than a second between them cut twice."""
    throttle = SendThrottle(10)

    throttle.record(LIMITED, 1000.0, began=999.8)
    before = throttle.rate(1001.1)
    throttle.record(LIMITED, 1001.1, began=1000.9)

    assert throttle.rate(1001.1) == pytest.approx(0.7 * before)


@pytest.mark.parametrize("rate", [0.001, 1, 10_000])
def test_a_brake_takes_any_rate(rate: float) -> None:
    """A call in a quarter of an hour is a rate as well."""
    assert SendThrottle(rate).rate(0.0) == rate


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_a_brake_needs_a_rate(rate: float) -> None:
    """The rate must be a positive number."""
    with pytest.raises(ConfigurationError, match="positive number of calls per second"):
        SendThrottle(rate)


def test_a_probe_that_is_given_up_makes_way_for_another_at_once() -> None:
    """A withdrawn probe learnt nothing about the API, so the next one is sent at once."""
    breaker = tripped(0.0)
    assert breaker.wait(5.0) == 0
    assert breaker.wait(5.0) == 120

    breaker.withdraw()

    assert breaker.wait(5.0) == 0
