"""Spacing and rate limits by their numbers: what a clock reading leads to, to the microsecond."""

from __future__ import annotations

import inspect
import math
from datetime import timedelta
from typing import Any

import pytest

from telecmi_async import ConfigurationError, RateLimit
from telecmi_async.pacing import law
from telecmi_async.pacing.spacing import Spacing
from telecmi_async.pacing.waiting_line import Waiter, WaitingLine


def due(spacing: Spacing) -> object:
    """Return when the next start is due, compared to a billionth of a second."""
    return pytest.approx(spacing.due, abs=1e-9)


def test_without_a_rate_only_pauses_apply() -> None:
    """A start delays none; a pause delays all, and its end does not bring back no limit."""
    spacing = Spacing(None)
    assert (spacing.paced, spacing.unlimited, spacing.due) == (False, True, -math.inf)
    assert spacing.not_before == -math.inf

    spacing.start(3.0, since=1.0)
    assert (spacing.unlimited, spacing.due) == (True, -math.inf)
    spacing.pause_until(5.0)
    spacing.start(6.0, since=1.0)

    assert (spacing.unlimited, spacing.due, spacing.not_before) == (False, 5.0, 5.0)


def test_with_a_rate_the_first_start_is_due_at_once() -> None:
    """Before the first start nothing is delayed; after it, the next is an interval away."""
    spacing = Spacing(2)
    assert (spacing.paced, spacing.unlimited, spacing.due) == (True, False, -math.inf)

    spacing.start(10.0, since=10.0)

    assert due(spacing) == 10.504
    assert spacing.wait(10.2) == pytest.approx(0.304)
    assert not spacing.unlimited


def test_late_starts_do_not_bunch_up_within_a_second() -> None:
    """The start after the next keeps two intervals, and a microsecond, from a late one."""
    spacing = Spacing(2)
    dues = []
    for now in (0.0, 0.514, 1.008001, 1.522001):
        spacing.start(now, since=0.0)
        dues.append(spacing.due)

    assert dues == pytest.approx([0.504, 1.008001, 1.522001, 2.016002], abs=1e-9)


def test_a_rate_that_is_not_whole_is_rounded_up_for_the_window() -> None:
    """At 1.5 a second, two intervals hold two starts."""
    spacing = Spacing(1.5)

    spacing.start(0.0, since=0.0)
    spacing.start(0.690, since=0.0)

    assert due(spacing) == 1.344001


@pytest.mark.parametrize(
    ("rate", "late", "planned"),
    [
        (10, 0.02, 0.0),  # as late as may be: charged at its time
        (10, 0.021, 0.021),
        (100, 0.01, 0.0),
        (100, 0.0101, 0.0101),  # later than its interval
        (201.6, 0.006, 0.006),  # just far enough apart to be kept even
        (1000, 0.02, 0.0),
        (1000, 1.0, 0.98),  # the last 20 ms are made good
    ],
)
def test_a_start_is_charged_at_its_time_unless_it_is_too_late(
    rate: float, late: float, planned: float
) -> None:
    """A delay is made good up to 20 ms and the interval, and at high rates its last 20 ms."""
    spacing = Spacing(rate)

    spacing.start(late, since=0.0)

    assert due(spacing) == planned + 1.008 / rate


def test_a_start_is_planned_for_the_last_of_its_reasons() -> None:
    """Its turn, the end of a pause and its readiness: the last one counts."""
    spacing = Spacing(10)
    spacing.start(0.0, since=0.0)
    spacing.start(0.11, since=0.0)  # its turn was at 0.1008
    assert due(spacing) == 0.2016

    spacing.pause_until(0.3)
    assert due(spacing) == 0.3
    spacing.start(0.31, since=0.0)
    assert due(spacing) == 0.4008

    spacing.start(0.51, since=0.5)
    assert due(spacing) == 0.6008


def test_a_limit_takes_all_values_that_work() -> None:
    """The lowest and highest values are taken, and durations may be timedeltas."""
    limit = RateLimit(10_000, max_in_flight=1, queue_timeout=timedelta(1), max_live_calls=1)

    assert limit == RateLimit(10_000.0, max_in_flight=1, queue_timeout=86_400, max_live_calls=1)
    assert limit.queue_timeout == 86_400.0
    assert RateLimit(0.5).calls_per_second == 0.5


def test_the_default_has_twenty_in_flight_and_no_other_limit() -> None:
    """The defaults are those that the documentation names."""
    limit = RateLimit()

    assert (limit.calls_per_second, limit.max_in_flight) == (None, 20)
    assert (limit.queue_timeout, limit.max_live_calls) == (None, None)


@pytest.mark.parametrize("channels", [0, -1, 2.5, True, "3"])
def test_channels_that_cannot_be_are_refused(channels: Any) -> None:
    """The number of live calls is a whole number, 1 or more."""
    with pytest.raises(ConfigurationError, match="max_live_calls"):
        RateLimit(max_live_calls=channels)


def test_only_the_rate_may_be_given_without_its_name() -> None:
    """Two numbers in a row would not say which is which."""
    kinds = {name: each.kind for name, each in inspect.signature(RateLimit).parameters.items()}

    assert kinds.pop("calls_per_second") is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}


def test_the_next_in_line_is_woken_when_the_first_leaves_and_only_then() -> None:
    """Leaving from the end of a line wakes no waiter; the first one's end wakes the next."""
    woken: list[str] = []
    line, waiters = WaitingLine(), {name: Waiter() for name in "abc"}
    for name, waiter in waiters.items():
        waiter._wake = lambda name=name: woken.append(name)
        line.join(waiter)

    line.leave(waiters["b"])
    assert (woken, len(line)) == ([], 2)
    line.leave(waiters["a"])
    assert (woken, len(line)) == (["c"], 1)
    line.leave(waiters["c"])

    assert (woken, len(line)) == (["c"], 0)
    assert not line.is_first(waiters["a"])


def test_a_waiter_begins_to_wait_when_it_is_said_to() -> None:
    """Without a reading of the clock, it waits since the beginning."""
    assert (Waiter().since, Waiter(3.0).since) == (0.0, 3.0)


def test_the_margins_are_those_that_are_documented() -> None:
    """The shares of a rate that are left, and what may be late, by their numbers."""
    assert [round(100 / margin, 1) for margin in (law.LOCAL_MARGIN, law.SHARED_MARGIN)] == [
        99.2,
        98.4,
    ]
    assert (law.LATE_START, law.LATE_ANSWER, law.BUNCHED_STARTS) == (0.02, 0.05, 0.005)
    assert (law.LONGEST_LEAD, law.RECENT, law.CLOSE_STARTS) == (1.0, 32, 0.02)
    assert law.RESERVED_AHEAD == (2, 0.004)
