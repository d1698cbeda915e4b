"""Call handles: awaiting them, cancelling them, and reading their state."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
from typing import Any

import anyio
import httpx
import pytest
from fake_telecmi import FLOW, TO, FakeTelecmi, accepted, always, gateway, in_turn, refused

from telecmi_async import (
    AuthenticationError,
    CallCancelled,
    CallHandle,
    CallOutcomeUnknown,
    CallPending,
    CallService,
    CallStatus,
    Outcome,
    RateLimit,
    Region,
    RetryPolicy,
)

pytestmark = pytest.mark.anyio


async def test_a_handle_comes_at_once_and_gives_itself_when_awaited() -> None:
    """The request runs concurrently; awaiting the handle returns the handle."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        before = handle.status
        await anyio.sleep(0.5)
        during = handle.status

        same = await handle

    assert (before, during) == (CallStatus.QUEUED, CallStatus.SENDING)
    assert same is handle
    assert handle.status == "progress"
    assert handle.accepted
    assert handle.error is None
    assert handle.request_id == "0" * 43
    assert handle.reply == accepted().json()
    assert handle.region is Region.GLOBAL
    assert handle.request is not None
    assert handle.request.to == TO
    assert handle.source is handle.request
    assert not handle.may_be_duplicate
    [attempt] = handle.attempts
    assert (attempt.number, attempt.outcome, attempt.status) == (1, Outcome.ACCEPTED, 200)
    assert attempt.seconds == pytest.approx(1.0)


async def test_awaiting_is_repeatable_by_many() -> None:
    """Several tasks may await one handle, before and after it is settled."""
    telecmi = FakeTelecmi(delay=1.0)
    got: list[CallHandle] = []
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)

        async def wait() -> None:
            got.append(await handle)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(wait)
        got.append(await handle)

    assert got == [handle] * 6


async def test_a_waiter_that_gives_up_disturbs_nobody() -> None:
    """A time-out or cancellation of one waiter does not affect the call or other waiters."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        with anyio.move_on_after(0.1) as gave_up:
            await handle

        await handle

    assert gave_up.cancelled_caught
    assert telecmi.finished == 1


async def test_a_failure_is_raised_each_time() -> None:
    """Every await raises the same error, and its traceback does not grow."""
    async with FakeTelecmi(always(lambda: refused(420))).service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        depths = []
        for _ in range(3):
            with pytest.raises(AuthenticationError) as caught:
                await handle
            depths.append(len(caught.traceback))
        with pytest.raises(AuthenticationError):
            _ = handle.request_id

    assert len(set(depths)) == 1
    assert str(handle.error) == str(caught.value)
    assert handle.error is not None
    assert handle.error.__traceback__ is None
    assert handle.status is CallStatus.REJECTED
    assert not handle.accepted


async def test_what_is_raised_keeps_nothing_alive() -> None:
    """The handle's error keeps no reference to another exception that was being handled."""
    async with FakeTelecmi(always(lambda: refused(420))).service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        try:
            _ = int("x")
        except ValueError:
            with pytest.raises(AuthenticationError) as caught:
                await handle

    assert caught.value.__context__ is not None
    assert handle.error is not None
    assert handle.error.__context__ is None


async def test_request_id_before_the_answer_says_to_await() -> None:
    """Reading `request_id` too early raises an error that says to await and not to redial."""
    async with FakeTelecmi(delay=1.0).service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)

        with pytest.raises(CallPending, match="await the handle first") as caught:
            _ = handle.request_id

    assert not caught.value.safe_to_redial
    assert str(TO) not in str(caught.value)


async def test_cancelling_a_queued_call_is_certain() -> None:
    """A call that waits in the queue is cancelled at once, and its request is never sent."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service(rate=RateLimit(max_in_flight=1)) as service:
        first = service.make_call(to=TO, pcmo=FLOW)
        second = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.1)

        assert second.cancel() is True
        assert second.cancel() is True
        assert second.status is CallStatus.CANCELLED
        with pytest.raises(CallCancelled) as caught:
            await second
        await first

    assert len(telecmi.requests) == 1
    assert caught.value.safe_to_redial


async def test_cancelling_before_the_task_runs_is_certain_too() -> None:
    """With cancel directly after make_call, nothing is ever sent."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)

        assert handle.cancel() is True
        await anyio.sleep(1)

    assert telecmi.requests == []


