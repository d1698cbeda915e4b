"""Retries: the policy, the budget, and the loop."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import ConfigurationError, Outcome, RetryPolicy
from telecmi_async.calls.retry import RetryBudget, load_tenacity, run_attempts
from telecmi_async.calls.verdict import Verdict

ACCEPTED = Verdict(Outcome.ACCEPTED, "", status=200, code=200, request_id="r")
NOT_SENT = Verdict(Outcome.NOT_SENT, "ConnectError")
OWN_502 = Verdict(Outcome.REJECTED, "", status=502, code=502)
WRAPPED_502 = Verdict(Outcome.REJECTED, "", status=200, code=502)
REFUSED = Verdict(Outcome.REJECTED, "", status=420, code=420)
GATEWAY_502 = Verdict(Outcome.UNKNOWN, "", status=502, code=502)
PLACED_502 = Verdict(Outcome.UNKNOWN, "", status=502, code=502, request_id="r")
SAYS_200 = Verdict(Outcome.UNKNOWN, "", status=502, code=200)
RESENT_502 = Verdict(Outcome.UNKNOWN, "", status=502, code=502, resent=True)
UNBUILT = Verdict(Outcome.NOT_SENT, "TypeError", permanent=True)
TIMED_OUT = Verdict(Outcome.UNKNOWN, "ReadTimeout")
NO_ID = Verdict(Outcome.UNKNOWN, "", status=200, code=200)
SERVER_ERROR = Verdict(Outcome.UNKNOWN, "", status=500, code=500)
SLOW = Verdict(Outcome.SLOW_DOWN, "", status=429, code=429, retry_after=7.0)


@pytest.mark.parametrize(
    ("verdict", "by_default", "at_most_once"),
    [
        (ACCEPTED, False, False),
        (NOT_SENT, True, True),
        (OWN_502, True, True),
        (WRAPPED_502, True, True),
        (REFUSED, False, False),
        (SLOW, True, True),
        (GATEWAY_502, True, False),
        (RESENT_502, False, False),
        (UNBUILT, False, False),
        (PLACED_502, False, False),
        (SAYS_200, False, False),
        (TIMED_OUT, False, False),
        (NO_ID, False, False),
        (SERVER_ERROR, False, False),
    ],
)
def test_only_what_cannot_ring_twice_is_repeated(
    verdict: Verdict, by_default: bool, at_most_once: bool
) -> None:
    """Only attempts that cannot ring twice are retried, and a gateway's 502 by default."""
    assert RetryPolicy().repeats(verdict) is by_default
    assert RetryPolicy(at_most_once=True).repeats(verdict) is at_most_once


def test_statuses_decide_which_refusals_are_repeated() -> None:
    """`statuses` can add other statuses to be retried, and can leave out 502."""
    policy = RetryPolicy(statuses={420, 500})

    assert policy.statuses == frozenset({420, 500})
    assert policy.repeats(REFUSED)
    assert not policy.repeats(SERVER_ERROR)
    assert not policy.repeats(OWN_502)
    assert not policy.repeats(TIMED_OUT)
    assert not policy.repeats(GATEWAY_502)


@pytest.mark.parametrize(
    ("number", "bound"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (60, 8.0), (2000, 8.0)],
)
def test_the_bound_doubles_with_each_attempt(number: int, bound: float) -> None:
    """0.5, 1, 2, 4 and 8 s, and then no more; the wait is that share of the bound."""
    policy = RetryPolicy(wait_initial=0.5, wait_max=8)

    assert policy.wait(number, OWN_502, 1.0) == bound
    assert policy.wait(number, OWN_502, 0.25) == bound / 4
    assert policy.wait(number, OWN_502, 0.0) == 0.0


