"""Call placement: how one call travels from `make_call` to its outcome.

::

    make_call     validate (request), encode once (encoding), open the handle
     → channel    of a live call, if those are limited; held until the call ends (pacing, tracker)
     → attempts   a new retrier for this call (retry); its waits hold nothing
     → gate       an in-flight slot, then the rate token last, after any shared pause (pacing)
     → post       the shared client; a request that left is awaited to its end (wire)
     → judge      the verdict on the attempt and on the call (verdict)
     → settle     the handle's waiters wake (call)

From the start of ``post`` until the verdict is recorded, cancellation waits. Only the end of
the event loop can interrupt it, and then the call is recorded as unknown.

Placing is total: a failure in any step is logged, and the call is settled by what is known.
If no request began, it is `NotSent`; if one has no verdict, `CallOutcomeUnknown`.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
import attrs

from telecmi_async import errors
from telecmi_async._internal.event_loop import is_failure
from telecmi_async._internal.secrets import RequestBody, log_failure
from telecmi_async.attempt import Outcome
from telecmi_async.calls import log, retry
from telecmi_async.calls.call import Call
from telecmi_async.calls.in_flight_watch import InFlightWatch
from telecmi_async.calls.verdict import Verdict, judge
from telecmi_async.pacing.gate import Gate
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from telecmi_async._internal.secrets import Redactor
    from telecmi_async.pacing.channels import Channels
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.pacing.shared_channels import SharedChannels
    from telecmi_async.pacing.shared_starts import SharedStarts
    from telecmi_async.wire.transport import Transport

logger = logging.getLogger("telecmi_async")

_T = TypeVar("_T")


class Permit(Protocol):
    """Decides at the last moment whether a request may leave, and until when.

    It is called when the call has its live-call channel, its slot and its turn. Cancellation
    waits for it. It returns the reading of the event loop's clock by which the first byte must
    leave (after that, nothing is sent), or ``None`` for no limit. It raises a `CallNotPlaced` to
    prevent the request.
    """

    async def __call__(self, call: Call) -> float | None:
        """Return by when the request must leave."""
        ...


class OutcomeRecord(Protocol):
    """Puts a call's outcome on record; cancellation waits for it. It raises nothing."""

    async def __call__(self, call: Call, stopped: errors.CallNotPlaced | None) -> None:
        """Record what the call's verdicts say; ``stopped`` says why there were no more."""
        ...


@attrs.frozen(eq=False)
class PlacementJob:
    """One call to place, and how.

    No attempt starts after ``until``, a reading of the loop's clock. ``seed`` makes the call's
    jitter its own, ``permit`` is asked right before a request leaves, ``pausing`` is called before
    a pause of so many seconds that TeleCMI asked for, and ``record`` before the call is settled.
    ``queued_at`` is the reading of when it was made, for an observer.
    """

    call: Call
    url: str
    body: RequestBody
    policy: retry.RetryPolicy
    timeouts: Timeouts
    until: float | None
    seed: str
    queued_at: float = 0.0
    permit: Permit | None = None
    record: OutcomeRecord | None = None
    pausing: Callable[[float], Awaitable[None]] | None = None


