"""The estimate of what was heard, compared with a far end that plays sample by sample."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.voice.playout import AHEAD, Clip, Heard, Playout

# Times in hundredths of a second, in which sums are exact.
STEPS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(0, 2)))


def test_the_first_message_is_sent_at_once_and_the_fifth_waits() -> None:
    """At most 0.4 seconds are sent ahead of what is heard."""
    playout, clip = Playout(), Clip()
    pauses = []
    for _ in range(5):
        pauses.append(playout.pause(10.0, 0.1))
        playout.add(10.0, 0.1, clip)

    assert pauses == pytest.approx([0, 0, 0, 0, 0.1])


@given(steps=STEPS)
def test_the_estimate_is_what_a_far_end_plays(steps: list[tuple[int, int, int]]) -> None:
    """Of each clip is heard what a queue of samples has played of it, with breaks between."""
    playout = Playout()
    clips = [Clip(), Clip()]
    queue: list[int] = []
    played = [0, 0]
    now = 0
    for waited, size, kind in steps:
        for _ in range(waited):
            if queue:
                played[queue.pop(0)] += 1
        now += waited
        assert [clip.heard(now) for clip in clips] == played
        if kind == 2:
            playout.cut(now)
            clips, played, queue = [Clip(), Clip()], [0, 0], []
        else:
            assert playout.add(now, size, clips[kind]) == now + len(queue)
            queue += [kind] * size
        assert playout.end <= now + len(queue) or not queue
    assert all(clip.heard(math.inf) >= clip.heard(now) for clip in clips)


@given(sizes=st.lists(st.floats(0.001, 0.1), min_size=1, max_size=50), late=st.floats(0, 0.2))
def test_no_more_is_ever_ahead(sizes: list[float], late: float) -> None:
    """Whoever waits as told is never more than 0.4 seconds ahead, also if they are late."""
    playout, clip = Playout(), Clip()
    now = 1.0
    for size in sizes:
        now += playout.pause(now, size) + late
        playout.add(now, size, clip)
        assert playout.end - now <= AHEAD + 1e-9


def test_a_long_clip_with_gaps_is_kept_in_little_memory() -> None:
    """What was heard is kept as a sum, however many pauses there were."""
    playout, clip = Playout(), Clip()
    for second in range(1_000):
        playout.add(float(second), 0.5, clip)

    assert clip.heard(math.inf) == 500
    assert len(clip._spans) == 1


def test_a_play_is_complete_unless_it_was_interrupted() -> None:
    """`complete` is the opposite of `interrupted`."""
    assert Heard(1.0, 1.0, interrupted=False).complete
    assert not Heard(1.0, 2.0, interrupted=True).complete
