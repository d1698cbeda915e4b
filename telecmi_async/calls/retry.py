"""Which attempts are repeated, when, and when to stop. The only home of tenacity.

A call is repeated only where that cannot ring a phone twice: when the request was never
sent, when TeleCMI refused it, when it asked for a pause. The one exception is a gateway's
502, which nearly always means "not reached" and is repeated by default; switch that off
with ``RetryPolicy(at_most_once=True)``. A time-out, a reset or a cut reply after the
request left is never repeated.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeAlias, assert_never

import anyio
import attrs

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async.attempt import Outcome
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    import tenacity

    from telecmi_async.calls.verdict import Verdict

    Attempt: TypeAlias = Callable[[], Awaitable[Verdict | None]]

__all__ = ["RetryBudget", "RetryPolicy", "run_attempts"]


def _frozen_statuses(value: Collection[int]) -> frozenset[int]:
    try:
        return frozenset(value)
    except TypeError:
        raise ConfigurationError(
            f"RetryPolicy.statuses must be a set of statuses such as {{502}}, not {shown(value)}"
        ) from None


def _check_statuses(_: object, __: object, statuses: frozenset[object]) -> None:
    for status in statuses:
        if not isinstance(status, int) or isinstance(status, bool) or not 400 <= status < 600:
            raise ConfigurationError(
                f"RetryPolicy.statuses must hold statuses from 400 to 599, not {shown(status)}"
            )


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a call is tried again. All durations are seconds or a `timedelta`.

    Args:
        attempts: Requests for one call at the most; 1 switches retries off.
        wait_initial: The wait before the second attempt is random between 0 and this, and
            the bound doubles with every further attempt ("full jitter").
        wait_max: The bound's bound.
        deadline: Bounds queueing, attempts and waits of one call together: nothing is started
            after it, though a request under way is still awaited. None sets no bound, since
            a call in a long queue has done nothing wrong; a web handler had rather set one.
        statuses: The refusals to repeat: HTTP statuses, or codes in the reply's body. 502 is
            documented by TeleCMI and repeated by default. Of what may have rung, nothing but
            a gateway's 502 is ever repeated, whatever stands here.
        at_most_once: Never repeat what may have rung a phone: with True, a gateway's
            502 (see `telecmi_async.calls.verdict`) ends the call as `CallOutcomeUnknown`. Set for
            a service, it holds for all of its calls, whatever policies they bring.
        retry_after_max: The longest pause that a ``Retry-After`` header is granted.
        budget: Failures the service as a whole may repeat in a row before it stops retrying:
            a token bucket (as in gRPC's retry throttling) that a repeatable failure costs one
            and any other answer gives back a tenth. A server that is down meets
            this many retries and no more. Taken from the service's policy.

    Raises:
        ConfigurationError: A value that cannot work.
    """

    attempts: int = attrs.field(default=4, validator=validators.whole(1))
    wait_initial: float = attrs.field(
        default=0.5, converter=validators.to_seconds, validator=validators.positive
    )
    wait_max: float = attrs.field(
        default=8.0, converter=validators.to_seconds, validator=validators.positive
    )
    deadline: float | None = attrs.field(
        default=None,
        converter=validators.to_seconds_or_none,
        validator=validators.positive_or_none,
    )
    statuses: frozenset[int] = attrs.field(
        default=frozenset({502}), converter=_frozen_statuses, validator=_check_statuses
    )
    at_most_once: bool = attrs.field(default=False, validator=validators.flag)
    retry_after_max: float = attrs.field(
        default=60.0, converter=validators.to_seconds, validator=validators.positive
    )
    budget: int = attrs.field(default=50, validator=validators.whole(0))

    def repeats(self, verdict: Verdict) -> bool:
        """Tell whether an attempt that came to ``verdict`` may be repeated."""
        match verdict.outcome:
            case Outcome.ACCEPTED:
                return False
            case Outcome.NOT_SENT | Outcome.SLOW_DOWN:
                return True
            case Outcome.REJECTED:
                return verdict.code in self.statuses
            case Outcome.UNKNOWN:
                # A gateway's reply holds no code, and its status stands in for one.
                gateways_502 = verdict.code == 502 and verdict.request_id is None
                return gateways_502 and 502 in self.statuses and not self.at_most_once
        assert_never(verdict.outcome)

    def wait(self, number: int, verdict: Verdict, draw: float) -> float:
        """Return the seconds between attempt ``number`` and the next.

        Args:
            number: The attempt that just ended, from 1.
            verdict: What it came to.
            draw: A random number from 0 to 1.
        """
        bound = min(self.wait_max, self.wait_initial * 2.0 ** min(number - 1, 60))
        return max(bound * draw, self.pause(verdict))

    def pause(self, verdict: Verdict) -> float:
        """Return the seconds for which every call is to pause after ``verdict``."""
        if verdict.outcome is not Outcome.SLOW_DOWN:
            return 0.0
        asked = self.wait_initial if verdict.retry_after is None else verdict.retry_after
        return min(asked, self.retry_after_max)


