"""Both sides on one time line: where audio is placed, and what is held."""

from __future__ import annotations

from array import array
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.voice.stereo import MOST_HELD, StereoTimeline

RATE = 1_000


def tone(value: int, samples: int) -> bytes:
    """Return so many samples of a value."""
    return array("h", [value] * samples).tobytes()


def sides(stereo: bytes) -> tuple[list[int], list[int]]:
    """Return the samples of both sides."""
    samples = array("h", stereo)
    return list(samples[0::2]), list(samples[1::2])


def runs(samples: list[int]) -> list[tuple[int, int]]:
    """Return the values of a side, each with how long it lasts."""
    return [(value, len([*run])) for value, run in groupby(samples)]


def test_both_sides_are_placed_by_time() -> None:
    """Audio begins when it was said, left the caller, right the bot; the rest is silence."""
    timeline = StereoTimeline(RATE)
    timeline.add_caller(tone(1, 100), 0.5)
    timeline.add_bot(tone(2, 200), 0.7)

    left, right = sides(timeline.take(1.0))

    assert runs(left) == [(0, 500), (1, 100), (0, 400)]
    assert runs(right) == [(0, 700), (2, 200), (0, 100)]


@given(st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=100), st.integers(1, 100))
def test_jitter_makes_no_gaps(delays: list[float], size: int) -> None:
    """Frames that come a little early or late are joined, without a gap and without loss."""
    timeline = StereoTimeline(RATE)
    for n, delay in enumerate(delays):
        timeline.add_caller(tone(n % 3 + 1, size), 1 + n * size / RATE + delay)

    left, _ = sides(timeline.take(2 + len(delays) * size / RATE))

    start = left.index(1)
    said = [n % 3 + 1 for n in range(len(delays)) for _ in range(size)]
    assert abs(start - 1_000) <= 30
    assert left[start : start + len(said)] == said
    assert set(left[start + len(said) :]) == {0}


def test_an_error_does_not_add_up() -> None:
    """Many gaps, each too short to be one, make none longer than the tolerance."""
    timeline = StereoTimeline(RATE)
    for n in range(100):
        timeline.add_caller(tone(1, 10), n * 0.05)

    left, _ = sides(timeline.take(10.0))

    last = len(left) - left[::-1].index(1)
    assert left.count(1) == 1_000
    assert abs(last - 4_960) <= 60


def test_late_audio_takes_the_place_of_its_silence() -> None:
    """What comes all at once after a stall is placed when it was said, and so is the rest."""
    timeline = StereoTimeline(RATE)
    timeline.add_caller(tone(1, 100), 0.0)
    for at in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):  # said from 0.1 to 1.0
        timeline.add_caller(tone(2, 100), at - 0.1)
    timeline.add_caller(tone(3, 100), 1.0)

    left, _ = sides(timeline.take(1.2))

    assert runs(left) == [(1, 100), (2, 900), (3, 100), (0, 100)]


def test_silence_that_was_taken_stays() -> None:
    """Late audio takes the place of the silence that is left, and is never lost."""
    timeline = StereoTimeline(RATE)
    timeline.add_caller(tone(1, 100), 0.0)
    timeline.add_caller(tone(2, 100), 0.9)
    first, _ = sides(timeline.take(0.7))
    timeline.add_caller(tone(3, 100), 0.7)
    timeline.add_caller(tone(4, 100), 0.7)

    left, _ = sides(timeline.take(2.0))

    assert runs(first) == [(1, 100), (0, 600)]
    assert runs(left) == [(2, 100), (3, 100), (4, 100), (0, 1_000)]


def test_interrupted_audio_is_cut() -> None:
    """What the bot would have said after an interruption is not there; what comes next is."""
    timeline = StereoTimeline(RATE)
    timeline.add_bot(tone(1, 400), 0.1)
    timeline.cut_bot(0.3)
    timeline.add_bot(tone(2, 100), 0.5)

    _, right = sides(timeline.take(0.7))

    assert runs(right) == [(0, 100), (1, 200), (0, 200), (2, 100), (0, 100)]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (0.05, [(1, 50), (3, 100), (4, 100)]),  # within the audio before the silence
        (0.2, [(1, 100), (3, 100), (4, 100)]),  # within the silence
        (0.32, [(1, 100), (2, 20), (3, 100), (4, 100)]),  # behind it
    ],
)
def test_a_gap_ends_with_a_cut(cut: float, expected: list[tuple[int, int]]) -> None:
    """Late audio takes the place of the silence that a cut left, and of nothing else."""
    timeline = StereoTimeline(RATE)
    timeline.add_bot(tone(1, 100), 0.0)
    timeline.add_bot(tone(2, 50), 0.3)
    timeline.cut_bot(cut)
    timeline.add_bot(tone(3, 100), 0.01)
    timeline.add_bot(tone(4, 100), 0.01)

    _, right = sides(timeline.take(0.6))

    assert runs(right)[:-1] == expected


def test_a_cut_of_what_was_taken_changes_nothing() -> None:
    """Nothing is cut out of what is in the file already."""
    timeline = StereoTimeline(RATE)
    timeline.add_bot(tone(1, 400), 0.0)
    timeline.take(0.3)
    timeline.cut_bot(0.1)

    assert sides(timeline.take(0.4))[1] == [0] * 100
    assert timeline.take(0.2) == b""


def test_what_is_held_is_bounded() -> None:
    """A peer that sends faster than time passes, or far into the future, fills no memory."""
    timeline = StereoTimeline(RATE)
    for _ in range(1_000):
        timeline.add_caller(tone(1, 1_000), 0.0)
    timeline.add_bot(tone(2, 10), MOST_HELD)
    timeline.add_bot(tone(2, 10), 1e9)

    left, right = sides(timeline.take(40.0))

    assert runs(left) == [(1, 30_000), (0, 10_000)]
    assert runs(right) == [(0, 40_000)]
    timeline.add_caller(tone(3, 1_000), 40.0)
    assert runs(sides(timeline.take(41.0))[0]) == [(3, 1_000)]


@given(st.data())
def test_what_is_taken_is_the_time_that_passed(data: st.DataObject) -> None:
    """Whatever happens, the file has both sides for exactly the time up to where it was taken."""
    timeline, taken, until = StereoTimeline(RATE), b"", 0.0
    times = st.floats(-1, 40)
    for _ in range(data.draw(st.integers(1, 30))):
        match data.draw(st.sampled_from(["caller", "bot", "cut", "take"])):
            case "caller":
                timeline.add_caller(tone(1, data.draw(st.integers(0, 500))), data.draw(times))
            case "bot":
                timeline.add_bot(tone(2, data.draw(st.integers(0, 500))), data.draw(times))
            case "cut":
                timeline.cut_bot(data.draw(times))
            case _:
                at = data.draw(times)
                taken += timeline.take(at)
                until = max(until, at)

    left, right = sides(taken)
    assert len(left) == len(right) == round(until * RATE)
    assert set(left) <= {0, 1}
    assert set(right) <= {0, 2}
