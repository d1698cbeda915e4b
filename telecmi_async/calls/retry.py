"""Retry policy: which attempts are repeated, when, and when to stop.

A call is repeated only if that cannot ring a phone twice: when the request was never sent, when
TeleCMI refused it, or when TeleCMI asked for a pause. The one exception is a gateway's 502, which
nearly always means "not reached" and is repeated by default; ``RetryPolicy(at_most_once=True)``
switches that off. A time-out, a reset or a cut reply after the request left is never repeated, nor
is a request that could not be built, since it would fail again.
"""

from __future__ import annotations

import random
from importlib import import_module
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

    MakeAttempt: TypeAlias = Callable[[], Awaitable[Verdict | None]]


def _frozen_statuses(value: Collection[int]) -> frozenset[int]:
    try:
        return frozenset(value)
    except TypeError:
        raise ConfigurationError(
            f"RetryPolicy.statuses must be a set of statuses such as {{502}}, not {shown(value)}"
        ) from None


def _check_statuses(_: object, __: object, statuses: frozenset[object]) -> None:
    for status in statuses:
        if not isinstance(status, int) or not 400 <= status < 600:
            raise ConfigurationError(
                f"RetryPolicy.statuses must hold statuses from 400 to 599, not {shown(status)}"
            )


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Which attempts of a call are repeated, and when: exponential backoff with full jitter.

    All durations are seconds or a `timedelta`.

    Example:
        For lists: an attempt that may have rung a phone is never repeated::

            policy = RetryPolicy(at_most_once=True)
            service = CallService(2222226, "your-secret", from_=19170000000, retry=policy)

    Args:
        attempts: The most requests for one call; 1 switches retries off.
        wait_initial: The wait before the second attempt is random between 0 and this. The bound
            doubles with every further attempt.
        wait_max: The largest bound.
        deadline: Bounds queueing, attempts and waits of one call together: nothing is started
            after it, though a request under way is still awaited. None sets no bound, as a
            call in a long queue is no error; a web handler should set one.
        statuses: The refusals to repeat: HTTP statuses, or codes in the reply's body. 502 is
            documented by TeleCMI and repeated by default. Of the attempts that may have rung a
            phone, only a gateway's 502 is ever repeated, even if you list others.
        at_most_once: Never repeat an attempt that may have rung a phone: with True, a gateway's
            502 ends the call as `CallOutcomeUnknown`. Set for a service, it holds for all of its
            calls, even for those with their own policy. Your own ``http_client`` must not send
            requests again by itself: if it does and this can be seen,
            `CallHandle.may_be_duplicate` is True.
        retry_after_max: The longest pause that a ``Retry-After`` header may cause.
        budget: How many failures in a row the whole service may repeat before it stops
            retrying: a token bucket, as in gRPC's retry throttling. A repeatable failure takes
            one token, any other reply returns a tenth. The service's own policy sets it.

    Raises:
        ConfigurationError: A value is invalid; the message names it.
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
        """Return whether an attempt with this verdict may be repeated."""
        match verdict.outcome:
            case Outcome.ACCEPTED:
                return False
            case Outcome.NOT_SENT:
                return not verdict.permanent
            case Outcome.SLOW_DOWN:
                return True
            case Outcome.REJECTED:
                return verdict.code in self.statuses
            case Outcome.UNKNOWN:
                # A gateway's reply has no code; the verdict has its status instead.
                gateways_502 = verdict.code == 502 and verdict.request_id is None
                once = gateways_502 and not verdict.resent
                return once and 502 in self.statuses and not self.at_most_once
        assert_never(verdict.outcome)

    def wait(self, number: int, verdict: Verdict, draw: float) -> float:
        """Return the seconds from attempt ``number`` (from 1) to the next; ``draw`` is random."""
        bound = min(self.wait_max, self.wait_initial * 2.0 ** min(number - 1, 60))
        return max(bound * draw, self.pause(verdict))

    def pause(self, verdict: Verdict) -> float:
        """Return for how many seconds all calls pause after ``verdict``."""
        if verdict.outcome is not Outcome.SLOW_DOWN:
            return 0.0
        asked = self.wait_initial if verdict.retry_after is None else verdict.retry_after
        return min(asked, self.retry_after_max)


class RetryBudget:
    """How many more failures in a row a service may repeat; shared by its calls."""

    __slots__ = ("_full", "_tokens")

    # In tenths of a token.
    _FAILURE = 10
    _REFUND = 1

    def __init__(self, size: int) -> None:
        self._full = size * self._FAILURE
        self._tokens = self._full

    @property
    def left(self) -> float:
        """How many failures in a row may still be repeated."""
        return max(self._tokens, 0) / self._FAILURE

    @property
    def spent(self) -> bool:
        """Whether nothing may be repeated for now."""
        return self._tokens < 0

    def record(self, *, repeatable: bool) -> None:
        """Note the result of an attempt."""
        change = -self._FAILURE if repeatable else self._REFUND
        self._tokens = min(max(self._tokens + change, -self._FAILURE), self._full)


def load_tenacity() -> None:
    """Import what retries need. A process that fails, for want of files say, imports nothing."""
    import_module("tenacity")  # 8 ms that ``import telecmi_async`` need not take
    _draw("", 0)  # since Python 3.12, the first seed that is a text imports a hash function


async def run_attempts(
    attempt: MakeAttempt,
    policy: RetryPolicy,
    *,
    budget: RetryBudget,
    until: float | None,
    seed: str,
    before_sleep: Callable[[Verdict, float], None],
) -> Verdict | None:
    """Make attempts until one is not repeated, and return its verdict.

    Each call has its own tenacity object, as a shared one mixes up concurrent calls. It is made
    only if the first attempt is repeated: it would double the SDK's own time for a call.

    ``attempt`` returns None if it had no turn in time. ``until`` is the call's deadline on the
    event loop's clock. ``before_sleep`` gets the verdict and the seconds until the next attempt.
    """
    first = await attempt()
    if first is None or not policy.repeats(first):
        return first
    import tenacity  # noqa: PLC0415  # see `load_tenacity`

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
    """Return the verdict on the attempt that just ended."""
    assert state.outcome is not None  # noqa: S101  # tenacity asks only after an attempt
    verdict: Verdict = state.outcome.result()
    return verdict


def _draw(seed: str, number: int) -> float:
    """Return a random number from 0 to 1 that depends on the call and the attempt alone."""
    return random.Random(f"{seed}:{number}").random()  # noqa: S311  # jitter, not cryptography