class RetryBudget:
    """How many more failures a service may repeat; shared by its calls.

    Args:
        size: Failures in a row.
    """

    __slots__ = ("_full", "_tokens")

    # In tenths of a failure, as that is what any other answer gives back.
    _FAILURE = 10
    _REFUND = 1

    def __init__(self, size: int) -> None:
        self._full = size * self._FAILURE
        self._tokens = self._full

    @property
    def spent(self) -> bool:
        """Whether nothing may be repeated for now."""
        return self._tokens < 0

    def record(self, *, repeatable: bool) -> None:
        """Note what an attempt came to."""
        change = -self._FAILURE if repeatable else self._REFUND
        self._tokens = min(max(self._tokens + change, -self._FAILURE), self._full)


async def run_attempts(
    attempt: Attempt,
    policy: RetryPolicy,
    *,
    budget: RetryBudget,
    until: float | None,
    seed: str,
    before_sleep: Callable[[Verdict, float], None],
) -> Verdict | None:
    """Make attempts until one is not to be repeated, and return its verdict.

    A call gets a tenacity object of its own (a shared one mixes up concurrent calls), and
    gets it only when its first attempt is to be repeated: most are not, and the object would
    double what the SDK adds to a call.

    Args:
        attempt: Starts one request; None means that it did not get its turn in time.
        policy: The rules.
        budget: The service's budget.
        until: The call's deadline as a reading of the event loop's clock.
        seed: Makes the call's jitter its own, and the same in every run.
        before_sleep: Told the verdict and the seconds before the next attempt.
    """
    first = await attempt()
    if first is None or not policy.repeats(first):
        return first
    import tenacity  # noqa: PLC0415  # 6 to 12 ms that most programs never need

    made = [first]

    async def next_attempt() -> Verdict | None:
        return made.pop() if made else await attempt()

    def repeat(verdict: Verdict | None) -> bool:
        return verdict is not None and policy.repeats(verdict)

    def wait(state: tenacity.RetryCallState) -> float:
        number = state.attempt_number
        return policy.wait(number, _verdict(state), _draw(seed, number))

    def stop(state: tenacity.RetryCallState) -> bool:
        late = until is not None and anyio.current_time() + state.upcoming_sleep >= until
        return state.attempt_number >= policy.attempts or budget.spent or late

    retrying = tenacity.AsyncRetrying(
        sleep=anyio.sleep,
        retry=tenacity.retry_if_result(repeat),
        wait=wait,
        stop=stop,
        before_sleep=lambda state: before_sleep(_verdict(state), state.upcoming_sleep),
        retry_error_callback=_verdict,
    )
    last: Verdict | None = await retrying(next_attempt)
    return last


def _verdict(state: tenacity.RetryCallState) -> Verdict:
    """Return what the attempt that just ended came to."""
    assert state.outcome is not None  # noqa: S101  # tenacity asks only after an attempt
    verdict: Verdict = state.outcome.result()
    return verdict


def _draw(seed: str, number: int) -> float:
    """Return a random number from 0 to 1 that depends on the call and the attempt alone."""
    return random.Random(f"{seed}:{number}").random()  # noqa: S311  # jitter, not cryptography