class CallPlacer:
    """Places the calls of one service.

    ``budget`` is how many failures in a row it may repeat. ``starts`` are those of a rate that
    other processes share.
    """

    def __init__(
        self,
        transport: Transport,
        limit: RateLimit,
        *,
        redact: Redactor,
        budget: int,
        channels: Channels | SharedChannels | None = None,
        starts: SharedStarts | None = None,
    ) -> None:
        self._transport = transport
        self._channels = channels
        self._redact = redact
        self._starts = starts
        self._shared = limit.shared
        self._gate = Gate(limit, starts)
        self._queue_timeout = limit.queue_timeout
        self._budget = retry.RetryBudget(budget)
        #: Says if slow replies keep calls below their rate.
        self.watch = InFlightWatch(limit.calls_per_second, limit.max_in_flight)
        #: Whether the service is being closed: no request starts then.
        self.closed = False

    def use_clock(self, now: Callable[[], float]) -> None:
        """Read the time from ``now``, the event loop's own clock."""
        self._gate.now = now
        if self._channels is not None:
            self._channels.now = now
        if self._starts is not None:
            self._starts.now = now

    def now(self) -> float:
        """Return the reading of the event loop's clock."""
        return self._gate.now()

    def deadline(self, policy: retry.RetryPolicy) -> float | None:
        """Return the deadline of a call that is made now."""
        return None if policy.deadline is None else self.now() + policy.deadline

    @property
    def retries_left(self) -> float:
        """How many failures in a row may still be repeated."""
        return self._budget.left

    async def place(self, job: PlacementJob) -> None:
        """Make one call's attempts and settle it in any case.

        Only a cancellation or the program's end is raised.
        """
        call = job.call
        stopped: errors.CallNotPlaced | None = errors.CallCancelled("the call was cancelled")
        try:
            try:
                with anyio.CancelScope() as scope:
                    if call.placement.start(scope):
                        stopped = await self._make_attempts(job)
            except errors.CallNotPlaced as refusal:  # from its permit
                stopped = refusal
            except errors.StoreError as error:
                stopped = errors.NotSent(
                    f"the call was not sent: the shared limits fail ({error}); no phone rang"
                )
            if job.record is not None:
                with anyio.CancelScope(shield=True):
                    await job.record(call, stopped)
        except BaseException as error:
            if not is_failure(error):
                raise
            log_failure(error, f"call {call}: placing it failed", self._redact)
            stopped = errors.NotSent(
                f"the call was not sent: placing it failed ({type(error).__name__}), see the "
                "log; no phone rang"
            )
        finally:
            if not call.placement.settled and not call.placement.elsewhere:
                call.conclude(stopped)

    async def _make_attempts(self, job: PlacementJob) -> errors.CallNotPlaced | None:
        """Make attempts until one is the last; return an error if one had no turn in time."""
        policy = job.policy
        if self._channels is not None:
            acquire = functools.partial(self._channels.acquire, job.call)
            if await self._in_time(acquire, job.until) is None:
                return self._late(job)

        def before_sleep(verdict: Verdict, seconds: float) -> None:
            log.log_retry(job.call, verdict, most=policy.attempts, pause=seconds)

        verdict = await retry.run_attempts(
            functools.partial(self._attempt, job),
            policy,
            budget=self._budget,
            until=job.until,
            seed=job.seed,
            before_sleep=before_sleep,
        )
        return None if verdict is not None else self._late(job)

    def _late(self, job: PlacementJob) -> errors.NotSent:
        """Return the error of a call that had no turn in time."""
        late = job.until is not None and self._gate.now() >= job.until
        limit = f"deadline of {job.policy.deadline:g} s" if late else "queue_timeout"
        error = errors.NotSent(f"the call had no turn within its {limit}; no phone rang")
        error.late = True
        return error

    async def _attempt(self, job: PlacementJob) -> Verdict | None:
        """Start one request and judge what came back; None if it had no turn in time."""
        turn = await self._in_time(self._gate.enter, job.until)
        if turn is None:
            return None
        try:
            # The gate may let a task through that was cancelled at the same moment.
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._check_open()
            due, began = turn[0], None
            if due is not None and job.permit is not None:
                began = self._gate.now()
            send_by = await self._ask_permit(job)
            if due is not None and not await self._reach_start(job, due, began, send_by):
                return None
            self._check_open()
            self._check_channel(job.call)
            verdict = await self._exchange(job, send_by)
        finally:
            self._gate.leave()
        log.log_attempt(job.call, verdict)
        if verdict.resent:
            logger.warning(
                "call %s: the HTTP client sent it more than once by itself", job.call
            )
        if not verdict.permanent:  # an outage is what the budget is for
            self._budget.record(repeatable=job.policy.repeats(verdict))
        if pause := job.policy.pause(verdict):
            self._gate.pause(pause)
            job.call.notify("paused", pause)
            with anyio.CancelScope(shield=True):
                if self._starts is not None:
                    await self._starts.hold(self._shared, pause)
                if job.pausing is not None:
                    await job.pausing(pause)
        return verdict

    def _check_open(self) -> None:
        """Require a service that is not being closed: that cancels its calls in batches."""
        if self.closed:
            raise errors.CallCancelled("the call was cancelled: the service was closed")

    async def _reach_start(
        self, job: PlacementJob, due: float, began: float | None, send_by: float | None
    ) -> bool:
        """Wait for a shared start, or another if it is over; False if that was not in time."""
        assert self._starts is not None  # noqa: S101  # the gate took the start from them
        until = math.inf if send_by is None else send_by
        reach = functools.partial(self._starts.reach, due, began=began, until=until)
        reached = await self._in_time(reach, job.until)
        if reached is not None and not reached[0]:
            raise errors.NotSent(
                "the call was not sent: the shared limits had no start for it in time; no "
                "phone rang"
            )
        return reached is not None

    def _check_channel(self, call: Call) -> None:
        """Require the call's channel: a shared one is lost if it could not be renewed."""
        if self._channels is not None and not self._channels.holds(call):
            raise errors.NotSent(
                "the call was not sent: the shared limits failed while it waited, and it lost "
                "its channel; no phone rang"
            )

    async def _ask_permit(self, job: PlacementJob) -> float | None:
        """Ask the permit, if there is one, and return by when the request must leave."""
        if job.permit is None:
            return None
        send_by: float | None = None
        with anyio.CancelScope(shield=True):
            send_by = await job.permit(job.call)
        await anyio.lowlevel.checkpoint_if_cancelled()
        return send_by

    async def _exchange(self, job: PlacementJob, send_by: float | None) -> Verdict:
        """Send one request and record its verdict in any case."""
        began = self._gate.now()
        if self._channels is not None:  # the call may outlive this process
            longest = job.timeouts.total + job.call.longest
            self._channels.hold(job.call, until=began + longest)
        job.call.placement.begin_request()
        job.call.notify("attempt_started", began - job.queued_at)
        self.watch.begin()
        verdict = Verdict(Outcome.UNKNOWN, "interrupted while the request was under way")
        try:
            answer = await self._transport.post(
                job.url,
                job.body,
                job.timeouts,
                deadline=began + job.timeouts.total,
                send_by=send_by,
            )
            verdict = judge(answer, redact=self._redact, now=datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  # a bug here must not mean "no phone rang"
            why = "its reply could not be judged"
            verdict = Verdict(Outcome.UNKNOWN, f"{why} ({type(error).__name__})")
            log_failure(error, f"call {job.call}: {why}", self._redact)
        finally:
            seconds = self._gate.now() - began
            self.watch.end(seconds)
            job.call.record(verdict, seconds)
        return verdict

    async def _in_time(
        self, enter: Callable[[], Awaitable[_T]], until: float | None
    ) -> tuple[_T] | None:
        """Wait for a turn, but not beyond ``queue_timeout`` or the call's deadline.

        Returns the result of ``enter``, or None if the time was over.
        """
        if self._queue_timeout is not None:
            limit = self._gate.now() + self._queue_timeout
            until = limit if until is None else min(limit, until)
        if until is None:
            return (await enter(),)
        with anyio.CancelScope(deadline=until):
            return (await enter(),)
        return None
