"""How one call is placed.

::

    make_call     freeze and validate (request), encode once (codec), open the handle
     → channel    a live call's, if those are limited; held until the call ends (rate, tracking)
     → attempts   a retrier of its own for this call (retry); its waits hold nothing
     → gate       an in-flight slot, then the rate token last, after any shared pause (rate)
     → post       the shared client; a request that left is awaited to its end (transport)
     → judge      what the attempt came to, what the call came to (verdict)
     → settle     the handle wakes whoever waits (call)

From the moment ``post`` begins until the verdict is recorded nothing can be cancelled but
by tearing the event loop down, and then the call is recorded as unknown.
"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import anyio
import attrs

from telecmi_async import errors
from telecmi_async._internal.secrets import Wire
from telecmi_async.attempt import Outcome
from telecmi_async.calls import retry
from telecmi_async.calls.state import Call
from telecmi_async.calls.verdict import Verdict, judge
from telecmi_async.pacing.gate import Gate
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async._internal.secrets import Redactor
    from telecmi_async.pacing.channels import Channels
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.wire.transport import Transport

__all__ = ["CallPlacer", "Permit", "PlacementJob"]

logger = logging.getLogger("telecmi_async")


class Permit(Protocol):
    """Says at the last moment whether a request may leave, and until when.

    It is called when the call has its live-call channel, its slot and its turn. Cancellation
    waits for it. It returns the reading of the event loop's clock by which the first byte must
    have left: later, not one does. It raises a `CallNotPlaced` to have nothing sent.
    """

    async def __call__(self, call: Call) -> float:
        """Return by when the request must leave."""
        ...


@attrs.frozen(eq=False)
class PlacementJob:
    """What one call needs on its way besides its state.

    Args:
        call: Its state.
        url: Its endpoint.
        wire: Its encoded request.
        policy: When it is tried again.
        timeouts: How long an attempt may take.
        until: When nothing more is started for it, as a reading of the loop's clock.
        seed: Makes its jitter its own.
        permit: Asked right before a request leaves, if anybody is to be asked.
    """

    call: Call
    url: str
    wire: Wire
    policy: retry.RetryPolicy
    timeouts: Timeouts
    until: float | None
    seed: str
    permit: Permit | None = None


class CallPlacer:
    """Places the calls of one service.

    Args:
        transport: Carries the requests.
        limit: The rate and the requests in flight.
        redact: Takes the secret and phone numbers out of what comes back.
        budget: How many failures in a row may be repeated.
        channels: How many calls may be live, if that is limited.
    """

    def __init__(
        self,
        transport: Transport,
        limit: RateLimit,
        *,
        redact: Redactor,
        budget: int,
        channels: Channels | None = None,
    ) -> None:
        self._transport = transport
        self._channels = channels
        self._redact = redact
        self._gate = Gate(limit)
        self._queue_timeout = limit.queue_timeout
        self._budget = retry.RetryBudget(budget)

    def use_clock(self, now: Callable[[], float]) -> None:
        """Read the time from ``now``, the event loop's own clock."""
        self._gate.now = now
        if self._channels is not None:
            self._channels.now = now

    def deadline(self, policy: retry.RetryPolicy) -> float | None:
        """Return until when a call may be tried that is made now."""
        return None if policy.deadline is None else self._gate.now() + policy.deadline

    async def place(self, order: PlacementJob) -> None:
        """Take one call through its attempts and settle it, come what may."""
        call = order.call
        stopped: errors.CallNotPlaced | None = errors.CallCancelled("the call was cancelled")
        try:
            with anyio.CancelScope() as scope:
                if call.start(scope):
                    stopped = await self._make_attempts(order)
        except errors.CallNotPlaced as refusal:  # by its permit
            stopped = refusal
        finally:
            if not call.settled:
                call.conclude(stopped)

    async def _make_attempts(self, order: PlacementJob) -> errors.CallNotPlaced | None:
        """Make attempts until one is the last; return why it had no turn, if so."""
        policy = order.policy
        if self._channels is not None and not await self._in_time(
            functools.partial(self._channels.acquire, order.call), order.until
        ):
            return self._late(order)

        def before_sleep(verdict: Verdict, seconds: float) -> None:
            logger.info(
                "call %s: attempt %d of %d came to %s (%s); again in %.2f s",
                order.call,
                len(order.call.attempts),
                policy.attempts,
                verdict.outcome,
                verdict.detail,
                seconds,
            )

        verdict = await retry.run_attempts(
            functools.partial(self._attempt, order),
            policy,
            budget=self._budget,
            until=order.until,
            seed=order.seed,
            before_sleep=before_sleep,
        )
        return None if verdict is not None else self._late(order)

    def _late(self, order: PlacementJob) -> errors.NotSent:
        """Return the error of a call that had no turn in time."""
        late = order.until is not None and self._gate.now() >= order.until
        limit = f"deadline of {order.policy.deadline:g} s" if late else "queue_timeout"
        return errors.NotSent(f"the call had no turn within its {limit}; no phone rang")

    async def _attempt(self, order: PlacementJob) -> Verdict | None:
        """Start one request and judge what came back; None if it had no turn in time."""
        if not await self._in_time(self._gate.enter, order.until):
            return None
        try:
            # The gate may let a task through that was cancelled at the same moment.
            await anyio.lowlevel.checkpoint_if_cancelled()
            send_by = await self._ask(order)
            verdict = await self._exchange(order, send_by)
        finally:
            self._gate.leave()
        logger.debug("call %s: %s (%s)", order.call, verdict.outcome, verdict.detail)
        self._budget.record(repeatable=order.policy.repeats(verdict))
        if pause := order.policy.pause(verdict):
            self._gate.pause(pause)
        return verdict

    async def _ask(self, order: PlacementJob) -> float | None:
        """Ask for the permit, if one is needed, and return by when the request must leave."""
        if order.permit is None:
            return None
        send_by: float | None = None
        with anyio.CancelScope(shield=True):
            send_by = await order.permit(order.call)
        await anyio.lowlevel.checkpoint_if_cancelled()
        return send_by

    async def _exchange(self, order: PlacementJob, send_by: float | None) -> Verdict:
        """Send one request and put its verdict on record, whatever happens meanwhile."""
        began = self._gate.now()
        order.call.post()
        verdict = Verdict(Outcome.UNKNOWN, "interrupted while the request was under way")
        try:
            answer = await self._transport.post(
                order.url,
                order.wire,
                order.timeouts,
                deadline=began + order.timeouts.total,
                send_by=send_by,
            )
            verdict = judge(answer, redact=self._redact, now=datetime.now(UTC))
        except Exception:
            # A bug of ours: it must neither stop other calls nor read as "no phone rang".
            logger.exception("call %s: its reply could not be judged", order.call)
        finally:
            order.call.record(verdict, self._gate.now() - began)
        return verdict

    async def _in_time(self, enter: Callable[[], Awaitable[None]], until: float | None) -> bool:
        """Wait for a turn, but not beyond ``queue_timeout`` or the call's deadline."""
        if self._queue_timeout is not None:
            limit = self._gate.now() + self._queue_timeout
            until = limit if until is None else min(limit, until)
        if until is None:
            await enter()
            return True
        with anyio.CancelScope(deadline=until):
            await enter()
            return True
        return False