@pytest.mark.parametrize("status", [400, 599])
def test_statuses_reach_from_400_to_599(status: int) -> None:
    """The first and the last status of a refusal can be named."""
    assert RetryPolicy(statuses={status}).statuses == {status}


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_wait_is_random_up_to_a_bound_that_doubles(number: int, draw: float) -> None:
    """Full jitter: a wait never exceeds the doubling bound or the longest wait."""
    policy = RetryPolicy(wait_initial=0.5, wait_max=8)

    wait = policy.wait(number, OWN_502, draw)

    assert wait == pytest.approx(draw * min(8.0, 0.5 * 2 ** min(number - 1, 60)))


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(7.0, 7.0), (86400.0, 60.0), (None, 0.5), (0.0, 0.0)]
)
def test_a_pause_is_as_long_as_asked_and_capped(
    retry_after: float | None, pause: float
) -> None:
    """Retry-After is obeyed up to the longest pause; without it the first wait is used."""
    slow = Verdict(Outcome.SLOW_DOWN, "", status=429, code=429, retry_after=retry_after)

    assert RetryPolicy().pause(slow) == pause
    assert RetryPolicy().wait(1, slow, 0.0) == pause
    assert RetryPolicy().pause(OWN_502) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "RetryPolicy.attempts must be a whole number, 1 or more"),
        ({"attempts": True}, "RetryPolicy.attempts"),
        ({"attempts": 2.0}, "RetryPolicy.attempts"),
        ({"wait_initial": 0}, "RetryPolicy.wait_initial must be a positive number of seconds"),
        ({"wait_max": "8"}, "RetryPolicy.wait_max"),
        ({"wait_max": float("nan")}, "RetryPolicy.wait_max"),
        ({"deadline": -1}, "RetryPolicy.deadline"),
        ({"wait_max": 10**400}, "RetryPolicy.wait_max"),
        ({"deadline": float("inf")}, "RetryPolicy.deadline"),
        ({"statuses": 502}, "RetryPolicy.statuses must be a set of statuses"),
        ({"statuses": {"502"}}, "RetryPolicy.statuses must hold statuses from 400 to 599"),
        ({"statuses": {True}}, "RetryPolicy.statuses"),
        ({"statuses": {200}}, "RetryPolicy.statuses"),
        ({"statuses": {399}}, "RetryPolicy.statuses must hold statuses from 400 to 599"),
        ({"statuses": {600}}, "RetryPolicy.statuses must hold statuses from 400 to 599"),
        ({"at_most_once": 1}, "RetryPolicy.at_most_once must be True or False"),
        ({"retry_after_max": None}, "RetryPolicy.retry_after_max"),
        ({"budget": -1}, "RetryPolicy.budget must be a whole number, 0 or more"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    """The error names the field and a valid value."""
    with pytest.raises(ConfigurationError, match=message):
        RetryPolicy(**options)


def test_the_defaults_are_those_of_the_docs() -> None:
    """Four attempts, 0.5 to 8 s apart, pauses of a minute, and no deadline."""
    assert RetryPolicy() == RetryPolicy(
        attempts=4,
        wait_initial=0.5,
        wait_max=8,
        deadline=None,
        statuses={502},
        at_most_once=False,
        retry_after_max=60,
        budget=50,
    )


def test_settings_may_be_timedeltas() -> None:
    """Seconds and timedelta mean the same."""
    policy = RetryPolicy(
        wait_initial=timedelta(seconds=2),
        wait_max=timedelta(minutes=1),
        deadline=timedelta(seconds=9),
        retry_after_max=timedelta(minutes=3),
    )

    assert (policy.wait_initial, policy.wait_max) == (2.0, 60.0)
    assert (policy.deadline, policy.retry_after_max) == (9.0, 180.0)


def test_a_budget_is_spent_by_failures_and_refilled_by_answers() -> None:
    """When failures have used up the budget, nothing is retried until answers refill it."""
    budget = RetryBudget(3)

    spent_after = []
    for _ in range(6):
        budget.record(repeatable=True)
        spent_after.append(budget.spent)
    for _ in range(10):
        budget.record(repeatable=False)

    assert spent_after == [False, False, False, True, True, True]
    assert not budget.spent


def test_ten_answers_give_back_what_one_failure_takes() -> None:
    """A spent budget stays spent for nine answers, and allows one more retry after ten."""
    budget = RetryBudget(1)
    for _ in range(2):
        budget.record(repeatable=True)

    spent_after = []
    for _ in range(10):
        budget.record(repeatable=False)
        spent_after.append(budget.spent)

    assert spent_after == [True] * 9 + [False]


def test_a_budget_does_not_grow_beyond_its_size() -> None:
    """Many successes do not raise the budget above its size."""
    budget = RetryBudget(2)

    for _ in range(1000):
        budget.record(repeatable=False)
    for _ in range(3):
        budget.record(repeatable=True)

    assert budget.spent


async def attempts(policy: RetryPolicy, *verdicts: Verdict | None, **options: Any) -> Any:
    """Run a script of verdicts; return the last verdict, the waits and the attempts made."""
    waits: list[float] = []
    used = 0

    async def attempt() -> Verdict | None:
        nonlocal used
        used += 1
        return verdicts[min(used, len(verdicts)) - 1]

    until = options.pop("until", None)
    last = await run_attempts(
        attempt,
        policy,
        budget=options.pop("budget", RetryBudget(100)),
        until=None if until is None else anyio.current_time() + until,
        seed=options.pop("seed", "1"),
        before_sleep=lambda _, seconds: waits.append(seconds),
    )
    return last, waits, used


def test_an_open_service_has_what_retries_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenacity is imported ahead, since a process without files cannot import it later."""
    monkeypatch.delitem(sys.modules, "tenacity", raising=False)

    load_tenacity()

    assert "tenacity" in sys.modules


on_both_loops = pytest.mark.anyio


@on_both_loops
async def test_attempts_end_with_the_first_that_is_not_to_be_repeated() -> None:
    """A success after two refusals takes three attempts and two waits."""
    last, waits, used = await attempts(RetryPolicy(), OWN_502, OWN_502, ACCEPTED)

    assert last is ACCEPTED
    assert used == 3
    assert len(waits) == 2
    assert waits[0] <= 0.5
    assert waits[1] <= 1.0


@on_both_loops
async def test_attempts_are_bounded_and_one_switches_retries_off() -> None:
    """When attempts run out, the last verdict counts; with one attempt there is no retry."""
    assert (await attempts(RetryPolicy(), OWN_502))[::2] == (OWN_502, 4)
    assert (await attempts(RetryPolicy(attempts=1), OWN_502))[::2] == (OWN_502, 1)


@on_both_loops
async def test_an_attempt_without_a_turn_is_the_last() -> None:
    """An attempt whose deadline passed in the queue (None) is not retried."""
    assert (await attempts(RetryPolicy(), OWN_502, None))[::2] == (None, 2)
    assert (await attempts(RetryPolicy(), None))[::2] == (None, 1)
    assert (await attempts(RetryPolicy(), ACCEPTED))[::2] == (ACCEPTED, 1)
    assert (await attempts(RetryPolicy(), REFUSED))[::2] == (REFUSED, 1)


@on_both_loops
async def test_no_wait_begins_that_ends_after_the_deadline() -> None:
    """With 3 s left until the deadline, a pause of 7 s is not slept."""
    began = anyio.current_time()

    last, waits, used = await attempts(RetryPolicy(), SLOW, ACCEPTED, until=3.0)

    assert (last, waits, used) == (SLOW, [], 1)
    assert anyio.current_time() == began


@on_both_loops
@pytest.mark.parametrize(("left", "used"), [(6.9, 1), (7.0, 1), (7.1, 2), (3600.0, 2)])
async def test_an_attempt_that_can_begin_before_the_deadline_is_made(
    left: float, used: int
) -> None:
    """After a pause of 7 s the next attempt is made if the deadline is later than that."""
    began = anyio.current_time()

    last = await attempts(RetryPolicy(), SLOW, ACCEPTED, until=left)

    assert last == ((ACCEPTED, [7.0], 2) if used == 2 else (SLOW, [], 1))
    assert anyio.current_time() - began == pytest.approx(7.0 * (used - 1))


@on_both_loops
async def test_a_spent_budget_stops_repeating() -> None:
    """With a spent budget, first attempts are made and retries are not."""
    assert (await attempts(RetryPolicy(), OWN_502, budget=_spent()))[2] == 1


def _spent() -> RetryBudget:
    budget = RetryBudget(0)
    budget.record(repeatable=True)
    return budget


@on_both_loops
async def test_jitter_belongs_to_the_call_and_comes_again() -> None:
    """Two calls wait differently; the same call waits the same in every run."""
    first = (await attempts(RetryPolicy(), OWN_502, seed="7:1"))[1]
    second = (await attempts(RetryPolicy(), OWN_502, seed="7:2"))[1]

    assert first == (await attempts(RetryPolicy(), OWN_502, seed="7:1"))[1]
    assert len({*first, *second}) == 6


@on_both_loops
async def test_concurrent_calls_keep_their_own_attempts() -> None:
    """Fifty concurrent calls make exactly four attempts each, and each gets its verdict."""
    results = []

    async def one(number: int) -> None:
        results.append(await attempts(RetryPolicy(), OWN_502, seed=str(number)))

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(one, number)

    assert [(last, used) for last, _, used in results] == [(OWN_502, 4)] * 50
