"""What the simulator counts with: numbers, seconds and chance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.simulator.chance import draw, request_id
from telecmi_async.simulator.request_log import SlidingWindow

NUMBERS = st.integers(1, 10**15 - 1)


@given(st.lists(st.integers(0, 5_000), max_size=200).map(sorted))
def test_window_finds_the_busiest_second(moments: list[int]) -> None:
    """The highest count is that of the fullest half-open second, found by trying them all."""
    window = SlidingWindow()
    for moment in moments:
        window.add(moment / 1_000)
    fullest = max(
        (sum(start <= other < start + 1_000 for other in moments) for start in moments),
        default=0,
    )

    assert window.highest == fullest


def test_window_takes_a_rounded_second_for_a_second() -> None:
    """Fifty moments a second, 0.02 s apart, never count as fifty-one."""
    window = SlidingWindow()
    at = 0.1
    for _ in range(10_000):
        window.add(at)
        at += 0.02

    assert window.highest == 50


def test_window_counts_the_second_that_ends_now() -> None:
    """Counting drops moments that are a second old, and adds none."""
    window = SlidingWindow()
    for at in (0.0, 0.5, 0.5):
        window.add(at)

    assert window.count(0.9) == 3
    assert window.count(1.0) == 2
    assert window.count(9.0) == 0
    assert window.highest == 3


def test_window_starts_anew_when_the_clock_does() -> None:
    """A clock that goes back starts a new run, which is counted by itself."""
    window = SlidingWindow()
    for at in (100.0, 100.1, 3.0):
        window.add(at)

    assert window.count(3.0) == 1
    assert window.highest == 2


@given(st.integers(), NUMBERS, st.integers(1, 9))
def test_a_draw_is_a_share_and_repeats_itself(seed: int, to: int, attempt: int) -> None:
    """A draw is at least 0 and below 1, and depends only on its arguments."""
    first = draw(seed, "502", to, attempt)

    assert 0 <= first < 1
    assert draw(seed, "502", to, attempt) == first


def test_draws_are_spread_evenly() -> None:
    """About one in twenty draws is below 0.05, and different purposes draw independently."""
    low = {n for n in range(10_000) if draw(1, "502", 19170000000 + n, 1) < 0.05}
    other = {n for n in range(10_000) if draw(1, "placed", 19170000000 + n, 1) < 0.05}

    assert 400 < len(low) < 600
    assert len(low & other) < 100


@given(st.integers(), NUMBERS, st.integers(1, 9))
def test_a_request_id_looks_like_those_of_the_samples(seed: int, to: int, attempt: int) -> None:
    """A request_id has 43 letters and digits."""
    made_up = request_id(seed, to, attempt)

    assert len(made_up) == 43
    assert made_up.isascii()
    assert made_up.isalnum()


def test_request_ids_do_not_repeat() -> None:
    """Each seed, number and try gives another request_id."""
    ids = {
        request_id(s, 19170000000 + n, a) for s in (1, 2) for n in range(500) for a in (1, 2)
    }

    assert len(ids) == 2_000