async def test_a_request_that_left_cannot_be_cancelled() -> None:
    """cancel() returns False, and the call goes on to its end."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)

        assert handle.cancel() is False
        await handle
        assert handle.cancel() is False

    assert telecmi.finished == 1
    assert handle.accepted


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (lambda: refused(502), CallCancelled, CallStatus.CANCELLED),
        (gateway, CallOutcomeUnknown, CallStatus.UNKNOWN),
    ],
)
async def test_cancelling_between_attempts_stops_them(
    answer: Any, error: type[Exception], status: CallStatus
) -> None:
    """No further attempt is made; the attempts so far decide the outcome."""
    telecmi = FakeTelecmi(always(answer))
    policy = RetryPolicy(wait_initial=100, wait_max=100)
    async with telecmi.service(retry=policy) as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.01)

        assert handle.status is CallStatus.QUEUED
        assert handle.cancel() is False
        with pytest.raises(error):
            await handle
        assert handle.cancel() is False

    assert len(telecmi.requests) == 1
    assert handle.status is status
    assert len(handle.attempts) == 1


async def test_cancelling_while_a_request_is_under_way_allows_no_retry() -> None:
    """The request is awaited, its refusal is the outcome, and no second one is made."""
    telecmi = FakeTelecmi(always(lambda: refused(502)), delay=1.0)
    async with telecmi.service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)
        handle.cancel()

        with pytest.raises(CallCancelled):
            await handle

    assert telecmi.finished == len(telecmi.requests) == 1


async def test_a_repeat_after_an_unknown_attempt_may_be_a_duplicate() -> None:
    """`may_be_duplicate` is set by a retry after an unknown attempt, not after a refusal."""
    async with FakeTelecmi(in_turn(gateway, accepted)).service() as service:
        doubtful = await service.make_call(to=TO, pcmo=FLOW)
    async with FakeTelecmi(in_turn(lambda: refused(502), accepted)).service() as service:
        sound = await service.make_call(to=TO, pcmo=FLOW)

    assert doubtful.accepted
    assert doubtful.may_be_duplicate
    assert sound.accepted
    assert not sound.may_be_duplicate


async def test_a_refusal_after_an_unknown_attempt_leaves_the_call_unknown() -> None:
    """The first request may have rung, so a later refusal does not make the call rejected."""
    async with FakeTelecmi(in_turn(gateway, lambda: refused(420))).service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        with pytest.raises(CallOutcomeUnknown) as caught:
            await handle

    error = caught.value
    assert not error.safe_to_redial
    assert error.reference == handle.reference
    assert "502" in error.cause
    assert [attempt.outcome for attempt in error.attempts] == ["unknown", "rejected"]
    assert pickle.loads(pickle.dumps(error)).attempts == error.attempts


async def test_a_failure_nobody_looked_at_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure that was never read is logged like a lost task's error; others are not."""
    async with FakeTelecmi(always(lambda: refused(420))).service() as service:
        handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(5)]
        await anyio.sleep(1)
        _ = handles[1].status
        _ = handles[2].error
        _ = handles[3].accepted
        with pytest.raises(AuthenticationError):
            _ = handles[4].request_id
        reference = handles[0].reference
        handles.clear()
        gc.collect()

    logged = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(logged) == 1
    assert reference in logged[0].getMessage()
    assert str(TO) not in caplog.text


async def test_a_handle_that_was_dropped_before_it_failed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failure of a dropped handle is logged."""
    async with FakeTelecmi(always(lambda: refused(420)), delay=1).service() as service:
        service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)
    gc.collect()

    assert caplog.text.count("its handle was never checked") == 1


async def test_a_repr_names_the_call_without_its_number() -> None:
    """A repr shows reference, last digits, status and request_id, but never the full number."""
    async with FakeTelecmi(delay=1).service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        early = repr(handle)
        await handle

    assert early == f"<CallHandle {handle.reference} to •••••••0001 queued>"
    assert repr(handle).endswith(f"progress request_id={'0' * 43}>")


@pytest.mark.real_clock
def test_a_request_that_the_loops_end_interrupts_is_unknown() -> None:
    """A call in flight when asyncio.run ends is unknown, also in another loop."""

    async def place() -> tuple[CallHandle, CallHandle, CallHandle]:
        client = httpx.AsyncClient(transport=FakeTelecmi(delay=60))
        service = CallService(
            1, "s", from_=TO, http_client=client, rate=RateLimit(max_in_flight=1)
        )
        sent = service.make_call(to=TO, pcmo=FLOW)
        queued = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.01)
        service._runner.closed = True  # left open on purpose, so without its warning
        async with FakeTelecmi().service() as other:
            return sent, queued, await other.make_call(to=TO, pcmo=FLOW)

    sent, queued, settled = asyncio.run(place())

    async def look() -> None:
        assert await settled is settled
        with pytest.raises(CallOutcomeUnknown, match="interrupted"):
            await sent
        with pytest.raises(CallCancelled):
            await queued

    asyncio.run(look())


@pytest.mark.real_clock
def test_a_pending_handle_is_awaited_in_its_own_loop_only() -> None:
    """Awaiting a pending handle from a second loop raises instead of hanging."""
    home = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=FakeTelecmi(delay=0.01))

    async def start() -> tuple[CallService, CallHandle]:
        service = CallService(1, "s", from_=TO, http_client=client)
        return service, service.make_call(to=TO, pcmo=FLOW)

    async def wait() -> None:
        await handle

    async def close() -> None:
        await handle
        await service.aclose()
        await client.aclose()

    service, handle = home.run_until_complete(start())
    with pytest.raises(CallPending, match="the event loop that placed its call") as caught:
        asyncio.run(wait())
    home.run_until_complete(close())
    home.close()

    assert not caught.value.safe_to_redial
    assert handle.accepted
